#ifndef RAYMPI_SCHED_INTERNAL_H
#define RAYMPI_SCHED_INTERNAL_H

#include "sched/sched.h"

#include <pthread.h>

enum worker_sleep { WORKER_AWAKE = 0, WORKER_ASLEEP, WORKER_ASLEEP_IN_NET };
enum parker_state { PARKER_RUNNING = 0, PARKER_PARKED, PARKER_NOTIFIED };

struct worker {
    struct sched_front front; /* first */
    struct sched *sched;
    int index;
    bool started;
    pthread_t thread;
    struct fiber own; /* the thread's own stack: main's, or where a worker thread waits for its end */
    struct fiber *current;
    struct fiber *finished; /* a loop fiber to be recycled by whoever was switched to */
    struct fiber_pool *fibers;
    struct sched_parker *ready_head, *ready_tail; /* this thread only */
    unsigned looks;                               /* at colleagues' work, in vain */
    uint64_t next_deadline; /* not later than the first deadline of a timed parker here */
    _Atomic uint64_t stolen, parked_count, sleeps;                         /* written by this thread only */
    _Alignas(BASE_CACHE_LINE) _Atomic(struct sched_parker *) remote_ready; /* pushed by other threads */
    _Atomic uint32_t asleep;                                               /* enum worker_sleep; futex word */
    struct base_spin parked_lock;
    struct sched_parker *parked;
};

/** A first-in-first-out queue that any thread may use. */
struct sched_queue {
    _Alignas(BASE_CACHE_LINE) struct base_spin lock;
    struct sched_item *head, *tail;
    _Atomic uint32_t count;
};

struct sched {
    struct net *net;
    struct net_board *board; /* this rank's */
    struct sched_config config;
    int worker_count;          /* without the spare */
    struct worker **workers;   /* worker_count + 1: the last one is the spare */
    struct sched_queue inject; /* may go to other ranks */
    struct sched_queue pinned; /* may not */
    _Atomic int stop;
    _Atomic int main_inside; /* main is blocked in raympi, so worker 0 works */
    _Atomic int spare_running;
    uint64_t main_run;   /* these three are the progress thread's: what worker 0 had run */
    int64_t main_bottom; /* ... and submitted */
    int main_submits;    /* looks in a row at which it had only submitted */
    bool spare_refused;  /* said so; the progress thread's */
    /* who polls: worker index, POLLER_PROGRESS, or POLLER_NONE */
    _Alignas(BASE_CACHE_LINE) _Atomic int poller;
    _Atomic uint64_t polls;
    bool far;   /* the job has other hosts, too */
    bool light; /* workers fence heavily before they sleep, so who wakes them need not */
    _Alignas(BASE_CACHE_LINE) _Atomic int sleepers; /* workers asleep */
    struct base_spin rest_lock;
    int threads_known;    /* of the process: those there were at start, and the user's that have called; under
                             rest_lock */
    _Atomic int stranger; /* rest was not declared because of a thread that has not called yet: look again */
    int active;           /* under rest_lock: workers awake, workers with timers, user threads running */
    struct base_spin threads_lock;
    struct sched_parker *threads_parked;
    _Atomic uint32_t ticks; /* the progress thread's looks */
    pthread_t progress;
    bool progress_started;
    _Atomic uint32_t progress_word; /* futex: 1 while the progress thread sleeps without a tick */
};

#define POLLER_NONE     (-1)
#define POLLER_PROGRESS (-2)
#define POLL_BUDGET     64

/* The worker that the calling thread is, or NULL. */
static inline struct worker *worker_self(void)
{
    return (struct worker *)sched_self_front;
}
_Static_assert(offsetof(struct worker, front) == 0, "a worker is found by its front");

/* sched_park.c */
/* main() gives its thread to the rank's work, and takes it back. Tells how it was before: a task that runs
 * above a waiting main() leaves it so. */
static inline bool worker_main_inside(struct worker *worker, bool inside)
{
    struct sched *sched = worker->sched;
    if (!worker->front.on_main)
        return false;
    bool before = atomic_load_explicit(&sched->main_inside, memory_order_relaxed);
    if (inside)
        atomic_store_explicit(&sched->main_inside, true, memory_order_relaxed);
    else
        sched_main_leaves(&worker->front);
    if (sched->worker_count == 1)
        atomic_store_explicit(&sched->board->available, inside, memory_order_relaxed);
    return before;
}
/* SIZE_MAX when this is not the stack that the fiber is known to have. */
static inline size_t sched_stack_left_of(const struct fiber *fiber)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), low = (uintptr_t)fiber->stack;
    return fiber->stack && here >= low && here - low < fiber->stack_bytes ? here - low : SIZE_MAX;
}

/* The stack that the worker is on from here. */
static inline void worker_on(struct worker *worker, struct fiber *fiber)
{
    size_t one = worker->sched->config.stack_bytes;
    worker->current = fiber;
    worker->front.on_main = fiber == &worker->own && worker->index == 0;
    worker->front.nest_low = (uintptr_t)fiber->stack + one;
    worker->front.nest_span = fiber->stack && fiber->stack_bytes > one ? fiber->stack_bytes - one : 0;
}

/* sched_queue.c */
void queue_push(struct sched_queue *queue, struct sched_item *item);
struct sched_item *queue_pop(struct sched_queue *queue);
/* All there are, linked, oldest first. How many; 0: none. */
uint32_t queue_pop_all(struct sched_queue *queue, struct sched_item **first, struct sched_item **last);
/* Around a poll: what its handlers make runnable for this rank only goes into the queue as a whole when that
 * ends. Polls do not nest; the answer of the one is for the other. */
struct sched *arrivals_begin(struct sched *sched);
void arrivals_end(struct sched *sched, struct sched *outer);
static inline bool queue_empty(const struct sched_queue *queue)
{
    return atomic_load_explicit(&((struct sched_queue *)queue)->count, memory_order_relaxed) == 0;
}

/* Counts that one thread writes and others read: a load and a store are enough. */
static inline void worker_count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* sched_worker.c */
/* What the rooms above owe others: before anything but the next item of those at hand. */
static inline void worker_settle(struct worker *worker)
{
    if (base_unlikely(worker->front.owed))
        worker->sched->config.hooks.settle(worker->sched->config.hooks.arg);
}
void worker_loop(void *arg);
struct sched_item *worker_next(struct worker *worker);
void worker_run(struct worker *worker, struct sched_item *item);
void parker_wake(struct sched_parker *parker);
struct sched_parker *worker_ready(struct worker *worker);
void worker_switch(struct worker *worker, struct fiber *to);
void worker_idle(struct worker *worker);
bool sched_poll(struct sched *sched, int who, int budget);
bool sched_wake_worker(struct sched *sched, struct worker *worker);
void sched_expire(struct worker *worker, uint64_t now);

/* sched_rest.c */
void sched_active_add(struct sched *sched);
void sched_active_drop(struct sched *sched);
void sched_threads_known(struct sched *sched);

/* sched_progress.c */
int progress_start(struct sched *sched);
void progress_stop(struct sched *sched);
void progress_kick(struct sched *sched);
int worker_thread_start(struct sched *sched, int index);

/* sched_futex.c */
void sched_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds);
void sched_futex_wake(_Atomic uint32_t *word, int count);

#endif
