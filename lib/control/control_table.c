/* The table of a shard. Whatever could fail for want of memory comes before the first change. See
 * control_table.h. */
#include "control/control_table_internal.h"

#include <stdlib.h>
#include <string.h>

int control_table_open(struct control_table **table)
{
    *table = calloc(1, sizeof **table);
    return *table ? RAYMPI_OK : base_fail(RAYMPI_ERR_MEMORY, "no memory for a table of the control state");
}

static void entry_remove(struct control_table *table, struct entry *entry)
{
    HASH_DEL(table->entries, entry);
    table->bytes -= (uint64_t)entry->key_length + entry->value_length;
    free(entry);
}

static void client_remove(struct control_table *table, struct client *client)
{
    for (int i = 0; i < CONTROL_WINDOW; i++)
        table->replies -= client->replies[i].serial != 0;
    HASH_DEL(table->clients, client);
    free(client);
}

void control_table_close(struct control_table *table)
{
    struct entry *entry, *next_entry;
    struct client *client, *next_client;
    if (!table)
        return;
    HASH_ITER (hh, table->entries, entry, next_entry)
        entry_remove(table, entry);
    HASH_ITER (hh, table->clients, client, next_client)
        client_remove(table, client);
    free(table);
}

/* ---- entries */

static struct entry *entry_find(const struct control_table *table, struct control_bytes key)
{
    struct entry *entry;
    HASH_FIND(hh, table->entries, key.data, key.length, entry);
    return entry;
}

static struct control_bytes entry_key(const struct entry *entry)
{
    return (struct control_bytes){entry->bytes, entry->key_length};
}

static struct control_bytes entry_value(const struct entry *entry)
{
    return (struct control_bytes){entry->bytes + entry->key_length, entry->value_length};
}

struct entry *table_entry_new(struct control_bytes key, struct control_bytes value, uint64_t version)
{
    struct entry *entry = malloc(sizeof *entry + key.length + value.length);
    if (!entry)
        return NULL;
    *entry = (struct entry){.version = version, .key_length = key.length, .value_length = value.length};
    memcpy(entry->bytes, key.data, key.length);
    if (value.length)
        memcpy(entry->bytes + key.length, value.data, value.length);
    return entry;
}

bool table_entry_add(struct control_table *table, struct entry *entry)
{
    HASH_ADD_KEYPTR(hh, table->entries, entry->bytes, entry->key_length, entry);
    if (!entry->hh.tbl)
        return false;
    table->bytes += (uint64_t)entry->key_length + entry->value_length;
    return true;
}

/* ---- clients */

static struct client *client_find(const struct control_table *table, uint64_t name)
{
    struct client *client;
    HASH_FIND(hh, table->clients, &name, sizeof name, client);
    return client;
}

struct client *table_client_make(struct control_table *table, uint64_t name)
{
    struct client *client = client_find(table, name);
    if (client || !(client = calloc(1, sizeof *client)))
        return client;
    client->name = name;
    HASH_ADD(hh, table->clients, name, sizeof name, client);
    if (client->hh.tbl)
        return client;
    free(client);
    return NULL;
}

/* The client has the answers up to there. */
static void client_answered(struct control_table *table, struct client *client, uint64_t answered)
{
    if (answered <= client->answered)
        return;
    client->answered = answered;
    for (int i = 0; i < CONTROL_WINDOW; i++)
        if (client->replies[i].serial && client->replies[i].serial <= answered) {
            client->replies[i].serial = 0;
            table->replies--;
        }
}

void table_client_reply(struct control_table *table, struct client *client, uint64_t serial,
                        const struct control_reply *reply)
{
    client->replies[serial % CONTROL_WINDOW].serial = serial;
    client->replies[serial % CONTROL_WINDOW].reply = *reply;
    table->replies++;
}

void control_table_forget(struct control_table *table, uint64_t client)
{
    struct client *known = client_find(table, client);
    if (known)
        client_remove(table, known);
}

/* ---- operations */

int control_op_check(const struct control_op *op)
{
    if (op->kind < CONTROL_PUT || op->kind > CONTROL_DELETE)
        return base_fail(RAYMPI_ERR_ARGUMENT, "no operation of the control state has number %d",
                         (int)op->kind);
    if (op->key.length < 1 || op->key.length > CONTROL_KEY_MOST)
        return base_fail(RAYMPI_ERR_ARGUMENT, "a key of the control state has 1 to %d bytes, not %u",
                         CONTROL_KEY_MOST, op->key.length);
    if (op->value.length > CONTROL_MOST)
        return base_fail(RAYMPI_ERR_ARGUMENT, "a value of the control state has at most %u bytes, not %u",
                         CONTROL_MOST, op->value.length);
    if (op->serial == 0 || op->answered >= op->serial)
        return base_fail(RAYMPI_ERR_ARGUMENT, "operation %llu of a client that has all answers up to %llu",
                         (unsigned long long)op->serial, (unsigned long long)op->answered);
    return RAYMPI_OK;
}

static int serial_check(const struct client *client, const struct control_op *op)
{
    uint64_t answered = op->answered > client->answered ? op->answered : client->answered;
    if (op->serial <= answered)
        return base_fail(RAYMPI_ERR_STATE, "operation %llu was answered, and the client has said so",
                         (unsigned long long)op->serial);
    if (op->serial - answered > CONTROL_WINDOW)
        return base_fail(RAYMPI_ERR_STATE,
                         "operation %llu comes too soon: the client has answers up to %llu only, and no more "
                         "than %d may be without one",
                         (unsigned long long)op->serial, (unsigned long long)answered, CONTROL_WINDOW);
    return RAYMPI_OK;
}

