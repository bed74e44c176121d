/* Stored values of other hosts: who keeps the host's copy fetches it, and who holds the block serves it. Rank
 * 1 is the other side, on a host of its own. */
#include "base/base_fiber_tools.h"
#include "far_values.h"

#define BORROWED (((uint64_t)1 << REFCOUNT_SEQUENCE_BITS) + 77)
#define PULLS    64
#define LONG     (3 * RANGE_BYTES + 40) /* bytes: some ranges and a rest */

/* What rank 1 was asked for, and has got. */
struct other {
    struct pull pulls[PULLS];
    int pulled, served, reads;
    char *bytes;
    uint64_t got;
    int chunks, refusals, stale;
};

static struct other other;

static void on_pull(void *arg, const struct net_message *message)
{
    (void)arg;
    CU_ASSERT_FATAL(message->length == sizeof other.pulls[0] && other.pulled < PULLS);
    memcpy(&other.pulls[other.pulled++], message->data, message->length);
}

static void on_read(void *arg, const struct net_message *message)
{
    (void)arg;
    CU_ASSERT_FATAL(message->length == sizeof far_block);
    CU_ASSERT_EQUAL(memcmp(message->data, &far_block, sizeof far_block), 0);
    other.reads++;
}

static void on_stale(void *arg, const struct net_message *message)
{
    (void)arg;
    (void)message;
    other.stale++;
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
    far_begin(LONG);
    memset(&other, 0, sizeof other);
    net_handle(node.net[1], TASK_MESSAGE_PULL, on_pull, NULL);
    net_handle(node.net[1], TASK_MESSAGE_READ, on_read, NULL);
    net_handle(node.net[1], TASK_MESSAGE_CHUNK, on_chunk, NULL);
    net_handle(node.net[1], TASK_MESSAGE_STALE, on_stale, NULL);
    other.bytes = malloc(LONG);
}

static void end(void)
{
    free(other.bytes);
    far_end();
}

/* ---- the reader */

static void send_chunk(const struct stored *at, uint64_t offset, uint64_t length)
{
    struct chunk chunk = {.at = *at, .offset = offset};
    struct net_piece pieces[] = {{&chunk, sizeof chunk}, {content + offset, length}};
    CU_ASSERT_EQUAL(net_send(node.net[1], 0, TASK_MESSAGE_CHUNK, pieces, 2), RAYMPI_OK);
}

/* All that was asked for. */
static void serve(void)
{
    while (other.served < other.pulled) {
        const struct pull *pull = &other.pulls[other.served++];
        CU_ASSERT_EQUAL(memcmp(&pull->at, &far_block, sizeof far_block), 0);
        for (uint64_t at = 0; at < pull->length; at += 10000)
            send_chunk(&far_block, pull->offset + at, pull->length - at < 10000 ? pull->length - at : 10000);
        node_settle(&node);
    }
}

static void fetch_all(struct value *value)
{
    value_fetch(node.room, value);
    node_settle(&node);
    serve();
}

static void a_value_is_fetched(void)
{
    static const uint64_t lengths[] = {1, 70000, RANGE_BYTES, RANGE_BYTES + 1, LONG};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        begin();
        struct value value = far_value(lengths[i]);
        CU_ASSERT_FALSE(is_here(&value));
        value_fetch(node.room, &value);
        value_fetch(node.room, &value); /* once is enough */
        node_settle(&node);
        serve();
        CU_ASSERT(is_here(&value));
        CU_ASSERT_EQUAL(other.reads, 1);
        CU_ASSERT_EQUAL(blocks(), 1);
        value_drop(node.room, &value, false); /* the copy is the host's */
        CU_ASSERT_EQUAL(blocks(), 1);
        end();
    }
}

