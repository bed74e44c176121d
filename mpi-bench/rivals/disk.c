/* SPILL: what dd does, with blocks of 1 MiB: into a file, through the system's cache, and back in random
 * order.
 *
 *   disk MIBIBYTES      microseconds per MiB, three times MIBIBYTES in $TMPDIR
 */
#include "../bench.h"

#include <fcntl.h>
#include <unistd.h>

#define MIB   (1L << 20)
#define TIMES 3

static double round_trip(int file, char *block, long count)
{
    unsigned long random = 1;
    double start = bench_now();
    for (long i = 0; i < count; i++)
        bench_require(pwrite(file, block, MIB, i * MIB) == MIB, "pwrite");
    for (long i = 0; i < count; i++) {
        random = random * 6364136223846793005UL + 1442695040888963407UL;
        long from = (long)((random >> 33) % (unsigned long)count);
        bench_require(pread(file, block, MIB, from * MIB) == MIB, "pread");
    }
    return bench_now() - start;
}

int main(int argc, char **argv)
{
    long count = TIMES * bench_argument(argc, argv, 1, 256);
    const char *folder = getenv("TMPDIR");
    char *block = aligned_alloc(4096, MIB);
    bench_require(block != NULL, "memory");
    memset(block, 1, MIB);
    while (bench_asked()) {
        /* Without a name, and new for each repetition: what is spilled has to be written anew too. */
        int file = open(folder ? folder : "/tmp", O_TMPFILE | O_RDWR, 0600);
        bench_require(file >= 0, "open");
        bench_answer(1e-3 * round_trip(file, block, count) / (double)count);
        close(file);
    }
    free(block);
    return 0;
}
