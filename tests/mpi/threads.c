/* Threads of the user's, which call everything while tasks run; some end with refs, views and actors held. */
#include "mpi_test.h"

#include <pthread.h>

#define AT(rank) RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = (rank) % raympi_size())
#define THREADS  4
#define ROUNDS   12

RAYMPI_TASK(add)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + raympi_arg_int(ctx, 1));
}

RAYMPI_TASK(sum) /* of a list; blocks on tasks of its own */
{
    int64_t sum = 0, value;
    for (int i = 0; i < raympi_arg_list_count(ctx, 0); i++) {
        raympi_ref part = raympi_call(add, raympi_arg_ref_at(ctx, 0, i), 0);
        if (raympi_get_copy(part, &value, sizeof value) != RAYMPI_OK)
            return raympi_fail(ctx, 1, "%s", raympi_detail());
        sum += value;
    }
    return raympi_return_int(ctx, 0, sum);
}

RAYMPI_TASK(fail)
{
    return raympi_fail(ctx, 7, "on purpose");
}

RAYMPI_ACTOR(counter, int64_t)
RAYMPI_METHOD(counter, increase)
{
    int64_t *self = raympi_self(ctx);
    *self += raympi_arg_int(ctx, 0);
    return raympi_return_int(ctx, 0, *self);
}

struct given {
    int number;
    raympi_ref shared; /* of main's, which every thread reads */
    raympi_actor actor;
    raympi_ref handed; /* what the thread leaves to main */
    raympi_ref done;   /* of main's, sealed at the end */
};

static int64_t value_of(raympi_ref ref)
{
    int64_t value = INT64_MIN;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    return value;
}

static void calls(const struct given *given, int round)
{
    raympi_ref refs[8];
    raympi_view view;
    for (int i = 0; i < 8; i++)
        refs[i] = raympi_call_opts(AT(given->number + i), add, i, round);
    CHECK(raympi_wait(refs, 8, 4, -1, NULL) >= 4);
    CHECK(value_of(raympi_call(sum, RAYMPI_REFS(refs, 8))) == 28 + 8 * round);
    CHECK(value_of(raympi_call(add, given->shared, 1)) == 43);
    CHECK_OK(raympi_get(given->shared, &view));
    CHECK(*(const int64_t *)view.data == 42);
    CHECK(raympi_get(raympi_call_opts(AT(round), fail), &view) == 7);
}

static void objects(const struct given *given, int round)
{
    static const size_t sizes[] = {1, 100, 5000, 200000};
    size_t len = sizes[(given->number + round) % 4];
    raympi_view view;
    raympi_ref ref;
    char *bytes = raympi_create(len, &ref);
    CHECK(bytes != NULL);
    CHECK(raympi_get_timeout(ref, &view, 0.0005) == RAYMPI_ERR_TIMEOUT);
    memset(bytes, given->number, len);
    CHECK_OK(raympi_seal(ref));
    raympi_wire_ref wire = raympi_wire(ref);
    raympi_ref outer = raympi_put_nested(&wire, sizeof wire, &ref, 1);
    CHECK_OK(raympi_release(ref));
    CHECK_OK(raympi_get(outer, &view));
    ref = raympi_view_ref(&view, wire);
    CHECK_OK(raympi_get(ref, &view));
    CHECK(view.len == len && ((const char *)view.data)[len - 1] == given->number);
}

static void sets(int round)
{
    raympi_waitset *set;
    raympi_ref ref;
    uint64_t tag;
    CHECK_OK(raympi_waitset_create(&set));
    for (int i = 0; i < 20; i++)
        CHECK_OK(raympi_waitset_add(set, raympi_call(add, i, round), (uint64_t)i));
    for (int i = 0; i < 19; i++) {
        CHECK_OK(raympi_waitset_wait(set, -1, &ref, &tag));
        CHECK(value_of(ref) == (int64_t)tag + round);
    }
    CHECK_OK(raympi_waitset_destroy(set));
}

/* ---- a ref is released while another task waits for it */

static raympi_ref first, second, begun;

/* Both are of main's scope, and unsealed. */
RAYMPI_TASK(wait_for_both)
{
    bool ready[2] = {false, false};
    CHECK_OK(raympi_seal(begun));
    int found = raympi_wait((raympi_ref[]){first, second}, 2, 2, -1, ready);
    CHECK(found < 0 || (ready[0] && ready[1]));
    return raympi_return_int(ctx, 0, found);
}

