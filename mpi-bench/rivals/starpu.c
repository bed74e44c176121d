/* A1, A2 with StarPU.
 *
 *   starpu async|sync COUNT      nanoseconds per task, with as many workers as there are cores to use
 */
#include "../bench.h"

#include <starpu.h>

static void empty(void *buffers[], void *argument)
{
    (void)buffers;
    (void)argument;
}

static struct starpu_codelet codelet = {.cpu_funcs = {empty}, .nbuffers = 0};

static double repetition(int sync_each, long count)
{
    starpu_resume();
    double start = bench_now();
    for (long i = 0; i < count; i++) {
        struct starpu_task *task = starpu_task_create();
        task->cl = &codelet;
        task->synchronous = sync_each;
        bench_require(starpu_task_submit(task) == 0, "starpu_task_submit");
    }
    starpu_task_wait_for_all();
    double took = bench_now() - start;
    starpu_pause(); /* its workers sleep until the next repetition */
    return took / (double)count;
}

int main(int argc, char **argv)
{
    int sync_each = argc > 1 && strcmp(argv[1], "sync") == 0;
    long count = bench_argument(argc, argv, 2, 100000);
    bench_require(starpu_init(NULL) == 0, "starpu_init");
    starpu_pause();
    while (bench_asked())
        bench_answer(repetition(sync_each, count));
    starpu_resume();
    starpu_shutdown();
    return 0;
}
