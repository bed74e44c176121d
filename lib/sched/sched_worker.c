/* The workers' loop: ready fibers, own queue, the rank's queues, messages, other workers' queues, sleep. */
#include "sched/sched_internal.h"

#include <sched.h>

__thread struct sched_front *sched_self_front __attribute__((tls_model("initial-exec")));
__thread bool sched_chained __attribute__((tls_model("initial-exec")));

#define YIELD_SPINS 4                 /* looks before sleep when the host is oversubscribed */
#define YIELD_LONG  UINT64_C(1000000) /* ns: the others have work for a while */
#define SPIN_CLOCK  16                /* looks between two looks at the clock */

/* Continues on fiber `to`; returns when somebody switches back to the fiber that called. */
void worker_switch(struct worker *worker, struct fiber *to)
{
    struct fiber *from = worker->current;
    worker_on(worker, to);
    fiber_switch(from, to);
    /* Back, perhaps from a loop fiber that had nothing left on its stack. */
    if (worker->finished) {
        fiber_release(worker->fibers, worker->finished);
        worker->finished = NULL;
    }
}

static void ready_append(struct worker *worker, struct sched_parker *parker)
{
    parker->ready_next = NULL;
    if (worker->ready_tail)
        worker->ready_tail->ready_next = parker;
    else
        worker->ready_head = parker;
    worker->ready_tail = parker;
}

/* Takes over what other threads have made ready, oldest first. */
static void ready_collect(struct worker *worker)
{
    /* Acquire: what the waker did before is seen by the fiber it woke. */
    struct sched_parker *list = atomic_exchange_explicit(&worker->remote_ready, NULL, memory_order_acquire);
    struct sched_parker *reversed = NULL;
    while (list) {
        struct sched_parker *next = list->ready_next;
        list->ready_next = reversed;
        reversed = list;
        list = next;
    }
    while (reversed) {
        struct sched_parker *next = reversed->ready_next;
        ready_append(worker, reversed);
        reversed = next;
    }
}

struct sched_parker *worker_ready(struct worker *worker)
{
    if (atomic_load_explicit(&worker->remote_ready, memory_order_relaxed))
        ready_collect(worker);
    struct sched_parker *parker = worker->ready_head;
    if (parker) {
        worker->ready_head = parker->ready_next;
        if (!worker->ready_head)
            worker->ready_tail = NULL;
        parker->resumed = true;
    }
    return parker;
}

/* Whoever changes the state from PARKED to NOTIFIED wakes, once. */
void parker_wake(struct sched_parker *parker)
{
    struct sched *sched = parker->sched;
    struct worker *worker = parker->worker;
    if (!worker) {
        if (!parker->timed)
            sched_active_add(sched);
        sched_futex_wake(&parker->state, 1);
        return;
    }
    if (worker == worker_self()) {
        ready_append(worker, parker);
        return;
    }
    struct sched_parker *head = atomic_load_explicit(&worker->remote_ready, memory_order_relaxed);
    do
        parker->ready_next = head;
    while (!atomic_compare_exchange_weak_explicit(&worker->remote_ready, &head, parker, memory_order_release,
                                                  memory_order_relaxed));
    /* Full fence: the push comes before the look at the sleeper; see worker_sleep(). */
    base_fence();
    if (!base_defect(DEFECT_LOST_WAKEUP))
        sched_wake_worker(sched, worker);
}

void sched_unpark(struct sched_parker *parker)
{
    /* Acquire-release: publishes the result to the waiter; pairs with the compare-exchange that parks. */
    if (atomic_exchange_explicit(&parker->state, PARKER_NOTIFIED, memory_order_acq_rel) == PARKER_PARKED)
        parker_wake(parker);
}

/* Timed waits whose time is up become ready with TIMEOUT. */
void sched_expire(struct worker *worker, uint64_t now)
{
    if (now < worker->next_deadline)
        return;
    uint64_t next = UINT64_MAX;
    base_spin_lock(&worker->parked_lock);
    for (struct sched_parker *parker = worker->parked; parker; parker = parker->next) {
        uint32_t parked = PARKER_PARKED;
        if (parker->deadline > now) {
            next = parker->deadline < next ? parker->deadline : next;
        } else if (atomic_compare_exchange_strong_explicit(&parker->state, &parked, PARKER_NOTIFIED,
                                                           memory_order_acq_rel, memory_order_relaxed)) {
            parker->status = RAYMPI_ERR_TIMEOUT;
            ready_append(worker, parker);
        }
    }
    base_spin_unlock(&worker->parked_lock);
    worker->next_deadline = next;
}

