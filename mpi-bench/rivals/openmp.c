/* A1, A2 with tasks of OpenMP.
 *
 *   openmp async|sync COUNT THREADS      nanoseconds per task
 */
#include "../bench.h"

static __attribute__((noinline)) void empty(void)
{
    __asm__ volatile("" : : : "memory");
}

static double tasks(int sync_each, long count)
{
    double start = bench_now();
    for (long i = 0; i < count; i++) {
#pragma omp task
        empty();
        if (sync_each) {
#pragma omp taskwait
        }
    }
#pragma omp taskwait
    return bench_now() - start;
}

static double repetition(int sync_each, long count, int threads)
{
    double took = 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp barrier /* all threads are awake */
#pragma omp single
        took = tasks(sync_each, count);
    }
    return took / (double)count;
}

int main(int argc, char **argv)
{
    int sync_each = argc > 1 && strcmp(argv[1], "sync") == 0;
    long count = bench_argument(argc, argv, 2, 100000);
    int threads = (int)bench_argument(argc, argv, 3, 2);
    while (bench_asked())
        bench_answer(repetition(sync_each, count, threads));
    return 0;
}
