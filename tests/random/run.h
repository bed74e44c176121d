/* Runs plans on the ranks of a job. */
#ifndef RANDOM_RUN_H
#define RANDOM_RUN_H

#include "plan.h"

#include <pthread.h>
#include <raympi.h>
#include <stdatomic.h>

#define RANDOM_RANKS_MOST 8 /* that share a process */

/** A place where one waits for what others bring. */
struct box {
    pthread_mutex_t lock;
    bool full;
    uint64_t content;
    uint64_t waiting; /* handle of the object that is sealed when it is full */
};
void box_init(struct box *box);
void box_put(struct box *box, uint64_t content);
/** Takes the content out, waiting for it inside raympi. */
uint64_t box_take(struct box *box);
/** Objects that boxes have now, on this rank. */
_Atomic int *box_objects(void);
/** All ranks are in this process, and what is said of a rank is of the one that calls. */
extern bool ranks_share_process;
/** The seed that this process is at, for messages. */
extern uint64_t now_at;

/** What a slot holds in this run. */
struct live {
    uint64_t handle;
    raympi_view view;
    void *data; /* created, not sealed yet */
    uint8_t depth, view_depth;
    bool held, kept, looked;
};

/** One plan that this rank takes part in. */
struct job {
    struct plan *plan;
    struct live *live; /* by slot */
    struct box *boxes; /* by operation; only those of RECEIVE are used */
    _Atomic uint64_t ran, ran_sum, destroyed, tasks, remote;
    _Atomic int failures;
};

/** The job of a seed, NULL when there is none here (any more). */
struct job *job_of(uint64_t seed);
/** Makes the job of a seed known here, in place of the one before the last. */
struct job *job_prepare(struct plan *plan);
void jobs_free(void);
/** Actors that were made, and so have to end. One that was killed may be dead before it is made. */
uint64_t plan_actors_made(const struct plan *plan);
/** Says that something is not as it should be. */
void complain(struct job *job, int op, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** Runs the script of a driver: to be called by the thread that it is for. */
void run_driver(struct job *job, int script);

/* left.c */
/** Bytes of stored values that this rank has moved so far: fetched from other hosts, of those one-sidedly,
 * spilled to disk, restored from there; and parts of the store that it has registered with libfabric, of
 * those dropped, and refused. */
enum moved {
    MOVED_FETCHED,
    MOVED_READ,
    MOVED_SPILLED,
    MOVED_RESTORED,
    MOVED_REGIONS,
    MOVED_DROPPED,
    MOVED_REFUSED,
    MOVED
};
void bytes_moved(uint64_t moved[MOVED]);
/** Is nothing left on this rank but the objects of boxes, and `own` more? Else `text` says what there is. */
bool nothing_left(int own, char *text, size_t size);

#endif
