/*
 * Fibers: contexts with a stack of their own that one thread switches between by hand.
 *
 * A worker that has to wait leaves its fiber and goes on with another one. A fiber starts and is resumed on
 * one and the same thread: compilers keep addresses of thread-local variables across calls, so it cannot
 * migrate.
 *
 * Each fiber keeps its callee-saved registers, its floating-point control (rounding, masks) and, when the
 * program holds a C++ runtime at start, its C++ exception state. A C++ runtime that is loaded later by dlopen
 * is not seen; its exceptions still work as long as no catch block or unwinding destructor switches fibers.
 */
#ifndef BASE_FIBER_H
#define BASE_FIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The body of a fiber. It must not return: it ends with fiber_exit_to(), or never, and is then dropped by
 * fiber_release() while it is suspended. A body that returns all the same traps (SIGILL or SIGTRAP) at once.
 */
typedef void fiber_fn(void *arg);

/* Public only so that it can be embedded; all members are private to base_fiber*.c. */
struct fiber {
    void *context;    /* where the saved registers lie, while it is suspended */
    void *cxx_caught; /* the C++ runtime's stack of caught exceptions */
    unsigned cxx_uncaught;
    unsigned valgrind_id;
    char *stack; /* lowest usable byte */
    size_t stack_bytes;
    fiber_fn *fn;
    void *arg;
    struct fiber *next_free;
    struct fiber *next; /* all fibers of a pool; set once */
    void *asan_fake_stack;
    void *tsan_fiber;
} __attribute__((aligned(64)));

struct fiber_pool;

/* How many fibers the process can have: a third of vm.max_map_count. */
unsigned fiber_most(void);

/*
 * A pool of fibers whose stacks have stack_bytes, rounded up to pages and to 16 KiB at least; nothing is
 * mapped before it is needed. At most max_fibers are in use at a time; 0 derives the cap from
 * vm.max_map_count: a third of it, as a stack and its guard take two mappings. That share is for the whole
 * process: who makes several pools divides it. NULL when out of memory or stack_bytes is absurd.
 */
struct fiber_pool *fiber_pool_create(size_t stack_bytes, unsigned max_fibers);

/* Unmaps all stacks. None of the pool's fibers may be running; suspended ones are dropped. NULL is allowed.
 */
void fiber_pool_destroy(struct fiber_pool *pool);

/*
 * A fiber that will run fn(arg) when it is first switched to, with the floating-point control that the
 * calling thread has now. The most recently released stack is used first. NULL at the cap or out of memory.
 * Thread safe; no system call once the pool has been as full as it is now.
 */
struct fiber *fiber_acquire(struct fiber_pool *pool, fiber_fn *fn, void *arg);

/*
 * Gives a fiber back; it must not be running. A suspended one is simply dropped: nothing on its stack is
 * unwound. Thread safe.
 */
void fiber_release(struct fiber_pool *pool, struct fiber *fiber);

/* Makes *fiber stand for the calling thread and its own stack. Embed it, or keep it on that stack. */
void fiber_init_thread(struct fiber *fiber);

/* Call on the same thread, when it runs on its own stack again. */
void fiber_fini_thread(struct fiber *fiber);

/* Saves the running context in from, continues to. from is the running fiber, to is another, suspended one.
 */
void fiber_switch(struct fiber *from, struct fiber *to);

/* Leaves the running fiber self for good and continues to, which may then release self. */
__attribute__((noreturn)) void fiber_exit_to(struct fiber *self, struct fiber *to);

/*
 * Is address in the guard below one of the pool's stacks? Then its fiber has overflowed. Async-signal-safe;
 * call it on an alternate stack. Not concurrently with fiber_pool_destroy().
 */
bool fiber_pool_in_guard(const struct fiber_pool *pool, const void *address);

/*
 * Bytes of the stack that were ever used, down to the lowest word that is not zero; 0 for a thread's fiber.
 * Looks at the stack's pages only when called, and is approximate for a running fiber. Pages that have been
 * swapped out are not seen.
 */
size_t fiber_high_water(const struct fiber *fiber);

/* The largest high water of all fibers the pool has ever made. */
size_t fiber_pool_high_water(const struct fiber_pool *pool);

/* Fibers that are acquired and not released, now and at most so far. Exact when no other thread uses the
 * pool. */
unsigned fiber_pool_in_use(const struct fiber_pool *pool);
unsigned fiber_pool_peak(const struct fiber_pool *pool);

#endif
