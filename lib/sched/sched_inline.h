/* The short ways of the scheduler, inline: making something runnable, and running at once what is waited for.
 * Included by sched.h only. */
#ifndef RAYMPI_SCHED_INLINE_H
#define RAYMPI_SCHED_INLINE_H

#include "sched/sched_deque.h"

#define SCHED_FAIR_TICKS                                                                                     \
    64 /* items after which queues other than one's own, timers and messages come first */
#define SCHED_POLL_EVERY 16 /* items between two looks at the rings */

/** What the rooms above may look at of a worker, which begins with it. All but the deque's top is its own
 * thread's.
 */
struct sched_front {
    struct sched *sched;
    _Atomic int *main_inside; /* main is blocked in raympi: worker 0 works */
    bool on_main;             /* it is on main()'s own stack */
    bool alone;               /* there is no other who could sleep */
    bool light;               /* who sleeps fences heavily */
    bool owed;                /* by the rooms above: hooks.settle() before anything but the next of `mine` */
    _Atomic int *sleepers;    /* workers of the rank that are asleep */
    unsigned tick;            /* items taken: what is due every so many comes before the next one */
    uintptr_t nest_low, nest_span; /* where on its stack there is room for one more item */
    _Atomic uint64_t run;          /* items */
    /* Pinned ones, taken out of the queue together; only where it is alone. */
    struct sched_item *mine, *mine_last;
    uint32_t mine_count;
    struct sched_deque deque;
};
extern __thread struct sched_front *sched_self_front __attribute__((tls_model("initial-exec")));

/** Does what runs now on this thread follow directly on another item, without a moment for anything else? */
extern __thread bool sched_chained __attribute__((tls_model("initial-exec")));

void sched_wake_one(struct sched *sched);
/** After something became runnable: wakes one of the `sleepers`, if there are any. */
static inline void sched_pushed(struct sched *sched, bool light, _Atomic int *sleepers)
{
    /* The push comes before the look at the sleepers; a worker that goes to sleep announces itself, fences,
     * and looks at the queues: one of the two sees the other. Where its fence is a heavy one, ours is light.
     */
    if (light)
        atomic_signal_fence(memory_order_seq_cst);
    else
        base_fence();
    if (base_unlikely(atomic_load_explicit(sleepers, memory_order_relaxed) > 0) &&
        !base_defect(DEFECT_LOST_WAKEUP))
        sched_wake_one(sched);
}
/** Is the calling worker's sched_push() sure to have room? (NULL: it is none.) */
static inline bool sched_push_ready(const struct sched_front *self)
{
    return self && sched_deque_has_room(&self->deque);
}
/** Then. */
static inline void sched_push_here(struct sched_front *self, struct sched_item *item)
{
    sched_deque_put(&self->deque, item);
    if (base_likely(self->alone))
        return;
    sched_deque_publish(&self->deque);
    sched_pushed(self->sched, self->light, self->sleepers);
}

void sched_push_from(struct sched *sched, struct sched_item *item);
/** Makes an item runnable. From a worker: on its own deque (last in, first out; others steal the oldest).
 * From any other thread: on the rank's queue. Wakes a sleeping worker when there is one. */
static inline void sched_push(struct sched *sched, struct sched_item *item)
{
    struct sched_front *self = sched_self_front;
    if (base_likely(sched_push_ready(self) && self->sched == sched))
        sched_push_here(self, item);
    else
        sched_push_from(sched, item);
}

/** What a poll has made runnable for this rank only, until that ends: then it goes into the queue as a whole.
 */
struct sched_arrivals {
    struct sched *sched; /* whose poll this thread is in; NULL: none */
    struct sched_item *first, *last;
    int count;
};
extern __thread struct sched_arrivals sched_arrivals __attribute__((tls_model("initial-exec")));

void sched_push_pinned_from(struct sched *sched, struct sched_item *item);
/** For items that may only run on this rank: they are not handed out by sched_take(). */
static inline void sched_push_pinned(struct sched *sched, struct sched_item *item)
{
    struct sched_arrivals *arrivals = &sched_arrivals;
    if (base_unlikely(arrivals->sched != sched)) {
        sched_push_pinned_from(sched, item);
        return;
    }
    if (arrivals->count++ > 0)
        arrivals->last->next = item;
    else
        arrivals->first = item;
    arrivals->last = item;
}

bool sched_others_wait(const struct sched_front *front);
/** Takes `item` off the deque of `self`, the calling worker (NULL: it is none), if that has made it runnable
 * last and enough stack is left to run it here and now: who waits for it anyway need not leave the stack.
 * `item` may point to memory that holds something else by now. After true the caller runs it, and then calls
 * sched_newest_ran(before); or it gives it back by sched_newest_return(). */
static inline bool sched_newest_take(struct sched_front *self, const struct sched_item *item, bool *before)
{
    /* Not where the caller has switched to a stack of his own; and, now and then, not before what others
     * wait for: then the worker's loop comes first, which finds the same tick. */
    if (!self || base_unlikely((uintptr_t)__builtin_frame_address(0) - self->nest_low >= self->nest_span) ||
        base_unlikely(self->tick % SCHED_FAIR_TICKS == 0 && sched_others_wait(self)) ||
        !sched_deque_pop_newest(&self->deque, item))
        return false;
    *before = !self->on_main || atomic_load_explicit(self->main_inside, memory_order_relaxed);
    if (!*before)
        atomic_store_explicit(self->main_inside, true, memory_order_relaxed);
    sched_chained = false;
    /* One thread writes it: a load and a store are enough. */
    atomic_store_explicit(&self->run, atomic_load_explicit(&self->run, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return true;
}

void sched_poll_now(struct sched *sched);
void sched_mine_return(struct sched_front *front);
/** main() goes on with its own: what only the rank's others can run now is theirs. */
static inline void sched_main_leaves(struct sched_front *front)
{
    atomic_store_explicit(front->main_inside, false, memory_order_relaxed);
    if (base_unlikely(front->mine != NULL))
        sched_mine_return(front);
}
static inline void sched_newest_ran(struct sched_front *self, bool before)
{
    if (!before)
        sched_main_leaves(self);
    if (base_unlikely(++self->tick % SCHED_POLL_EVERY == 0))
        sched_poll_now(self->sched);
}

static inline void sched_newest_return(struct sched_front *self, struct sched_item *item, bool before)
{
    if (!before)
        sched_main_leaves(self);
    sched_push(self->sched, item);
}

#endif
