/* Values that are fetched from other hosts, in chunks: by a reader, and from who has told a lease. Rank 1 is
 * the other side. */
#include "base/base_fiber_tools.h"
#include "task_node.h"

#define BORROWED (((uint64_t)1 << REFCOUNT_SEQUENCE_BITS) + 77)
#define LEASE    UINT64_C(0x500000003)
#define PULLS    64
#define LONG     (3 * 261504 + 40) /* bytes: some ranges and a rest */

/* As they travel. */
struct pull {
    uint64_t lease, fetch, offset, length;
};
struct chunk {
    uint64_t fetch, offset;
};
struct __attribute__((packed)) far_value {
    uint64_t handle;
    uint32_t status;
    struct value_head head;
    uint64_t lease;
};

/* What rank 1 was asked for, and has got. */
struct other {
    struct pull pulls[PULLS];
    int pulled, served;
    uint64_t read; /* the lease that is over */
    int reads;
    char *bytes;
    uint64_t got;
    int chunks, refusals;
};

static struct task_node node;
static struct other other;
static char *content;

static void on_pull(void *arg, const struct net_message *message)
{
    (void)arg;
    CU_ASSERT_FATAL(message->length == sizeof other.pulls[0] && other.pulled < PULLS);
    memcpy(&other.pulls[other.pulled++], message->data, message->length);
}

static void on_read(void *arg, const struct net_message *message)
{
    (void)arg;
    CU_ASSERT_FATAL(message->length == sizeof other.read);
    memcpy(&other.read, message->data, message->length);
    other.reads++;
}

static void on_chunk(void *arg, const struct net_message *message)
{
    struct chunk chunk;
    (void)arg;
    CU_ASSERT_FATAL(message->length >= sizeof chunk && message->length <= NET_MESSAGE_ONE);
    memcpy(&chunk, message->data, sizeof chunk);
    other.chunks++;
    other.refusals += message->length == sizeof chunk;
    if (message->length > sizeof chunk) {
        CU_ASSERT_EQUAL(chunk.offset, other.got);
        memcpy(other.bytes + chunk.offset, (const char *)message->data + sizeof chunk,
               message->length - sizeof chunk);
        other.got += message->length - sizeof chunk;
    }
}

static void begin(void)
{
    CU_ASSERT_FATAL(task_functions_build() == RAYMPI_OK);
    node_open(&node);
    memset(&other, 0, sizeof other);
    net_handle(node.net[1], TASK_MESSAGE_PULL, on_pull, NULL);
    net_handle(node.net[1], TASK_MESSAGE_READ, on_read, NULL);
    net_handle(node.net[1], TASK_MESSAGE_CHUNK, on_chunk, NULL);
    content = malloc(LONG);
    other.bytes = malloc(LONG);
    for (int i = 0; i < LONG; i++)
        content[i] = (char)(i * 7 + i / 1000);
}

static void end(void)
{
    free(content);
    free(other.bytes);
    node_close(&node);
    task_functions_clear();
}

/* ---- the reader */

static struct object *tell_value(uint64_t length)
{
    struct object *object = object_accept(node.room, BORROWED, (struct task_id){{1, 2}}, 1, BORROWED);
    struct far_value far = {BORROWED, RAYMPI_OK, {VALUE_FAR, RAYMPI_KIND_BYTES, 0, length}, LEASE};
    CU_ASSERT_FATAL(object != NULL);
    node_receive(&node, ref_on_value, &far, sizeof far);
    node_settle(&node);
    return object;
}

static void send_chunk(uint64_t fetch, uint64_t offset, uint64_t length)
{
    struct chunk chunk = {fetch, offset};
    struct net_piece pieces[] = {{&chunk, sizeof chunk}, {content + offset, length}};
    CU_ASSERT_EQUAL(net_send(node.net[1], 0, TASK_MESSAGE_CHUNK, pieces, 2), RAYMPI_OK);
}

/* All that was asked for. */
static void serve(void)
{
    while (other.served < other.pulled) {
        const struct pull *pull = &other.pulls[other.served++];
        CU_ASSERT_EQUAL(pull->lease, LEASE);
        for (uint64_t at = 0; at < pull->length; at += 10000)
            send_chunk(pull->fetch, pull->offset + at, pull->length - at < 10000 ? pull->length - at : 10000);
        node_settle(&node);
    }
}

