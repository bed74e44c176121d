/* Waits that can never end are reported at once and end with DEADLOCK; those that only take long are not. The
 * first argument says which. */
#include "mpi_test.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#include <time.h>

#define DEADLOCK(call)                                                                                       \
    do {                                                                                                     \
        int status_ = (call);                                                                                \
        if (status_ != RAYMPI_ERR_DEADLOCK) {                                                                \
            fprintf(stderr, "%s:%d: rank %d: %s gave %s (%s)\n", __FILE__, __LINE__, raympi_rank(), #call,   \
                    raympi_strerror(status_), raympi_detail());                                              \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)

static raympi_options on(int rank)
{
    return RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = rank);
}

/* Long enough that whoever is wrong about a deadlock has said so. */
static void compute(double seconds)
{
    struct timespec now, end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += (time_t)seconds;
    end.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
}

RAYMPI_TASK(same)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0));
}

/* ---- deadlocks */

static void unsealed(void)
{
    raympi_ref ref;
    raympi_view view;
    bool ready;
    CHECK((char *)raympi_create(8, &ref) != NULL);
    DEADLOCK(raympi_get(ref, &view));
    CHECK(strstr(raympi_detail(), "can never be ready"));
    DEADLOCK(raympi_wait(&ref, 1, 1, -1, &ready));
    CHECK_OK(raympi_seal(ref)); /* nothing is broken by it */
    CHECK_OK(raympi_get(ref, &view));
}

RAYMPI_ACTOR(peer, raympi_actor)
RAYMPI_METHOD(peer, know)
{
    *(raympi_actor *)(void *)raympi_self(ctx) = raympi_keep(raympi_arg_actor(ctx, 0));
    return RAYMPI_OK;
}
RAYMPI_METHOD(peer, nothing)
{
    return RAYMPI_OK;
}
/* Asks the other, who does the same. */
RAYMPI_METHOD(peer, ask)
{
    raympi_actor *other = raympi_self(ctx);
    raympi_view view;
    int status = raympi_get(raympi_actor_call(*other, nothing), &view);
    return status == RAYMPI_OK ? RAYMPI_OK : raympi_fail(ctx, status, "asked in vain: %s", raympi_detail());
}
/* Waits for a ref in its argument. */
RAYMPI_METHOD(peer, await)
{
    size_t len;
    raympi_view view;
    const raympi_wire_ref *wire = raympi_arg(ctx, 0, &len);
    return raympi_get(raympi_arg_nested(ctx, 0, *wire), &view);
}

static void actors(void)
{
    raympi_view view;
    raympi_actor a = raympi_actor_new_opts(on(0), peer),
                 b = raympi_actor_new_opts(on(raympi_size() - 1), peer);
    raympi_ref known[2] = {raympi_actor_call(a, know, b), raympi_actor_call(b, know, a)};
    CHECK(raympi_wait(known, 2, 2, -1, NULL) == 2);
    /* Either may be through before the other begins: then both are. */
    for (int i = 0;; i++) {
        raympi_ref asked[2] = {raympi_actor_call(a, ask), raympi_actor_call(b, ask)};
        int first = raympi_get(asked[0], &view), second = raympi_get(asked[1], &view);
        if (first == RAYMPI_OK && second == RAYMPI_OK)
            continue;
        /* The wait of main() ends with the others, or sees their error. */
        CHECK(first == RAYMPI_ERR_DEADLOCK || second == RAYMPI_ERR_DEADLOCK);
        break;
    }
}

RAYMPI_TASK(through)
{
    raympi_view view;
    raympi_actor actor = raympi_arg_actor(ctx, 0);
    /* Until the method that waits for us is in the actor's hands. */
    while (raympi_arg_int(ctx, 1) &&
           raympi_get_timeout(raympi_actor_call(actor, nothing), &view, 0.05) == RAYMPI_OK)
        continue;
    int status = raympi_get(raympi_actor_call(actor, nothing), &view);
    return status == RAYMPI_OK ? raympi_return_int(ctx, 0, 1) : status;
}

static void itself(void)
{
    raympi_view view;
    raympi_actor actor = raympi_actor_new_opts(on(raympi_size() - 1), peer);
    raympi_ref ref = raympi_call_opts(on(0), through, actor, 1);
    raympi_wire_ref wire = raympi_wire(ref);
    raympi_ref box = raympi_put_nested(&wire, sizeof wire, &ref, 1);
    raympi_ref waits = raympi_actor_call(actor, await, box);
    /* Whoever's wait ends first lets the other go on. */
    int first = raympi_get(ref, &view), second = raympi_get(waits, &view);
    CHECK(first == RAYMPI_ERR_DEADLOCK || second == RAYMPI_ERR_DEADLOCK);
}

