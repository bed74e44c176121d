/* A14: milliseconds from the first line of main() until rank 0 has the result of a first task, which the last
 * rank ran. */
#include "ours.h"

RAYMPI_TASK(first)
{
    return raympi_return_int(ctx, 0, raympi_rank());
}

int main(int argc, char **argv)
{
    double start = bench_now();
    ours_check(raympi_init(&argc, &argv, NULL), "raympi_init");
    if (raympi_rank() == 0) {
        int last = raympi_size() - 1;
        int64_t ran_on;
        raympi_ref ref =
            raympi_call_opts(RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = last), first);
        ours_check(raympi_get_copy(ref, &ran_on, sizeof ran_on), "raympi_get_copy");
        bench_require(ran_on == last, "the task ran on the wrong rank");
        bench_answer(1e-6 * (bench_now() - start));
        ours_check(raympi_release(ref), "raympi_release");
    }
    return raympi_finalize();
}
