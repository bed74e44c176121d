/* The progress thread: polls in place of workers that are all busy with long tasks, looks after a main() that
 * computes, and keeps the watchdog. It sleeps for good while the workers do. */
#include "sched/sched_internal.h"

#include <signal.h>

#define TICK_FIRST       UINT64_C(2000000) /* ns; while something runs */
#define SUBMITS_PATIENCE 3                 /* ticks in which main() may submit without running anything */
#define STRANGER_TICK                                                                                        \
    UINT64_C(100000000) /* ns; while a thread of the user's keeps us from calling the job at rest */
#define TICK_LAST UINT64_C(10000000) /* ns; when polling in place of workers was not needed for a while */

static bool all_asleep(struct sched *sched)
{
    int workers = sched->worker_count + atomic_load_explicit(&sched->spare_running, memory_order_relaxed);
    return atomic_load_explicit(&sched->sleepers, memory_order_relaxed) >= workers;
}

/* Has main() run anything since the last look? Then it is not away, and takes what waits soon. One that only
 * submits is believed to wait soon for a few ticks. */
static bool main_moved(struct sched *sched)
{
    const struct worker *main_worker = sched->workers[0];
    uint64_t run = atomic_load_explicit(&((struct worker *)main_worker)->front.run, memory_order_relaxed);
    int64_t bottom =
        atomic_load_explicit(&((struct worker *)main_worker)->front.deque.bottom, memory_order_relaxed);
    bool ran = run != sched->main_run, submitted = bottom != sched->main_bottom;
    sched->main_run = run;
    sched->main_bottom = bottom;
    sched->main_submits = submitted && !ran ? sched->main_submits + 1 : 0;
    return ran || (submitted && sched->main_submits <= SUBMITS_PATIENCE);
}

/* Work waits, main() computes, and there is no other worker: start one. */
static void spare_check(struct sched *sched)
{
    if (main_moved(sched))
        return;
    bool waits = !queue_empty(&sched->inject) || !queue_empty(&sched->pinned) ||
                 sched_deque_size(&sched->workers[0]->front.deque) > 0;
    if (sched->worker_count > 1 || !waits || atomic_load_explicit(&sched->main_inside, memory_order_relaxed))
        return;
    if (atomic_load_explicit(&sched->spare_running, memory_order_relaxed)) {
        sched_wake_worker(sched, sched->workers[sched->worker_count]);
        return;
    }
    atomic_store_explicit(&sched->spare_running, 1, memory_order_relaxed);
    if (worker_thread_start(sched, sched->worker_count) != RAYMPI_OK) {
        atomic_store_explicit(&sched->spare_running, 0, memory_order_relaxed); /* the next tick tries again */
        base_log(sched->spare_refused ? BASE_LOG_DEBUG : BASE_LOG_WARN, "sched",
                 "no spare worker, work waits for main(): %s", base_detail());
        sched->spare_refused = true;
        return;
    }
    atomic_store_explicit(&sched->board->available, 1, memory_order_relaxed);
}

struct watchdog {
    uint64_t moved, since;
    bool reported;
};

static uint64_t movement(const struct sched *sched)
{
    uint64_t sum = 0;
    for (int i = 0; i <= sched->worker_count; i++)
        if (sched->workers[i])
            sum += atomic_load_explicit(&sched->workers[i]->front.run, memory_order_relaxed) +
                   atomic_load_explicit(&sched->workers[i]->parked_count, memory_order_relaxed);
    const struct net_board *board = sched->board;
    return sum + atomic_load_explicit(&((struct net_board *)board)->received, memory_order_relaxed);
}

static void watchdog_look(struct sched *sched, struct watchdog *dog, uint64_t now)
{
    uint64_t moved = movement(sched);
    bool waits = atomic_load_explicit(&sched->board->waiting, memory_order_relaxed);
    if (moved != dog->moved || !waits) {
        *dog = (struct watchdog){moved, now, false};
        return;
    }
    double seconds = (double)(now - dog->since) * 1e-9;
    if (dog->reported || seconds < sched->config.watchdog)
        return;
    dog->reported = true;
    if (sched->config.hooks.stalled)
        sched->config.hooks.stalled(sched->config.hooks.arg, seconds);
}

