/* Threads that MPI has started in this process. Open MPI 4.1 passes events of its runtime from one to another
 * (each MPI_Init raises one), and MPI_Finalize unloads the code that is to take them without asking whether
 * one is still under way: the thread that comes to it late jumps into nothing. Before MPI_Finalize they
 * therefore have to be seen at rest. */
#ifndef RAYMPI_API_MPI_THREADS_H
#define RAYMPI_API_MPI_THREADS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MPI_THREADS_MAX 64

struct mpi_threads {
    int count;
    pid_t ids[MPI_THREADS_MAX]; /* further ones are not watched */
};

/** Before MPI_Init: the threads there are. */
void mpi_threads_before(struct mpi_threads *threads);
/** After it: those that have come since, without the caller; all others, if nothing was called before. */
void mpi_threads_after(struct mpi_threads *threads);
/** Waits until all were asleep at one moment, for `most` nanoseconds; true: they were, or it can not be told.
 */
bool mpi_threads_rest(const struct mpi_threads *threads, uint64_t most);

#endif
