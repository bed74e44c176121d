

#include "base_fiber.h"
#include "base_fiber_internal.h"
#include "base_fiber_tools.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    STACK_BYTES_MIN = 16 * 1024,
    /* More than one page: costs address space only, and a frame with a large array does not step over it. */
    GUARD_BYTES = 64 * 1024,
    MAP_COUNT_FALLBACK = 65530, /* the kernel's default */
    MINCORE_PAGES = 256,
};

struct fiber_pool {
    pthread_spinlock_t lock; /* held for a few instructions, never over a system call */
    struct fiber *free;
    struct fiber *_Atomic all; /* only grows: the crash handler walks it without the lock */
    unsigned max;
    atomic_uint in_use;
    atomic_uint peak;
    size_t page_bytes;
    size_t stack_bytes;
    size_t guard_bytes;
};

/* The part of the C++ ABI's per-thread exception globals that the runtime keeps between throw and catch. */
struct cxx_globals {
    void *caught;
    unsigned uncaught;
};

/* Null in a program without a C++ runtime. */
extern struct cxx_globals *__cxa_get_globals(void) __attribute__((weak));

static inline void cxx_globals_switch(struct fiber *from, const struct fiber *to)
{
    struct cxx_globals *globals;

    if (!__cxa_get_globals) {
        return;
    }
    globals = __cxa_get_globals();
    from->cxx_caught = globals->caught;
    from->cxx_uncaught = globals->uncaught;
    globals->caught = to->cxx_caught;
    globals->uncaught = to->cxx_uncaught;
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
    cxx_globals_switch(from, to);
    fiber_tools_leave(from, to, false);
    fiber_context_switch(&from->context, to->context);
    fiber_tools_enter(from);
}

void fiber_exit_to(struct fiber *self, struct fiber *to)
{
    cxx_globals_switch(self, to);
    fiber_tools_leave(self, to, true);
    fiber_context_switch(&self->context, to->context);
    __builtin_trap(); /* only reached when somebody switches to a fiber that has ended */
}

static void fiber_entry(void *arg)
{
    struct fiber *self = arg;

    fiber_tools_enter(self);
    fiber_tools_start();
    self->fn(self->arg);
    __builtin_trap(); /* there is nowhere to return to; see fiber_fn */
}

void fiber_init_thread(struct fiber *fiber)
{
    pthread_attr_t attributes;
    void *stack;

    memset(fiber, 0, sizeof *fiber);
    fiber_tools_thread(fiber);
    if (pthread_getattr_np(pthread_self(), &attributes)) {
        return;
    }
    if (!pthread_attr_getstack(&attributes, &stack, &fiber->stack_bytes)) {
        fiber->stack = stack;
    }
    pthread_attr_destroy(&attributes);
}

void fiber_fini_thread(struct fiber *fiber)
{
    memset(fiber, 0, sizeof *fiber);
}

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

unsigned fiber_most(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned count;

    if (!file) {
        return MAP_COUNT_FALLBACK / 3;
    }
    if (fscanf(file, "%u", &count) != 1 || count < 3) {
        count = MAP_COUNT_FALLBACK;
    }
    fclose(file);
    return count / 3;
}

struct fiber_pool *fiber_pool_create(size_t stack_bytes, unsigned max_fibers)
{
    struct fiber_pool *pool;

    if (stack_bytes > SIZE_MAX / 2) {
        return NULL; /* rounding up could overflow */
    }
    pool = calloc(1, sizeof *pool);
    if (!pool) {
        return NULL;
    }
    if (stack_bytes < STACK_BYTES_MIN) {
        stack_bytes = STACK_BYTES_MIN;
    }
    pool->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    pool->stack_bytes = round_up(stack_bytes, pool->page_bytes);
    pool->guard_bytes = round_up(GUARD_BYTES, pool->page_bytes);
    pool->max = max_fibers ? max_fibers : fiber_most();
    pthread_spin_init(&pool->lock, PTHREAD_PROCESS_PRIVATE);
    return pool;
}

