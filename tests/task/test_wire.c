/* Messages of the task room: what was written is read, and what is broken does no harm, whichever byte it is.
 */
#include "net/net_internal.h"
#include "task_node.h"

RAYMPI_TASK(nothing, .num_returns = RAYMPI_NONE)
{
    return RAYMPI_OK;
}

RAYMPI_TASK(add)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + raympi_arg_int(ctx, 1));
}

RAYMPI_TASK(three, .num_returns = 3)
{
    for (int i = 0; i < 3; i++)
        raympi_return_int(ctx, i, i);
    return RAYMPI_OK;
}

RAYMPI_TASK(takes, .num_returns = RAYMPI_NONE)
{
    raympi_arg_ref(ctx, 0);
    return RAYMPI_OK;
}

static struct task_node node;
static const raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = 1};

/* Calls try_one for every truncation of a message and for every byte of it changed in several ways. */
static void broken_each(const char *bytes, size_t length, void (*try_one)(const char *bytes, size_t length))
{
    static const unsigned char masks[] = {0x01, 0x02, 0x04, 0x80, 0xff, 0x10};
    char broken[1024];
    int kept = quiet_begin();
    for (size_t i = 0; i < length; i++)
        try_one(bytes, i);
    for (size_t i = 0; i < length; i++)
        for (size_t j = 0; j < sizeof masks; j++) {
            memcpy(broken, bytes, length);
            broken[i] ^= (char)masks[j];
            try_one(broken, length);
        }
    quiet_end(kept);
}

/* ---- TASK */

#define AT_HANDLE 32 /* of the first result, in the message of a task */

static void try_task(const char *bytes, size_t length)
{
    node_receive(&node, task_on_task, bytes, length);
    node_settle(&node);
}

/* The TASK message of a call, as rank 1 got it. The call itself is answered, so that nothing of it is left.
 */
static size_t task_message(raympi_ref ref, char *bytes)
{
    node_settle(&node);
    size_t length = node.got[TASK_MESSAGE_TASK].length;
    memcpy(bytes, node.got[TASK_MESSAGE_TASK].bytes, length);
    struct value error;
    struct writer writer;
    value_error(&error, 1, 1, "test", "");
    writer_init(&writer);
    write_u64(&writer, ref.handle);
    write_u32(&writer, 0);
    write_u8(&writer, UINT8_MAX);
    write_value(node.room, &writer, &error);
    value_drop(node.room, &error, true);
    node_receive(&node, task_on_done, writer.bytes, writer.used);
    writer_fini(&writer);
    raympi_view view;
    CU_ASSERT_EQUAL(raympi_get(ref, &view), 1);
    raympi_release(ref);
    return length;
}

/* The owner of a task is the rank in the handle of its result. */
static void give_to_rank_1(char *bytes)
{
    uint64_t handle;
    memcpy(&handle, bytes + AT_HANDLE, sizeof handle);
    handle |= UINT64_C(1) << REFCOUNT_SEQUENCE_BITS;
    memcpy(bytes + AT_HANDLE, &handle, sizeof handle);
}

static void a_task_travels_and_its_end_comes_back(void)
{
    char bytes[1024];
    node_open(&node);
    size_t length = task_message(raympi_call_opts(there, add, 40, 2), bytes);
    /* It asked for rank 1; whoever gets it runs it. The answer goes to its owner, here rank 0: an end that
     * nobody waits for any more. */
    give_to_rank_1(bytes);
    int before = node.got[TASK_MESSAGE_DONE].count;
    try_task(bytes, length);
    CU_ASSERT_EQUAL(node.got[TASK_MESSAGE_DONE].count, before + 1);
    struct reader reader = {.at = node.got[TASK_MESSAGE_DONE].bytes,
                            .end = node.got[TASK_MESSAGE_DONE].bytes + node.got[TASK_MESSAGE_DONE].length};
    read_u64(&reader);
    CU_ASSERT_EQUAL(read_u32(&reader), 0); /* refs that were accepted */
    CU_ASSERT_EQUAL(read_u8(&reader), 1);  /* results */
    CU_ASSERT_EQUAL(read_u64(&reader), 0); /* no alias */
    struct value value;
    CU_ASSERT(read_value(node.room, &reader, &value));
    CU_ASSERT_EQUAL(value.kind, VALUE_INLINE);
    int64_t sum;
    memcpy(&sum, value.u.bytes, sizeof sum);
    CU_ASSERT_EQUAL(sum, 42);
    CU_ASSERT(reader.at == reader.end && !reader.failed);
    node_close(&node);
}

/* The message names an object of this rank's that is no more, which a rank that keeps to the protocol can not
 * do. */