static bool is_there(struct object *object, uint64_t expected)
{
    const void *data;
    uint64_t length;
    return object_ready(object) && object->status == RAYMPI_OK &&
           value_look(node.room, &object->value, &data, &length) == RAYMPI_OK && length == expected &&
           memcmp(data, content, expected) == 0;
}

static void a_value_is_fetched(void)
{
    static const uint64_t lengths[] = {1, 70000, 261504, 261505, LONG};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        begin();
        struct object *object = tell_value(lengths[i]);
        CU_ASSERT_FALSE(object_ready(object));
        serve();
        CU_ASSERT(is_there(object, lengths[i]));
        CU_ASSERT_EQUAL(other.reads, 1);
        CU_ASSERT_EQUAL(other.read, LEASE);
        object_drop(node.room, object);
        end();
    }
}

static void wrong_chunks_are_dropped(void)
{
    begin();
    struct object *object = tell_value(LONG);
    int kept = quiet_begin();
    uint64_t fetch = other.pulls[0].fetch;
    content = realloc(content, 2 * LONG);
    send_chunk(fetch + 1, 0, 100);                  /* nobody fetches that */
    send_chunk(fetch, 8, 100);                      /* not the next bytes */
    send_chunk(fetch, 0, LONG + 1);                 /* more than was asked for */
    node_receive(&node, fetch_on_chunk, &fetch, 8); /* no head */
    node_receive(&node, fetch_on_chunk, content, 0);
    node_settle(&node);
    quiet_end(kept);
    serve();
    CU_ASSERT(is_there(object, LONG));
    object_drop(node.room, object);
    end();
}

static void a_lease_that_is_gone_loses_the_value(void)
{
    begin();
    struct object *object = tell_value(LONG);
    for (; other.served < other.pulled; other.served++) {
        send_chunk(other.pulls[other.served].fetch, other.pulls[other.served].offset, 0);
        node_settle(&node);
    }
    CU_ASSERT(object_ready(object));
    CU_ASSERT_EQUAL(object->status, RAYMPI_ERR_LOST);
    object_see(object);
    value_error_see(&object->value);
    object_drop(node.room, object);
    end();
}

static void a_value_that_nobody_wants_is_let_go(void)
{
    struct far_value far = {BORROWED, RAYMPI_OK, {VALUE_FAR, RAYMPI_KIND_BYTES, 0, 10 * LONG}, LEASE};
    struct store_counters before, after;
    begin();
    store_counters(node.room->store, &before);
    node_receive(&node, ref_on_value, &far, sizeof far);
    node_settle(&node);
    int pulled = other.pulled;
    content = realloc(content, 10 * LONG);
    serve();
    CU_ASSERT_EQUAL(other.pulled, pulled); /* no more than was asked for before */
    CU_ASSERT_EQUAL(other.reads, 1);
    store_counters(node.room->store, &after);
    CU_ASSERT_EQUAL(after.blocks, before.blocks);
    end();
}

/* Sanitizers end a program that asks for so much. */
#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
#define ASKS_FOR_MUCH false
#else
#define ASKS_FOR_MUCH true
#endif

static void a_value_without_room_says_so(void)
{
    if (!ASKS_FOR_MUCH)
        return;
    begin();
    struct object *object = tell_value(UINT64_C(1) << 47);
    CU_ASSERT(object_ready(object));
    CU_ASSERT_EQUAL(object->status, RAYMPI_ERR_MEMORY);
    CU_ASSERT_EQUAL(other.reads, 1);
    object_see(object);
    value_error_see(&object->value);
    object_drop(node.room, object);
    end();
}

static void a_room_closes_while_it_fetches(void)
{
    begin();
    struct object *object = tell_value(LONG);
    CU_ASSERT_FALSE(object_ready(object));
    end();
}

/* ---- who has the value */

