/* A slow receiver slows its senders: a rank that is asked by name never has more than 16384 tasks of one
 * submitter. */
#include "mpi_test.h"

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

/* When the last one has been submitted, all but CREDITS have ended. */
static void check_ended(void)
{
    int ready = raympi_wait(refs, CALLS, 0, 0, NULL);
    CHECK(ready >= CALLS - CREDITS);
    CHECK(raympi_wait(refs, CALLS, CALLS, -1, NULL) == CALLS);
    CHECK_OK(raympi_release_all(refs, CALLS));
}

static void flood(int rank)
{
    int64_t last = 0;
    raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = rank};
    raympi_actor actor = raympi_actor_new_opts(there, tally);
    for (int i = 0; i < CALLS; i++)
        refs[i] = raympi_actor_call(actor, add);
    check_ended();
    CHECK_OK(raympi_get_copy(raympi_actor_call(actor, add), &last, sizeof last));
    CHECK(last == CALLS + 1);
    raympi_release(actor);
    for (int i = 0; i < CALLS; i++)
        refs[i] = raympi_call_opts(there, nothing);
    check_ended();
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
