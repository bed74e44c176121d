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
/** Owner only. False when memory for a larger array is out: the item was not taken. */
bool sched_deque_push(struct sched_deque *deque, struct sched_item *item);
/** Owner only; NULL when empty. */
struct sched_item *sched_deque_pop(struct sched_deque *deque);
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