/* Guard below, stack above; NULL when out of memory or mappings. Returns the lowest usable byte. */
static char *stack_map(const struct fiber_pool *pool)
{
    size_t bytes = pool->guard_bytes + pool->stack_bytes;
    char *low = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (low == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(low, pool->guard_bytes, PROT_NONE)) {
        munmap(low, bytes);
        return NULL;
    }
    /* Stacks are mostly untouched: a huge page each would waste the node's memory. May fail: no huge pages.
     */
    madvise(low + pool->guard_bytes, pool->stack_bytes, MADV_NOHUGEPAGE);
    return low + pool->guard_bytes;
}

static struct fiber *fiber_create(const struct fiber_pool *pool)
{
    struct fiber *fiber = aligned_alloc(_Alignof(struct fiber), sizeof *fiber);

    if (!fiber) {
        return NULL;
    }
    memset(fiber, 0, sizeof *fiber);
    fiber->stack = stack_map(pool);
    if (!fiber->stack) {
        free(fiber);
        return NULL;
    }
    fiber->stack_bytes = pool->stack_bytes;
    fiber_tools_stack_mapped(fiber);
    return fiber;
}

static void fiber_destroy(const struct fiber_pool *pool, struct fiber *fiber)
{
    fiber_tools_stack_unmapped(fiber);
    munmap(fiber->stack - pool->guard_bytes, pool->guard_bytes + pool->stack_bytes);
    free(fiber);
}

static struct fiber *pool_first(const struct fiber_pool *pool)
{
    /* acquire: pairs with the release in pool_list(), so that the fibers' stack and next are seen */
    return atomic_load_explicit(&pool->all, memory_order_acquire);
}

void fiber_pool_destroy(struct fiber_pool *pool)
{
    struct fiber *fiber;
    struct fiber *next;

    if (!pool) {
        return;
    }
    for (fiber = pool_first(pool); fiber; fiber = next) {
        next = fiber->next;
        fiber_destroy(pool, fiber);
    }
    pthread_spin_destroy(&pool->lock);
    free(pool);
}

/*
 * The counters are changed under the lock only; they are atomic for readers that do not take it, and relaxed
 * because those look at nothing else.
 */
static void count_in_use(struct fiber_pool *pool, unsigned in_use)
{
    atomic_store_explicit(&pool->in_use, in_use, memory_order_relaxed);
    if (in_use > atomic_load_explicit(&pool->peak, memory_order_relaxed)) {
        atomic_store_explicit(&pool->peak, in_use, memory_order_relaxed);
    }
}

/* Counts one more fiber in use and takes it from the free ones; *fiber is NULL if it has to be made. */
static bool pool_take(struct fiber_pool *pool, struct fiber **fiber)
{
    unsigned in_use;

    pthread_spin_lock(&pool->lock);
    in_use = atomic_load_explicit(&pool->in_use, memory_order_relaxed);
    if (in_use == pool->max) {
        pthread_spin_unlock(&pool->lock);
        return false;
    }
    count_in_use(pool, in_use + 1);
    *fiber = pool->free;
    if (*fiber) {
        pool->free = (*fiber)->next_free;
    }
    pthread_spin_unlock(&pool->lock);
    return true;
}

/* Undoes pool_take(); fiber may be NULL. */
static void pool_give(struct fiber_pool *pool, struct fiber *fiber)
{
    pthread_spin_lock(&pool->lock);
    count_in_use(pool, atomic_load_explicit(&pool->in_use, memory_order_relaxed) - 1);
    if (fiber) {
        fiber->next_free = pool->free;
        pool->free = fiber;
    }
    pthread_spin_unlock(&pool->lock);
}

static void pool_list(struct fiber_pool *pool, struct fiber *fiber)
{
    pthread_spin_lock(&pool->lock);
    fiber->next = atomic_load_explicit(&pool->all, memory_order_relaxed);
    /* release: who finds the fiber in the list without the lock sees its stack and its next */
    atomic_store_explicit(&pool->all, fiber, memory_order_release);
    pthread_spin_unlock(&pool->lock);
}

/* NULL when out of memory. */
static struct fiber *pool_grow(struct fiber_pool *pool)
{
    struct fiber *fiber = fiber_create(pool);

