/* A lock for a few instructions' time. Unlike a plain spin lock it gives the processor away when its holder
 * seems to have lost his: hosts with more workers than cores are common. */
#ifndef BASE_SPIN_H
#define BASE_SPIN_H

#include <ck_pr.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct base_spin {
    _Atomic uint32_t held;
};

void base_spin_wait(struct base_spin *spin);

/** Waits for a flag that another thread is just about to set. Who has been woken may have taken the processor
 * from the one who has to set it, so this too gives it away. */
void base_spin_until(_Atomic int *flag);

/** The same until it is 0. */
void base_spin_until_zero(_Atomic int *flag);

static inline void base_spin_init(struct base_spin *spin)
{
    atomic_init(&spin->held, 0);
}

static inline void base_spin_lock(struct base_spin *spin)
{
    /* Acquire: what the last holder did is seen. */
    if (__builtin_expect(atomic_exchange_explicit(&spin->held, 1, memory_order_acquire) != 0, 0))
        base_spin_wait(spin);
}

/* False: somebody else has it. */
static inline bool base_spin_try(struct base_spin *spin)
{
    return atomic_load_explicit(&spin->held, memory_order_relaxed) == 0 &&
           atomic_exchange_explicit(&spin->held, 1, memory_order_acquire) == 0;
}

/* The same for a lock that is free nearly always. */
static inline bool base_spin_try_once(struct base_spin *spin)
{
    return atomic_exchange_explicit(&spin->held, 1, memory_order_acquire) == 0;
}

static inline void base_spin_unlock(struct base_spin *spin)
{
    /* Release: what was done under the lock comes before its end. */
    atomic_store_explicit(&spin->held, 0, memory_order_release);
}

/* Tells ThreadSanitizer of an order that it can not see; nothing in other builds. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BASE_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(BASE_TSAN)
#define BASE_TSAN 1
#endif
/* A full fence. ThreadSanitizer knows none: for it a read-modify-write stands there, of a word of the
 * thread's own, so that it makes no order between threads that the accesses around it do not make. */
static inline void base_fence(void)
{
#ifdef BASE_TSAN
    static __thread _Atomic uint32_t word;
    atomic_fetch_add_explicit(&word, 0, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

#ifdef BASE_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define base_tsan_acquire(address) __tsan_acquire(address)
#define base_tsan_release(address) __tsan_release(address)
#else
#define base_tsan_acquire(address) ((void)(address))
#define base_tsan_release(address) ((void)(address))
#endif

#endif