/* What the wait said: 2, or RELEASED where the task had not come to it yet. */
static int64_t release_while_waited_for(void)
{
    raympi_ref others[8];
    CHECK(raympi_create(0, &begun) != NULL && raympi_create(0, &first) != NULL &&
          raympi_create(0, &second) != NULL);
    raympi_ref waits = raympi_call_opts(AT(raympi_rank()), wait_for_both);
    raympi_view view;
    CHECK_OK(raympi_get(begun, &view));
    CHECK_OK(raympi_seal(first));
    CHECK_OK(raympi_release(first));
    for (int i = 0; i < 8; i++) /* whatever had its place is not ready */
        CHECK(raympi_create(0, &others[i]) != NULL);
    CHECK_OK(raympi_seal(second));
    int64_t found = value_of(waits);
    for (int i = 0; i < 8; i++)
        CHECK_OK(raympi_seal(others[i]));
    return found;
}

static void released_refs(void)
{
    int64_t found;
    do {
        CHECK_OK(raympi_scope_begin());
        found = release_while_waited_for();
        CHECK(found == 2 || found == RAYMPI_ERR_RELEASED);
        CHECK_OK(raympi_scope_end());
    } while (raympi_workers() == 1 && found == RAYMPI_ERR_RELEASED);
}

static pthread_barrier_t attached;

static void *thread(void *arg)
{
    struct given *given = arg;
    raympi_actor own = raympi_actor_new_opts(AT(given->number), counter);
    pthread_barrier_wait(&attached);
    for (int round = 1; round <= ROUNDS; round++) {
        CHECK_OK(raympi_scope_begin());
        calls(given, round);
        objects(given, round);
        sets(round);
        CHECK(value_of(raympi_actor_call(own, increase, 2)) == 2 * round);
        CHECK(value_of(raympi_actor_call(given->actor, increase, 1)) >= round);
        CHECK_OK(raympi_scope_end());
    }
    /* Left to the end of the thread: a ref, a pending one, a view, a scope, an actor. */
    raympi_view view;
    CHECK_OK(raympi_scope_begin());
    CHECK_OK(raympi_get(raympi_call(add, 1, 1), &view));
    raympi_call(add, raympi_call(add, 2, 2), 2);
    given->handed = raympi_keep(raympi_put(&given->number, sizeof given->number));
    CHECK_OK(raympi_seal(given->done));
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    struct given given[THREADS];
    int64_t answer = 42;
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    CHECK(pthread_barrier_init(&attached, NULL, THREADS + 1) == 0);
    for (int i = 0; i < 100; i++)
        released_refs();
    raympi_ref shared = raympi_put(&answer, sizeof answer);
    raympi_actor actor = raympi_actor_new_opts(AT(raympi_rank() + 1), counter);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < THREADS; i++) {
            given[i] = (struct given){.number = i, .shared = shared, .actor = actor};
            CHECK(raympi_create(0, &given[i].done) != NULL);
            CHECK(pthread_create(&threads[i], NULL, thread, &given[i]) == 0);
        }
        /* Who waits for what a thread does that raympi has not seen yet is deadlocked, as far as raympi can
         * tell. */
        pthread_barrier_wait(&attached);
        for (int i = 0; i < 20; i++) {
            raympi_ref refs[3] = {raympi_call(add, i, 0), raympi_call(add, i, 1), raympi_call(add, i, 2)};
            CHECK(value_of(raympi_call(sum, RAYMPI_REFS(refs, 3))) == 3 * i + 3);
        }
        for (int i = 0; i < THREADS; i++) {
            int number = -1;
            raympi_view view;
            /* Not in pthread_join: tasks that began on main's thread go on there, while main waits in raympi.
             */
            CHECK_OK(raympi_get(given[i].done, &view));
            CHECK_OK(raympi_view_end(&view));
            CHECK_OK(raympi_release(given[i].done));
            CHECK(pthread_join(threads[i], NULL) == 0);
            CHECK_OK(raympi_get_copy(given[i].handed, &number, sizeof number));
            CHECK(number == i);
            CHECK_OK(raympi_release(given[i].handed));
        }
    }
    CHECK(value_of(raympi_actor_call(actor, increase, 0)) == 2 * THREADS * ROUNDS);
    CHECK_OK(raympi_release(actor));
    CHECK_OK(raympi_release_all(&shared, 1));
    raympi_scope_begin();
    raympi_scope_end();
    pthread_barrier_destroy(&attached);
    return test_end(raympi_finalize());
}
