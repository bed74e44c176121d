/* A work-stealing deque: the owner pushes and pops at the bottom, thieves take from the top.
 * Chase and Lev, "Dynamic circular work-stealing deque" (SPAA 2005), with the C11 orders of Lê, Pop, Cohen
 * and Zappa Nardelli, "Correct and efficient work-stealing for weak memory models" (PPoPP 2013). */
#ifndef RAYMPI_SCHED_DEQUE_H
#define RAYMPI_SCHED_DEQUE_H

#include "base/base.h"

struct sched_item;

struct sched_deque_array {
    int64_t mask;
    struct sched_deque_array *older; /* thieves may still read it: freed with the deque */
    _Atomic(struct sched_item *) slot[];
};

struct sched_deque {
    _Alignas(BASE_CACHE_LINE) _Atomic int64_t bottom;
    _Atomic(struct sched_deque_array *) array;
    _Alignas(BASE_CACHE_LINE) _Atomic int64_t top;
};

int sched_deque_init(struct sched_deque *deque);
void sched_deque_fini(struct sched_deque *deque);
/** For sched_deque_push(): an array of twice the size; NULL: out of memory. */
struct sched_deque_array *sched_deque_grow(struct sched_deque *deque, int64_t top, int64_t bottom);
/** Owner only. False when memory for a larger array is out: the item was not taken. */
static inline bool sched_deque_push(struct sched_deque *deque, struct sched_item *item)
{
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    /* Acquire: slots that a thief has emptied are free to be written again. */
    int64_t top = atomic_load_explicit(&deque->top, memory_order_acquire);
    struct sched_deque_array *array = atomic_load_explicit(&deque->array, memory_order_relaxed);
    if (base_unlikely(bottom - top > array->mask) && !(array = sched_deque_grow(deque, top, bottom)))
        return false;
    atomic_store_explicit(&array->slot[bottom & array->mask], item, memory_order_relaxed);
    /* Release: a thief that sees the new bottom sees the slot and what the item points to. */
    atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_release);
    return true;
}
/* Owner only, who has looked: slot `bottom` is the newest. */
static inline struct sched_item *sched_deque_claim(struct sched_deque *deque, int64_t bottom)
{
    struct sched_deque_array *array = atomic_load_explicit(&deque->array, memory_order_relaxed);
    /* The claim of the last slot (bottom) and the look at the thieves' claims (top) must not pass each other,
     * on either side: both sides have a sequentially consistent order between the two. */
    atomic_store_explicit(&deque->bottom, bottom, memory_order_seq_cst);
    int64_t top = atomic_load_explicit(&deque->top, memory_order_seq_cst);
    if (top > bottom) {
        atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
        return NULL;
    }
    struct sched_item *item = atomic_load_explicit(&array->slot[bottom & array->mask], memory_order_relaxed);
    if (top < bottom) {
        /* The one that is next: to be run, so to be written to. */
        base_prefetch_write(
            atomic_load_explicit(&array->slot[(bottom - 1) & array->mask], memory_order_relaxed));
        return item;
    }
    /* The last one: race the thieves for it. */
    if (!atomic_compare_exchange_strong_explicit(&deque->top, &top, top + 1, memory_order_seq_cst,
                                                 memory_order_relaxed))
        item = NULL;
    atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
    return item;
}
/** Owner only; NULL when empty. */
static inline struct sched_item *sched_deque_pop(struct sched_deque *deque)
{
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    /* The owner alone adds: when it sees an empty deque, it is empty, and needs no fence to say so. */
    if (bottom == atomic_load_explicit(&deque->top, memory_order_relaxed))
        return NULL;
    return sched_deque_claim(deque, bottom - 1);
}
/** Owner only: takes `item` if that is the one that sched_deque_pop() would take, and no thief is faster. */
static inline bool sched_deque_pop_newest(struct sched_deque *deque, const struct sched_item *item)
{
    /* relaxed: both are the owner's */
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    struct sched_deque_array *array = atomic_load_explicit(&deque->array, memory_order_relaxed);
    /* What stands in an empty deque's slot was taken before, and may be runnable elsewhere by now: then top
     * says so. */
    return bottom > 0 &&
           atomic_load_explicit(&array->slot[(bottom - 1) & array->mask], memory_order_relaxed) == item &&
           sched_deque_claim(deque, bottom - 1) != NULL;
}
/** Any thread; NULL when empty or when another thief was faster. */
struct sched_item *sched_deque_steal(struct sched_deque *deque);
/** Roughly how many. */
static inline int64_t sched_deque_size(const struct sched_deque *deque)
{
    int64_t bottom = atomic_load_explicit(&((struct sched_deque *)deque)->bottom, memory_order_relaxed);
    int64_t top = atomic_load_explicit(&((struct sched_deque *)deque)->top, memory_order_relaxed);
    return bottom > top ? bottom - top : 0;
}

#endif
