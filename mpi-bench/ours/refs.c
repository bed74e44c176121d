/* What a ref costs that is held, with its value.
 *
 *   refs COUNT BYTES      bytes of this rank's memory per ref, while COUNT objects of BYTES are held: 8
 * inline, 400 in private memory, 1024 in the store
 *   refs COUNT tasks      the same for the results of COUNT tasks, which are numbers
 *
 * Only the first repetition tells: the others find memory that was used before.
 */
#include "ours.h"

#include <unistd.h>

/** Bytes of memory that this process has touched, the store's included. */
static double memory_used(void)
{
    long all, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    bench_require(file != NULL && fscanf(file, "%ld %ld", &all, &resident) == 2, "statm");
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void put(raympi_ref *refs, long count, long bytes)
{
    char *value = calloc(1, (size_t)bytes);
    bench_require(value != NULL, "memory");
    for (long i = 0; i < count; i++)
        refs[i] = raympi_put(value, (size_t)bytes);
    ours_check(raympi_get_copy(refs[count - 1], value, (size_t)bytes), "raympi_get_copy");
    free(value);
}

RAYMPI_TASK(number)
{
    return raympi_return_int(ctx, 0, 1);
}

/** In batches, each of which is waited for. */
static void call(raympi_ref *refs, long count)
{
    const long batch = 1000;
    int64_t one;
    for (long done = 0; done < count; done += batch) {
        long end = done + batch < count ? done + batch : count;
        for (long i = done; i < end; i++)
            refs[i] = raympi_call(number);
        for (long i = done; i < end; i++)
            ours_check(raympi_get_copy(refs[i], &one, sizeof one), "raympi_get_copy");
    }
}

static double repetition(int argc, char **argv)
{
    long count = bench_argument(argc, argv, 1, 1000000);
    bool tasks = argc > 2 && strcmp(argv[2], "tasks") == 0;
    raympi_ref *refs = malloc((size_t)count * sizeof *refs);
    bench_require(refs != NULL, "memory");
    memset(refs, 1, (size_t)count * sizeof *refs);
    double before = memory_used();
    if (tasks)
        call(refs, count);
    else
        put(refs, count, bench_argument(argc, argv, 2, 8));
    double after = memory_used();
    ours_check(raympi_release_all(refs, (size_t)count), "raympi_release_all");
    free(refs);
    return (after - before) / (double)count;
}

int main(int argc, char **argv)
{
    return ours_main(argc, argv, repetition);
}
