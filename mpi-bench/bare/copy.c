/* A7: memcpy by one thread into memory that processes share.
 *
 *   copy used BYTES      microseconds per MiB: copies into a mapping that was written before
 *   copy fresh BYTES     the same into one that never was
 */
#include "../bench.h"

#include <sys/mman.h>
#include <unistd.h>

#define MIB   (1L << 20)
#define USED  (256 * MIB) /* as in ours/bytes.c */
#define FRESH (128 * MIB)

static char *mapping_make(long bytes)
{
    int file = memfd_create("copy", 0);
    bench_require(file >= 0 && ftruncate(file, bytes) == 0, "memfd_create");
    char *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    bench_require(memory != MAP_FAILED, "mmap");
    close(file);
    return memory;
}

static double copy(char *to, const char *from, long bytes, long count)
{
    double start = bench_now();
    for (long i = 0; i < count; i++)
        memcpy(to + i * bytes, from, (size_t)bytes);
    double took = bench_now() - start;
    bench_require(memcmp(to + (count - 1) * bytes, from, (size_t)bytes) == 0, "memcpy");
    return 1e-3 * took / ((double)count * (double)bytes / (double)MIB);
}

int main(int argc, char **argv)
{
    int fresh = argc > 1 && strcmp(argv[1], "fresh") == 0;
    long bytes = bench_argument(argc, argv, 2, MIB), all = fresh ? FRESH : USED;
    long count = all / bytes > 0 ? all / bytes : 1;
    char *from = malloc((size_t)bytes), *to = NULL;
    bench_require(from != NULL, "memory");
    for (long i = 0; i < bytes; i++)
        from[i] = (char)(i / 64);
    while (bench_asked()) {
        if (to == NULL)
            to = mapping_make(count * bytes);
        bench_answer(copy(to, from, bytes, count));
        /* Kept, as ours is: what is given back is the next to be taken, and no fresh page for a guest's host.
         */
        if (fresh)
            to = NULL;
    }
    return 0;
}
