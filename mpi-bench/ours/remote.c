/* A3, A4: tasks on another rank of the host. A5: methods of an actor there.
 *
 *   remote task|actor COUNT [IN_FLIGHT]      nanoseconds per call; every answer is the rank that the call ran
 * on
 */
#include "ours.h"

#define OTHER 1

RAYMPI_TASK(where, .strategy = RAYMPI_STRATEGY_NODE, .node = OTHER)
{
    ours_task();
    return raympi_return_int(ctx, 0, raympi_rank());
}

/** Finds the other rank awake; mpi-bench/gate counts that rank's instructions from one of these to the next.
 */
RAYMPI_TASK(awake, .strategy = RAYMPI_STRATEGY_NODE, .node = OTHER)
{
    return raympi_return_int(ctx, 0, raympi_rank());
}

struct place {
    int64_t calls;
};
RAYMPI_ACTOR(Place, struct place, .strategy = RAYMPI_STRATEGY_NODE, .node = OTHER)
RAYMPI_METHOD(Place, where)
{
    struct place *self = raympi_self(ctx);
    self->calls++;
    return raympi_return_int(ctx, 0, raympi_rank());
}

static raympi_actor actor;
static raympi_ref *refs;

static raympi_ref submit(bool to_actor)
{
    return to_actor ? raympi_actor_call(actor, where) : raympi_call(where);
}

static void take(raympi_ref ref)
{
    int64_t rank;
    ours_check(raympi_get_copy(ref, &rank, sizeof rank), "raympi_get_copy");
    bench_require(rank == OTHER, "a call ran on the wrong rank");
}

static double repetition(int argc, char **argv)
{
    bool to_actor = argc > 1 && strcmp(argv[1], "actor") == 0;
    long count = bench_argument(argc, argv, 2, 10000);
    long in_flight = bench_argument(argc, argv, 3, 1);
    bench_require(raympi_size() > OTHER, "two ranks are needed");
    if (refs == NULL) {
        refs = calloc((size_t)in_flight, sizeof *refs);
        actor = raympi_actor_new(Place);
        ours_check(raympi_actor_ready(actor, -1), "raympi_actor_ready");
    }
    bench_require(refs != NULL, "memory");
    take(raympi_call(awake));
    double start = bench_now();
    for (long done = 0; done < count; done += in_flight) {
        for (long i = 0; i < in_flight; i++)
            refs[i] = submit(to_actor);
        for (long i = 0; i < in_flight; i++)
            take(refs[i]);
        ours_check(raympi_release_all(refs, (size_t)in_flight), "raympi_release_all");
    }
    return (bench_now() - start) / (double)((count + in_flight - 1) / in_flight * in_flight);
}

int main(int argc, char **argv)
{
    return ours_main(argc, argv, repetition);
}