static void argument(void)
{
    raympi_ref ref;
    CHECK((char *)raympi_create(8, &ref) != NULL);
    raympi_call(same, ref);
    /* main() goes to finalize: the task can never run. */
}

static void waitset(void)
{
    raympi_ref ref, out;
    raympi_waitset *set;
    CHECK((char *)raympi_create(8, &ref) != NULL);
    CHECK_OK(raympi_waitset_create(&set));
    CHECK_OK(raympi_waitset_add(set, ref, 1));
    DEADLOCK(raympi_waitset_wait(set, -1, &out, NULL));
    CHECK(strstr(raympi_detail(), "can ever be ready"));
    CHECK_OK(raympi_waitset_destroy(set));
}

/* ---- no deadlocks */

static raympi_ref late;

static void *seal_later(void *known)
{
    CHECK_OK(raympi_scope_begin());
    *(_Atomic int *)known = 1;
    compute(0.3);
    CHECK_OK(raympi_seal(late));
    return NULL;
}

static void user_thread(void)
{
    pthread_t thread;
    raympi_view view;
    _Atomic int known = 0;
    CHECK((char *)raympi_create(8, &late) != NULL);
    CHECK(pthread_create(&thread, NULL, seal_later, (void *)&known) == 0);
    while (!known)
        continue;
    CHECK_OK(raympi_get(late, &view));
    CHECK(pthread_join(thread, NULL) == 0);
}

/* Ends without a call, once main() is seen to sleep. */
static void *never_calls(void *arg)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    for (int asleep = 0; asleep < 3;) {
        FILE *file = fopen(path, "r");
        if (file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1)
            asleep = state == 'S' ? asleep + 1 : 0;
        if (file)
            fclose(file);
        sched_yield();
    }
    return arg;
}

/* A thread that has not called yet might seal it: no deadlock until it has ended. */
static void stranger(void)
{
    pthread_t thread;
    raympi_view view;
    CHECK((char *)raympi_create(8, &late) != NULL);
    CHECK(pthread_create(&thread, NULL, never_calls, NULL) == 0);
    CHECK(raympi_get(late, &view) == RAYMPI_ERR_DEADLOCK);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_OK(raympi_release(late));
}

RAYMPI_TASK(await_nested)
{
    size_t len;
    raympi_view view;
    const raympi_wire_ref *wire = raympi_arg(ctx, 0, &len);
    CHECK_OK(raympi_get(raympi_arg_nested(ctx, 0, *wire), &view));
    return raympi_return_int(ctx, 0, 1);
}

/* The last rank waits for what main() does later: after computing, or after a timed wait. */
static void main_later(bool timed)
{
    raympi_view view;
    raympi_ref ref, never;
    CHECK((char *)raympi_create(8, &ref) != NULL);
    CHECK((char *)raympi_create(8, &never) != NULL);
    raympi_wire_ref wire = raympi_wire(ref);
    raympi_ref box = raympi_put_nested(&wire, sizeof wire, &ref, 1);
    raympi_ref waits = raympi_call_opts(on(raympi_size() - 1), await_nested, box);
    if (timed)
        CHECK(raympi_get_timeout(never, &view, 0.3) == RAYMPI_ERR_TIMEOUT);
    else
        compute(0.3);
    CHECK_OK(raympi_seal(ref));
    CHECK_OK(raympi_get(waits, &view));
    CHECK_OK(raympi_seal(never));
}

RAYMPI_TASK(long_one)
{
    compute(1);
    return raympi_return_int(ctx, 0, 1);
}

static void long_task(void)
{
    raympi_view view;
    CHECK_OK(raympi_get(raympi_call_opts(on(raympi_size() - 1), long_one), &view));
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    bool deadlocks = true;
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    if (raympi_rank() == 0) {
        if (!strcmp(what, "unsealed"))
            unsealed();
        else if (!strcmp(what, "actors"))
            actors();
        else if (!strcmp(what, "itself"))
            itself();
        else if (!strcmp(what, "argument"))
            argument();
        else if (!strcmp(what, "waitset"))
            waitset();
        else if (!strcmp(what, "stranger"))
            stranger();
        else if (!strcmp(what, "thread"))
            user_thread();
        else if (!strcmp(what, "timed") || !strcmp(what, "computes"))
            main_later(!strcmp(what, "timed"));
        else
            long_task();
    }
    deadlocks = !strcmp(what, "unsealed") || !strcmp(what, "actors") || !strcmp(what, "itself") ||
                !strcmp(what, "stranger") || !strcmp(what, "argument") || !strcmp(what, "waitset");
    int status = raympi_finalize(); /* on every rank the same */
    if (status != (deadlocks ? RAYMPI_ERR_DEADLOCK : RAYMPI_OK)) {
        fprintf(stderr, "raympi_finalize gave %s (%s)\n", raympi_strerror(status), raympi_detail());
        test_failures++;
    }
    return test_end(RAYMPI_OK);
}
