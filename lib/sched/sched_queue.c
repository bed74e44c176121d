/* Making things runnable, and taking them away. */
#include "sched/sched_internal.h"

void queue_push(struct sched_queue *queue, struct sched_item *item)
{
    item->next = NULL;
    base_spin_lock(&queue->lock);
    if (queue->tail)
        queue->tail->next = item;
    else
        queue->head = item;
    queue->tail = item;
    atomic_fetch_add_explicit(&queue->count, 1, memory_order_relaxed);
    base_spin_unlock(&queue->lock);
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
        atomic_fetch_sub_explicit(&queue->count, 1, memory_order_relaxed);
    }
    base_spin_unlock(&queue->lock);
    return item;
}

/* After something became runnable. The full fence orders the push before the look at the sleepers; a worker
 * that goes to sleep announces itself, fences, and looks at the queues: one of the two sees the other. */
static void pushed(struct sched *sched, const struct worker *self)
{
    if (self && sched->worker_count == 1 && self->index == 0)
        return; /* the only one who could sleep is the caller */
    base_fence();
    if (atomic_load_explicit(&sched->sleepers, memory_order_relaxed) > 0 && !base_defect(DEFECT_LOST_WAKEUP))
        sched_wake_one(sched);
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
    pushed(sched, self);
}

void sched_push_fifo(struct sched *sched, struct sched_item *item)
{
    queue_push(&sched->inject, item);
    pushed(sched, self_of(sched));
}

void sched_push_pinned(struct sched *sched, struct sched_item *item)
{
    queue_push(&sched->pinned, item);
    pushed(sched, self_of(sched));
}

int sched_take(struct sched *sched, struct sched_item **items, int most)
{
    int taken = 0;
    for (int i = 0; i <= sched->worker_count && taken < most; i++) {
        struct worker *worker = sched->workers[i];
        struct sched_item *item;
        while (worker && taken < most && (item = sched_deque_steal(&worker->front.deque)))
            items[taken++] = item;
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
