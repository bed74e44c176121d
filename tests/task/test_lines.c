/* Memory beside the records of objects goes back when it is not needed any more: lines of short values and of
 * what few tasks have, records of arguments, records of other ranks' tasks. */
#include "task_node.h"

enum { ROUNDS = 10000, SHORT = VALUE_SHORT_MAX };

static struct task_node node;
static const raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = 1};
static char bytes[SHORT];

RAYMPI_TASK(short_result)
{
    return raympi_return_copy(ctx, 0, bytes, SHORT);
}

RAYMPI_TASK(length)
{
    size_t length = 0;
    raympi_arg(ctx, 0, &length);
    return raympi_return_int(ctx, 0, (int64_t)length);
}

RAYMPI_TASK(halves, .num_returns = 2)
{
    raympi_return_int(ctx, 0, 1);
    return raympi_return_int(ctx, 1, 2);
}

struct counter {
    int64_t value;
};
RAYMPI_ACTOR(counter, struct counter)
RAYMPI_METHOD(counter, increment)
{
    struct counter *self = raympi_self(ctx);
    self->value += raympi_arg_int(ctx, 0);
    return raympi_return_int(ctx, 0, self->value);
}
static raympi_actor actor;

static int64_t number_of(raympi_ref ref)
{
    int64_t number = -1;
    CU_ASSERT_EQUAL(raympi_get_copy(ref, &number, sizeof number), RAYMPI_OK);
    CU_ASSERT_EQUAL(raympi_ref_release(ref), RAYMPI_OK);
    return number;
}

static bool are_bytes(raympi_ref ref)
{
    char copy[SHORT];
    return raympi_get_copy(ref, copy, SHORT) == RAYMPI_OK && memcmp(copy, bytes, SHORT) == 0;
}

/* Does it many times: nothing may be left each time. */
static void leaves_nothing(void (*something)(int round))
{
    node_open(&node);
    for (int i = 0; i < SHORT; i++)
        bytes[i] = (char)i;
    for (int i = 0; i < ROUNDS; i++)
        something(i);
    CU_ASSERT(node.room->lines.chunk_count <= 1);
    CU_ASSERT(node.room->args.chunk_count <= 1);
    CU_ASSERT(node.room->tasks.chunk_count <= 1);
    node_close(&node);
}

static void put_short(int round)
{
    raympi_ref ref = raympi_put(bytes, SHORT);
    CU_ASSERT_EQUAL(object_find(node.room, ref.handle)->value.kind, VALUE_BLOB);
    CU_ASSERT(are_bytes(ref));
    CU_ASSERT_EQUAL(round % 2 ? raympi_release_all(&ref, 1) : raympi_ref_release(ref), RAYMPI_OK);
}

static void return_short(int round)
{
    (void)round;
    raympi_ref ref = raympi_call(short_result);
    CU_ASSERT(are_bytes(ref));
    CU_ASSERT_EQUAL(raympi_ref_release(ref), RAYMPI_OK);
}

/* The task of the one may be the other's argument, which is there or not; with more than few it has memory of
 * its own. */
static void take_arguments(int round)
{
    raympi_ref given = raympi_call(short_result);
    CU_ASSERT_EQUAL(number_of(raympi_call(length, RAYMPI_BYTES(bytes, SHORT))), SHORT);
    CU_ASSERT_EQUAL(number_of(raympi_call(length, given)), SHORT);
    if (round % 10 == 0)
        CU_ASSERT_EQUAL(number_of(raympi_call(length, given, 1, 2, 3, 4, 5)), SHORT);
    CU_ASSERT_EQUAL(raympi_ref_release(given), RAYMPI_OK);
}

/* Who waits for the second result runs the task, which lies where the first will be. */
static void return_two(int round)
{
    raympi_ref refs[2];
    (void)round;
    CU_ASSERT_EQUAL(raympi_submit_n(&raympi_task_halves, "halves", NULL, NULL, 0, refs, 2), RAYMPI_OK);
    struct object *first = object_find(node.room, refs[0].handle);
    CU_ASSERT_PTR_EQUAL(object_producer(node.room, object_find(node.room, refs[1].handle)), &first->task);
    CU_ASSERT_EQUAL(number_of(refs[1]), 2);
    CU_ASSERT_FALSE(object_has_task(first));
    CU_ASSERT_EQUAL(number_of(refs[0]), 1);
}

