/* A room that closes frees what it still has: what was never released, and who waits for what never came. */
#include "../limits/fault.h"
#include "task_node.h"

static raympi_ref never; /* rank 1 is a net only: it never answers */

RAYMPI_TASK(answer)
{
    return raympi_return_int(ctx, 0, 42);
}

RAYMPI_TASK(same_as_never)
{
    return raympi_return_ref(ctx, 0, never);
}

static struct task_node node;
static const raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = 1};

static void rank_1_sends(enum task_message_type type, const void *bytes, size_t length)
{
    struct net_piece piece = {bytes, length};
    CU_ASSERT_EQUAL(net_send(node.net[1], 0, type, &piece, 1), RAYMPI_OK);
    node_settle(&node);
}

static void another_rank_wants_it(void)
{
    rank_1_sends(TASK_MESSAGE_WANT, &never.handle, sizeof never.handle);
}

static void another_rank_wants_an_actor(void)
{
    uint64_t actor = TASK_HANDLE_ACTOR | UINT64_C(1) << 23 | 1, news[2] = {actor, 7};
    rank_1_sends(TASK_MESSAGE_ACTOR_NEW, news, sizeof news);
    CU_ASSERT_PTR_NOT_NULL(object_find(node.room, actor));
    rank_1_sends(TASK_MESSAGE_WANT, &actor, sizeof actor);
}

static void a_result_is_its_alias(void)
{
    raympi_ref alias = raympi_call(same_as_never);
    node_settle(&node);
    CU_ASSERT_EQUAL(raympi_ref_status(alias), RAYMPI_ERR_TIMEOUT);
}

static void a_task_takes_it(void)
{
    char bytes[100] = "bytes of its own";
    raympi_ref list[2] = {never, raympi_call(answer)};
    raympi_call(answer, never, RAYMPI_BYTES(bytes, sizeof bytes));
    raympi_call(answer, RAYMPI_REFS(list, 2), 1, 2, 3, 4);
}

static void values_are_not_released(void)
{
    char bytes[20000] = "in private memory, or in the store";
    raympi_put(bytes, 200);
    raympi_put(bytes, sizeof bytes);
}

static void closes_with(void (*something)(void))
{
    long before = fault_live(false);
    node_open(&node);
    never = raympi_call_opts(there, answer);
    node_settle(&node);
    something();
    node_close(&node);
    CU_ASSERT_EQUAL(fault_live(fault_live(false) != before), before);
}

static void a_wish_for_what_never_came(void)
{
    closes_with(another_rank_wants_it);
}

static void a_wish_for_an_actor(void)
{
    closes_with(another_rank_wants_an_actor);
}

static void an_alias_of_what_never_came(void)
{
    closes_with(a_result_is_its_alias);
}

static void tasks_that_wait_for_what_never_came(void)
{
    closes_with(a_task_takes_it);
}

static void what_was_not_released(void)
{
    closes_with(values_are_not_released);
}

static const struct unit_test tests[] = {
    {"a wish for what never came is freed", a_wish_for_what_never_came},
    {"a wish for an actor is refused", a_wish_for_an_actor},
    {"an alias of what never came is freed", an_alias_of_what_never_came},
    {"tasks that wait for what never came are freed", tasks_that_wait_for_what_never_came},
    {"what was not released is freed", what_was_not_released},
};

int main(void)
{
    if (task_functions_build() != RAYMPI_OK)
        return EXIT_FAILURE;
    int result = UNIT_MAIN("task: close", tests);
    task_functions_clear();
    return result;
}
