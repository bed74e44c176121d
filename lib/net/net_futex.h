/* Futexes between processes, and waiting on several at once. */
#ifndef RAYMPI_NET_FUTEX_H
#define RAYMPI_NET_FUTEX_H

#include "base/base.h"

/** One word to wait on: sleeps while it has the value `expected`. */
struct net_futex {
    _Atomic uint32_t *word;
    uint32_t expected;
};
#define NET_FUTEX_MAX 4

/** Sleeps until one of the words is woken or differs, or until `deadline` (base_now() nanoseconds, UINT64_MAX
 * = none). May return early. On kernels without futex_waitv (before 5.16) sleeps on the first word and looks
 * at the others every 10 ms. */
void net_futex_wait(const struct net_futex *futexes, int count, uint64_t deadline);
/** Sleeps on one word, without a deadline. May return early. */
void net_futex_wait_one(const struct net_futex *futex);
/** Wakes at most `count` sleepers of all processes. */
void net_futex_wake(_Atomic uint32_t *word, int count);
/** False once futex_waitv was found missing; tests set it. */
extern _Atomic bool net_futex_vector;

#endif
