/* A caller that is slowed down, and what it was about to use goes meanwhile: run with RAYMPI_BACKLOG=64. */
#include "mpi_test.h"

#define BACKLOG 64
#define CALLS   16 /* one of them waits for room in the backlog */

RAYMPI_ACTOR(thing, int)
RAYMPI_METHOD(thing, hello)
{
    return raympi_return_int(ctx, 0, 1);
}

static raympi_actor kept;

RAYMPI_TASK(lets_go, .num_returns = RAYMPI_NONE)
{
    (void)ctx;
    return raympi_release(kept);
}

RAYMPI_TASK(held_up, .num_returns = RAYMPI_NONE)
{
    (void)ctx;
    return RAYMPI_OK;
}

/* The task may be faster than some of the calls: those are refused. */
static int released_at_most(raympi_ref ref)
{
    raympi_view view;
    int status = raympi_get(ref, &view);
    CHECK(status == RAYMPI_OK || status == RAYMPI_ERR_RELEASED);
    CHECK_OK(raympi_release(ref));
    return status == RAYMPI_OK;
}

static void drive(void)
{
    raympi_options here = {.size = sizeof here, .strategy = RAYMPI_STRATEGY_NODE, .node = raympi_rank()};
    raympi_ref later, tasks[BACKLOG], calls[CALLS];
    *(char *)raympi_create(1, &later) = 0;
    kept = raympi_keep(raympi_actor_new_opts(here, thing));
    CHECK_OK(raympi_actor_ready(kept, -1));
    for (int i = 0; i < BACKLOG; i++)
        tasks[i] = raympi_call(held_up, later);
    raympi_ref released = raympi_call_opts(here, lets_go);
    for (int i = 0; i < CALLS; i++)
        calls[i] = raympi_actor_call(kept, hello);
    CHECK_OK(raympi_seal(later));
    for (int i = 0; i < BACKLOG; i++)
        CHECK(released_at_most(tasks[i]));
    CHECK(released_at_most(released));
    for (int i = 0; i < CALLS; i++)
        released_at_most(calls[i]);
    CHECK_OK(raympi_release(later));
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    return test_end(test_drive(drive));
}
