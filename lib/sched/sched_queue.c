/* Making things runnable, and taking them away. */
#include "sched/sched_internal.h"

/* Under the lock: counts are written by its holder only, and read by anybody. */
static void queue_count(struct sched_queue *queue, int change)
{
    uint32_t count = atomic_load_explicit(&queue->count, memory_order_relaxed);
    atomic_store_explicit(&queue->count, count + (uint32_t)change, memory_order_relaxed);
}

static void queue_append(struct sched_queue *queue, struct sched_item *first, struct sched_item *last,
                         int count)
{
    base_spin_lock(&queue->lock);
    if (queue->tail)
        queue->tail->next = first;
    else
        queue->head = first;
    queue->tail = last;
    queue_count(queue, count);
    base_spin_unlock(&queue->lock);
}

void queue_push(struct sched_queue *queue, struct sched_item *item)
{
    item->next = NULL;
    queue_append(queue, item, item, 1);
}

struct sched_item *queue_pop(struct sched_queue *queue)
{
    if (queue_empty(queue))
        return NULL;
    base_spin_lock(&queue->lock);
    struct sched_item *item = queue->head;
    if (item) {
        queue->head = item->next;
        if (!queue->head)
            queue->tail = NULL;
        item->next = NULL;
        queue_count(queue, -1);
    }
    base_spin_unlock(&queue->lock);
    return item;
}

uint32_t queue_pop_all(struct sched_queue *queue, struct sched_item **first, struct sched_item **last)
{
    if (queue_empty(queue))
        return 0;
    base_spin_lock(&queue->lock);
    uint32_t count = atomic_load_explicit(&queue->count, memory_order_relaxed);
    *first = queue->head;
    *last = queue->tail;
    queue->head = queue->tail = NULL;
    atomic_store_explicit(&queue->count, 0, memory_order_relaxed);
    base_spin_unlock(&queue->lock);
    return count;
}

/* To where they were. */
void sched_mine_return(struct sched_front *front)
{
    struct sched_queue *queue = &front->sched->pinned;
    base_spin_lock(&queue->lock);
    front->mine_last->next = queue->head;
    queue->head = front->mine;
    if (!queue->tail)
        queue->tail = front->mine_last;
    queue_count(queue, (int)front->mine_count);
    base_spin_unlock(&queue->lock);
    front->mine = NULL;
}

/* After something became runnable for `self` (NULL: another thread pushed it) or any other worker. */
static void pushed(struct sched *sched, const struct worker *self)
{
    if (self && sched->worker_count == 1 && self->index == 0)
        return; /* the only one who could sleep is the caller */
    sched_pushed(sched, sched->light, &sched->sleepers);
}

static struct worker *self_of(struct sched *sched)
{
    struct worker *self = worker_self();
    return self && self->sched == sched ? self : NULL;
}

/* The long way of sched_push(). */
void sched_push_from(struct sched *sched, struct sched_item *item)
{
    struct worker *self = self_of(sched);
    if (!self || !sched_deque_push(&self->front.deque, item))
        queue_push(&sched->inject, item);
    else
        sched_deque_publish(&self->front.deque);
    pushed(sched, self);
}

void sched_push_fifo(struct sched *sched, struct sched_item *item)
{
    queue_push(&sched->inject, item);
    pushed(sched, self_of(sched));
}

__thread struct sched_arrivals sched_arrivals __attribute__((tls_model("initial-exec")));

void sched_push_pinned_from(struct sched *sched, struct sched_item *item)
{
    queue_push(&sched->pinned, item);
    pushed(sched, self_of(sched));
}

struct sched *arrivals_begin(struct sched *sched)
{
    struct sched *outer = sched_arrivals.sched;
    sched_arrivals.sched = sched;
    return outer;
}

void arrivals_end(struct sched *sched, struct sched *outer)
{
    int count = sched_arrivals.count;
    sched_arrivals.sched = outer;
    if (count == 0)
        return;
    sched_arrivals.count = 0;
    sched_arrivals.last->next = NULL;
    /* The only worker, who runs what there is, need not put it where others could take it. */
    struct worker *self = self_of(sched);
    if (self && self->front.alone && !self->front.mine && queue_empty(&sched->pinned) &&
        atomic_load_explicit(&sched->main_inside, memory_order_relaxed)) {
        self->front.mine = sched_arrivals.first;
        self->front.mine_last = sched_arrivals.last;
        self->front.mine_count = (uint32_t)count;
        return;
    }
    queue_append(&sched->pinned, sched_arrivals.first, sched_arrivals.last, count);
    do
        pushed(sched, self);
    while (--count > 0 && atomic_load_explicit(&sched->sleepers, memory_order_relaxed) > 0);
}

int sched_take(struct sched *sched, struct sched_item **items, int most)
{
    int taken = 0;
    const struct worker *self = self_of(sched);
    for (int i = 0; i <= sched->worker_count && taken < most; i++) {
        struct worker *worker = sched->workers[i];
        enum sched_thief thief = worker == self ? SCHED_THIEF_OWNER : SCHED_THIEF;
        int got = 1;
        while (worker && got > 0 && taken < most) {
            got = sched_deque_steal(&worker->front.deque, items + taken, most - taken, thief);
            taken += got;
        }
    }
    struct sched_item *item;
    while (taken < most && (item = queue_pop(&sched->inject)))
        items[taken++] = item;
    return taken;
}

uint32_t sched_queued(const struct sched *sched)
{
    int64_t queued = atomic_load_explicit(&((struct sched *)sched)->inject.count, memory_order_relaxed);
    for (int i = 0; i <= sched->worker_count; i++)
        if (sched->workers[i])
            queued += sched_deque_size(&sched->workers[i]->front.deque);
    return (uint32_t)queued;
}
