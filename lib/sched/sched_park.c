/* Waiting: a fiber gives its worker away, a user's thread sleeps on a futex. */
#include "sched/sched_internal.h"

/* Bytes that running one more item on a blocked fiber's stack must leave. */
#define STACK_RESERVE (24u << 10)

void sched_parker_init(struct sched *sched, struct sched_parker *parker, struct sched_reason reason)
{
    struct worker *self = worker_self();
    parker->sched = sched;
    parker->worker = self && self->sched == sched ? self : NULL;
    parker->fiber = parker->worker ? self->current : NULL;
    atomic_init(&parker->state, PARKER_RUNNING);
    parker->status = RAYMPI_OK;
    parker->deadline = UINT64_MAX;
    parker->timed = false;
    parker->resumed = false;
    parker->reason = reason;
}

static void list_add(struct base_spin *lock, struct sched_parker **head, struct sched_parker *parker)
{
    base_spin_lock(lock);
    parker->prev = NULL;
    parker->next = *head;
    if (*head)
        (*head)->prev = parker;
    *head = parker;
    base_spin_unlock(lock);
}

static void list_remove(struct base_spin *lock, struct sched_parker **head, struct sched_parker *parker)
{
    base_spin_lock(lock);
    if (parker->prev)
        parker->prev->next = parker->next;
    else
        *head = parker->next;
    if (parker->next)
        parker->next->prev = parker->prev;
    base_spin_unlock(lock);
}

static bool park_begin(struct sched_parker *parker)
{
    uint32_t running = PARKER_RUNNING;
    /* Acquire on failure: the waker's results are seen. Release: the parker's fields are seen by the waker.
     */
    return atomic_compare_exchange_strong_explicit(&parker->state, &running, PARKER_PARKED,
                                                   memory_order_acq_rel, memory_order_acquire);
}

static int park_thread(struct sched *sched, struct sched_parker *parker, uint64_t deadline)
{
    parker->timed = deadline != UINT64_MAX;
    parker->deadline = deadline;
    list_add(&sched->threads_lock, &sched->threads_parked, parker);
    atomic_fetch_add_explicit(&sched->board->waiting, 1, memory_order_relaxed);
    if (park_begin(parker)) {
        if (!parker->timed)
            sched_active_drop(sched); /* the waker counts us again */
        while (atomic_load_explicit(&parker->state, memory_order_acquire) == PARKER_PARKED) {
            uint64_t now = parker->timed ? net_now(sched->net) : 0;
            uint32_t parked = PARKER_PARKED;
            if (now >= deadline && atomic_compare_exchange_strong(&parker->state, &parked, PARKER_NOTIFIED))
                parker->status = RAYMPI_ERR_TIMEOUT;
            else if (now < deadline)
                sched_futex_wait(&parker->state, PARKER_PARKED, parker->timed ? deadline - now : UINT64_MAX);
        }
    }
    atomic_fetch_sub_explicit(&sched->board->waiting, 1, memory_order_relaxed);
    list_remove(&sched->threads_lock, &sched->threads_parked, parker);
    return parker->status;
}

/* No fiber is left: runs one more item on this stack, above the blocked task, while there is room. */
static int nested_step(struct worker *worker, struct sched_parker *parker)
{
    bool room = sched_stack_left_of(worker->current) > STACK_RESERVE;
    struct sched_item *item = room ? worker_next(worker) : NULL;
    uint32_t parked = PARKER_PARKED;
    if (item) {
        worker_run(worker, item);
        return RAYMPI_OK;
    }
    if (!room && atomic_compare_exchange_strong(&parker->state, &parked, PARKER_NOTIFIED))
        return base_fail(
            RAYMPI_ERR_MEMORY,
            "%u tasks are blocked and no stack is left for another: wait in fewer tasks at a time",
            fiber_pool_in_use(worker->fibers));
    worker_idle(worker);
    return RAYMPI_OK;
}

/* Goes on with what is ready, or with a fresh loop, until the parker's turn comes. A fiber may be switched to
 * for a parker that lies deeper on its stack (see nested_step()): that one goes on when those above it have
 * ended, so who is on top looks whether it was meant. */
