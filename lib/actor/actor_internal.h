#ifndef RAYMPI_ACTOR_INTERNAL_H
#define RAYMPI_ACTOR_INTERNAL_H

#include "actor/actor.h"

#include <string.h>

enum actor_ending {
    ACTOR_LIVES = 0,
    ACTOR_KILLED,
    ACTOR_EXITED,
    ACTOR_FAILED,
    ACTOR_ABANDONED,
    ACTOR_JOB_ENDS
};

/** One actor on its host. */
struct actor {
    struct sched_item item;
    struct actor_room *room;
    uint64_t handle;
    struct task_function *klass; /* NULL as long as it is not born, and for one that never could be */
    void *state;
    struct base_spin lock;
    struct task *head, *tail;     /* mailbox */
    void *lanes;                  /* of its methods' calls: the actor is one caller, whichever method calls */
    struct task_function *recent; /* the method that ran last; whoever runs the actor */
    bool born;                    /* the news of its making has come; calls may be faster */
    bool scheduled;               /* in a queue or running */
    bool constructed;
    bool dead;           /* ended: calls fail */
    bool unheld;         /* no handle is left anywhere */
    _Atomic bool unseen; /* could not be made, and nobody has been told yet */
    enum actor_ending ending;
    int code; /* what calls answer once it has ended, with the reason */
    char reason[512];
    struct kept_set kept;
    UT_hash_handle hh;
};

/** Calls of one caller to one actor that can not be sent yet, in order. */
struct lane {
    uint64_t actor;
    void **caller; /* the list that the lane is in; NULL once the caller has ended */
    struct task *head, *tail;
    bool sending; /* a thread is at it; it will come to what others make ready meanwhile */
    struct lane *next;
};

/** Knows a method by name only, on the caller's side. */
struct method_stub {
    struct task_function function;
    UT_hash_handle hh;
};

struct actor_room {
    struct task_room *tasks;
    struct base_spin lock; /* table */
    struct actor *table;
    _Atomic uint32_t *born; /* per creator: how many of its actors we have been told of */
    uint32_t *next_number;  /* per host: for actors we create there; under making_lock */
    _Atomic uint32_t next_start;
    struct base_spin lane_lock;
    struct base_spin making_lock;
    struct actor *recent; /* the one that was looked for last; under lock */
    /* The poller's: calls of one actor that came one after the other in this poll. Bursts go to few actors,
     * and so take the locks once. */
    struct task *arrived, *arrived_last;
    uint64_t constructor_hash, destructor_hash, ping_hash;
};

#define ACTOR_NUMBER_BITS 23
#define ACTOR_PING        "?"
#define ACTOR_NO_CLASS    0

/* actor_lane.c */
/* Where the lanes of this caller hang: an actor's methods run one after the other and are one caller. */
static inline void **caller_of(struct context *context)
{
    struct actor *actor = context->run ? context->run->actor : NULL;
    return actor ? &actor->lanes : &context->lanes;
}
/** Does no call of this caller wait for arguments? */
static inline bool lane_clear(struct context *context)
{
    /* Only this caller adds lanes. Acquire: when the last one is gone, what was in it was sent before. */
    return !__atomic_load_n(caller_of(context), __ATOMIC_ACQUIRE);
}
/** False when there is no memory to keep the order. */
bool lane_enter(void *arg, struct task *task, struct context *context);
void lane_leave(void *arg, struct context *context);
/** The caller whose list this is has ended; what it has sent goes on. */
void lane_leave_list(struct actor_room *room, void **caller);
void lane_send(void *arg, struct task *task);

/* actor_host.c */
void actor_deliver(struct actor_room *room, struct task *task);
/** A call from another rank, in a poll; actor_arrived() ends the poll. */
void actor_arrive(void *arg, struct task *task);
void actor_arrived(void *arg);
void actor_handle_free(void *arg, uint64_t handle);
void actor_end_all(void *arg);
void actor_on_new(void *arg, const struct net_message *message);
void actor_on_kill(void *arg, const struct net_message *message);
int actor_born(struct actor_room *room, uint64_t handle, uint64_t class_hash, int creator);
/** `code` and `reason` are what calls answer from now on; 0 and NULL: the usual ones of this ending. */
void actor_end(struct actor_room *room, uint64_t handle, enum actor_ending ending, int code,
               const char *reason);
int actor_unborn(void *arg, uint64_t handle);
void actor_delete(struct actor *actor);

/* actor.c */
int actor_tell_end(struct actor_room *room, uint64_t handle, enum actor_ending ending, int code,
                   const char *reason);

#endif
