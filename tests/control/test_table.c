/* The table of a shard: operations, retries, snapshots, memory that lacks. */
#include "../limits/fault.h"
#include "../unit.h"
#include "control/control_table.h"

#include <string.h>

#define CLIENTS 3
#define KEYS    40

static uint64_t random_state;

static uint32_t random_below(uint32_t most)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % most;
}

static struct control_table *table_make(void)
{
    struct control_table *table;
    CU_ASSERT_EQUAL_FATAL(control_table_open(&table), RAYMPI_OK);
    return table;
}

static struct control_bytes bytes_of(const char *text)
{
    return (struct control_bytes){text, (uint32_t)strlen(text)};
}

static struct control_op op_of(enum control_kind kind, uint64_t serial, const char *key, const char *value)
{
    return (struct control_op){.kind = kind,
                               .client = 1,
                               .serial = serial,
                               .answered = serial - 1,
                               .key = bytes_of(key),
                               .value = bytes_of(value)};
}

static bool holds(const struct control_table *table, const char *key, const char *value)
{
    struct control_bytes found;
    uint64_t version;
    if (!control_table_get(table, bytes_of(key), &found, &version))
        return value == NULL;
    return value && found.length == strlen(value) && memcmp(found.data, value, found.length) == 0;
}

/* ---- one after the other */

static void test_operations(void)
{
    static const struct {
        enum control_kind kind;
        const char *key, *value;
        uint64_t wanted;
        bool done;
        uint64_t version;
        const char *after;
    } steps[] = {
        {CONTROL_DELETE, "a", "", 0, false, 0, NULL},
        {CONTROL_PUT, "a", "one", 0, true, 2, "one"},
        {CONTROL_PUT, "a", "two", 0, true, 3, "two"},
        {CONTROL_PUT_IF_ABSENT, "a", "three", 0, false, 3, "two"},
        {CONTROL_COMPARE_AND_SET, "a", "four", 2, false, 3, "two"},
        {CONTROL_COMPARE_AND_SET, "a", "four", 3, true, 6, "four"},
        {CONTROL_COMPARE_AND_SET, "b", "five", 6, false, 0, NULL},
        {CONTROL_COMPARE_AND_SET, "b", "five", 0, true, 8, "five"},
        {CONTROL_DELETE, "a", "", 0, true, 0, NULL},
        {CONTROL_PUT_IF_ABSENT, "a", "", 0, true, 10, ""},
    };
    struct control_table *table = table_make();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct control_op op = op_of(steps[i].kind, i + 1, steps[i].key, steps[i].value);
        struct control_reply reply;
        op.version = steps[i].wanted;
        CU_ASSERT_EQUAL(control_table_apply(table, i + 1, &op, &reply), RAYMPI_OK);
        CU_ASSERT_EQUAL(reply.done, steps[i].done);
        CU_ASSERT_EQUAL(reply.version, steps[i].version);
        CU_ASSERT(holds(table, steps[i].key, steps[i].after));
    }
    CU_ASSERT_EQUAL(control_table_index(table), 10);
    control_table_close(table);
}

