/* Every rank says which version of raympi it runs. */
#include <mpi.h>
#include <raympi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, size;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    printf("hello from rank %d of %d, raympi %s\n", rank, size, raympi_version());
    return MPI_Finalize();
}
