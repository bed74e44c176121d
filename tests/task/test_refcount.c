/* The functions of reference counting one by one. Link with -Wl,--wrap=realloc: a growing holder set can
 * fail. */
#include "task/task_refcount.h"

#include <CUnit/Basic.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define HANDLE(rank, sequence) ((uint64_t)(rank) << REFCOUNT_SEQUENCE_BITS | (sequence))

enum { OWNER = 3, BORROWER = 5, FORWARDER = 7, RANKS = 8 };

static const uint64_t object = HANDLE(OWNER, 11);
static const uint64_t container = HANDLE(FORWARDER, 12);

static bool realloc_fails;

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_realloc(void *memory, size_t size)
{
    return realloc_fails ? NULL : __real_realloc(memory, size);
}

static void check_nothing_to_do(const struct refcount_output *output)
{
    CU_ASSERT_EQUAL(output->verdict, REFCOUNT_KEEP);
    CU_ASSERT_FALSE(output->has_message);
    CU_ASSERT_EQUAL(output->drop, 0);
}

static void check_ack(const struct refcount_output *output, int32_t accepter, int32_t to, uint64_t token)
{
    CU_ASSERT_TRUE(output->has_message);
    CU_ASSERT_EQUAL(output->message.kind, REFCOUNT_ACK);
    CU_ASSERT_EQUAL(output->message.to, to);
    CU_ASSERT_EQUAL(output->message.handle, token);
    CU_ASSERT_EQUAL(output->message.forwarder, accepter);
    CU_ASSERT_EQUAL(output->message.token, 0);
    CU_ASSERT_EQUAL(output->drop, 0);
}

static struct refcount_message registration(int32_t forwarder, uint64_t token)
{
    return (struct refcount_message){
        .kind = REFCOUNT_REGISTER, .handle = object, .forwarder = forwarder, .token = token, .to = OWNER};
}

static int receive(struct refcount *record, enum refcount_kind kind, int32_t from,
                   struct refcount_output *output)
{
    struct refcount_message message = registration(FORWARDER, object);

    if (kind != REFCOUNT_REGISTER)
        message = (struct refcount_message){.kind = kind, .handle = object, .to = OWNER};
    return refcount_receive(record, OWNER, from, &message, output);
}

/* ---- holds ---- */

static void test_drop_tells_when_the_count_is_zero(void)
{
    struct refcount record;

    refcount_init(&record, object, 1);
    refcount_retain(&record);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 2);
    CU_ASSERT_EQUAL(refcount_drop(&record), 0);
    CU_ASSERT_EQUAL(refcount_drop(&record), 1);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 0);
}

static void test_drop_without_a_hold_is_an_underflow(void)
{
    struct refcount record;

    refcount_init(&record, object, 0);
    CU_ASSERT_EQUAL(refcount_drop(&record), REFCOUNT_E_UNDERFLOW);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 0);
}

static void test_zero_frees_at_the_owner(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 0);
    CU_ASSERT_EQUAL(refcount_reached_zero(&record, OWNER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_FREE);
    CU_ASSERT_FALSE(output.has_message);
    CU_ASSERT_EQUAL(output.drop, 0);
}

static void test_zero_releases_at_a_borrower(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 0);
    CU_ASSERT_EQUAL(refcount_reached_zero(&record, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_ERASE);
    CU_ASSERT_TRUE(output.has_message);
    CU_ASSERT_EQUAL(output.message.kind, REFCOUNT_RELEASE);
    CU_ASSERT_EQUAL(output.message.handle, object);
    CU_ASSERT_EQUAL(output.message.to, OWNER);
}

static void test_zero_is_looked_at_again(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 1);
    CU_ASSERT_EQUAL(refcount_drop(&record), 1);
    CU_ASSERT_EQUAL(refcount_accept(&record, BORROWER, object, FORWARDER, object, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_reached_zero(&record, BORROWER, &output), REFCOUNT_OK);
    check_nothing_to_do(&output);
    CU_ASSERT_EQUAL(refcount_reached_zero(NULL, BORROWER, &output), REFCOUNT_OK);
    check_nothing_to_do(&output);
}