/* A retry has the first answer, whatever has happened since; one whose answer the client has is refused. */
static void test_retries(void)
{
    struct control_table *table = table_make();
    struct control_op put = op_of(CONTROL_PUT_IF_ABSENT, 1, "a", "one"),
                      other = op_of(CONTROL_DELETE, 1, "a", "");
    struct control_reply first, again;
    other.client = 2;
    CU_ASSERT_EQUAL(control_table_apply(table, 1, &put, &first), RAYMPI_OK);
    CU_ASSERT_EQUAL(control_table_apply(table, 2, &other, &again), RAYMPI_OK);
    CU_ASSERT_EQUAL(control_table_apply(table, 3, &put, &again), RAYMPI_OK);
    CU_ASSERT(again.done && again.version == 1 && holds(table, "a", NULL));
    struct control_op next = op_of(CONTROL_PUT, 2, "b", "two");
    CU_ASSERT_EQUAL(control_table_apply(table, 4, &next, &again), RAYMPI_OK);
    CU_ASSERT_EQUAL(control_table_apply(table, 5, &put, &again), RAYMPI_ERR_STATE);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "was answered"));
    next = op_of(CONTROL_PUT, 2 + CONTROL_WINDOW, "b", "three");
    next.answered = 1;
    CU_ASSERT_EQUAL(control_table_apply(table, 5, &next, &again), RAYMPI_ERR_STATE);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "comes too soon"));
    CU_ASSERT(holds(table, "b", "two"));
    struct control_sizes sizes;
    control_table_forget(table, 1);
    control_table_forget(table, 7); /* nobody */
    control_table_sizes(table, &sizes);
    CU_ASSERT_EQUAL(sizes.clients, 1);
    CU_ASSERT_EQUAL(sizes.replies, 1);
    control_table_close(table);
}