static void refuse_arguments(int round)
{
    raympi_value many[TASK_ARGS_MAX + 1] = {{0}};
    raympi_view view;
    raympi_ref ref = raympi_submit(&raympi_task_length, "length", NULL, round % 2 ? many : NULL,
                                   round % 2 ? TASK_ARGS_MAX + 1 : 1);
    CU_ASSERT_EQUAL(raympi_get(ref, &view), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(raympi_ref_release(ref), RAYMPI_OK);
}

static void call_here(int round)
{
    if (round == 0)
        actor = raympi_actor_new(counter);
    CU_ASSERT_EQUAL(number_of(raympi_actor_call(actor, increment, 1)), round + 1);
}

/* As rank 1 tells it: a number, or bytes. */
static void end_there(raympi_ref ref, uint32_t size)
{
    struct done_small done = {.handle = ref.handle, .length = size, .type = RAYMPI_KIND_BYTES};
    memcpy(done.bytes, bytes, size);
    node_settle(&node);
    node_receive(&node, task_on_done_small, &done, offsetof(struct done_small, bytes) + size);
}

static void end_elsewhere(int round)
{
    (void)round;
    raympi_ref ref = raympi_call_opts(there, short_result);
    end_there(ref, SHORT);
    CU_ASSERT(are_bytes(ref));
    CU_ASSERT_EQUAL(raympi_ref_release(ref), RAYMPI_OK);
}

static void call_elsewhere(int round)
{
    if (round == 0)
        actor = raympi_actor_new_opts(there, counter);
    raympi_ref ref = raympi_actor_call(actor, increment);
    end_there(ref, round % 2 ? 8 : SHORT);
    CU_ASSERT(object_ready(object_find(node.room, ref.handle)));
    CU_ASSERT_EQUAL(raympi_ref_release(ref), RAYMPI_OK);
}

/* Of rank 1's, with a number as argument. */
static void run_foreign(int round)
{
    struct {
        struct task_head head;
        struct task_numbers numbers;
    } message = {.head = {.name_hash = base_hash_name("length"),
                          .handle = (UINT64_C(1) << REFCOUNT_SEQUENCE_BITS) + (uint64_t)round + 1,
                          .how = HOW_PINNED | HOW_NUMBERS | HOW_ARG,
                          .returns = 1},
                 .numbers = {.kinds = RAYMPI_KIND_INT}};
    size_t size = sizeof message.head + task_numbers_size(1);
    int before = node.got[TASK_MESSAGE_DONE].count;
    node_receive(&node, task_on_task, &message, size);
    node_settle(&node);
    CU_ASSERT_EQUAL(node.got[TASK_MESSAGE_DONE].count, before + 1);
}

static void lines_of_values_go_back(void)
{
    leaves_nothing(put_short);
    leaves_nothing(return_short);
    leaves_nothing(end_elsewhere);
}

static void those_of_tasks_go_back(void)
{
    leaves_nothing(take_arguments);
    leaves_nothing(return_two);
    leaves_nothing(refuse_arguments);
}

static void those_of_calls_go_back(void)
{
    leaves_nothing(call_here);
    leaves_nothing(call_elsewhere);
}

static void other_ranks_tasks_go_back(void)
{
    leaves_nothing(run_foreign);
}

static const struct unit_test tests[] = {
    {"lines of values go back", lines_of_values_go_back},
    {"those of tasks go back", those_of_tasks_go_back},
    {"those of calls go back", those_of_calls_go_back},
    {"other ranks' tasks go back", other_ranks_tasks_go_back},
};

int main(void)
{
    if (task_functions_build() != RAYMPI_OK)
        return EXIT_FAILURE;
    int result = UNIT_MAIN("task: lines", tests);
    task_functions_clear();
    return result;
}
