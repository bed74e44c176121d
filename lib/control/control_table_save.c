/* Tables as bytes: a head, the entries by key, the clients by name. Numbers are as they lie in memory: all
 * ranks of a job are alike (looked at when it starts). */
#include "control/control_table_internal.h"

#include <stdlib.h>
#include <string.h>

#define SAVED_MARK UINT64_C(0x7261796d70697431)

struct saved_head {
    uint64_t mark, length; /* of all */
    uint64_t index, entries, clients;
};
struct saved_entry {
    uint64_t version;
    uint32_t key_length, value_length; /* and so many bytes */
};
struct saved_client {
    uint64_t name, answered, replies; /* and so many of those */
};
struct saved_reply {
    uint64_t serial, version, done;
};

/* ---- to bytes */

static uint64_t client_replies(const struct client *client)
{
    uint64_t count = 0;
    for (int i = 0; i < CONTROL_WINDOW; i++)
        count += client->replies[i].serial != 0;
    return count;
}

/* One of which nothing was done yet is no part of what replicas have in common. */
static bool is_saved(const struct client *client)
{
    return client->answered > 0 || client_replies(client) > 0;
}

static int client_compare(const void *left, const void *right)
{
    const struct client *a = *(const struct client *const *)left, *b = *(const struct client *const *)right;
    return (a->name > b->name) - (a->name < b->name);
}

static const struct client **clients_sorted(const struct control_table *table, size_t *count)
{
    const struct client **sorted = malloc((HASH_COUNT(table->clients) + 1) * sizeof *sorted), *client;
    *count = 0;
    for (client = table->clients; sorted && client; client = client->hh.next)
        if (is_saved(client))
            sorted[(*count)++] = client;
    if (sorted)
        qsort(sorted, *count, sizeof *sorted, client_compare);
    return sorted;
}

static char *put(char *to, const void *from, size_t length)
{
    memcpy(to, from, length);
    return to + length;
}

static char *entry_put(char *to, const struct entry *entry)
{
    struct saved_entry saved = {entry->version, entry->key_length, entry->value_length};
    to = put(to, &saved, sizeof saved);
    return put(to, entry->bytes, (size_t)entry->key_length + entry->value_length);
}

static char *client_put(char *to, const struct client *client)
{
    struct saved_client saved = {client->name, client->answered, client_replies(client)};
    to = put(to, &saved, sizeof saved);
    for (uint64_t serial = client->answered + 1; serial <= client->answered + CONTROL_WINDOW; serial++) {
        const struct control_reply *reply = &client->replies[serial % CONTROL_WINDOW].reply;
        struct saved_reply kept = {serial, reply->version, reply->done};
        if (client->replies[serial % CONTROL_WINDOW].serial == serial)
            to = put(to, &kept, sizeof kept);
    }
    return to;
}

static void all_put(char *to, const struct saved_head *head, const struct entry **entries,
                    const struct client **clients)
{
    to = put(to, head, sizeof *head);
    for (uint64_t i = 0; i < head->entries; i++)
        to = entry_put(to, entries[i]);
    for (uint64_t i = 0; i < head->clients; i++)
        to = client_put(to, clients[i]);
}

int control_table_save(const struct control_table *table, char **bytes, size_t *length)
{
    const struct entry **entries = NULL;
    size_t entry_count = 0, client_count;
    const struct client **clients = clients_sorted(table, &client_count);
    int status = table_entries_sorted(table, (struct control_bytes){"", 0}, &entries, &entry_count);
    *length = sizeof(struct saved_head) + entry_count * sizeof(struct saved_entry) + table->bytes +
              client_count * sizeof(struct saved_client) + table->replies * sizeof(struct saved_reply);
    *bytes = status == RAYMPI_OK && clients ? malloc(*length) : NULL;
    if (*bytes) {
        struct saved_head head = {SAVED_MARK, *length, table->index, entry_count, client_count};
        all_put(*bytes, &head, entries, clients);
    } else {
        status = base_fail(RAYMPI_ERR_MEMORY, "no memory for a snapshot of the control state");
    }
    free(entries);
    free(clients);
    return status;
}

/* ---- from bytes */

struct reading {
    const char *at, *end;
};

