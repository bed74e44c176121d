/* What a ref costs that is held, with its value.
 *
 *   refs COUNT BYTES      bytes of this rank's memory per ref, while COUNT objects of BYTES are held: 8
 * inline, 400 in private memory, 1024 in the store; only the first repetition tells, the others find memory
 * that was used before
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

static double repetition(int argc, char **argv)
{
    long count = bench_argument(argc, argv, 1, 1000000), bytes = bench_argument(argc, argv, 2, 8);
    raympi_ref *refs = malloc((size_t)count * sizeof *refs);
    char *value = calloc(1, (size_t)bytes);
    bench_require(refs != NULL && value != NULL, "memory");
    memset(refs, 1, (size_t)count * sizeof *refs);
    double before = memory_used();
    for (long i = 0; i < count; i++)
        refs[i] = raympi_put(value, (size_t)bytes);
    double after = memory_used();
    char *last = malloc((size_t)bytes);
    ours_check(raympi_get_copy(refs[count - 1], last, (size_t)bytes), "raympi_get_copy");
    ours_check(raympi_release_all(refs, (size_t)count), "raympi_release_all");
    free(last);
    free(value);
    free(refs);
    return (after - before) / (double)count;
}

int main(int argc, char **argv)
{
    return ours_main(argc, argv, repetition);
}