static void a_copy_goes_when_memory_is_wanted(void)
{
    const void *data;
    uint64_t length;
    begin();
    struct value value = far_value(LONG);
    fetch_all(&value);
    CU_ASSERT_EQUAL_FATAL(value_pin_now(node.room, &value, &data, &length), RAYMPI_OK);
    task_make_room(node.room, LONG);
    CU_ASSERT_EQUAL(blocks(), 1); /* it is read */
    value_unpin(node.room, &value);
    task_make_room(node.room, 1);
    CU_ASSERT_EQUAL(blocks(), 0);
    CU_ASSERT_FALSE(is_here(&value));
    fetch_all(&value);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(other.reads, 2);
    end();
}

static void a_copy_goes_with_its_block(void)
{
    const void *data;
    uint64_t length;
    begin();
    struct value value = far_value(LONG);
    fetch_all(&value);
    CU_ASSERT_EQUAL_FATAL(value_pin_now(node.room, &value, &data, &length), RAYMPI_OK);
    node_receive(&node, copy_on_stale, &far_block.place, sizeof far_block.place);
    CU_ASSERT_EQUAL(memcmp(data, content, LONG), 0);
    value_unpin(node.room, &value);
    CU_ASSERT_EQUAL(blocks(), 0);
    fetch_all(&value);
    node_receive(&node, copy_on_stale, &far_block.place, sizeof far_block.place);
    CU_ASSERT_EQUAL(blocks(), 0);
    node_receive(&node, copy_on_stale, &far_block.place, sizeof far_block.place); /* of none */
    node_receive(&node, copy_on_stale, &far_block.place, 3);
    end();
}

static void wrong_chunks_are_dropped(void)
{
    struct stored unknown = {{0, 6, 3}, 1, 0}, others = {{0, 5, 3}, 0, 0};
    begin();
    struct value value = far_value(LONG);
    value_fetch(node.room, &value);
    node_settle(&node);
    int kept = quiet_begin();
    content = realloc(content, 2 * LONG);
    send_chunk(&unknown, 0, 100);                      /* nobody fetches that */
    send_chunk(&others, 0, 100);                       /* not its own */
    send_chunk(&far_block, 8, 100);                    /* not the next bytes */
    send_chunk(&far_block, 0, LONG + 1);               /* more than was asked for */
    node_receive(&node, copy_on_chunk, &far_block, 8); /* no head */
    node_receive(&node, copy_on_chunk, content, 0);
    node_settle(&node);
    quiet_end(kept);
    serve();
    CU_ASSERT(is_here(&value));
    end();
}

static struct object *got_object;
static int got_status = 1;
RAYMPI_TASK(gets, .num_returns = RAYMPI_NONE)
{
    const void *data;
    uint64_t length;
    (void)ctx;
    got_status = value_pin(node.room, &got_object->value, UINT64_MAX, &data, &length);
    return RAYMPI_OK;
}

static void a_block_that_is_gone_loses_the_value(void)
{
    begin();
    got_object = object_accept(node.room, BORROWED, (struct task_id){{1, 2}}, 1, BORROWED);
    got_object->value = far_value(LONG);
    object_complete(node.room, got_object);
    got_status = 1;
    raympi_ref ref = raympi_call(gets);
    node_settle(&node);
    CU_ASSERT_EQUAL(got_status, 1); /* waits */
    for (; other.served < other.pulled; other.served++) {
        send_chunk(&far_block, other.pulls[other.served].offset, 0);
        node_settle(&node);
    }
    CU_ASSERT_EQUAL(got_status, RAYMPI_ERR_LOST);
    CU_ASSERT_EQUAL(blocks(), 0);
    CU_ASSERT_EQUAL(raympi_release(ref), RAYMPI_OK);
    object_drop(node.room, got_object);
    end();
}