static bool is_wanted(const struct control_op *op, const struct entry *entry)
{
    switch (op->kind) {
    case CONTROL_PUT_IF_ABSENT:
        return !entry;
    case CONTROL_COMPARE_AND_SET:
        return (entry ? entry->version : 0) == op->version;
    case CONTROL_DELETE:
        return entry != NULL;
    default:
        return true;
    }
}

/* Does it. MEMORY: nothing has changed. */
static int op_do(struct control_table *table, uint64_t index, const struct control_op *op, struct entry *old,
                 struct control_reply *reply)
{
    *reply = (struct control_reply){.done = true, .version = index};
    if (op->kind == CONTROL_DELETE) {
        reply->version = 0;
    } else {
        struct entry *entry = table_entry_new(op->key, op->value, index);
        /* Two of one key for a moment: the old one, found before, goes. */
        if (!entry || !table_entry_add(table, entry)) {
            free(entry);
            return base_fail(RAYMPI_ERR_MEMORY, "no memory for a value of the control state");
        }
    }
    if (old)
        entry_remove(table, old);
    return RAYMPI_OK;
}

/* The answer it has had; false: none. */
static bool was_done(const struct client *client, uint64_t serial, struct control_reply *reply)
{
    if (client->replies[serial % CONTROL_WINDOW].serial != serial)
        return false;
    *reply = client->replies[serial % CONTROL_WINDOW].reply;
    return true;
}

int control_table_apply(struct control_table *table, uint64_t index, const struct control_op *op,
                        struct control_reply *reply)
{
    int status = control_op_check(op);
    if (status != RAYMPI_OK)
        return status;
    struct client *client = table_client_make(table, op->client);
    if (!client)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a client of the control state");
    status = serial_check(client, op);
    if (status != RAYMPI_OK)
        return status;
    if (!was_done(client, op->serial, reply)) {
        struct entry *old = entry_find(table, op->key);
        *reply = (struct control_reply){.done = false, .version = old ? old->version : 0};
        if (is_wanted(op, old))
            status = op_do(table, index, op, old, reply);
        if (status != RAYMPI_OK)
            return status;
        client_answered(table, client, op->answered);
        table_client_reply(table, client, op->serial, reply);
    }
    table->index = index;
    return RAYMPI_OK;
}

int control_table_answered(const struct control_table *table, const struct control_op *op,
                           struct control_reply *reply, bool *done)
{
    static const struct client nobody;
    const struct client *client = client_find(table, op->client);
    int status = serial_check(client ? client : &nobody, op);
    *done = status == RAYMPI_OK && client && was_done(client, op->serial, reply);
    return status;
}

uint64_t control_table_index(const struct control_table *table)
{
    return table->index;
}

/* ---- looking */

bool control_table_get(const struct control_table *table, struct control_bytes key,
                       struct control_bytes *value, uint64_t *version)
{
    const struct entry *entry = entry_find(table, key);
    if (!entry)
        return false;
    *value = entry_value(entry);
    *version = entry->version;
    return true;
}

static bool begins_with(const struct entry *entry, struct control_bytes prefix)
{
    return entry->key_length >= prefix.length &&
           (prefix.length == 0 || memcmp(entry->bytes, prefix.data, prefix.length) == 0);
}

static int entry_compare(const void *left, const void *right)
{
    const struct entry *a = *(const struct entry *const *)left, *b = *(const struct entry *const *)right;
    int order = memcmp(a->bytes, b->bytes, a->key_length < b->key_length ? a->key_length : b->key_length);
    return order ? order : (a->key_length > b->key_length) - (a->key_length < b->key_length);
}

int table_entries_sorted(const struct control_table *table, struct control_bytes prefix,
                         const struct entry ***sorted, size_t *count)
{
    const struct entry *entry;
    *count = 0;
    *sorted = malloc((HASH_COUNT(table->entries) + 1) * sizeof **sorted);
    if (!*sorted)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory to list keys of the control state");
    for (entry = table->entries; entry; entry = entry->hh.next)
        if (begins_with(entry, prefix))
            (*sorted)[(*count)++] = entry;
    qsort(*sorted, *count, sizeof **sorted, entry_compare);
    return RAYMPI_OK;
}

int control_table_list(const struct control_table *table, struct control_bytes prefix,
                       void (*visit)(void *arg, struct control_bytes key, struct control_bytes value,
                                     uint64_t version),
                       void *arg)
{
    const struct entry **sorted;
    size_t count;
    int status = table_entries_sorted(table, prefix, &sorted, &count);
    if (status != RAYMPI_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        visit(arg, entry_key(sorted[i]), entry_value(sorted[i]), sorted[i]->version);
    free(sorted);
    return RAYMPI_OK;
}

void control_table_sizes(const struct control_table *table, struct control_sizes *sizes)
{
    *sizes = (struct control_sizes){.keys = HASH_COUNT(table->entries),
                                    .clients = HASH_COUNT(table->clients),
                                    .replies = table->replies,
                                    .bytes = table->bytes};
}