    if (fiber) {
        pool_list(pool, fiber);
    }
    return fiber;
}

struct fiber *fiber_acquire(struct fiber_pool *pool, fiber_fn *fn, void *arg)
{
    struct fiber *fiber;

    if (!pool_take(pool, &fiber)) {
        return NULL;
    }
    if (!fiber) {
        fiber = pool_grow(pool);
    }
    if (!fiber) {
        pool_give(pool, NULL);
        return NULL;
    }
    fiber->fn = fn;
    fiber->arg = arg;
    fiber->cxx_caught = NULL;
    fiber->cxx_uncaught = 0;
    fiber_tools_acquired(fiber);
    fiber->context = fiber_context_make(fiber->stack, fiber->stack_bytes, fiber_entry, fiber);
    return fiber;
}

void fiber_release(struct fiber_pool *pool, struct fiber *fiber)
{
    fiber_tools_released(fiber);
    pool_give(pool, fiber);
}

bool fiber_pool_in_guard(const struct fiber_pool *pool, const void *address)
{
    uintptr_t place = (uintptr_t)address;

    for (const struct fiber *fiber = pool_first(pool); fiber; fiber = fiber->next) {
        uintptr_t low = (uintptr_t)fiber->stack;

        if (place < low && place >= low - pool->guard_bytes) {
            return true;
        }
    }
    return false;
}

/* The first page from page on that was ever touched, or pages if there is none. */
static size_t next_resident(const char *stack, size_t page, size_t pages, size_t page_bytes)
{
    unsigned char resident[MINCORE_PAGES];

    while (page < pages) {
        size_t n = pages - page < MINCORE_PAGES ? pages - page : MINCORE_PAGES;

        if (mincore((void *)(stack + page * page_bytes), n * page_bytes, resident)) {
            return page; /* cannot tell: have it read */
        }
        for (size_t i = 0; i < n; i++, page++) {
            if (resident[i] & 1) {
                return page;
            }
        }
    }
    return pages;
}

/* The offset of the first word that is not zero, or bytes. Reads a stack that may be in use by somebody else.
 */
__attribute__((no_sanitize_address, no_sanitize_thread)) static size_t first_used(const char *memory,
                                                                                  size_t bytes)
{
    const volatile uintptr_t *words = (const volatile uintptr_t *)memory;

    for (size_t i = 0; i < bytes / sizeof *words; i++) {
        if (words[i]) {
            return i * sizeof *words;
        }
    }
    return bytes;
}

static size_t stack_high_water(const char *stack, size_t bytes, size_t page_bytes)
{
    size_t pages = bytes / page_bytes;

    for (size_t page = 0; (page = next_resident(stack, page, pages, page_bytes)) < pages; page++) {
        size_t offset = first_used(stack + page * page_bytes, page_bytes);

        if (offset < page_bytes) {
            return bytes - page * page_bytes - offset;
        }
    }
    return 0;
}

size_t fiber_high_water(const struct fiber *fiber)
{
    size_t used;

    if (!fiber->fn) {
        return 0;
    }
    /* The scan looks at words of dead frames, which Valgrind holds for undefined. */
    VALGRIND_DISABLE_ERROR_REPORTING;
    used = stack_high_water(fiber->stack, fiber->stack_bytes, (size_t)sysconf(_SC_PAGESIZE));
    VALGRIND_ENABLE_ERROR_REPORTING;
    return used;
}

size_t fiber_pool_high_water(const struct fiber_pool *pool)
{
    size_t most = 0;

    for (const struct fiber *fiber = pool_first(pool); fiber; fiber = fiber->next) {
        size_t used = fiber_high_water(fiber);

        most = used > most ? used : most;
    }
    return most;
}

unsigned fiber_pool_in_use(const struct fiber_pool *pool)
{
    return atomic_load_explicit(&pool->in_use, memory_order_relaxed);
}

unsigned fiber_pool_peak(const struct fiber_pool *pool)
{
    return atomic_load_explicit(&pool->peak, memory_order_relaxed);
}