/* Sleeps: a tick while workers run, else until kicked (or the watchdog's next look). */
static void progress_wait(struct sched *sched, uint64_t tick)
{
    if (!all_asleep(sched)) {
        sched_futex_wait(&sched->progress_word, 0, tick);
        return;
    }
    atomic_store_explicit(&sched->progress_word, 1, memory_order_relaxed);
    /* Full fence: "I sleep" before the look at the workers; a worker wakes before it looks at "I sleep". */
    base_fence();
    if (all_asleep(sched) && !atomic_load_explicit(&sched->stop, memory_order_relaxed)) {
        uint64_t limit = sched->config.watchdog > 0 ? (uint64_t)(sched->config.watchdog * 5e8) : UINT64_MAX;
        if (atomic_load_explicit(&sched->stranger, memory_order_relaxed) && limit > STRANGER_TICK)
            limit = STRANGER_TICK;
        sched_futex_wait(&sched->progress_word, 1, limit);
    }
    atomic_store_explicit(&sched->progress_word, 0, memory_order_relaxed);
}

void progress_kick(struct sched *sched)
{
    /* Full fence: the worker's "awake" before the look at the progress thread; see progress_wait(). */
    base_fence();
    uint32_t one = 1;
    if (atomic_load_explicit(&sched->progress_word, memory_order_relaxed) == 1 &&
        atomic_compare_exchange_strong(&sched->progress_word, &one, 0))
        sched_futex_wake(&sched->progress_word, 1);
}

static void *progress_main(void *arg)
{
    struct sched *sched = arg;
    struct watchdog dog = {0, net_now(sched->net), false};
    uint64_t seen = 0, tick = TICK_FIRST;
    base_log_rank(net_rank(sched->net));
    while (!atomic_load_explicit(&sched->stop, memory_order_acquire)) {
        progress_wait(sched, tick);
        /* One thread writes it: a load and a store are enough. */
        atomic_store_explicit(&sched->ticks, atomic_load_explicit(&sched->ticks, memory_order_relaxed) + 1,
                              memory_order_relaxed);
        if (sched->config.hooks.ticked)
            sched->config.hooks.ticked(sched->config.hooks.arg);
        net_tick(sched->net);
        uint64_t polls = atomic_load_explicit(&sched->polls, memory_order_relaxed);
        bool stale = polls == seen;
        seen = polls;
        if (stale && !all_asleep(sched)) {
            /* The workers may fall asleep while we poll: the rank is not at rest then. */
            sched_active_add(sched);
            bool delivered = sched_poll(sched, POLLER_PROGRESS, POLL_BUDGET);
            sched_active_drop(sched);
            seen = atomic_load_explicit(&sched->polls, memory_order_relaxed);
            tick = delivered ? TICK_FIRST : (tick * 2 > TICK_LAST ? TICK_LAST : tick * 2);
            spare_check(sched);
        }
        if (atomic_load_explicit(&sched->stranger, memory_order_relaxed)) {
            sched_active_add(sched); /* it may have ended: looks again */
            sched_active_drop(sched);
        }
        if (sched->config.watchdog > 0)
            watchdog_look(sched, &dog, net_now(sched->net));
    }
    return NULL;
}

/* Threads of ours take no signals: those belong to the user's threads. */
static int thread_create(pthread_t *thread, void *(*body)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, body, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? base_fail(RAYMPI_ERR_MEMORY, "no thread could be started (limit on processes or memory)")
                 : RAYMPI_OK;
}

int progress_start(struct sched *sched)
{
    int status = thread_create(&sched->progress, progress_main, sched);
    sched->progress_started = status == RAYMPI_OK;
    return status;
}

void progress_stop(struct sched *sched)
{
    if (!sched->progress_started)
        return;
    atomic_store_explicit(&sched->progress_word, 0, memory_order_seq_cst);
    sched_futex_wake(&sched->progress_word, 1);
    pthread_join(sched->progress, NULL);
    sched->progress_started = false;
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct sched *sched = worker->sched;
    sched_self_front = &worker->front;
    base_log_rank(net_rank(sched->net));
    fiber_init_thread(&worker->own);
    worker_on(worker, &worker->own);
    if (sched->config.hooks.thread_begin)
        sched->config.hooks.thread_begin(sched->config.hooks.arg, worker);
    struct fiber *loop;
    int tries = 0;
    while (!(loop = fiber_acquire(worker->fibers, worker_loop, worker)))
        base_await_memory(&tries, "sched", "the stack of a worker");
    worker_switch(worker, loop); /* comes back when the scheduler stops */
    if (sched->config.hooks.thread_end)
        sched->config.hooks.thread_end(sched->config.hooks.arg, worker);
    fiber_fini_thread(&worker->own);
    return NULL;
}

int worker_thread_start(struct sched *sched, int index)
{
    struct worker *worker = sched->workers[index];
    sched_active_add(sched);
    int status = thread_create(&worker->thread, worker_main, worker);
    worker->started = status == RAYMPI_OK;
    if (status != RAYMPI_OK)
        sched_active_drop(sched);
    return status;
}
