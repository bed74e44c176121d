/* A13: a ring of columns, shared out over the ranks in blocks; the same steps as ours/stencil.c.
 *
 *   mpi_stencil COLUMNS STEPS WORK      microseconds per step of all columns
 */
#include "rival_mpi.h"

#include <stdint.h>

#define MAX_COLUMNS 1024

int main(int argc, char **argv)
{
    struct rival rival;
    uint64_t value[MAX_COLUMNS + 2],
        next[MAX_COLUMNS + 2]; /* ours are 1..mine; the neighbours' on both sides */
    int columns = (int)bench_argument(argc, argv, 1, 16);
    long steps = bench_argument(argc, argv, 2, 100), work = bench_argument(argc, argv, 3, 1000);
    rival_init(&rival, &argc, &argv);
    bench_require(columns <= MAX_COLUMNS && columns % rival.size == 0, "columns must divide among the ranks");
    int mine = columns / rival.size;
    int left = (rival.rank + rival.size - 1) % rival.size, right = (rival.rank + 1) % rival.size;
    for (int i = 1; i <= mine; i++)
        value[i] = (uint64_t)(rival.rank * mine + i);
    while (rival_asked(&rival)) {
        MPI_Barrier(MPI_COMM_WORLD);
        double start = bench_now();
        for (long step = 0; step < steps; step++) {
            MPI_Request requests[4];
            MPI_Irecv(&value[0], 1, MPI_UINT64_T, left, 0, MPI_COMM_WORLD, &requests[0]);
            MPI_Irecv(&value[mine + 1], 1, MPI_UINT64_T, right, 1, MPI_COMM_WORLD, &requests[1]);
            MPI_Isend(&value[mine], 1, MPI_UINT64_T, right, 0, MPI_COMM_WORLD, &requests[2]);
            MPI_Isend(&value[1], 1, MPI_UINT64_T, left, 1, MPI_COMM_WORLD, &requests[3]);
            MPI_Waitall(4, requests, MPI_STATUSES_IGNORE);
            for (int i = 1; i <= mine; i++)
                next[i] = bench_work(work, value[i] + 3 * value[i - 1] + 5 * value[i + 1]);
            memcpy(&value[1], &next[1], (size_t)mine * sizeof value[0]);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        if (rival.rank == 0)
            bench_answer(1e-3 * (bench_now() - start) / (double)steps);
    }
    rival_fini(&rival);
    return 0;
}