static void test_zero_with_holders_is_an_underflow(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 1);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, BORROWER, &output), REFCOUNT_OK);
    refcount_drop(&record);
    CU_ASSERT_EQUAL(refcount_drop(&record), 1); /* one too many */
    CU_ASSERT_EQUAL(refcount_reached_zero(&record, OWNER, &output), REFCOUNT_E_UNDERFLOW);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_RELEASE, BORROWER, &output), REFCOUNT_E_UNDERFLOW);
    CU_ASSERT_TRUE(refcount_is_holder(&record, BORROWER));
    refcount_fini(&record);
}

/* ---- refs that arrive ---- */

static void test_accept_at_the_owner(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 1);
    CU_ASSERT_EQUAL(refcount_accept(&record, OWNER, object, FORWARDER, container, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_KEEP);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 2);
    check_ack(&output, OWNER, FORWARDER, container);
}

static void test_accept_by_a_borrower(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 4);
    CU_ASSERT_EQUAL(refcount_accept(&record, BORROWER, object, FORWARDER, object, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_KEEP);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 5);
    check_ack(&output, BORROWER, FORWARDER, object);
}

static void test_accept_from_oneself_drops_here(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 1);
    CU_ASSERT_EQUAL(refcount_accept(&record, BORROWER, object, BORROWER, container, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_KEEP);
    CU_ASSERT_FALSE(output.has_message);
    CU_ASSERT_EQUAL(output.drop, container);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 2);
}

static void test_accept_by_a_new_holder_registers(void)
{
    struct refcount_output output;

    CU_ASSERT_EQUAL(refcount_accept(NULL, BORROWER, object, FORWARDER, container, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_CREATE);
    CU_ASSERT_EQUAL(output.drop, 0);
    CU_ASSERT_TRUE(output.has_message);
    CU_ASSERT_EQUAL(output.message.kind, REFCOUNT_REGISTER);
    CU_ASSERT_EQUAL(output.message.handle, object);
    CU_ASSERT_EQUAL(output.message.forwarder, FORWARDER);
    CU_ASSERT_EQUAL(output.message.token, container);
    CU_ASSERT_EQUAL(output.message.to, OWNER);
}

static void test_accept_of_what_cannot_be(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 0);
    CU_ASSERT_EQUAL(refcount_accept(NULL, OWNER, object, FORWARDER, object, &output), REFCOUNT_E_UNKNOWN);
    CU_ASSERT_EQUAL(refcount_accept(&record, OWNER, object, FORWARDER, object, &output), REFCOUNT_E_DEAD);
    CU_ASSERT_EQUAL(refcount_accept(&record, BORROWER, container, FORWARDER, object, &output),
                    REFCOUNT_E_UNKNOWN);
    CU_ASSERT_EQUAL(refcount_accept(&record, BORROWER, 0, FORWARDER, object, &output), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_accept(&record, BORROWER, object, FORWARDER, 0, &output), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_accept(&record, BORROWER, object, -1, object, &output), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_accept(&record, BORROWER, object, REFCOUNT_MAX_RANKS, object, &output),
                    REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 0);
}

static void test_decline_only_acknowledges(void)
{
    struct refcount_output output;

    CU_ASSERT_EQUAL(refcount_decline(OWNER, FORWARDER, container, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_KEEP);
    check_ack(&output, OWNER, FORWARDER, container);
    CU_ASSERT_EQUAL(refcount_decline(OWNER, OWNER, container, &output), REFCOUNT_OK);
    CU_ASSERT_FALSE(output.has_message);
    CU_ASSERT_EQUAL(output.drop, container);
    CU_ASSERT_EQUAL(refcount_decline(OWNER, FORWARDER, 0, &output), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_decline(OWNER, -1, container, &output), REFCOUNT_E_MALFORMED);
}

/* ---- messages ---- */

static void test_register_counts_and_acknowledges(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 1);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 2);
    CU_ASSERT_TRUE(refcount_is_holder(&record, BORROWER));
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_KEEP);
    check_ack(&output, BORROWER, FORWARDER, object);
    refcount_fini(&record);
}