static void an_argument_that_was_released_is_said_to_be(void)
{
    char bytes[1024];
    node_open(&node);
    raympi_ref ref = raympi_put("x", 1);
    size_t length = task_message(raympi_call_opts(there, takes, ref), bytes);
    raympi_release(ref);
    give_to_rank_1(bytes);
    try_task(bytes, length);
    struct reader reader = {.at = node.got[TASK_MESSAGE_DONE].bytes,
                            .end = node.got[TASK_MESSAGE_DONE].bytes + node.got[TASK_MESSAGE_DONE].length};
    struct value error;
    read_u64(&reader);
    CU_ASSERT_EQUAL(read_u32(&reader), 0);
    CU_ASSERT_EQUAL_FATAL(read_u8(&reader), UINT8_MAX);
    CU_ASSERT_FATAL(read_value(node.room, &reader, &error));
    CU_ASSERT_EQUAL(value_error_code(&error), RAYMPI_ERR_RELEASED);
    value_drop(node.room, &error, true);
    node_close(&node);
}

static void broken_tasks_do_no_harm(void)
{
    char bytes[1024], blob[200] = "blob";
    raympi_ref members[2];
    node_open(&node);
    size_t length = task_message(raympi_call_opts(there, nothing, 1, 2.5, "text"), bytes);
    broken_each(bytes, length, try_task);
    length = task_message(raympi_call_opts(there, nothing, RAYMPI_BYTES(blob, sizeof blob)), bytes);
    broken_each(bytes, length, try_task);
    for (int i = 0; i < 2; i++)
        members[i] = raympi_call(add, i, 1);
    node_settle(&node);
    length = task_message(raympi_call_opts(there, nothing, RAYMPI_REFS(members, 2), 1, 2, 3, 4), bytes);
    broken_each(bytes, length, try_task);
    raympi_release_all(members, 2);
    /* The node still works. */
    int64_t sum = 0;
    raympi_ref ref = raympi_call(add, 1, 2);
    CU_ASSERT_EQUAL(raympi_get_copy(ref, &sum, sizeof sum), RAYMPI_OK);
    CU_ASSERT_EQUAL(sum, 3);
    raympi_release(ref);
    node_close(&node);
}

/* ---- STEAL */

static int no_memory_to_reach(struct net *net, int peer)
{
    (void)net;
    return base_fail(RAYMPI_ERR_STORE_FULL, "no memory for messages to rank %d", peer);
}

/* It can run here. */
static void a_task_is_not_given_to_a_rank_that_can_not_be_reached(void)
{
    int64_t sum = 0;
    node_open(&node);
    const struct net_operations *operations = node.net[0]->operations;
    struct net_operations without = *operations;
    without.reach = no_memory_to_reach;
    raympi_ref ref = raympi_call(add, 40, 2);
    CU_ASSERT_EQUAL(sched_queued(node.room->sched), 1);
    node.net[0]->operations = &without;
    node_receive(&node, task_on_steal, NULL, 0);
    node.net[0]->operations = operations;
    CU_ASSERT_EQUAL(raympi_get_copy(ref, &sum, sizeof sum), RAYMPI_OK);
    CU_ASSERT_EQUAL(sum, 42);
    raympi_release(ref);
    node_close(&node);
}

/* ---- DONE */

static raympi_ref pending[3];

static void pending_call(void)
{
    CU_ASSERT_EQUAL(raympi_submit_n(&raympi_task_three, "three", &there, NULL, 0, pending, 3), RAYMPI_OK);
    node_settle(&node);
}

/* What rank 1 would answer: a number, bytes, and an error's text as bytes. */
static size_t done_message(char *bytes)
{
    struct value value;
    struct writer writer;
    void *data;
    writer_init(&writer);
    write_u64(&writer, pending[0].handle);
    write_u32(&writer, 0);
    write_u8(&writer, 3);
    for (int i = 0; i < 3; i++) {
        uint64_t size = i == 1 ? 100 : 8;
        value_create(node.room, &value, size, 0, &data);
        memset(data, i + 1, size);
        write_u64(&writer, 0);
        write_value(node.room, &writer, &value);
        value_drop(node.room, &value, true);
    }
    CU_ASSERT_FATAL(writer.used < 1024);
    memcpy(bytes, writer.bytes, writer.used);
    size_t length = writer.used;
    writer_fini(&writer);
    return length;
}

static bool all_ready(void)
{
    int ready = 0;
    for (int i = 0; i < 3; i++)
        ready += raympi_ref_status(pending[i]) != RAYMPI_ERR_TIMEOUT;
    return ready == 3;
}

/* Looked at, so that no error goes unseen. */
static void pending_release(void)
{
    raympi_view view;
    for (int i = 0; i < 3; i++)
        if (raympi_get(pending[i], &view) == RAYMPI_OK)
            raympi_view_end(&view);
    raympi_release_all(pending, 3);
}

