/* A12: what a job that waits costs.
 *
 *   idle MILLISECONDS      per cent of a core that the busiest rank uses while all of them wait
 */
#include "ours.h"

RAYMPI_TASK(cpu_used)
{
    return raympi_return_double(ctx, 0, bench_cpu());
}

static double used(int rank)
{
    double seconds;
    raympi_ref ref =
        raympi_call_opts(RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = rank), cpu_used);
    ours_check(raympi_get_copy(ref, &seconds, sizeof seconds), "raympi_get_copy");
    ours_check(raympi_release(ref), "raympi_release");
    return seconds;
}

/** Rank 0 waits for an object that nobody seals, the others for the end of the job. */
static double repetition(int argc, char **argv)
{
    double seconds = 1e-3 * (double)bench_argument(argc, argv, 1, 2000);
    double *before = calloc((size_t)raympi_size(), sizeof *before), busiest = 0;
    raympi_ref never;
    raympi_view view;
    bench_require(before != NULL, "memory");
    for (int rank = 0; rank < raympi_size(); rank++)
        before[rank] = used(rank);
    bench_require(raympi_create(8, &never) != NULL, "raympi_create");
    double start = bench_now();
    bench_require(raympi_get_timeout(never, &view, seconds) == RAYMPI_ERR_TIMEOUT, "the wait ended early");
    double waited = 1e-9 * (bench_now() - start);
    for (int rank = 0; rank < raympi_size(); rank++) {
        double share = (used(rank) - before[rank]) / waited;
        busiest = share > busiest ? share : busiest;
    }
    ours_check(raympi_seal(never), "raympi_seal");
    ours_check(raympi_release(never), "raympi_release");
    free(before);
    return 100 * busiest;
}

int main(int argc, char **argv)
{
    return ours_main(argc, argv, repetition);
}