static void test_register_forwarded_by_the_owner(void)
{
    struct refcount record;
    struct refcount_output output;
    struct refcount_message message = registration(OWNER, object);

    refcount_init(&record, object, 1);
    CU_ASSERT_EQUAL(refcount_receive(&record, OWNER, BORROWER, &message, &output), REFCOUNT_OK);
    CU_ASSERT_FALSE(output.has_message);
    CU_ASSERT_EQUAL(output.drop, object);
    CU_ASSERT_EQUAL(refcount_drop(&record), 0); /* what `drop` asks for: the holder's unit is left */
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_RELEASE, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_FREE);
    refcount_fini(&record);
}

static void test_register_of_what_cannot_be(void)
{
    struct refcount record;
    struct refcount_output output;
    struct refcount_message message = registration(FORWARDER, 0);

    refcount_init(&record, object, 0);
    CU_ASSERT_EQUAL(receive(NULL, REFCOUNT_REGISTER, BORROWER, &output), REFCOUNT_E_UNKNOWN);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, BORROWER, &output), REFCOUNT_E_DEAD);
    refcount_retain(&record);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, OWNER, &output), REFCOUNT_E_MISROUTED);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, -1, &output), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_receive(&record, OWNER, BORROWER, &message, &output), REFCOUNT_E_MALFORMED);
    message = registration(-1, object);
    CU_ASSERT_EQUAL(refcount_receive(&record, OWNER, BORROWER, &message, &output), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_receive(&record, FORWARDER, BORROWER, &message, &output), REFCOUNT_E_MISROUTED);
    message.kind = (enum refcount_kind)9;
    CU_ASSERT_EQUAL(refcount_receive(&record, OWNER, BORROWER, &message, &output), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 1);
    CU_ASSERT_EQUAL(record.holder_count, 0);
}

static void test_register_of_a_holder(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 1);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, BORROWER, &output), REFCOUNT_E_HOLDER);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 2);
    CU_ASSERT_EQUAL(record.holder_count, 1);
    refcount_fini(&record);
}

static void test_release(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 1);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_RELEASE, BORROWER, &output), REFCOUNT_E_NOT_HOLDER);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_RELEASE, FORWARDER, &output), REFCOUNT_E_NOT_HOLDER);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_RELEASE, BORROWER, &output), REFCOUNT_OK);
    check_nothing_to_do(&output);
    CU_ASSERT_FALSE(refcount_is_holder(&record, BORROWER));
    CU_ASSERT_EQUAL(atomic_load(&record.count), 1);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(receive(NULL, REFCOUNT_RELEASE, BORROWER, &output), REFCOUNT_E_UNKNOWN);
    refcount_fini(&record);
}

static void test_ack_drops_a_hold(void)
{
    struct refcount record;
    struct refcount_output output;
    struct refcount_message message = {.kind = REFCOUNT_ACK, .handle = object, .to = FORWARDER};

    refcount_init(&record, object, 2);
    CU_ASSERT_EQUAL(refcount_receive(&record, FORWARDER, OWNER, &message, &output), REFCOUNT_OK);
    check_nothing_to_do(&output);
    CU_ASSERT_EQUAL(refcount_receive(&record, FORWARDER, OWNER, &message, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_ERASE);
    CU_ASSERT_EQUAL(output.message.kind, REFCOUNT_RELEASE);
    CU_ASSERT_EQUAL(refcount_receive(&record, FORWARDER, OWNER, &message, &output), REFCOUNT_E_UNDERFLOW);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 0);
    CU_ASSERT_EQUAL(refcount_receive(NULL, FORWARDER, OWNER, &message, &output), REFCOUNT_E_UNKNOWN);
}

static void test_ack_that_eats_a_holder_changes_nothing(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 1);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_ACK, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_ACK, BORROWER, &output), REFCOUNT_E_UNDERFLOW);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 1);
    refcount_fini(&record);
}

/* ---- deaths ---- */

static void test_orphan_ends_without_a_release(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 1);
    CU_ASSERT_FALSE(refcount_is_orphan(&record));
    refcount_orphan(&record);
    CU_ASSERT_TRUE(refcount_is_orphan(&record));
    CU_ASSERT_EQUAL(refcount_accept(&record, BORROWER, object, FORWARDER, object, &output), REFCOUNT_OK);
    check_ack(&output, BORROWER, FORWARDER, object);
    CU_ASSERT_EQUAL(refcount_drop(&record), 0);
    CU_ASSERT_EQUAL(refcount_drop(&record), 1);
    CU_ASSERT_EQUAL(refcount_reached_zero(&record, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_ERASE);
    CU_ASSERT_FALSE(output.has_message);
    refcount_fini(&record);
    CU_ASSERT_FALSE(refcount_is_orphan(&record));
}