/* A result may be said to be somebody else's object, which never comes. */
static void strangers_fail(void)
{
    struct borrowed *borrowed, *next;
    HASH_ITER (hh, node.room->borrowed, borrowed, next)
        if (!object_ready(&borrowed->object))
            object_fail(node.room, &borrowed->object, RAYMPI_ERR_LOST, "test", "there is no such object");
}

/* Only bytes after the handle are broken here: the record stays, so the message has to be fitted to it. */
static void try_done(const char *bytes, size_t length)
{
    char message[1024], good[1024];
    pending_call();
    size_t good_length = done_message(good);
    memcpy(message, bytes, length);
    if (length >= 8)
        memcpy(message, good, 8);
    node_receive(&node, task_on_done, message, length);
    node_settle(&node);
    if (!all_ready()) /* it was dropped, or a result is said to be what is not there: then the end may still
                         come */
        node_receive(&node, task_on_done, good, good_length);
    node_settle(&node);
    if (!all_ready())
        strangers_fail();
    CU_ASSERT(all_ready());
    pending_release();
}

static void an_end_gives_all_results(void)
{
    char bytes[1024];
    node_open(&node);
    pending_call();
    size_t length = done_message(bytes);
    node_receive(&node, task_on_done, bytes, length);
    for (int i = 0; i < 3; i++) {
        raympi_view view;
        CU_ASSERT_EQUAL(raympi_get(pending[i], &view), RAYMPI_OK);
        CU_ASSERT_EQUAL(view.len, i == 1 ? 100 : 8);
        CU_ASSERT_EQUAL(*(const char *)view.data, i + 1);
        raympi_view_end(&view);
    }
    raympi_release_all(pending, 3);
    /* A second time: there is no such task any more. */
    int kept = quiet_begin();
    node_receive(&node, task_on_done, bytes, length);
    quiet_end(kept);
    node_close(&node);
}

static void broken_ends_do_no_harm(void)
{
    char bytes[1024];
    node_open(&node);
    pending_call();
    size_t length = done_message(bytes);
    node_receive(&node, task_on_done, bytes, length);
    pending_release();
    broken_each(bytes, length, try_done);
    CU_ASSERT_EQUAL(task_inflight(node.room, 1), 0);
    node_close(&node);
}

/* ---- VALUE */

static uint64_t borrowed;

static size_t value_message(char *bytes)
{
    struct value value;
    struct writer writer;
    void *data;
    writer_init(&writer);
    write_u64(&writer, borrowed);
    write_u32(&writer, RAYMPI_OK);
    value_create(node.room, &value, 100, 0, &data);
    memset(data, 7, 100);
    write_value(node.room, &writer, &value);
    value_drop(node.room, &value, true);
    memcpy(bytes, writer.bytes, writer.used);
    size_t length = writer.used;
    writer_fini(&writer);
    return length;
}

static struct object *borrow(void)
{
    borrowed = ((uint64_t)1 << REFCOUNT_SEQUENCE_BITS) + 77;
    struct object *object = object_accept(node.room, borrowed, (struct task_id){{1, 2}}, 1, borrowed);
    CU_ASSERT_PTR_NOT_NULL_FATAL(object);
    return object;
}

static void try_value(const char *bytes, size_t length)
{
    char good[1024];
    struct object *object = borrow();
    size_t good_length = value_message(good);
    node_receive(&node, ref_on_value, bytes, length);
    if (!object_ready(object))
        node_receive(&node, ref_on_value, good, good_length);
    CU_ASSERT(object_ready(object));
    object_drop(node.room, object);
    node_settle(&node);
}

static void broken_values_do_no_harm(void)
{
    char bytes[1024];
    node_open(&node);
    struct object *object = borrow();
    size_t length = value_message(bytes);
    node_receive(&node, ref_on_value, bytes, length);
    CU_ASSERT(object_ready(object));
    CU_ASSERT_EQUAL(object->value.length, 100);
    object_drop(node.room, object);
    broken_each(bytes, length, try_value);
    node_close(&node);
}

static const struct unit_test tests[] = {
    {"a task travels and its end comes back", a_task_travels_and_its_end_comes_back},
    {"an argument that was released is said to be", an_argument_that_was_released_is_said_to_be},
    {"broken tasks do no harm", broken_tasks_do_no_harm},
    {"a task is not given to a rank that can not be reached",
     a_task_is_not_given_to_a_rank_that_can_not_be_reached},
    {"an end gives all results", an_end_gives_all_results},
    {"broken ends do no harm", broken_ends_do_no_harm},
    {"broken values do no harm", broken_values_do_no_harm},
};

int main(void)
{
    if (task_functions_build() != RAYMPI_OK)
        return EXIT_FAILURE;
    int result = UNIT_MAIN("task: wire", tests);
    task_functions_clear();
    return result;
}
