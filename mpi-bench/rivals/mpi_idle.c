/* A12: what a rank costs that waits in MPI_Recv.
 *
 *   mpi_idle MILLISECONDS      per cent of a core that rank 1 uses
 */
#include "rival_mpi.h"

int main(int argc, char **argv)
{
    struct rival rival;
    double share = 0;
    long milliseconds = bench_argument(argc, argv, 1, 500);
    rival_init(&rival, &argc, &argv);
    while (rival_asked(&rival)) {
        if (rival.rank == 0) {
            struct timespec wait = {milliseconds / 1000, milliseconds % 1000 * 1000000};
            nanosleep(&wait, NULL);
            MPI_Send(&share, 1, MPI_DOUBLE, 1, 0, MPI_COMM_WORLD);
            MPI_Recv(&share, 1, MPI_DOUBLE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            bench_answer(100 * share);
        } else if (rival.rank == 1) {
            double start = bench_now(), used = bench_cpu();
            MPI_Recv(&share, 1, MPI_DOUBLE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            share = (bench_cpu() - used) / (1e-9 * (bench_now() - start));
            MPI_Send(&share, 1, MPI_DOUBLE, 0, 0, MPI_COMM_WORLD);
        }
    }
    rival_fini(&rival);
    return 0;
}
