/* When things run: workers, fibers that block without blocking their worker, queues, stealing within the
 * rank, sleep. */
#ifndef RAYMPI_SCHED_H
#define RAYMPI_SCHED_H

#include "net/net.h"

struct sched;
struct worker;

/** Something that a worker can run; embedded in a task or an actor. */
struct sched_item {
    struct sched_item *next;
    void (*run)(struct sched_item *item);
};

/** What the scheduler tells and asks the rooms above. All may be NULL except `thread_begin`. */
struct sched_hooks {
    void *arg;
    /* a worker thread starts/ends: the rooms above attach their per-thread state */
    void (*thread_begin)(void *arg, struct worker *worker);
    void (*thread_end)(void *arg, struct worker *worker);
    /* a worker has run what was at hand, and had set `owed` */
    void (*settle)(void *arg);
    /* now and then while something runs, on the progress thread */
    void (*ticked)(void *arg);
    /* after every poll, on the polling thread */
    void (*polled)(void *arg);
    /* a worker has found nothing to do: a chance to ask other ranks, before it looks around and sleeps */
    void (*idle)(void *arg);
    /* the job is at rest and this rank was chosen to say so */
    void (*rest)(void *arg, enum net_rest rest);
    /* nothing moved for the watchdog's time although something waits */
    void (*stalled)(void *arg, double seconds);
};

struct sched_config {
    int workers;
    uint64_t stack_bytes;
    unsigned max_fibers; /* per worker, 0 = derived */
    uint64_t spin_ns;
    double watchdog;  /* seconds, 0 = off */
    bool cooperative; /* the sim: no threads of our own, net_sleep() gives control back */
    struct sched_hooks hooks;
};

/** Creates the scheduler. The calling thread becomes worker 0, and runs items whenever it blocks. */
int sched_open(struct sched **sched, struct net *net, const struct sched_config *config);
/** Starts the other workers and the progress thread, which from now on poll. */
int sched_start(struct sched *sched);
/** Stops workers and progress thread. Nothing may be parked any more except by a bug (they are then
 * abandoned). */
void sched_stop(struct sched *sched);
void sched_close(struct sched *sched);

int sched_workers(const struct sched *sched);
int sched_worker_index(const struct worker *worker);
/** What others may look at of it; NULL for NULL. */
struct sched_front *sched_worker_front(struct worker *worker);
/** For the sim, where one thread plays the worker of several nodes: takes the identity of `worker`, which is
 * in no poll. */
void sched_worker_assume(struct worker *worker);
struct worker *sched_worker(struct sched *sched, int index);
/** The fiber that the worker runs, for the sim: what to come back to. */
struct fiber *sched_worker_fiber(const struct worker *worker);

/** As sched_push(), on the rank's first-in-first-out queue whoever calls: work that came from other ranks. */
void sched_push_fifo(struct sched *sched, struct sched_item *item);
/** Takes up to `most` items away, oldest first, for another rank. Any thread. */
int sched_take(struct sched *sched, struct sched_item **items, int most);
/** Ready items that sched_take() could give, roughly. */
uint32_t sched_queued(const struct sched *sched);

/** Why somebody waits, for the watchdog and the deadlock report. */
struct sched_reason {
    const char *who;  /* task name, "main", "thread" */
    const char *what; /* "get", "wait", "finalize" */
    uint64_t handle;  /* of an object it waits for; 0 = none */
    bool passive; /* waits for the end of the job: no reason to call it deadlocked, and not to be failed */
};

/** A place where a fiber or a user's thread waits. On the waiter's stack. */
struct sched_parker {
    struct sched *sched;
    struct worker *worker; /* NULL: a thread of the user's */
    struct fiber *fiber;
    _Atomic uint32_t state;
    int status;
    uint64_t deadline;
    struct sched_parker *ready_next;
    struct sched_parker *prev, *next; /* of the worker's parked list */
    struct sched_reason reason;
    bool timed;
    bool resumed; /* the worker's thread only: it was notified and its turn has come */
};

void sched_parker_init(struct sched *sched, struct sched_parker *parker, struct sched_reason reason);
/**
 * Waits for sched_unpark(), at most until `deadline` (net_now() nanoseconds; UINT64_MAX = no limit). The
 * worker runs other items meanwhile. OK, TIMEOUT, the status of sched_fail_parked() (DEADLOCK), or MEMORY
 * when so many tasks are blocked that there is no fiber and no stack left. After OK the parker can be
 * initialised again.
 */
int sched_park(struct sched_parker *parker, uint64_t deadline);
/** Ends a wait, now or the next. Any thread; the parker must still exist. Idempotent. */
void sched_unpark(struct sched_parker *parker);
/** Looks at the rings until done(arg) or, after a short time or as soon as there is something else to do for
 * this worker, gives up: true when done. For waits that end soon, before the detour of a park. Not from
 * handlers. */
bool sched_spin(struct sched *sched, bool (*done)(void *arg), void *arg);
/** The same, whatever else there is to do: for a caller that would only add to it. */
bool sched_help(struct sched *sched, bool (*done)(void *arg), void *arg);
/** Lets other items and messages go first. */
void sched_yield_fiber(struct sched *sched);
/** Calls visit for everything that is parked now (under the lists' locks: it must not block). */
void sched_each_parked(struct sched *sched, void (*visit)(void *arg, const struct sched_parker *parker),
                       void *arg);
/** Ends every wait of this rank with `status`. */
void sched_fail_parked(struct sched *sched, int status);

/** A thread of the user's that has called raympi counts as active (the job is not at rest) while it is not
 * blocked in raympi. */
void sched_thread_attach(struct sched *sched);
void sched_thread_detach(struct sched *sched);

/** Tells whether an address lies in a guard page of this rank's fibers. Async-signal-safe. */
bool sched_in_guard(const struct sched *sched, const void *address);
/** Most stack that any fiber used, bytes, and most fibers that were blocked at once. */
size_t sched_stack_high_water(const struct sched *sched);
unsigned sched_fibers_peak(const struct sched *sched);
/** Changes at least every 10 ms while a worker is awake; NULL for the sim, where nothing ticks. */
const _Atomic uint32_t *sched_ticks(const struct sched *sched);

/** The scheduler's own counts, for the statistics. */
struct sched_counters {
    uint64_t run, stolen, parked, sleeps, polls;
};
void sched_counters(const struct sched *sched, struct sched_counters *counters);

#include "sched/sched_inline.h"

#endif
