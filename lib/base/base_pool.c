#include "base/base_pool.h"

#include "base/base.h"

/* The first chunks are small, for the many ranks that need few records; then a chunk is huge pages. */
#define CHUNK_SMALL       (256u << 10)
#define CHUNK_SMALL_COUNT 4
#define CHUNK_LARGE       (4u << 20)

struct base_pool_chunk {
    _Alignas(BASE_CACHE_LINE) struct base_pool_chunk *next;
    size_t bytes;
};

void base_pool_init(struct base_pool *pool, size_t bytes)
{
    *pool = (struct base_pool){.bytes = base_align_up(bytes, BASE_CACHE_LINE)};
    base_spin_init(&pool->lock);
}

void base_pool_fini(struct base_pool *pool)
{
    while (pool->chunks) {
        struct base_pool_chunk *next = pool->chunks->next;
        base_asan_unpoison(pool->chunks, pool->chunks->bytes);
        base_memory_unmap(pool->chunks, pool->chunks->bytes);
        pool->chunks = next;
    }
    pool->batches = pool->loose = NULL;
    pool->fresh_left = 0;
}

/* Under the lock. */
static bool chunk_add(struct base_pool *pool)
{
    bool large = pool->chunk_count >= CHUNK_SMALL_COUNT;
    size_t bytes = large ? CHUNK_LARGE : CHUNK_SMALL;
    struct base_pool_chunk *chunk = base_memory_map(bytes, large);
    if (!chunk)
        return false;
    chunk->next = pool->chunks;
    chunk->bytes = bytes;
    pool->chunks = chunk;
    pool->chunk_count++;
    pool->fresh = (char *)(chunk + 1);
    pool->fresh_left = (bytes - sizeof *chunk) / pool->bytes;
    return true;
}

/* Under the lock: at most a batch of records that were never given out. */
static struct base_pool_link *carve(struct base_pool *pool, unsigned *count)
{
    if (pool->fresh_left == 0 && !chunk_add(pool))
        return NULL;
    struct base_pool_link *first = NULL;
    *count = pool->fresh_left < BASE_POOL_BATCH ? (unsigned)pool->fresh_left : BASE_POOL_BATCH;
    pool->fresh_left -= *count;
    /* From the end: so they are taken in the order of their addresses, which prefetchers like. */
    for (size_t i = *count; i-- > 0;) {
        struct base_pool_link *record = (struct base_pool_link *)(void *)(pool->fresh + i * pool->bytes);
        record->next = first;
        base_asan_poison(record + 1, pool->bytes - sizeof *record);
        first = record;
    }
    pool->fresh += *count * pool->bytes;
    return first;
}

/* Under the lock: at most a batch of those that came one by one. */
static struct base_pool_link *gather(struct base_pool *pool, unsigned *count)
{
    struct base_pool_link *first = pool->loose, **end = &pool->loose;
    for (*count = 0; *end && *count < BASE_POOL_BATCH; ++*count)
        end = &(*end)->next;
    pool->loose = *end;
    *end = NULL;
    return first;
}

/* Under the lock. */
static struct base_pool_link *take_batch(struct base_pool *pool, unsigned *count)
{
    struct base_pool_link *batch = pool->batches;
    if (batch) {
        pool->batches = batch->next_batch;
        *count = BASE_POOL_BATCH;
        return batch;
    }
    return pool->loose ? gather(pool, count) : carve(pool, count);
}

void *base_pool_refill(struct base_pool *pool, struct base_pool_cache *cache)
{
    struct base_pool_link *batch = cache->full;
    unsigned count = BASE_POOL_BATCH;
    cache->full = NULL;
    if (!batch) {
        base_spin_lock(&pool->lock);
        batch = take_batch(pool, &count);
        base_spin_unlock(&pool->lock);
    }
    if (!batch)
        return NULL;
    base_asan_unpoison(batch, pool->bytes);
    cache->free = batch->next;
    cache->count = count - 1;
    return batch;
}

void base_pool_surplus(struct base_pool *pool, struct base_pool_cache *cache)
{
    struct base_pool_link *full = cache->full;
    cache->full = cache->free;
    cache->free = NULL;
    cache->count = 0;
    if (!full)
        return;
    base_spin_lock(&pool->lock);
    full->next_batch = pool->batches;
    pool->batches = full;
    base_spin_unlock(&pool->lock);
}

/* Under the lock. */
static void add_loose(struct base_pool *pool, struct base_pool_link *list)
{
    while (list) {
        struct base_pool_link *next = list->next;
        list->next = pool->loose;
        pool->loose = list;
        list = next;
    }
}

void *base_pool_take_loose(struct base_pool *pool)
{
    unsigned count;
    base_spin_lock(&pool->lock);
    struct base_pool_link *record = take_batch(pool, &count);
    if (record)
        add_loose(pool, record->next);
    base_spin_unlock(&pool->lock);
    if (record)
        base_asan_unpoison(record, pool->bytes);
    return record;
}

void base_pool_give_loose(struct base_pool *pool, void *memory)
{
    struct base_pool_link *record = memory;
    record->next = NULL;
    base_asan_poison(record + 1, pool->bytes - sizeof *record);
    base_spin_lock(&pool->lock);
    add_loose(pool, record);
    base_spin_unlock(&pool->lock);
}

void base_pool_drain(struct base_pool *pool, struct base_pool_cache *cache)
{
    base_spin_lock(&pool->lock);
    add_loose(pool, cache->free);
    add_loose(pool, cache->full);
    base_spin_unlock(&pool->lock);
    *cache = (struct base_pool_cache){0};
}
