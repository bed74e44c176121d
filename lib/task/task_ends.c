/* Ends of other ranks' tasks that travel together. A task that was brief, and is followed by another that is
 * believed to be, leaves its end here, for one message with the ends of those that come next. They go as soon
 * as nothing follows, or what follows may take long: at the latest when the thread looks at the clock before
 * a task, waits, or has run what was at hand. Should a task that was believed to be brief take long after
 * all, the progress thread sends them with its second tick.
 *
 * The two keep out of each other's way by a lock of which the thread's side costs no atomic operation: see
 * task_ends_enter(); tests/models/ends.pml. */
#include "task/task_internal.h"

/* By who is in. Without memory they stay, unless somebody is to wait for some. */
static void ends_send(struct task_room *room, struct task_ends *ends, bool wait)
{
    uint32_t count = task_ends_count(ends);
    struct net_piece piece = {ends->end, (count - base_defect(DEFECT_LOST_END)) * sizeof ends->end[0]};
    int status = net_send(room->net, ends->owner, TASK_MESSAGE_ENDS, &piece, 1);
    if (base_unlikely(status == RAYMPI_ERR_MEMORY && !wait))
        return;
    if (base_unlikely(status == RAYMPI_ERR_MEMORY))
        status = task_tell(room, ends->owner, TASK_MESSAGE_ENDS, &piece, 1);
    if (base_unlikely(status != RAYMPI_OK))
        base_log(BASE_LOG_ERROR, "task", "the ends of %u tasks could not be told to rank %d: %s", count,
                 ends->owner, base_detail());
    atomic_store_explicit(&ends->count, 0, memory_order_relaxed);
}

/* The progress thread has taken the lock, or is about to: it comes first. */
void task_ends_enter_second(struct task_ends *ends)
{
    while (atomic_load_explicit(&ends->late, memory_order_acquire)) {
        atomic_store_explicit(&ends->busy, 0, memory_order_release);
        base_spin_until_zero(&ends->late);
        atomic_store_explicit(&ends->busy, 1, memory_order_relaxed);
        base_fence_light();
    }
}

void task_ends_settle(struct task_thread *thread)
{
    struct task_ends *ends = &thread->ends;
    thread->front->owed = false;
    task_ends_enter(ends);
    if (task_ends_count(ends) > 0)
        ends_send(thread->room, ends, true);
    task_ends_leave(ends);
}

void task_settle_self(void *arg)
{
    (void)arg;
    if (task_self)
        task_settle(task_self);
}

/* Sends what a thread has left here and not sent since the last tick. */
static void ends_look(struct task_thread *thread)
{
    struct task_ends *ends = &thread->ends;
    uint32_t added = atomic_load_explicit(&ends->added, memory_order_relaxed);
    bool late = added == ends->seen && task_ends_count(ends) > 0;
    ends->seen = added;
    if (base_likely(!late))
        return;
    atomic_store_explicit(&ends->late, 1, memory_order_relaxed);
    /* Our mark before the look at the thread's: its own are as far apart, and it has nothing but a light
     * fence. */
    base_fence_heavy();
    base_spin_until_zero(&ends->busy);
    if (task_ends_count(ends) > 0)
        ends_send(thread->room, ends, false);
    /* Release: the thread sees it empty. */
    atomic_store_explicit(&ends->late, 0, memory_order_release);
}

void task_ticked(void *arg)
{
    struct task_room *room = arg;
    base_spin_lock(&room->thread_lock); /* none of them ends meanwhile */
    for (struct task_thread *thread = room->threads; thread; thread = thread->next)
        ends_look(thread);
    base_spin_unlock(&room->thread_lock);
}