static uint64_t lease_write(struct writer *writer, struct value *value)
{
    void *data;
    uint64_t name;
    CU_ASSERT_FATAL(value_create(node.room, value, LONG, 0, &data) == RAYMPI_OK);
    memcpy(data, content, LONG);
    value_seal(node.room, value);
    writer_init(writer);
    writer->far = true;
    writer->reader = 1;
    write_value(node.room, writer, value);
    CU_ASSERT_EQUAL(writer->used, sizeof(struct value_head) + sizeof name);
    memcpy(&name, writer->bytes + sizeof(struct value_head), sizeof name);
    return name;
}

static void pull(uint64_t lease, uint64_t offset, uint64_t length)
{
    struct pull wish = {lease, 9, offset, length};
    node_receive(&node, fetch_on_pull, &wish, sizeof wish);
    node_settle(&node);
}

static uint64_t blocks(void)
{
    struct store_counters counters;
    store_collect(node.room->store);
    store_counters(node.room->store, &counters);
    return counters.blocks + counters.waiting;
}

static void a_lease_keeps_the_block(void)
{
    struct writer writer;
    struct value value;
    begin();
    uint64_t before = blocks(), name = lease_write(&writer, &value);
    value_drop(node.room, &value, true); /* as its owner */
    for (uint64_t at = 0; at < LONG; at += 200000)
        pull(name, at, LONG - at < 200000 ? LONG - at : 200000);
    CU_ASSERT_EQUAL(other.got, LONG);
    CU_ASSERT_EQUAL(memcmp(other.bytes, content, LONG), 0);
    CU_ASSERT_EQUAL(other.refusals, 0);
    CU_ASSERT(blocks() > before);
    node_receive(&node, fetch_on_read, &name, sizeof name);
    CU_ASSERT_EQUAL(blocks(), before);
    writer_fini(&writer);
    end();
}

static void what_no_lease_allows_is_refused(void)
{
    struct writer writer;
    struct value value;
    begin();
    uint64_t name = lease_write(&writer, &value);
    pull(name + 1, 0, 8);
    pull(name + (UINT64_C(1) << 32), 0, 8); /* a later one in the same place */
    pull(name, LONG, 1);
    pull(name, UINT64_MAX - 4, 8);
    pull(name, 0, UINT64_MAX);
    CU_ASSERT_EQUAL(other.refusals, 5);
    CU_ASSERT_EQUAL(other.chunks, 5);
    int kept = quiet_begin();
    node_receive(&node, fetch_on_pull, &name, sizeof name);
    quiet_end(kept);
    node_receive(&node, fetch_on_read, &name, 4);
    pull(name, 0, 8);
    CU_ASSERT_EQUAL(other.got, 8);
    node_receive(&node, fetch_on_read, &name, sizeof name);
    node_receive(&node, fetch_on_read, &name, sizeof name); /* is over already */
    pull(name, 0, 8);
    CU_ASSERT_EQUAL(other.refusals, 6);
    value_drop(node.room, &value, true);
    writer_fini(&writer);
    end();
}

static void a_message_that_does_not_go_ends_its_leases(void)
{
    struct writer writer;
    struct value value;
    begin();
    uint64_t before = blocks(), name = lease_write(&writer, &value);
    write_value(node.room, &writer, &value);
    leases_unsend(node.room, &writer);
    pull(name, 0, 8);
    CU_ASSERT_EQUAL(other.refusals, 1);
    value_drop(node.room, &value, true);
    CU_ASSERT_EQUAL(blocks(), before);
    writer_fini(&writer);
    end();
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"a value is fetched", a_value_is_fetched},
        {"wrong chunks are dropped", wrong_chunks_are_dropped},
        {"a lease that is gone loses the value", a_lease_that_is_gone_loses_the_value},
        {"a value that nobody wants is let go", a_value_that_nobody_wants_is_let_go},
        {"a value without room says so", a_value_without_room_says_so},
        {"a room closes while it fetches", a_room_closes_while_it_fetches},
        {"a lease keeps the block", a_lease_keeps_the_block},
        {"what no lease allows is refused", what_no_lease_allows_is_refused},
        {"a message that does not go ends its leases", a_message_that_does_not_go_ends_its_leases},
    };
    return UNIT_MAIN("task: fetch", tests);
}
