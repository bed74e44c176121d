/* Records of one size for many threads. Each thread takes and gives back through a cache of its own, which
 * changes whole batches with the pool: a lock is taken once in BASE_POOL_BATCH records. Memory goes back to
 * the system when the pool is closed.
 * After Bonwick and Adams, "Magazines and Vmem" (USENIX 2001), with lists instead of magazines. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/base_spin.h"

#include <stdbool.h>
#include <stddef.h>

#define BASE_POOL_BATCH 64

/* What stands in a record that is free. */
struct base_pool_link {
    struct base_pool_link *next;
    struct base_pool_link *next_batch; /* in the first record of a batch */
};

struct base_pool {
    struct base_spin lock;
    size_t bytes;                   /* of a record: a multiple of 64 */
    struct base_pool_link *batches; /* full ones */
    struct base_pool_link *loose;   /* records that came one by one */
    struct base_pool_chunk *chunks; /* all memory */
    unsigned chunk_count;
    char *fresh; /* records of the newest chunk that were never given out */
    size_t fresh_left;
};

/* Zero-initialise. At most two batches of free records. */
struct base_pool_cache {
    struct base_pool_link *free, *full;
    unsigned count;
};

void base_pool_init(struct base_pool *pool, size_t bytes);
/* All records are gone after this. */
void base_pool_fini(struct base_pool *pool);

/* The slow sides of the two below. */
void *base_pool_refill(struct base_pool *pool, struct base_pool_cache *cache);
void base_pool_surplus(struct base_pool *pool, struct base_pool_cache *cache);
/* Records for a thread without a cache. */
void *base_pool_take_loose(struct base_pool *pool);
void base_pool_give_loose(struct base_pool *pool, void *record);
/* The owner of a cache ends. */
void base_pool_drain(struct base_pool *pool, struct base_pool_cache *cache);

/* A cache line that is about to be written; any address will do. Compilers make a prefetch for reading of
 * theirs where they can not be sure of the instruction, which all processors of this kind take. */
static inline void base_prefetch_line(uintptr_t address)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw (%0)" : : "r"(address));
#else
    __builtin_prefetch((const void *)address, 1);
#endif
}

/* Two of them. */
static inline void base_prefetch_write(const void *address)
{
    base_prefetch_line((uintptr_t)address);
    base_prefetch_line((uintptr_t)address + 64);
}

/* While a record is free, AddressSanitizer is told so. */
#if defined(__SANITIZE_ADDRESS__)
#define BASE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BASE_ASAN 1
#endif
#endif
#ifdef BASE_ASAN
#define BASE_MEMORY_FROM_HEAP 1 /* LeakSanitizer looks for pointers there only */
void __asan_poison_memory_region(void const volatile *address, size_t size);
void __asan_unpoison_memory_region(void const volatile *address, size_t size);
#define base_asan_poison(address, size)   __asan_poison_memory_region(address, size)
#define base_asan_unpoison(address, size) __asan_unpoison_memory_region(address, size)
#else
#define BASE_MEMORY_FROM_HEAP             0
#define base_asan_poison(address, size)   ((void)(address), (void)(size))
#define base_asan_unpoison(address, size) ((void)(address), (void)(size))
#endif

/* A record with undefined contents, aligned to 64 bytes; NULL: out of memory. `cache` is the calling thread's
 * and NULL where it has none. */
static inline void *base_pool_take(struct base_pool *pool, struct base_pool_cache *cache)
{
    struct base_pool_link *record = cache ? cache->free : NULL;
    if (__builtin_expect(!record, 0))
        return cache ? base_pool_refill(pool, cache) : base_pool_take_loose(pool);
    cache->free = record->next;
    cache->count--;
    base_asan_unpoison(record, pool->bytes);
    base_prefetch_write(record->next); /* the next one's turn comes soon */
    return record;
}

static inline void base_pool_give(struct base_pool *pool, struct base_pool_cache *cache, void *memory)
{
    struct base_pool_link *record = memory;
    if (__builtin_expect(!cache, 0)) {
        base_pool_give_loose(pool, record);
        return;
    }
    /* Only one more than a batch makes room: who takes and gives in turn never comes here. */
    if (__builtin_expect(cache->count == BASE_POOL_BATCH, 0))
        base_pool_surplus(pool, cache);
    record->next = cache->free;
    cache->free = record;
    cache->count++;
    base_asan_poison(record + 1, pool->bytes - sizeof *record);
}

#endif
