/* B2: bytes streamed from rank 1 to rank 0. B3: bytes from rank 0 to all.
 *
 *   mpi_bytes fetch BYTES COUNT      microseconds per MiB: COUNT messages into COUNT buffers, all received at
 * once mpi_bytes broadcast BYTES        microseconds per MiB: until all ranks have them and rank 0 knows
 */
#include "rival_mpi.h"

#define MIB  (1L << 20)
#define MANY 64

static double fetch(const struct rival *rival, char *bytes, long length, long count)
{
    MPI_Request requests[MANY];
    double start = bench_now();
    char go = 1;
    if (rival->rank == 0) {
        for (long i = 0; i < count; i++)
            MPI_Irecv(bytes + i * length, (int)length, MPI_BYTE, 1, 0, MPI_COMM_WORLD, &requests[i]);
        MPI_Send(&go, 1, MPI_CHAR, 1, 1, MPI_COMM_WORLD);
        MPI_Waitall((int)count, requests, MPI_STATUSES_IGNORE);
    } else if (rival->rank == 1) {
        MPI_Recv(&go, 1, MPI_CHAR, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        for (long i = 0; i < count; i++)
            MPI_Send(bytes + i * length, (int)length, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
    }
    return bench_now() - start;
}

static double broadcast(char *bytes, long length)
{
    double start = bench_now();
    MPI_Bcast(bytes, (int)length, MPI_BYTE, 0, MPI_COMM_WORLD);
    MPI_Barrier(MPI_COMM_WORLD);
    return bench_now() - start;
}

int main(int argc, char **argv)
{
    struct rival rival;
    int all = argc > 1 && strcmp(argv[1], "broadcast") == 0;
    long length = bench_argument(argc, argv, 2, MIB), count = all ? 1 : bench_argument(argc, argv, 3, 1);
    bench_require(count <= MANY, "64 messages at most");
    rival_init(&rival, &argc, &argv);
    char *bytes = malloc((size_t)(count * length));
    bench_require(bytes != NULL, "memory");
    memset(bytes, 1, (size_t)(count * length));
    while (rival_asked(&rival)) {
        double took = all ? broadcast(bytes, length) : fetch(&rival, bytes, length, count);
        if (rival.rank == 0)
            bench_answer(1e-3 * took / ((double)(count * length) / (double)MIB));
    }
    free(bytes);
    rival_fini(&rival);
    return 0;
}
