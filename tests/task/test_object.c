/* Objects: how their records end, and how those of other ranks' objects are found. */
#include "task_node.h"

#include <pthread.h>

enum { RECORDS = 100, ROUNDS = 20000 };

static struct task_node node;
static const char *const label = "record";
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
    struct waiter first = {.fire = let_go}, second = {.fire = tell};
    struct object *records[RECORDS];
    node_open(&node);
    struct object *object = object_new(node.room, 1, &label);
    unsealed = object_new(node.room, 1, &label);
    CU_ASSERT_FATAL(object != NULL && unsealed != NULL);
    unsealed->unsealed = 1;
    uint64_t handle = object_handle(unsealed);
    CU_ASSERT_TRUE(object_wait_add(object, &first));
    CU_ASSERT_TRUE(object_wait_add(unsealed, &second));
    object_complete_drop(node.room, object);
    CU_ASSERT_EQUAL(told, handle);
    int twice = 0;
    for (int i = 0; i < RECORDS; i++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(records[i] = object_new(node.room, 1, &label));
        for (int j = 0; j < i; j++)
            twice += records[i] == records[j];
    }
    CU_ASSERT_EQUAL_FATAL(twice, 0);
    for (int i = 0; i < RECORDS; i++)
        object_drop(node.room, records[i]);
    node_close(&node);
}

static uint64_t seen;

/* As a thread that has seen the object ready, and has the only hold that is kept. */
static void release_it(struct waiter *waiter, struct object *object)
{
    (void)waiter;
    CU_ASSERT_TRUE(context_unhold(task_self->context, object));
    object_drop_named(node.room, object);
}

static void see_it(struct waiter *waiter, struct object *object)
{
    (void)waiter;
    seen = object_handle(object);
}

static void a_sealed_object_is_there_until_all_were_told(void)
{
    struct waiter first = {.fire = release_it}, second = {.fire = see_it};
    raympi_ref ref;
    node_open(&node);
    CU_ASSERT_PTR_NOT_NULL_FATAL((char *)raympi_create(8, &ref));
    struct object *object = object_find(node.room, ref.handle);
    CU_ASSERT_TRUE(object_wait_add(object, &first));
    CU_ASSERT_TRUE(object_wait_add(object, &second));
    CU_ASSERT_EQUAL(raympi_seal(ref), RAYMPI_OK);
    CU_ASSERT_EQUAL(seen, ref.handle);
    CU_ASSERT_PTR_NULL(object_find(node.room, ref.handle));
    node_close(&node);
}

static uint64_t foreign(int number)
{
    return UINT64_C(1) << REFCOUNT_SEQUENCE_BITS | (uint64_t)(RECORDS + number);
}

static struct object *accept(int number)
{
    struct object *object =
        object_accept(node.room, foreign(number), (struct task_id){{1, 2}}, 1, foreign(number));
    CU_ASSERT_PTR_NOT_NULL_FATAL(object);
    return object;
}

/* More records than there are places for those found lately: each is found, also again, until it goes. */
static void a_borrowed_record_is_found_as_long_as_it_is_there(void)
{
    struct object *records[RECORDS];
    int wrong = 0;
    node_open(&node);
    for (int i = 0; i < RECORDS; i++)
        records[i] = accept(i);
    for (int i = 0; i < 2 * RECORDS; i++)
        wrong += object_find(node.room, foreign(i % RECORDS)) != records[i % RECORDS];
    for (int i = 0; i < RECORDS; i++) {
        wrong += object_find(node.room, foreign(i)) != records[i];
        object_drop(node.room, records[i]);
        wrong += object_find(node.room, foreign(i)) != NULL;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    node_close(&node);
}

static _Atomic int over;

/* By a handle that no scope holds, as a thread of the user's may have it left. */
static void *look(void *arg)
{
    (void)arg;
    long held = 0;
    while (!atomic_load(&over))
        held += object_hold_borrowed(node.room, foreign(0)) != NULL;
    return (void *)held;
}

/* That the record is freed while another thread looks at it, ThreadSanitizer sees. */
static void a_stale_handle_is_refused_while_its_record_goes(void)
{
    pthread_t looker;
    void *held;
    node_open(&node);
    atomic_store(&over, 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&looker, NULL, look, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        object_drop(node.room, accept(0));
        if (i % 100 == 0)
            node_settle(&node);
    }
    atomic_store(&over, 1);
    pthread_join(looker, &held);
    CU_ASSERT_PTR_NULL(held);
    node_close(&node);
}

/* What a slot held before, addresses too, is not what an object is known by: it would differ in every run. */
static void a_new_object_has_no_identity_left_from_its_slot(void)
{
    struct object *records[RECORDS];
    int wrong = 0;
    node_open(&node);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < RECORDS; i++) {
            CU_ASSERT_PTR_NOT_NULL_FATAL(records[i] = object_new(node.room, 1, &label));
            wrong += records[i]->parent.word[0] || records[i]->parent.word[1] || records[i]->child;
        }
        for (int i = 0; i < RECORDS; i++) {
            records[i]->child = 7;
            object_drop(node.room, records[i]);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    node_close(&node);
}

/* Whoever waits is told why the owner could not be asked. */
static void a_value_that_can_not_be_asked_for_fails_with_the_reason(void)
{
    node_open(&node);
    struct object *object = accept(0);
    node_settle(&node);
    net_sim_kill(node.sim, 1);
    while (net_send(node.net[0], 1, TASK_MESSAGE_STEAL, NULL, 0) == RAYMPI_OK)
        node_settle(&node);
    object_want(node.room, object);
    CU_ASSERT_TRUE(object_ready(object));
    CU_ASSERT_EQUAL(object->status, RAYMPI_ERR_NODE_DIED);
    object_see(object);
    int kept = quiet_begin(); /* the owner can not be told that it is let go either */
    object_drop(node.room, object);
    quiet_end(kept);
    node_close(&node);
}

static const struct unit_test tests[] = {
    {"an unsealed object may end while others are woken", an_unsealed_object_may_end_while_others_are_woken},
    {"a sealed object is there until all were told", a_sealed_object_is_there_until_all_were_told},
    {"a borrowed record is found as long as it is there", a_borrowed_record_is_found_as_long_as_it_is_there},
    {"a stale handle is refused while its record goes", a_stale_handle_is_refused_while_its_record_goes},
    {"a new object has no identity left from its slot", a_new_object_has_no_identity_left_from_its_slot},
    {"a value that can not be asked for fails with the reason",
     a_value_that_can_not_be_asked_for_fails_with_the_reason},
};

int main(void)
{
    return UNIT_MAIN("task: objects", tests);
}
