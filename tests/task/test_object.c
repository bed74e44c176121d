/* Objects: how their records end. */
#include "task_node.h"

enum { RECORDS = 100 };

static struct task_node node;
static struct object *unsealed;
static uint64_t told; /* the object that the waiter was called for */

/* The last of two holders, as where two threads let go at once: the count is 0 when the record ends. */
static void let_go(struct waiter *waiter, struct object *object)
{
    (void)waiter;
    (void)object;
    uint64_t handle = object_handle(unsealed);
    CU_ASSERT_EQUAL_FATAL(refcount_drop(&unsealed->count), 1);
    object_drop_more(node.room, unsealed, handle, 1);
}

static void tell(struct waiter *waiter, struct object *object)
{
    (void)waiter;
    told = object_handle(object);
    CU_ASSERT_EQUAL(object->status, RAYMPI_ERR_RELEASED);
}

/* Whoever waits for an object is told when nobody can seal it any more, also where that happens while others
 * are woken: then he is told after them, and the record stays until he was. */
static void an_unsealed_object_may_end_while_others_are_woken(void)
{
    struct waiter first = {NULL, let_go}, second = {NULL, tell};
    struct object *records[RECORDS];
    node_open(&node);
    struct object *object = object_new(node.room, 1, "first");
    unsealed = object_new(node.room, 1, "unsealed");
    CU_ASSERT_FATAL(object != NULL && unsealed != NULL);
    unsealed->unsealed = 1;
    uint64_t handle = object_handle(unsealed);
    CU_ASSERT_TRUE(object_wait_add(object, &first));
    CU_ASSERT_TRUE(object_wait_add(unsealed, &second));
    object_complete_drop(node.room, object);
    CU_ASSERT_EQUAL(told, handle);
    int twice = 0;
    for (int i = 0; i < RECORDS; i++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(records[i] = object_new(node.room, 1, "record"));
        for (int j = 0; j < i; j++)
            twice += records[i] == records[j];
    }
    CU_ASSERT_EQUAL_FATAL(twice, 0);
    for (int i = 0; i < RECORDS; i++)
        object_drop(node.room, records[i]);
    node_close(&node);
}

static const struct unit_test tests[] = {
    {"an unsealed object may end while others are woken", an_unsealed_object_may_end_while_others_are_woken},
};

int main(void)
{
    return UNIT_MAIN("task: objects", tests);
}
