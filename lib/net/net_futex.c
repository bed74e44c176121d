/* Futexes between processes: see net_futex.h. All are shared ones, found by file and offset. */
#include "net/net_futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* the same on all architectures */
#endif
/* Size flag of futex_waitv for a 32-bit word (FUTEX_32; headers before 5.16 lack it). */
#define FUTEX_WORD_32 2
#define FUTEX_TICK_NS UINT64_C(10000000)

/** struct futex_waitv of linux/futex.h, which headers before 5.16 lack. */
struct futex_vector_entry {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};

_Atomic bool net_futex_vector = true;

static struct timespec *futex_time(uint64_t deadline, struct timespec *time)
{
    if (deadline == UINT64_MAX)
        return NULL;
    time->tv_sec = (time_t)(deadline / UINT64_C(1000000000));
    time->tv_nsec = (long)(deadline % UINT64_C(1000000000));
    return time;
}

static bool futex_differs(const struct net_futex *futexes, int count)
{
    for (int i = 0; i < count; i++)
        if (atomic_load(futexes[i].word) != futexes[i].expected)
            return true;
    return false;
}

static void futex_wait_ticking(const struct net_futex *futexes, int count, uint64_t deadline)
{
    while (!futex_differs(futexes, count)) {
        uint64_t now = base_now();
        if (now >= deadline)
            return;
        struct timespec time;
        futex_time(deadline - now < FUTEX_TICK_NS ? deadline : now + FUTEX_TICK_NS, &time);
        /* WAIT_BITSET takes an absolute time of the monotonic clock. */
        long result = syscall(SYS_futex, futexes[0].word, FUTEX_WAIT_BITSET, futexes[0].expected, &time, NULL,
                              FUTEX_BITSET_MATCH_ANY);
        if (result == 0)
            return;
    }
}

void net_futex_wait(const struct net_futex *futexes, int count, uint64_t deadline)
{
    if (!atomic_load_explicit(&net_futex_vector, memory_order_relaxed)) {
        futex_wait_ticking(futexes, count, deadline);
        return;
    }
    struct futex_vector_entry vector[NET_FUTEX_MAX];
    for (int i = 0; i < count; i++)
        vector[i] = (struct futex_vector_entry){
            .value = futexes[i].expected, .address = (uintptr_t)futexes[i].word, .flags = FUTEX_WORD_32};
    struct timespec time;
    long result = syscall(SYS_futex_waitv, vector, count, 0, futex_time(deadline, &time), CLOCK_MONOTONIC);
    /* EPERM: containers whose system call filter does not know it. */
    if (result < 0 && (errno == ENOSYS || errno == EPERM)) {
        atomic_store_explicit(&net_futex_vector, false, memory_order_relaxed);
        futex_wait_ticking(futexes, count, deadline);
    }
}

void net_futex_wait_one(const struct net_futex *futex)
{
    syscall(SYS_futex, futex->word, FUTEX_WAIT, futex->expected, NULL, NULL, 0);
}

void net_futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}
