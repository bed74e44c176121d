/* Fences. Besides the usual one a pair of which one side is nearly free: where two threads each write one
 * word and then read the other's, and one of them does so far more often. */
#ifndef BASE_FENCE_H
#define BASE_FENCE_H

#include "base/base_spin.h"

#include <stdbool.h>

/* Written once, by base_fences_open(). */
extern bool base_fences_uneven;

/** Asks the kernel for the uneven pair (membarrier, Linux 4.14); without it, and under ThreadSanitizer, both
 * sides are full fences. Before the threads that use it start; again and again is fine. */
void base_fences_open(void);

/** The side that is often at work: its write before, as the other side sees it, comes before its read after.
 * Pairs with base_fence_heavy() only. */
static inline void base_fence_light(void)
{
    if (__builtin_expect(base_fences_uneven, 1))
        atomic_signal_fence(memory_order_seq_cst);
    else
        base_fence();
}

/** The same for who has made sure of it by base_fences_suffice(). */
static inline void base_fence_lightest(void)
{
#ifdef BASE_TSAN
    base_fence();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}
/** Is base_fence_lightest() enough on its side? False on kernels without. */
bool base_fences_suffice(void);

/** The side that is seldom at work: all threads of the process pass a full fence. Some microseconds. */
void base_fence_heavy(void);

/** The same between processes (Linux 4.16): true when this process takes part, and may use the light side
 * towards those of which it knows that they use the heavy one. */
bool base_fences_open_shared(void);
/** All threads of all processes that take part pass a full fence. */
void base_fence_heavy_shared(void);

#endif