static void test_lost_holder_is_dropped(void)
{
    struct refcount record;
    struct refcount_output output;

    refcount_init(&record, object, 1);
    CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_holder_lost(&record, OWNER, FORWARDER, &output), REFCOUNT_OK);
    check_nothing_to_do(&output);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 2);
    CU_ASSERT_EQUAL(refcount_drop(&record), 0);
    CU_ASSERT_EQUAL(refcount_holder_lost(&record, BORROWER, BORROWER, &output), REFCOUNT_E_MISROUTED);
    CU_ASSERT_EQUAL(refcount_holder_lost(&record, OWNER, OWNER, &output), REFCOUNT_E_MISROUTED);
    CU_ASSERT_EQUAL(refcount_holder_lost(&record, OWNER, BORROWER, &output), REFCOUNT_OK);
    CU_ASSERT_EQUAL(output.verdict, REFCOUNT_FREE);
    refcount_fini(&record);
}

static void test_the_dead_are_forgotten_after_two_rounds(void)
{
    struct refcount_member member[4] = {{0}};
    struct refcount_members members = {.member = member, .ranks = 4, .self = 0};

    CU_ASSERT_EQUAL(refcount_members_next(&members), REFCOUNT_ROUND_NONE);
    CU_ASSERT_EQUAL(refcount_members_acknowledged(&members, 1, 1), REFCOUNT_OK); /* it knows earlier */
    CU_ASSERT_EQUAL(refcount_members_lost(&members, 3, 1), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_members_next(&members), REFCOUNT_ROUND_NONE);
    CU_ASSERT_EQUAL(refcount_members_acknowledged(&members, 2, 1), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_members_next(&members), REFCOUNT_ROUND_SETTLED);
    CU_ASSERT_EQUAL(refcount_members_next(&members), REFCOUNT_ROUND_NONE);
    CU_ASSERT_EQUAL(refcount_members_settled(&members, 2, 1), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_members_next(&members), REFCOUNT_ROUND_NONE);
    CU_ASSERT_EQUAL(refcount_members_settled(&members, 1, 1), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_members_next(&members), REFCOUNT_ROUND_FORGET);
    CU_ASSERT_EQUAL(refcount_members_next(&members), REFCOUNT_ROUND_NONE);
}

static void test_a_later_death_comes_first(void)
{
    struct refcount_member member[3] = {{0}};
    struct refcount_members members = {.member = member, .ranks = 3, .self = 0};

    CU_ASSERT_EQUAL(refcount_members_lost(&members, 2, 1), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_members_acknowledged(&members, 1, 1), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_members_next(&members), REFCOUNT_ROUND_SETTLED);
    CU_ASSERT_EQUAL(refcount_members_lost(&members, 1, 2), REFCOUNT_OK);
    /* Nobody else is left. */
    CU_ASSERT_EQUAL(refcount_members_next(&members), REFCOUNT_ROUND_SETTLED);
    CU_ASSERT_EQUAL(refcount_members_next(&members), REFCOUNT_ROUND_FORGET);
    CU_ASSERT_EQUAL(members.forgotten, 2);
}

