/* Start of a rival that is written with MPI: ranks rest without spinning between repetitions. */
#ifndef RIVAL_MPI_H
#define RIVAL_MPI_H

#include <mpi.h>
#include <semaphore.h>

#include "../bench.h"

struct rival {
    int rank, size;
    sem_t *go; /* one for each rank, in memory shared by all; NULL: they are on several hosts */
    int *more;
    MPI_Win window;
};

/** Whether all ranks are on one host. */
static inline int rival_together(int size)
{
    MPI_Comm host;
    int here;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_size(host, &here);
    MPI_Comm_free(&host);
    MPI_Allreduce(MPI_IN_PLACE, &here, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    return here == size;
}

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
    rival->go = NULL;
    if (!rival_together(rival->size))
        return;
    bytes = rival->rank == 0 ? (MPI_Aint)(sizeof *shared + (size_t)rival->size * sizeof(sem_t)) : 0;
    MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &shared, &rival->window);
    MPI_Win_shared_query(rival->window, 0, &bytes, &unit, &shared);
    rival->go = shared->go;
    rival->more = &shared->more;
    bench_require(sem_init(&rival->go[rival->rank], 1, 0) == 0, "sem_init");
    MPI_Barrier(MPI_COMM_WORLD);
}

/** The same between hosts: who waits looks a thousand times a second, since MPI itself does not sleep. */
static inline int rival_asked_far(const struct rival *rival)
{
    int more = rival->rank == 0 && bench_asked(), done = 0;
    const struct timespec pause = {0, 1000000};
    MPI_Request request;
    MPI_Ibcast(&more, 1, MPI_INT, 0, MPI_COMM_WORLD, &request);
    for (;;) {
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (done)
            return more;
        nanosleep(&pause, NULL);
    }
}

/** On all ranks: waits until the driver wants a repetition; false when it wants no more. */
static inline int rival_asked(struct rival *rival)
{
    if (rival->go == NULL)
        return rival_asked_far(rival);
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
    if (rival->go != NULL)
        MPI_Win_free(&rival->window);
    MPI_Finalize();
}

#endif
