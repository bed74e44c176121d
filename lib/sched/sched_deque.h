/* A work-stealing deque in two halves. The owner pushes and pops at the bottom, without atomic operations;
 * thieves take the oldest, several at a time, under a lock, from the public half below `split`. The owner
 * shows thieves half of what it has when they have less than it keeps, and takes half of theirs back when it
 * has nothing left. An owner that is away can not show more: so a thief may move `split` itself, by a fence
 * that costs the owner nothing and the thief some microseconds. After van Dijk and van de Pol, "Lace:
 * non-blocking split deque for work-stealing" (Euro-Par 2014), with a lock and an uneven fence instead of its
 * flags. */
#ifndef RAYMPI_SCHED_DEQUE_H
#define RAYMPI_SCHED_DEQUE_H

#include "base/base.h"

struct sched_item;

#define SCHED_DEQUE_AHEAD 2 /* items */

struct sched_deque {
    _Alignas(BASE_CACHE_LINE) _Atomic int64_t bottom; /* written by the owner */
    int64_t mask;                                     /* slots - 1; this and slot: changed under the lock */
    _Atomic(struct sched_item *) *slot;
    int64_t room_until;                              /* the owner's: bottom may grow up to here unseen */
    _Alignas(BASE_CACHE_LINE) _Atomic int64_t split; /* by the owner, and by thieves; under the lock */
    _Alignas(BASE_CACHE_LINE) struct base_spin lock;
    _Atomic int64_t top; /* by thieves, under the lock */
};

int sched_deque_init(struct sched_deque *deque);
void sched_deque_fini(struct sched_deque *deque);

/** Owner only: may it push without a look at how much thieves have taken? */
static inline bool sched_deque_has_room(const struct sched_deque *deque)
{
    return atomic_load_explicit(&((struct sched_deque *)deque)->bottom, memory_order_relaxed) !=
           deque->room_until;
}
/** Then. */
static inline void sched_deque_put(struct sched_deque *deque, struct sched_item *item)
{
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    atomic_store_explicit(&deque->slot[bottom & deque->mask], item, memory_order_relaxed);
    /* Release: a thief that sees the new bottom sees the slot and what the item points to. */
    atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_release);
}
/** For sched_deque_push(): there seems to be no room; false: out of memory for more. */
bool sched_deque_grow(struct sched_deque *deque);
/** Owner only. False when memory for a larger array is out: the item was not taken. */
static inline bool sched_deque_push(struct sched_deque *deque, struct sched_item *item)
{
    if (base_unlikely(!sched_deque_has_room(deque)) && !sched_deque_grow(deque))
        return false;
    sched_deque_put(deque, item);
    return true;
}
void sched_deque_publish_half(struct sched_deque *deque);
/** Owner only: shows thieves more when they have less than the owner. */
static inline void sched_deque_publish(struct sched_deque *deque)
{
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    int64_t split = atomic_load_explicit(&deque->split, memory_order_relaxed);
    if (base_unlikely(bottom - split > split - atomic_load_explicit(&deque->top, memory_order_relaxed)))
        sched_deque_publish_half(deque);
}

/** For sched_deque_pop(): the owner has nothing of its own any more. */
struct sched_item *sched_deque_pop_public(struct sched_deque *deque);
/* Owner only, which has looked: the newest is in slot `bottom`, and is the owner's if it is not public. */
static inline bool sched_deque_claim(struct sched_deque *deque, int64_t bottom)
{
    atomic_store_explicit(&deque->bottom, bottom, memory_order_relaxed);
    /* The claim before the look at split; a thief that moves split looks at bottom after a heavy fence. */
    base_fence_light();
    return base_likely(bottom >= atomic_load_explicit(&deque->split, memory_order_relaxed));
}
/** Owner only; NULL when empty. */
static inline struct sched_item *sched_deque_pop(struct sched_deque *deque)
{
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    /* The owner alone adds: when it sees an empty deque, it is empty. */
    if (bottom == atomic_load_explicit(&deque->top, memory_order_relaxed))
        return NULL;
    bottom--;
    /* One whose turn comes soon: to be run, so to be written to; what it is part of begins before it. */
    const char *soon = (const char *)atomic_load_explicit(
        &deque->slot[(bottom - SCHED_DEQUE_AHEAD) & deque->mask], memory_order_relaxed);
    base_prefetch_write((const void *)((uintptr_t)soon - 64));
    base_prefetch_line((uintptr_t)soon + 64);
    return sched_deque_claim(deque, bottom)
               ? atomic_load_explicit(&deque->slot[bottom & deque->mask], memory_order_relaxed)
               : sched_deque_pop_public(deque);
}
/** Owner only: takes `item` if that is the one that sched_deque_pop() would take, and no thief is faster. */
static inline bool sched_deque_pop_newest(struct sched_deque *deque, const struct sched_item *item)
{
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    /* What stands in an empty deque's slot was taken before, and may be runnable elsewhere by now. */
    return atomic_load_explicit(&deque->slot[(bottom - 1) & deque->mask], memory_order_relaxed) == item &&
           bottom != atomic_load_explicit(&deque->top, memory_order_relaxed) &&
           (sched_deque_claim(deque, bottom - 1) || sched_deque_pop_public(deque) != NULL);
}

enum sched_thief {
    SCHED_THIEF_PATIENT, /* takes what is public only */
    SCHED_THIEF,
    SCHED_THIEF_OWNER, /* for somebody else: has no need of a fence */
};
/** Up to `most` of the oldest, at most half of what is public then; 0: none, or somebody else is at it. Any
 * thread.
 */
int sched_deque_steal(struct sched_deque *deque, struct sched_item **items, int most, enum sched_thief thief);
/** Roughly how many. */
static inline int64_t sched_deque_size(const struct sched_deque *deque)
{
    int64_t bottom = atomic_load_explicit(&((struct sched_deque *)deque)->bottom, memory_order_relaxed);
    int64_t top = atomic_load_explicit(&((struct sched_deque *)deque)->top, memory_order_relaxed);
    return bottom > top ? bottom - top : 0;
}

#endif