static void test_epochs_that_can_not_be(void)
{
    struct refcount_member member[3] = {{0}};
    struct refcount_members members = {.member = member, .ranks = 3, .self = 0};

    CU_ASSERT_EQUAL(refcount_members_lost(&members, 0, 1), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_members_lost(&members, 3, 1), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_members_lost(&members, 2, 2), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(members.epoch, 0);
    CU_ASSERT_EQUAL(refcount_members_lost(&members, 2, 1), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_members_lost(&members, 2, 2), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_members_acknowledged(&members, 2, 1), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_members_acknowledged(&members, -1, 1), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_members_acknowledged(&members, 1, 2), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_members_settled(&members, 1, 1), REFCOUNT_E_MALFORMED);
    CU_ASSERT_EQUAL(refcount_members_acknowledged(&members, 1, 1), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_members_settled(&members, 1, 1), REFCOUNT_OK);
    CU_ASSERT_EQUAL(refcount_members_settled(&members, 1, 1), REFCOUNT_E_MALFORMED);
}

/* ---- holder set ---- */

static void check_sorted(const struct refcount *record)
{
    for (uint32_t i = 1; i < record->holder_count; i++)
        CU_ASSERT_FATAL(record->holders[i - 1] < record->holders[i]);
}

static void test_holder_set_grows_and_stays_sorted(void)
{
    enum { MANY = 1021, STEP = 389 }; /* prime: the steps visit all */
    struct refcount record;
    struct refcount_output output;
    struct refcount_message message = registration(FORWARDER, object);

    refcount_init(&record, object, 1);
    for (int i = 1; i < MANY; i++) {
        CU_ASSERT_EQUAL_FATAL(refcount_receive(&record, OWNER, 3 + i * STEP % MANY, &message, &output),
                              REFCOUNT_OK);
        check_sorted(&record);
    }
    CU_ASSERT_EQUAL(record.holder_count, MANY - 1);
    CU_ASSERT_EQUAL(atomic_load(&record.count), MANY);
    for (int i = 1; i < MANY; i++) {
        int32_t rank = 3 + i * 7 % MANY;

        CU_ASSERT_TRUE(refcount_is_holder(&record, rank));
        CU_ASSERT_EQUAL(receive(&record, REFCOUNT_RELEASE, rank, &output), REFCOUNT_OK);
        CU_ASSERT_FALSE(refcount_is_holder(&record, rank));
        check_sorted(&record);
    }
    CU_ASSERT_EQUAL(record.holder_count, 0);
    CU_ASSERT_EQUAL(atomic_load(&record.count), 1);
    refcount_fini(&record);
}

static void test_failed_growth_changes_nothing(void)
{
    struct refcount record;
    struct refcount_output output;
    int failures = 0;

    refcount_init(&record, object, 1);
    for (int32_t rank = 10; rank < 50; rank++) {
        uint32_t holders = record.holder_count, count = atomic_load(&record.count);
        int status;

        realloc_fails = true;
        status = receive(&record, REFCOUNT_REGISTER, rank, &output);
        realloc_fails = false;
        if (status == REFCOUNT_OK)
            continue;
        failures++;
        CU_ASSERT_EQUAL(status, REFCOUNT_E_MEMORY);
        check_nothing_to_do(&output);
        CU_ASSERT_EQUAL(record.holder_count, holders);
        CU_ASSERT_EQUAL(atomic_load(&record.count), count);
        CU_ASSERT_FALSE(refcount_is_holder(&record, rank));
        CU_ASSERT_EQUAL(receive(&record, REFCOUNT_REGISTER, rank, &output), REFCOUNT_OK);
    }
    CU_ASSERT_TRUE(failures >= 3);
    CU_ASSERT_EQUAL(record.holder_count, 40);
    check_sorted(&record);
    refcount_fini(&record);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 20000 };

struct shared {
    struct refcount *record;
    int touched[THREADS]; /* plain: what a holder does must be seen by whoever frees */
    pthread_mutex_t lock;
    int erased;
    atomic_int wrong; /* CUnit's assertions are for one thread */
};

struct thread {
    struct shared *shared;
    int index;
};

static void count_wrong(struct shared *shared, bool wrong)
{
    /* relaxed, and only when wrong: it must not order what refcount_drop has to order */
    if (wrong)
        atomic_fetch_add_explicit(&shared->wrong, 1, memory_order_relaxed);
}

static void let_go(struct shared *shared)
{
    struct refcount_output output;

    if (refcount_drop(shared->record) != 1)
        return;
    pthread_mutex_lock(&shared->lock);
    count_wrong(shared, refcount_reached_zero(shared->record, BORROWER, &output) != REFCOUNT_OK);
    if (output.verdict == REFCOUNT_ERASE) {
        for (int i = 0; i < THREADS; i++)
            count_wrong(shared, shared->touched[i] != ROUNDS);
        free(shared->record);
        shared->record = NULL;
        shared->erased++;
    }
    pthread_mutex_unlock(&shared->lock);
}

static void *hold_and_let_go(void *argument)
{
    struct thread *thread = argument;

    for (int i = 0; i < ROUNDS; i++) {
        refcount_retain(thread->shared->record);
        thread->shared->touched[thread->index]++;
        count_wrong(thread->shared, refcount_drop(thread->shared->record) != 0);
    }
    let_go(thread->shared);
    return NULL;
}

static void test_threads_let_go_once(void)
{
    struct shared shared = {.record = malloc(sizeof *shared.record), .lock = PTHREAD_MUTEX_INITIALIZER};
    struct thread threads[THREADS];
    pthread_t ids[THREADS];

    CU_ASSERT_PTR_NOT_NULL_FATAL(shared.record);
    refcount_init(shared.record, object, THREADS);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = (struct thread){&shared, i};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&ids[i], NULL, hold_and_let_go, &threads[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
    CU_ASSERT_EQUAL(shared.wrong, 0);
    CU_ASSERT_EQUAL(shared.erased, 1);
    CU_ASSERT_PTR_NULL(shared.record);
}

static void test_names(void)
{
    CU_ASSERT_STRING_EQUAL(refcount_kind_name(REFCOUNT_RELEASE), "RELEASE");
    CU_ASSERT_STRING_EQUAL(refcount_kind_name((enum refcount_kind)0), "unknown kind");
    CU_ASSERT_STRING_EQUAL(refcount_verdict_name(REFCOUNT_ERASE), "ERASE");
    CU_ASSERT_STRING_EQUAL(refcount_verdict_name((enum refcount_verdict)9), "unknown verdict");
    for (int status = REFCOUNT_E_NOT_HOLDER; status <= REFCOUNT_OK; status++)
        CU_ASSERT_STRING_NOT_EQUAL(refcount_status_name(status), "unknown status");
    CU_ASSERT_STRING_EQUAL(refcount_status_name(1), "unknown status");
}

#define TEST(function)                                                                                       \
    {                                                                                                        \
#function, function                                                                                  \
    }

int main(void)
{
    CU_TestInfo holds[] = {TEST(test_drop_tells_when_the_count_is_zero),
                           TEST(test_drop_without_a_hold_is_an_underflow),
                           TEST(test_zero_frees_at_the_owner),
                           TEST(test_zero_releases_at_a_borrower),
                           TEST(test_zero_is_looked_at_again),
                           TEST(test_zero_with_holders_is_an_underflow),
                           TEST(test_threads_let_go_once),
                           TEST(test_names),
                           CU_TEST_INFO_NULL};
    CU_TestInfo refs[] = {TEST(test_accept_at_the_owner),
                          TEST(test_accept_by_a_borrower),
                          TEST(test_accept_from_oneself_drops_here),
                          TEST(test_accept_by_a_new_holder_registers),
                          TEST(test_accept_of_what_cannot_be),
                          TEST(test_decline_only_acknowledges),
                          CU_TEST_INFO_NULL};
    CU_TestInfo messages[] = {TEST(test_register_counts_and_acknowledges),
                              TEST(test_register_forwarded_by_the_owner),
                              TEST(test_register_of_what_cannot_be),
                              TEST(test_register_of_a_holder),
                              TEST(test_release),
                              TEST(test_ack_drops_a_hold),
                              TEST(test_ack_that_eats_a_holder_changes_nothing),
                              TEST(test_holder_set_grows_and_stays_sorted),
                              TEST(test_failed_growth_changes_nothing),
                              CU_TEST_INFO_NULL};
    CU_TestInfo deaths[] = {TEST(test_orphan_ends_without_a_release),
                            TEST(test_lost_holder_is_dropped),
                            TEST(test_the_dead_are_forgotten_after_two_rounds),
                            TEST(test_a_later_death_comes_first),
                            TEST(test_epochs_that_can_not_be),
                            CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{.pName = "holds", .pTests = holds},
                             {.pName = "refs that arrive", .pTests = refs},
                             {.pName = "messages", .pTests = messages},
                             {.pName = "deaths", .pTests = deaths},
                             CU_SUITE_INFO_NULL};
    unsigned failures;

    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS)
        return 1;
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    failures = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
    CU_cleanup_registry();
    return failures ? 1 : 0;
}