/* One poll, if nobody else polls now. True when something was delivered. */
bool sched_poll(struct sched *sched, int who, int budget)
{
    int none = POLLER_NONE;
    /* Acquire and release: what one poller left in the net is seen by the next. */
    if (!atomic_compare_exchange_strong_explicit(&sched->poller, &none, who, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    if (base_unlikely(who == POLLER_PROGRESS))
        net_look(sched->net);
    struct sched *outer = arrivals_begin(sched);
    int delivered = net_poll(sched->net, budget);
    if (sched->config.hooks.polled)
        sched->config.hooks.polled(sched->config.hooks.arg);
    arrivals_end(sched, outer);
    worker_count(&sched->polls); /* the poller's */
    atomic_store_explicit(&sched->poller, POLLER_NONE, memory_order_release);
    return delivered > 0;
}

/* The spare worker stands in for a main() that computes; it takes nothing new while main is with us. */
static bool may_take(const struct worker *worker)
{
    const struct sched *sched = worker->sched;
    return worker->index < sched->worker_count ||
           !atomic_load_explicit(&((struct sched *)sched)->main_inside, memory_order_relaxed);
}

#define STEAL_BATCH 32
#define STEAL_LOOKS 8 /* looks at work of which nothing is public before it is made so */

/* From one colleague: the oldest item, and more onto our own deque. */
static struct sched_item *steal_from(struct worker *worker, struct worker *victim)
{
    struct sched_item *items[STEAL_BATCH];
    /* The spare must not keep what main() could run as soon as it is back. */
    int most = worker->index < worker->sched->worker_count ? STEAL_BATCH : 1;
    int count = sched_deque_steal(&victim->front.deque, items, most, SCHED_THIEF_PATIENT);
    if (count == 0 && sched_deque_size(&victim->front.deque) > 0 && ++worker->looks % STEAL_LOOKS == 0)
        count = sched_deque_steal(&victim->front.deque, items, most, SCHED_THIEF);
    for (int i = count - 1; i > 0; i--) /* so that they are run in their order */
        sched_push(worker->sched, items[i]);
    if (count == 0)
        return NULL;
    atomic_store_explicit(&worker->stolen,
                          atomic_load_explicit(&worker->stolen, memory_order_relaxed) + (uint64_t)count,
                          memory_order_relaxed);
    return items[0];
}

static struct sched_item *steal_within(struct worker *worker)
{
    struct sched *sched = worker->sched;
    for (int i = 1; i <= sched->worker_count; i++) {
        struct worker *victim = sched->workers[(worker->index + i) % (sched->worker_count + 1)];
        struct sched_item *item = victim ? steal_from(worker, victim) : NULL;
        if (item)
            return item;
    }
    return NULL;
}

static inline struct sched_item *mine_take(struct sched_front *front)
{
    struct sched_item *item = front->mine;
    front->mine = item->next;
    front->mine_count--;
    return item;
}

static struct sched_item *pinned_next(struct worker *worker)
{
    struct sched *sched = worker->sched;
    if (!worker->front.alone)
        return queue_pop(&sched->pinned);
    struct sched_front *front = &worker->front;
    if (!front->mine && !(front->mine_count = queue_pop_all(&sched->pinned, &front->mine, &front->mine_last)))
        return NULL;
    return mine_take(front);
}

/* The next of those that were taken out of the queue together, while nothing else is to be looked at; NULL:
 * worker_next() knows. */
static inline struct sched_item *mine_next(struct worker *worker)
{
    struct sched_front *front = &worker->front;
    struct sched_item *item = front->mine;
    if (!item || worker->ready_head || front->tick % SCHED_POLL_EVERY == 0 ||
        sched_deque_size(&front->deque) > 0 ||
        base_unlikely(atomic_load_explicit(&worker->remote_ready, memory_order_relaxed) != NULL))
        return NULL;
    front->tick++;
    return mine_take(front);
}

static struct sched_item *shared_next(struct worker *worker)
{
    struct sched_item *item = pinned_next(worker);
    return item ? item : queue_pop(&worker->sched->inject);
}

/* Something that a worker which only takes from its own queue would never come to. */
bool sched_others_wait(const struct sched_front *front)
{
    const struct worker *worker = (const struct worker *)front;
    const struct sched *sched = worker->sched;
    return worker->ready_head || front->mine || worker->next_deadline != UINT64_MAX ||
           !queue_empty(&sched->pinned) || !queue_empty(&sched->inject) ||
           atomic_load_explicit(&((struct worker *)worker)->remote_ready, memory_order_relaxed) != NULL;
}

void sched_poll_now(struct sched *sched)
{
    sched_poll(sched, worker_self()->index, POLL_BUDGET);
}

struct sched_item *worker_next(struct worker *worker)
{
    struct sched *sched = worker->sched;
    if (!may_take(worker))
        return NULL;
    unsigned tick = worker->front.tick++;
    /* Who has tasks of others to run takes no more than it runs: the rest waits in the rings. */
    if (tick % SCHED_POLL_EVERY == 0)
        sched_poll(sched, worker->index,
                   worker->front.mine || !queue_empty(&sched->pinned) ? SCHED_POLL_EVERY : POLL_BUDGET);
    struct sched_item *item = NULL;
    if (tick % SCHED_FAIR_TICKS == 0) {
        sched_expire(worker, worker->next_deadline == UINT64_MAX ? 0 : net_now(sched->net));
        item = shared_next(worker);
    }
    if (!item)
        item = sched_deque_pop(&worker->front.deque);
    if (!item)
        item = shared_next(worker);
    if (!item && sched_poll(sched, worker->index, POLL_BUDGET)) {
        item = shared_next(worker);
        if (!item)
            item = sched_deque_pop(&worker->front.deque);
    }
    if (!item &&
        (sched->worker_count > 1 || atomic_load_explicit(&sched->spare_running, memory_order_relaxed)))
        item = steal_within(worker);
    return item;
}

/* Anything for this worker to do, short of asking the rings? Also called by net_sleep() when it is about to
 * sleep. */
static bool worker_has_work(void *arg)
{
    struct worker *worker = arg;
    struct sched *sched = worker->sched;
    if (worker->ready_head || worker->front.mine ||
        atomic_load_explicit(&worker->remote_ready, memory_order_relaxed) ||
        atomic_load_explicit(&sched->stop, memory_order_relaxed))
        return true;
    if (!may_take(worker))
        return false;
    if (!queue_empty(&sched->inject) || !queue_empty(&sched->pinned))
        return true;
    for (int i = 0; i <= sched->worker_count; i++)
        if (sched->workers[i] && sched_deque_size(&sched->workers[i]->front.deque) > 0)
            return true;
    return false;
}

/* Wakes a worker that is asleep; false when he is awake already, perhaps by somebody else. He counts as
 * active from here on, not only once he runs: otherwise the job could look at rest between the two. */
bool sched_wake_worker(struct sched *sched, struct worker *worker)
{
    uint32_t asleep = atomic_load_explicit(&worker->asleep, memory_order_relaxed);
    while (asleep != WORKER_AWAKE) {
        if (!atomic_compare_exchange_weak_explicit(&worker->asleep, &asleep, WORKER_AWAKE,
                                                   memory_order_acq_rel, memory_order_relaxed))
            continue;
        atomic_fetch_sub_explicit(&sched->sleepers, 1, memory_order_relaxed);
        sched_active_add(sched);
        progress_kick(sched); /* the worker may be on its way already, and have looked before we counted it */
        if (asleep == WORKER_ASLEEP_IN_NET)
            net_wake(sched->net);
        else
            sched_futex_wake(&worker->asleep, 1);
        return true;
    }
    return false;
}

/* One wake-up for each push: where two threads choose the same sleeper, the second goes on to another one. */
void sched_wake_one(struct sched *sched)
{
    for (int i = 0; i <= sched->worker_count; i++) {
        struct worker *worker = sched->workers[i];
        if (worker && atomic_load_explicit(&worker->asleep, memory_order_relaxed) != WORKER_AWAKE &&
            may_take(worker) && sched_wake_worker(sched, worker))
            return;
    }
}

/* A worker that woke by itself (message, time-out): takes back what it gave when it went to sleep, unless a
 * waker has done so already. */
static void worker_awake(struct worker *worker)
{
    struct sched *sched = worker->sched;
    uint32_t asleep = atomic_load_explicit(&worker->asleep, memory_order_relaxed);
    while (asleep != WORKER_AWAKE)
        if (atomic_compare_exchange_weak_explicit(&worker->asleep, &asleep, WORKER_AWAKE,
                                                  memory_order_acq_rel, memory_order_relaxed)) {
            atomic_fetch_sub_explicit(&sched->sleepers, 1, memory_order_relaxed);
            sched_active_add(sched);
            return;
        }
}

static void sleep_in_net(struct worker *worker, uint64_t deadline)
{
    net_sleep(worker->sched->net, deadline, worker_has_work, worker);
}

static void sleep_alone(struct worker *worker, uint64_t deadline)
{
    uint64_t now = deadline == UINT64_MAX ? 0 : net_now(worker->sched->net);
    if (deadline > now && atomic_load_explicit(&worker->asleep, memory_order_acquire) == WORKER_ASLEEP)
        sched_futex_wait(&worker->asleep, WORKER_ASLEEP,
                         deadline == UINT64_MAX ? UINT64_MAX : deadline - now);
}

/* Sleeps until there is something to do. With the poller's role when it is free: then messages end the sleep.
 */
static void worker_sleep(struct worker *worker)
{
    struct sched *sched = worker->sched;
    int none = POLLER_NONE;
    bool poller = atomic_compare_exchange_strong_explicit(&sched->poller, &none, worker->index,
                                                          memory_order_acquire, memory_order_relaxed);
    if (!poller && none == POLLER_PROGRESS)
        return; /* it gives the role back at once, and somebody has to sleep with it */
    uint64_t deadline = worker->next_deadline;
    worker_count(&worker->sleeps);
    atomic_fetch_add_explicit(&sched->sleepers, 1, memory_order_relaxed);
    atomic_store_explicit(&worker->asleep, poller ? WORKER_ASLEEP_IN_NET : WORKER_ASLEEP,
                          memory_order_relaxed);
    /* "Asleep" comes before the look at the queues; who pushes, pushes before it looks at "asleep". */
    if (sched->light)
        base_fence_heavy();
    else
        base_fence();
    if (!worker_has_work(worker)) {
        /* A worker with a timer will move by itself, so it stays active. */
        bool rests = deadline == UINT64_MAX;
        if (!rests)
            sched_active_add(sched);
        sched_active_drop(sched);
        if (poller)
            sleep_in_net(worker, deadline);
        else
            sleep_alone(worker, deadline);
        worker_awake(worker);
        if (!rests)
            sched_active_drop(sched);
    } else {
        /* Never really slept: undo without the detour over "at rest". */
        uint32_t asleep = atomic_exchange_explicit(&worker->asleep, WORKER_AWAKE, memory_order_acq_rel);
        if (asleep == WORKER_AWAKE)
            sched_active_drop(sched); /* a waker has counted us although we still counted */
        else
            atomic_fetch_sub_explicit(&sched->sleepers, 1, memory_order_relaxed);
    }
    if (poller) {
        atomic_store_explicit(&sched->poller, POLLER_NONE, memory_order_release);
        /* We may be about to run something long: let a colleague sleep with the poller's role. */
        if (worker_has_work(worker) && atomic_load_explicit(&sched->sleepers, memory_order_relaxed) > 0)
            sched_wake_one(sched);
    }
    progress_kick(sched);
}

/* Nothing to do: the rooms above may know where there is. */
static void worker_ask(struct worker *worker)
{
    struct sched *sched = worker->sched;
    if (sched->config.hooks.idle && may_take(worker))
        sched->config.hooks.idle(sched->config.hooks.arg);
}

void worker_run(struct worker *worker, struct sched_item *item)
{
    worker_count(&worker->front.run);
    item->run(item);
}

/* How long a worker has looked around. */
struct spin {
    unsigned looks;
    uint64_t end; /* 0: not known yet */
};

/* Gives the core away for a moment. False: somebody else had it for long. Who goes on asking for it then
 * would be at the end of the line each time, behind programs that never let go (seconds for a message, where
 * the line is long): he sleeps, and is waited for no longer than others that wake up. */
static bool spin_yield(const struct sched *sched)
{
    uint64_t before = net_now(sched->net);
    sched_yield();
    return net_now(sched->net) - before < YIELD_LONG;
}

/* Between two looks; false when it is time to sleep. The clock is read now and then only: it costs more than
 * a look. */
static bool spin_on(const struct sched *sched, struct spin *spin)
{
    unsigned looks = ++spin->looks;
    if (!sched->config.spin_ns)
        return spin_yield(sched) && looks <= YIELD_SPINS;
    if (base_likely(!sched->far))
        ck_pr_stall();
    else if (!spin_yield(sched)) /* the kernel may need this core to carry what we wait for */
        return false;
    if (looks % SPIN_CLOCK != 0)
        return true;
    uint64_t now = net_now(sched->net);
    if (spin->end == 0)
        spin->end = now + sched->config.spin_ns;
    return now < spin->end;
}

static bool spin_until(struct sched *sched, bool (*done)(void *arg), void *arg, bool with_work)
{
    struct worker *self = worker_self();
    struct spin spin = {0, 0};
    bool found = false;
    if (!self || self->sched != sched || sched->config.cooperative)
        return false;
    bool before = worker_main_inside(self, true);
    while (with_work || !worker_has_work(self)) {
        sched_poll(sched, self->index, POLL_BUDGET);
        found = done(arg);
        if (found || !spin_on(sched, &spin))
            break;
    }
    worker_main_inside(self, before);
    return found;
}

bool sched_spin(struct sched *sched, bool (*done)(void *arg), void *arg)
{
    return spin_until(sched, done, arg, false);
}

bool sched_help(struct sched *sched, bool (*done)(void *arg), void *arg)
{
    return spin_until(sched, done, arg, true);
}

/* Looks around for a while, then sleeps. Asks the rooms above for work only when nothing has come for a
 * moment: a peer that is awake answers faster than that. */
void worker_idle(struct worker *worker)
{
    struct sched *sched = worker->sched;
    struct spin spin = {0, 0};
    if (worker->next_deadline != UINT64_MAX)
        sched_expire(worker, net_now(sched->net));
    if (sched->config.cooperative) {
        worker_ask(worker);
        if (!worker_has_work(worker))
            worker_sleep(worker);
        return;
    }
    do {
        if (worker_has_work(worker) || sched_poll(sched, worker->index, POLL_BUDGET))
            return;
        if (spin.looks == 0 ? !sched->config.spin_ns : spin.looks == SPIN_CLOCK)
            worker_ask(worker);
    } while (spin_on(sched, &spin));
    worker_sleep(worker);
}

/* Runs on a fiber with nothing else on its stack, until it switches to a fiber that has become ready (and is
 * then recycled) or the scheduler stops. */
void worker_loop(void *arg)
{
    struct worker *worker = arg;
    struct sched *sched = worker->sched;
    if (worker->finished) {
        fiber_release(worker->fibers, worker->finished);
        worker->finished = NULL;
    }
    for (;;) {
        struct sched_item *item = mine_next(worker);
        if (item) {
            worker_run(worker, item);
            sched_chained = true;
            continue;
        }
        worker_settle(worker);
        struct sched_parker *ready = worker_ready(worker);
        if (ready) {
            sched_chained = false;
            worker->finished = worker->current;
            worker_switch(worker, ready->fiber);
        }
        if (worker->index != 0 && atomic_load_explicit(&sched->stop, memory_order_acquire)) {
            worker->finished = worker->current;
            worker_switch(worker, &worker->own);
        }
        item = worker_next(worker);
        if (item)
            worker_run(worker, item);
        else
            worker_idle(worker);
        sched_chained = item != NULL;
    }
}
