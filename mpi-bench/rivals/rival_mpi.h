/* Start of a rival that is written with MPI: ranks rest without spinning between repetitions. */
#ifndef RIVAL_MPI_H
#define RIVAL_MPI_H

#include <mpi.h>
#include <semaphore.h>

#include "../bench.h"

struct rival {
    int rank, size;
    sem_t *go; /* one for each rank, in memory shared by all */
    int *more;
    MPI_Win window;
};

static inline void rival_init(struct rival *rival, int *argc, char ***argv)
{
    struct {
        int more;
        sem_t go[];
    } * shared;
    MPI_Aint bytes;
    int unit;
    MPI_Init(argc, argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rival->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &rival->size);
    bytes = rival->rank == 0 ? (MPI_Aint)(sizeof *shared + (size_t)rival->size * sizeof(sem_t)) : 0;
    MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &shared, &rival->window);
    MPI_Win_shared_query(rival->window, 0, &bytes, &unit, &shared);
    rival->go = shared->go;
    rival->more = &shared->more;
    bench_require(sem_init(&rival->go[rival->rank], 1, 0) == 0, "sem_init");
    MPI_Barrier(MPI_COMM_WORLD);
}

/** On all ranks: waits until the driver wants a repetition; false when it wants no more. */
static inline int rival_asked(struct rival *rival)
{
    if (rival->rank == 0) {
        *rival->more = bench_asked();
        for (int i = 1; i < rival->size; i++)
            sem_post(&rival->go[i]);
    } else {
        while (sem_wait(&rival->go[rival->rank]) != 0)
            ;
    }
    return *rival->more;
}

static inline void rival_fini(struct rival *rival)
{
    MPI_Win_free(&rival->window);
    MPI_Finalize();
}

#endif