static int park_wait(struct worker *worker, struct sched_parker *parker)
{
    for (;;) {
        struct sched_parker *ready = worker_ready(worker);
        if (parker->resumed)
            return RAYMPI_OK;
        if (ready && ready->fiber == worker->current)
            continue;
        struct fiber *to = ready ? ready->fiber : fiber_acquire(worker->fibers, worker_loop, worker);
        int status = RAYMPI_OK;
        if (to)
            worker_switch(worker, to);
        else
            status = nested_step(worker, parker);
        worker_settle(worker);
        if (status != RAYMPI_OK || parker->resumed)
            return status;
    }
}

static int park_fiber(struct worker *worker, struct sched_parker *parker, uint64_t deadline)
{
    struct sched *sched = worker->sched;
    struct net_board *board = sched->board;
    parker->deadline = deadline;
    if (deadline < worker->next_deadline)
        worker->next_deadline = deadline;
    list_add(&worker->parked_lock, &worker->parked, parker);
    atomic_fetch_add_explicit(&board->waiting, !parker->reason.passive, memory_order_relaxed);
    worker_count(&worker->parked_count);
    int status = RAYMPI_OK;
    if (park_begin(parker)) {
        bool before = worker_main_inside(worker, true);
        status = park_wait(worker, parker);
        sched_chained = false;
        worker_main_inside(worker, before);
    }
    atomic_fetch_sub_explicit(&board->waiting, !parker->reason.passive, memory_order_relaxed);
    list_remove(&worker->parked_lock, &worker->parked, parker);
    return status == RAYMPI_OK ? parker->status : status;
}

int sched_park(struct sched_parker *parker, uint64_t deadline)
{
    struct sched *sched = parker->sched;
    if (atomic_load_explicit(&parker->state, memory_order_acquire) == PARKER_NOTIFIED)
        return parker->status;
    return parker->worker ? park_fiber(parker->worker, parker, deadline)
                          : park_thread(sched, parker, deadline);
}

void sched_yield_fiber(struct sched *sched)
{
    struct worker *self = worker_self();
    if (!self || self->sched != sched)
        return;
    struct sched_parker parker;
    sched_parker_init(sched, &parker, (struct sched_reason){"task", "yield", 0, false});
    sched_park(&parker, net_now(sched->net));
}

static void each_of(struct base_spin *lock, struct sched_parker *const *head,
                    void (*visit)(void *arg, const struct sched_parker *parker), void *arg)
{
    base_spin_lock(lock);
    for (struct sched_parker *parker = *head; parker; parker = parker->next)
        visit(arg, parker);
    base_spin_unlock(lock);
}

void sched_each_parked(struct sched *sched, void (*visit)(void *arg, const struct sched_parker *parker),
                       void *arg)
{
    for (int i = 0; i <= sched->worker_count; i++)
        if (sched->workers[i])
            each_of(&sched->workers[i]->parked_lock, &sched->workers[i]->parked, visit, arg);
    each_of(&sched->threads_lock, &sched->threads_parked, visit, arg);
}

static void fail_of(struct base_spin *lock, struct sched_parker *const *head, int status)
{
    base_spin_lock(lock);
    for (struct sched_parker *parker = *head; parker; parker = parker->next) {
        uint32_t parked = PARKER_PARKED;
        /* Only who is still waiting fails: a wait that has just ended keeps its result. Who was woken reads
         * the status after it has taken itself off this list, under the lock. */
        if (!parker->reason.passive &&
            atomic_compare_exchange_strong_explicit(&parker->state, &parked, PARKER_NOTIFIED,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            parker->status = status;
            parker_wake(parker);
        }
    }
    base_spin_unlock(lock);
}

void sched_fail_parked(struct sched *sched, int status)
{
    for (int i = 0; i <= sched->worker_count; i++)
        if (sched->workers[i])
            fail_of(&sched->workers[i]->parked_lock, &sched->workers[i]->parked, status);
    fail_of(&sched->threads_lock, &sched->threads_parked, status);
}