static void test_refused(void)
{
    static char large[CONTROL_MOST + 1];
    struct control_table *table = table_make();
    struct control_op good = op_of(CONTROL_PUT, 1, "a", "one"), bad[6] = {good, good, good, good, good, good};
    struct control_reply reply;
    bad[0].kind = 0;
    bad[1].kind = CONTROL_KINDS + 1;
    bad[2].key.length = 0;
    bad[3].key = (struct control_bytes){large, CONTROL_KEY_MOST + 1};
    bad[4].value = (struct control_bytes){large, CONTROL_MOST + 1};
    bad[5].answered = 1;
    for (int i = 0; i < 6; i++)
        CU_ASSERT_EQUAL(control_table_apply(table, 1, &bad[i], &reply), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(control_table_index(table), 0);
    control_table_close(table);
}

/* ---- lists */

struct listed {
    char text[256];
};

static void list_add(void *arg, struct control_bytes key, struct control_bytes value, uint64_t version)
{
    struct listed *listed = arg;
    size_t used = strlen(listed->text);
    snprintf(listed->text + used, sizeof listed->text - used, "%.*s=%.*s:%llu ", (int)key.length, key.data,
             (int)value.length, value.data, (unsigned long long)version);
}

static void test_list(void)
{
    static const char *const keys[] = {"b/2", "a", "b/10", "b", "b/1", "c"};
    struct control_table *table = table_make();
    struct control_reply reply;
    struct listed listed = {""};
    for (int i = 0; i < 6; i++) {
        struct control_op op = op_of(CONTROL_PUT, (uint64_t)i + 1, keys[i], keys[5 - i]);
        CU_ASSERT_EQUAL(control_table_apply(table, (uint64_t)i + 1, &op, &reply), RAYMPI_OK);
    }
    CU_ASSERT_EQUAL(control_table_list(table, bytes_of("b/"), list_add, &listed), RAYMPI_OK);
    CU_ASSERT_STRING_EQUAL(listed.text, "b/1=a:5 b/10=b:3 b/2=c:1 ");
    listed.text[0] = 0;
    CU_ASSERT_EQUAL(control_table_list(table, bytes_of(""), list_add, &listed), RAYMPI_OK);
    CU_ASSERT_STRING_EQUAL(listed.text, "a=b/1:2 b=b/10:4 b/1=a:5 b/10=b:3 b/2=c:1 c=b/2:6 ");
    control_table_close(table);
}

/* ---- at random */

struct writer {
    uint64_t serial[CLIENTS], answered[CLIENTS];
    uint64_t index;
    char key[16], value[64];
};

static struct control_op random_op(struct writer *writer)
{
    uint32_t client = random_below(CLIENTS);
    uint64_t ahead = writer->serial[client] - writer->answered[client];
    bool retry = ahead > 0 && random_below(4) == 0;
    if (!retry && ahead < CONTROL_WINDOW)
        writer->serial[client]++;
    else
        retry = true;
    if (writer->serial[client] > writer->answered[client] + 1 && random_below(3) == 0)
        writer->answered[client] +=
            random_below((uint32_t)(writer->serial[client] - writer->answered[client]));
    snprintf(writer->key, sizeof writer->key, "key%u", random_below(KEYS));
    snprintf(writer->value, sizeof writer->value, "%.*s", (int)random_below(40),
             "a value that is as long as it may come to be");
    struct control_op op = op_of((enum control_kind)(1 + random_below(CONTROL_KINDS)), writer->serial[client],
                                 writer->key, writer->value);
    op.client = 10 + client;
    op.answered = writer->answered[client];
    op.version = random_below(2) ? 0 : writer->index - random_below(20);
    return op;
}

static bool same_bytes(const struct control_table *left, const struct control_table *right)
{
    char *a, *b;
    size_t a_length, b_length;
    CU_ASSERT_EQUAL_FATAL(control_table_save(left, &a, &a_length), RAYMPI_OK);
    CU_ASSERT_EQUAL_FATAL(control_table_save(right, &b, &b_length), RAYMPI_OK);
    bool same = a_length == b_length && memcmp(a, b, a_length) == 0;
    free(a);
    free(b);
    return same;
}

/* Replicas that are loaded from one another at odd moments, and go on with the same operations, hold the
 * same. */
static void test_replicas(void)
{
    struct control_table *first = table_make(), *second = table_make();
    struct writer writer = {.index = 0};
    random_state = 1;
    for (int i = 0; i < 20000; i++) {
        struct control_op op = random_op(&writer);
        struct control_reply a = {0, 0}, b = {0, 0};
        int status = control_table_apply(first, writer.index + 1, &op, &a);
        CU_ASSERT_EQUAL(control_table_apply(second, writer.index + 1, &op, &b), status);
        CU_ASSERT(a.done == b.done && a.version == b.version);
        writer.index += status == RAYMPI_OK;
        if (random_below(200) == 0) {
            char *bytes;
            size_t length;
            CU_ASSERT_EQUAL_FATAL(control_table_save(first, &bytes, &length), RAYMPI_OK);
            control_table_close(second);
            CU_ASSERT_EQUAL_FATAL(control_table_load(&second, bytes, length), RAYMPI_OK);
            free(bytes);
            CU_ASSERT(same_bytes(first, second));
        }
    }
    CU_ASSERT(writer.index > 10000);
    CU_ASSERT(same_bytes(first, second));
    control_table_close(first);
    control_table_close(second);
}

/* However many updates there are: as much as there is to hold. */
static void test_flat(void)
{
    struct control_table *table = table_make();
    struct control_sizes sizes;
    struct control_reply reply;
    for (uint64_t i = 1; i <= 1000000; i++) {
        struct control_op op = op_of(CONTROL_PUT, i, i % 2 ? "odd" : "even", "eight by");
        if (control_table_apply(table, i, &op, &reply) != RAYMPI_OK)
            CU_FAIL_FATAL("an update was refused");
    }
    control_table_sizes(table, &sizes);
    CU_ASSERT_EQUAL(sizes.keys, 2);
    CU_ASSERT_EQUAL(sizes.replies, 1);
    CU_ASSERT_EQUAL(sizes.bytes, 3 + 4 + 16);
    CU_ASSERT(fault_live(false) < 20);
    control_table_close(table);
}

/* ---- snapshots that are none */

static struct control_table *table_filled(void)
{
    struct control_table *table = table_make();
    struct writer writer = {.index = 0};
    random_state = 7;
    for (int i = 0; i < 300; i++) {
        struct control_op op = random_op(&writer);
        struct control_reply reply;
        writer.index += control_table_apply(table, writer.index + 1, &op, &reply) == RAYMPI_OK;
    }
    return table;
}

static void test_malformed(void)
{
    struct control_table *table = table_filled(), *loaded;
    char *bytes;
    size_t length;
    CU_ASSERT_EQUAL_FATAL(control_table_save(table, &bytes, &length), RAYMPI_OK);
    for (size_t cut = 0; cut < length; cut++) {
        char *part = malloc(cut ? cut : 1); /* of its own, so that a look behind it is seen */
        memcpy(part, bytes, cut);
        CU_ASSERT_EQUAL(control_table_load(&loaded, part, cut), RAYMPI_ERR_ARGUMENT);
        CU_ASSERT_PTR_NULL(loaded);
        free(part);
    }
    for (int i = 0; i < 20000; i++) {
        size_t at = random_below((uint32_t)length);
        char was = bytes[at];
        bytes[at] = (char)random_below(256);
        if (control_table_load(&loaded, bytes, length) == RAYMPI_OK)
            control_table_close(loaded); /* another snapshot, which could be one */
        bytes[at] = was;
    }
    CU_ASSERT_EQUAL(control_table_load(&loaded, bytes, length), RAYMPI_OK);
    CU_ASSERT(same_bytes(table, loaded));
    control_table_close(loaded);
    control_table_close(table);
    free(bytes);
}

/* ---- memory that lacks */

/* A change that finds no memory has changed nothing, and can be done again. */
static void test_no_memory(void)
{
    struct control_table *table = table_filled(), *twin = table_filled();
    struct writer writer = {.index = control_table_index(table)};
    int refused = 0;
    for (int i = 0; i < 500; i++) {
        struct control_op op = random_op(&writer);
        struct control_reply reply;
        int status = RAYMPI_ERR_MEMORY;
        op.client = 100 + (uint64_t)i % 50;
        op.serial = 1 + (uint64_t)i / 50;
        op.answered = op.serial - 1;
        for (long n = 1; status == RAYMPI_ERR_MEMORY; n++) {
            CU_ASSERT(same_bytes(table, twin));
            fault_arm(0, n);
            status = control_table_apply(table, writer.index + 1, &op, &reply);
            fault_disarm();
            refused += status == RAYMPI_ERR_MEMORY;
        }
        CU_ASSERT_EQUAL_FATAL(status, RAYMPI_OK);
        CU_ASSERT_EQUAL(control_table_apply(twin, ++writer.index, &op, &reply), RAYMPI_OK);
    }
    CU_ASSERT(refused > 100);
    CU_ASSERT(same_bytes(table, twin));
    control_table_close(table);
    control_table_close(twin);
}

static void test_no_memory_snapshot(void)
{
    struct control_table *table = table_filled(), *loaded;
    char *bytes;
    size_t length;
    int refused = 0, status = RAYMPI_ERR_MEMORY;
    for (long n = 1; status != RAYMPI_OK; n++) {
        fault_arm(0, n);
        status = control_table_save(table, &bytes, &length);
        if (status == RAYMPI_OK) {
            status = control_table_load(&loaded, bytes, length);
            free(bytes);
        }
        fault_disarm();
        CU_ASSERT(status == RAYMPI_OK || status == RAYMPI_ERR_MEMORY);
        refused += status != RAYMPI_OK;
    }
    CU_ASSERT(refused > 10);
    CU_ASSERT(same_bytes(table, loaded));
    control_table_close(loaded);
    control_table_close(table);
}

static void test_all_free(void)
{
    CU_ASSERT_EQUAL(fault_live(true), 0);
}

static const struct unit_test tests[] = {
    {"table: operations, and what is refused", test_operations},
    {"table: a retry is not done again", test_retries},
    {"table: operations that nobody can do", test_refused},
    {"table: keys by prefix, in order", test_list},
    {"table: replicas hold the same, also those made of snapshots", test_replicas},
    {"table: a million updates", test_flat},
    {"table: snapshots that are none", test_malformed},
    {"table: a change without memory changes nothing", test_no_memory},
    {"table: snapshots without memory", test_no_memory_snapshot},
    {"table: all memory is free again", test_all_free},
};

int main(void)
{
    fault_open();
    fault_rank(0);
    return UNIT_MAIN("control: table", tests);
}
