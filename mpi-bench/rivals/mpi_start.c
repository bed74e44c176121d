/* A14: milliseconds from the first line of main() to the end of MPI_Finalize, on rank 0. */
#include <mpi.h>

#include "../bench.h"

int main(int argc, char **argv)
{
    int rank;
    double start = bench_now();
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Finalize();
    if (rank == 0)
        bench_answer(1e-6 * (bench_now() - start));
    return 0;
}
