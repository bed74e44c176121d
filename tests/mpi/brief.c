/* Brief tasks of another rank: numbers as arguments, which travel in the head of a task; methods without a
 * result; and ends that travel together, but do not wait for a task that takes long after all. */
#include "mpi_test.h"

#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { OTHER = 1, WARM = 200, BEFORE = 6, AFTER = 3, CALLS = BEFORE + 1 + AFTER };

/* Memory of the ranks' own: a task that is to take long must not be helped by a call of raympi's. */
static _Atomic int *shared;

static void shared_name(char *name, size_t size)
{
    const char *folder = getenv("TMPDIR");
    snprintf(name, size, "%s/raympi-test-brief-%ld-%ld", folder ? folder : "/tmp", (long)getuid(),
             (long)getppid());
}

static _Atomic int *shared_open(int flags)
{
    char name[512];
    shared_name(name, sizeof name);
    int file = open(name, O_RDWR | O_CLOEXEC | flags, 0600);
    if (file < 0 || (flags && ftruncate(file, 4096) != 0))
        return NULL;
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return memory == MAP_FAILED ? NULL : memory;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Returns at once; or, if `wait`, when the driver says that it has the results of those before. */
static int64_t step(int64_t wait)
{
    if (!wait)
        return 1;
    static _Atomic int *flag;
    if (!flag && !(flag = shared_open(0)))
        return -1;
    double limit = seconds() + 30;
    while (!atomic_load(flag) && seconds() < limit)
        ;
    return atomic_load(flag) ? 2 : -2;
}

RAYMPI_TASK(task_step, .strategy = RAYMPI_STRATEGY_NODE, .node = OTHER)
{
    return raympi_return_int(ctx, 0, step(raympi_arg_int(ctx, 0)));
}

RAYMPI_TASK(mixed, .strategy = RAYMPI_STRATEGY_NODE, .node = OTHER)
{
    double sum = 0;
    for (int i = 0; i < raympi_arg_count(ctx); i++)
        sum += i % 2 ? raympi_arg_double(ctx, i) : (double)raympi_arg_int(ctx, i);
    return raympi_return_double(ctx, 0, sum);
}

/* Definitions that name a rank, and have no result or several. */
RAYMPI_TASK(mute_there, .num_returns = RAYMPI_NONE, .strategy = RAYMPI_STRATEGY_NODE, .node = OTHER)
{
    (void)ctx;
    return RAYMPI_OK;
}
RAYMPI_TASK(mute_here, .num_returns = RAYMPI_NONE, .strategy = RAYMPI_STRATEGY_NODE, .node = 0)
{
    (void)ctx;
    return RAYMPI_OK;
}
RAYMPI_TASK(pair_there, .num_returns = 2, .strategy = RAYMPI_STRATEGY_NODE, .node = OTHER)
{
    raympi_return_int(ctx, 0, raympi_arg_count(ctx));
    return raympi_return_int(ctx, 1, 7);
}

struct place {
    int64_t calls;
    double last;
};
RAYMPI_ACTOR(Place, struct place, .strategy = RAYMPI_STRATEGY_NODE, .node = OTHER)
RAYMPI_METHOD(Place, step)
{
    struct place *self = raympi_self(ctx);
    self->calls++;
    return raympi_return_int(ctx, 0, step(raympi_arg_int(ctx, 0)));
}
/* No result. */
RAYMPI_METHOD(Place, set)
{
    struct place *self = raympi_self(ctx);
    self->calls++;
    self->last = raympi_arg_double(ctx, 0);
    return RAYMPI_OK;
}
RAYMPI_METHOD(Place, last)
{
    struct place *self = raympi_self(ctx);
    return raympi_return_double(ctx, 0, self->last);
}
RAYMPI_METHOD(Place, count)
{
    struct place *self = raympi_self(ctx);
    return raympi_return_int(ctx, 0, self->calls);
}

static double real_of(raympi_ref ref)
{
    double value = NAN;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    raympi_release(ref);
    return value;
}

static int64_t integer_of(raympi_ref ref)
{
    int64_t value = 0;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    raympi_release(ref);
    return value;
}

/* Its status once it has ended. */
static int ended(raympi_ref ref)
{
    int status = raympi_wait(&ref, 1, 1, -1, NULL) == 1 ? raympi_ref_status(ref) : RAYMPI_ERR_TIMEOUT;
    raympi_release(ref);
    return status;
}

static void test_numbers(void)
{
    for (int i = 0; i < 3; i++) { /* the first goes the long way */
        CHECK(real_of(raympi_call(mixed)) == 0);
        CHECK(real_of(raympi_call(mixed, -7)) == -7);
        CHECK(real_of(raympi_call(mixed, INT32_MAX, 0.5)) == INT32_MAX + 0.5);
        CHECK(real_of(raympi_call(mixed, 1, 0.25, -3)) == -1.75);
        CHECK(real_of(raympi_call(mixed, 1, 0.25, 3, 1e300)) == 1e300);
        CHECK(real_of(raympi_call(mixed, 1, 0.25, 3, 0.25, 4)) == 8.5);
        CHECK(isnan(real_of(raympi_call(mixed, 1, NAN))));
        /* What is no number goes with them, the long way. */
        raympi_ref ref = raympi_put(&(int64_t){41}, sizeof(int64_t));
        CHECK(real_of(raympi_call(mixed, ref, 1.0)) == 42);
        raympi_release(ref);
    }
}

static void test_several(void)
{
    raympi_ref pair[2];
    for (int i = 0; i < 3; i++) {
        CHECK_OK(ended(raympi_call(mute_there)));
        CHECK_OK(ended(raympi_call(mute_there, i)));
        CHECK_OK(ended(raympi_call(mute_here)));
        CHECK_OK(ended(raympi_call(mute_here, i)));
        CHECK_OK(raympi_call_n(pair, 2, pair_there));
        CHECK(integer_of(pair[0]) == 0 && integer_of(pair[1]) == 7);
        CHECK_OK(raympi_call_n(pair, 2, pair_there, i));
        CHECK(integer_of(pair[0]) == 1 && integer_of(pair[1]) == 7);
        CHECK(integer_of(raympi_call(pair_there)) == 0);
        CHECK(integer_of(raympi_call(pair_there, i)) == 1);
    }
}

static void test_methods(void)
{
    raympi_actor actor = raympi_actor_new(Place);
    raympi_view view;
    for (int i = 0; i < 100; i++) {
        raympi_ref set = raympi_actor_call(actor, set, (double)i / 4);
        if (i % 3 == 0) {
            CHECK_OK(raympi_get(set, &view));
            CHECK(view.len == 0 && view.data == NULL);
            raympi_view_end(&view);
        }
        raympi_release(set);
        CHECK(i % 7 != 0 || real_of(raympi_actor_call(actor, last)) == (double)i / 4);
    }
    CHECK(integer_of(raympi_actor_call(actor, count)) == 100);
    raympi_release(actor);
}

static raympi_ref submit(raympi_actor actor, int64_t wait)
{
    return actor.handle ? raympi_actor_call(actor, step, wait) : raympi_call(task_step, wait);
}

/* Of tasks that are brief one after the other, one takes long: the results of those before it are there all
 * the same. */
static void test_late(raympi_actor actor)
{
    raympi_ref refs[CALLS];
    for (int i = 0; i < WARM; i++)
        CHECK(integer_of(submit(actor, 0)) == 1);
    atomic_store(shared, 0);
    for (int i = 0; i < CALLS; i++)
        refs[i] = submit(actor, i == BEFORE);
    for (int i = 0; i < BEFORE; i++)
        CHECK(integer_of(refs[i]) == 1);
    atomic_store(shared, 1);
    for (int i = BEFORE; i < CALLS; i++)
        CHECK(integer_of(refs[i]) == (i == BEFORE ? 2 : 1));
}

static void drive(void)
{
    if (raympi_rank() != 0)
        return;
    test_numbers();
    test_several();
    test_methods();
    shared = shared_open(O_CREAT);
    CHECK(shared != NULL);
    raympi_actor actor = raympi_actor_new(Place);
    for (int i = 0; shared && i < 5; i++) {
        test_late((raympi_actor){0});
        test_late(actor);
    }
    raympi_release(actor);
    char name[512];
    shared_name(name, sizeof name);
    unlink(name);
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    return test_end(test_drive(drive));
}