static void a_value_that_can_never_fit_says_so(void)
{
    begin();
    got_object = object_accept(node.room, BORROWED, (struct task_id){{1, 2}}, 1, BORROWED);
    got_object->value = far_value(UINT64_C(1) << 47);
    object_complete(node.room, got_object);
    raympi_ref ref = raympi_call(gets);
    node_settle(&node);
    CU_ASSERT_EQUAL(got_status, RAYMPI_ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(other.pulled, 0);
    CU_ASSERT_EQUAL(raympi_release(ref), RAYMPI_OK);
    object_drop(node.room, got_object);
    end();
}

static void a_room_closes_while_it_fetches(void)
{
    begin();
    struct value value = far_value(LONG);
    value_fetch(node.room, &value);
    node_settle(&node);
    CU_ASSERT_FALSE(is_here(&value));
    end();
}

/* ---- who has the value */

static struct value own_long(void)
{
    void *data;
    return own_value(LONG, &data);
}

static void pull(const struct stored *at, uint64_t offset, uint64_t length)
{
    pull_by(1, at, offset, length, 0);
}

static void a_reader_keeps_the_block(void)
{
    begin();
    uint64_t before = blocks();
    struct value value = own_long();
    const struct stored at = value.u.at;
    pull(&at, 0, 200000);
    value_drop(node.room, &value, true); /* as its owner */
    CU_ASSERT_EQUAL(other.stale, 0);
    for (uint64_t from = 200000; from < LONG; from += 200000)
        pull(&at, from, LONG - from < 200000 ? LONG - from : 200000);
    CU_ASSERT_EQUAL(other.got, LONG);
    CU_ASSERT_EQUAL(memcmp(other.bytes, content, LONG), 0);
    CU_ASSERT_EQUAL(other.refusals, 0);
    CU_ASSERT_EQUAL(other.stale, 1); /* it may have a copy */
    CU_ASSERT(blocks() > before);
    node_receive(&node, lease_on_read, &at, sizeof at);
    CU_ASSERT_EQUAL(blocks(), before);
    end();
}

static void what_is_not_there_is_refused(void)
{
    begin();
    struct value value = own_long();
    struct stored at = value.u.at, later = at, wrong = at;
    later.place.generation++;
    wrong.place.index++;
    pull(&later, 0, 8);
    pull(&wrong, 0, 8);
    CU_ASSERT_EQUAL(other.refusals, 2);
    pull(&at, LONG, 4096);
    pull(&at, UINT64_MAX - 4, 8);
    pull(&at, 0, UINT64_MAX);
    CU_ASSERT_EQUAL(other.refusals, 5);
    CU_ASSERT_EQUAL(other.chunks, 5);
    int kept = quiet_begin();
    node_receive(&node, lease_on_pull, &at, sizeof at);
    later.holder = 7; /* of two ranks */
    pull(&later, 0, 8);
    quiet_end(kept);
    later.holder = 1; /* of which there is no copy here */
    pull(&later, 0, 8);
    CU_ASSERT_EQUAL(other.refusals, 6);
    node_receive(&node, lease_on_read, &at, 4);
    pull(&at, 0, 8);
    CU_ASSERT_EQUAL(other.got, 8);
    node_receive(&node, lease_on_read, &at, sizeof at);
    node_receive(&node, lease_on_read, &at, sizeof at); /* is over already */
    value_drop(node.room, &value, true);
    CU_ASSERT_EQUAL(blocks(), 0);
    pull(&at, 0, 8);
    CU_ASSERT_EQUAL(other.refusals, 7);
    end();
}

static void who_waits_for_a_block_that_goes_is_told_in_order(void)
{
    begin();
    struct value value = own_long();
    const struct stored at = value.u.at;
    if (node_spill(&node, at.place)) {
        struct pull first = {at, 0, RANGE_BYTES, 0}, second = {at, RANGE_BYTES, RANGE_BYTES, 0};
        node_receive(&node, lease_on_pull, &first, sizeof first);
        value_drop(node.room, &value, true); /* while the first range waits for the disk */
        node_receive(&node, lease_on_pull, &second, sizeof second);
        for (int tries = 0; tries < 1000000 && (other.refusals < 2 || blocks() > 0); tries++) {
            task_present_look(node.room);
            node_settle(&node);
        }
        CU_ASSERT_EQUAL(other.refusals, 2);
        CU_ASSERT_EQUAL(blocks(), 0);
    } else {
        printf("(no disk here) ");
        value_drop(node.room, &value, true);
    }
    end();
}

static void a_block_on_disk_is_served_in_order(void)
{
    begin();
    struct value value = own_long();
    const struct stored at = value.u.at;
    if (node_spill(&node, at.place)) {
        for (uint64_t from = 0; from < LONG; from += RANGE_BYTES) {
            uint64_t left = LONG - from;
            struct pull wish = {at, from, left < RANGE_BYTES ? left : RANGE_BYTES, 0};
            node_receive(&node, lease_on_pull, &wish, sizeof wish);
        }
        for (int tries = 0; tries < 1000000 && other.got < LONG; tries++) {
            task_present_look(node.room);
            node_settle(&node);
        }
        CU_ASSERT_EQUAL(other.got, LONG);
        CU_ASSERT_EQUAL(memcmp(other.bytes, content, LONG), 0);
        node_receive(&node, lease_on_read, &at, sizeof at);
    }
    value_drop(node.room, &value, true);
    CU_ASSERT_EQUAL(blocks(), 0);
    end();
}

static void a_block_that_is_freed_is_lent_to_nobody_else(void)
{
    begin();
    struct value value = own_long();
    const struct stored at = value.u.at;
    pull(&at, 0, 8);
    value_drop(node.room, &value, true);
    node_settle(&node);
    CU_ASSERT_EQUAL(other.stale, 1);
    pull(&at, 8, 8); /* of the lease that there is */
    CU_ASSERT_EQUAL(other.refusals, 0);
    const struct pull wish = {at, 0, 8, 0};
    const struct net_message message = {.source = 0, .data = &wish, .length = sizeof wish};
    lease_on_pull(node.room, &message); /* another reader */
    node_settle(&node);
    CU_ASSERT_PTR_NULL(node.room->present->told);
    node_receive(&node, lease_on_read, &at, sizeof at);
    CU_ASSERT_EQUAL(blocks(), 0);
    end();
}

static void a_long_value_stays_where_it_was_made(void)
{
    struct writer writer;
    begin();
    struct value value = own_long(), read;
    writer_init(&writer);
    writer.far = true;
    CU_ASSERT_FALSE(write_value(node.room, &writer, &value));
    struct reader reader = {.at = writer.bytes, .end = writer.bytes + writer.used};
    CU_ASSERT(read_value(node.room, &reader, &read));
    CU_ASSERT_EQUAL(read.kind, VALUE_STORE);
    CU_ASSERT_EQUAL(memcmp(&read.u.at, &value.u.at, sizeof read.u.at), 0);
    value_drop(node.room, &read, false);
    CU_ASSERT(is_here(&value));
    value_drop(node.room, &value, true);
    writer_fini(&writer);
    end();
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"a value is fetched", a_value_is_fetched},
        {"a copy goes when memory is wanted", a_copy_goes_when_memory_is_wanted},
        {"a copy goes with its block", a_copy_goes_with_its_block},
        {"wrong chunks are dropped", wrong_chunks_are_dropped},
        {"a block that is gone loses the value", a_block_that_is_gone_loses_the_value},
        {"a value that can never fit says so", a_value_that_can_never_fit_says_so},
        {"a room closes while it fetches", a_room_closes_while_it_fetches},
        {"a reader keeps the block", a_reader_keeps_the_block},
        {"what is not there is refused", what_is_not_there_is_refused},
        {"who waits for a block that goes is told in order",
         who_waits_for_a_block_that_goes_is_told_in_order},
        {"a block on disk is served in order", a_block_on_disk_is_served_in_order},
        {"a block that is freed is lent to nobody else", a_block_that_is_freed_is_lent_to_nobody_else},
        {"a long value stays where it was made", a_long_value_stays_where_it_was_made},
    };
    return UNIT_MAIN("task: present", tests);
}
