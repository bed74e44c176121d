/* A3, A4, A5: messages of 64 bytes there and back between two ranks.
 *
 *   mpi_pingpong COUNT      nanoseconds per round trip
 */
#include "rival_mpi.h"

int main(int argc, char **argv)
{
    struct rival rival;
    char bytes[64] = {0};
    long count = bench_argument(argc, argv, 1, 10000);
    double start = 0;
    rival_init(&rival, &argc, &argv);
    while (rival_asked(&rival)) {
        int other = 1 - rival.rank;
        for (long i = -1; i < count && rival.rank < 2;
             i++) { /* the first finds both awake, and is not counted */
            start = i == 0 ? bench_now() : start;
            if (rival.rank == 0)
                MPI_Send(bytes, sizeof bytes, MPI_BYTE, other, 0, MPI_COMM_WORLD);
            MPI_Recv(bytes, sizeof bytes, MPI_BYTE, other, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            if (rival.rank == 1)
                MPI_Send(bytes, sizeof bytes, MPI_BYTE, other, 0, MPI_COMM_WORLD);
        }
        if (rival.rank == 0)
            bench_answer((bench_now() - start) / (double)count);
    }
    rival_fini(&rival);
    return 0;
}
