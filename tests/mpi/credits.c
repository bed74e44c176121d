/* A slow receiver slows its senders: a rank that is asked by name never has more than 16384 tasks of one
 * submitter. */
#include "mpi_test.h"

#include <time.h>

enum { CALLS = 40000, CREDITS = 16384 };

struct tally {
    int64_t calls;
};
RAYMPI_ACTOR(tally, struct tally)
RAYMPI_METHOD(tally, add)
{
    struct tally *self = raympi_self(ctx);
    return raympi_return_int(ctx, 0, ++self->calls);
}
RAYMPI_TASK(nothing, .num_returns = RAYMPI_NONE)
{
    return RAYMPI_OK;
}

static raympi_ref refs[CALLS];

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* When the last one has been submitted, all but CREDITS have ended; and but one for each second, which a
 * submitter is given when it sees none end. */
static void check_ended(double start)
{
    int ready = raympi_wait(refs, CALLS, 0, 0, NULL);
    CHECK(ready >= CALLS - CREDITS - (int)(seconds() - start));
    CHECK(raympi_wait(refs, CALLS, CALLS, -1, NULL) == CALLS);
    CHECK_OK(raympi_release_all(refs, CALLS));
}

static void flood(int rank)
{
    int64_t last = 0;
    double start = seconds();
    raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = rank};
    raympi_actor actor = raympi_actor_new_opts(there, tally);
    for (int i = 0; i < CALLS; i++)
        refs[i] = raympi_actor_call(actor, add);
    check_ended(start);
    CHECK_OK(raympi_get_copy(raympi_actor_call(actor, add), &last, sizeof last));
    CHECK(last == CALLS + 1);
    raympi_release(actor);
    start = seconds();
    for (int i = 0; i < CALLS; i++)
        refs[i] = raympi_call_opts(there, nothing);
    check_ended(start);
}

static void drive(void)
{
    if (raympi_rank() != raympi_size() - 1)
        flood(raympi_size() - 1);
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    return test_end(test_drive(drive));
}
