/* Start and end of a benchmark of raympi. */
#ifndef OURS_H
#define OURS_H

#include <raympi.h>

#include "../bench.h"

static inline void ours_check(int status, const char *what)
{
    if (status == RAYMPI_OK)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, raympi_strerror(status), raympi_detail());
    exit(1);
}

/** What each task does besides: steps of bench_work(), none but where mpi-bench/gate is to be seen to fail.
 */
static long ours_planted;
static inline void ours_task(void)
{
    if (ours_planted > 0)
        bench_work(ours_planted, 1);
}

/** A function of its own, by whose name mpi-bench/gate tells what to count. */
static BENCH_NOINLINE double ours_repetition(int argc, char **argv, double (*repetition)(int, char **))
{
    double answer = repetition(argc, argv);
    __asm__ volatile("" : : : "memory"); /* no tail call */
    return answer;
}

/** The whole of main(): rank 0 measures whenever the driver asks, the others serve from finalize. */
static inline int ours_main(int argc, char **argv, double (*repetition)(int, char **))
{
    ours_check(raympi_init(&argc, &argv, NULL), "raympi_init");
    const char *planted = getenv("BENCH_PLANTED");
    ours_planted = planted != NULL ? atol(planted) : 0;
    raympi_scope_begin(); /* what a benchmark keeps between repetitions ends with it */
    if (raympi_rank() == 0)
        while (bench_asked())
            bench_answer(ours_repetition(argc, argv, repetition));
    ours_check(raympi_scope_end(), "raympi_scope_end");
    return raympi_finalize();
}

#endif