static bool take(struct reading *reading, void *to, size_t length)
{
    if ((size_t)(reading->end - reading->at) < length)
        return false;
    memcpy(to, reading->at, length);
    reading->at += length;
    return true;
}

static int malformed(const char *what)
{
    return base_fail(RAYMPI_ERR_ARGUMENT, "these bytes are no snapshot of the control state: %s", what);
}

static int no_memory(void)
{
    return base_fail(RAYMPI_ERR_MEMORY, "no memory for a snapshot of the control state");
}

/* `last`: the key before it, which is smaller; so none comes twice. */
static bool is_later(struct control_bytes key, struct control_bytes last)
{
    uint32_t common = key.length < last.length ? key.length : last.length;
    int order = common ? memcmp(key.data, last.data, common) : 0;
    return order ? order > 0 : key.length > last.length;
}

static int entry_take(struct control_table *table, struct reading *reading, struct control_bytes *last)
{
    struct saved_entry saved;
    if (!take(reading, &saved, sizeof saved) || saved.key_length < 1 || saved.key_length > CONTROL_KEY_MOST ||
        saved.value_length > CONTROL_MOST || saved.version == 0 || saved.version > table->index ||
        (uint64_t)(reading->end - reading->at) < (uint64_t)saved.key_length + saved.value_length)
        return malformed("an entry is cut off, or is none");
    struct control_bytes key = {reading->at, saved.key_length},
                         value = {reading->at + saved.key_length, saved.value_length};
    reading->at += (size_t)saved.key_length + saved.value_length;
    if (!is_later(key, *last))
        return malformed("its keys are not in order");
    *last = key;
    struct entry *entry = table_entry_new(key, value, saved.version);
    if (entry && table_entry_add(table, entry))
        return RAYMPI_OK;
    free(entry);
    return no_memory();
}

static int reply_take(struct control_table *table, struct client *client, struct reading *reading,
                      uint64_t *last)
{
    struct saved_reply saved;
    if (!take(reading, &saved, sizeof saved) || saved.done > 1 || saved.version > table->index ||
        saved.serial <= *last || saved.serial - client->answered > CONTROL_WINDOW)
        return malformed("an answer is cut off, or is none");
    *last = saved.serial;
    struct control_reply reply = {saved.done, saved.version};
    table_client_reply(table, client, saved.serial, &reply);
    return RAYMPI_OK;
}

static int client_take(struct control_table *table, struct reading *reading, const struct client **last)
{
    struct saved_client saved;
    if (!take(reading, &saved, sizeof saved) || saved.replies > CONTROL_WINDOW ||
        (*last && saved.name <= (*last)->name))
        return malformed("a client is cut off, or is none");
    struct client *client = table_client_make(table, saved.name);
    if (!client)
        return no_memory();
    *last = client;
    client->answered = saved.answered;
    uint64_t serial = saved.answered;
    for (uint64_t i = 0; i < saved.replies; i++) {
        int status = reply_take(table, client, reading, &serial);
        if (status != RAYMPI_OK)
            return status;
    }
    return RAYMPI_OK;
}

static int all_take(struct control_table *table, const struct saved_head *head, struct reading *reading)
{
    struct control_bytes key = {"", 0};
    const struct client *client = NULL;
    int status = RAYMPI_OK;
    table->index = head->index;
    for (uint64_t i = 0; i < head->entries && status == RAYMPI_OK; i++)
        status = entry_take(table, reading, &key);
    for (uint64_t i = 0; i < head->clients && status == RAYMPI_OK; i++)
        status = client_take(table, reading, &client);
    if (status == RAYMPI_OK && reading->at != reading->end)
        status = malformed("there are more of them");
    return status;
}

int control_table_load(struct control_table **table, const char *bytes, size_t length)
{
    struct reading reading = {bytes, bytes + length};
    struct saved_head head;
    *table = NULL;
    if (!take(&reading, &head, sizeof head) || head.mark != SAVED_MARK)
        return malformed("they begin otherwise");
    if (head.length != length)
        return malformed("there are fewer or more of them than their head says");
    int status = control_table_open(table);
    if (status == RAYMPI_OK)
        status = all_take(*table, &head, &reading);
    if (status != RAYMPI_OK) {
        control_table_close(*table);
        *table = NULL;
    }
    return status;
}
