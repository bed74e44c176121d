/* What the ranks of a job tell each other through MPI before raympi's own messages work, and after. */
#ifndef RAYMPI_API_BOOTSTRAP_H
#define RAYMPI_API_BOOTSTRAP_H

#include "api/api.h"
#include "api/api_mpi_threads.h"
#include "topo/topo.h"

#include <mpi.h>
#include <pthread.h>

struct bootstrap {
    MPI_Comm comm; /* a duplicate of the user's */
    int rank, size;
    MPI_Comm host_comm; /* ranks of this host */
    struct net_map map;
    int local;                    /* this rank's number on its host */
    int *host_of, *ranks;         /* the map's */
    char (*names)[NET_HOST_NAME]; /* by host, too */
    bool own_mpi;                 /* we called MPI_Init_thread, so we call MPI_Finalize */
    int thread_level;
    struct mpi_threads mpi_threads; /* and of the program's, where those were there before */
    struct base_config config;
    struct topo *topo;
    int sharing; /* ranks of this host with the same cores */
    struct base_segment segment;
    bool segment_open;
    struct store_layout layout;
    uint64_t net_offset, store_offset, data_offset;
    pthread_mutex_t mpi_lock;
    bool wire_is_mpi;   /* between hosts MPI carries our own messages */
    bool reads_are_mpi; /* and reads other hosts' segments */
};

/** MPI, configuration, versions, names of tasks, host segment. On error nothing is open, on any rank. */
int bootstrap_open(struct bootstrap *b, int *argc, char ***argv, const void *comm);
void bootstrap_close(struct bootstrap *b);
/** Collective: OK if all ranks pass OK; else each gets its own error, or is told who failed and why. */
int bootstrap_agree(struct bootstrap *b, int status);
/** Collective: the lowest status of all ranks. */
int bootstrap_worst(struct bootstrap *b, int status);
/** Collective: see net_gather; `arg` is the bootstrap. */
void bootstrap_gather(void *arg, const void *mine, void *all, size_t bytes);
void bootstrap_barrier(struct bootstrap *b);
/** Collective: timeline (RAYMPI_TRACE) and table (RAYMPI_STATS) of all ranks, written by rank 0. */
void bootstrap_collect(struct bootstrap *b, struct api_node *node);
/** Collective, on several hosts: the way to read other hosts' segments that RAYMPI_FETCH asks for, or that is
 * good here.
 */
int bootstrap_reads(struct bootstrap *b, struct net *net);
int bootstrap_mpi_lock(struct bootstrap *b);
int bootstrap_mpi_unlock(struct bootstrap *b);

#endif
