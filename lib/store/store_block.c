/* The life of a block, from create to free. */
#include "store/store_internal.h"
#include "store/store_spill.h"

#include <stdlib.h>

#define TICKS_PER_STORE   4096 /* the clock advances so often while the host's store is filled once */
#define ARENA_FIRST_TRIES 16   /* chunks of a block's own size class looked at before taking a larger one */

/* ---- create and seal */

void block_counters_publish(struct store *store)
{
    struct store_rank *self = &store->ranks[store->rank];
    atomic_store_explicit(&self->blocks, store->counters.blocks, memory_order_relaxed);
    atomic_store_explicit(&self->bytes, store->counters.memory_bytes, memory_order_relaxed);
    atomic_store_explicit(&self->disk, store->counters.on_disk_bytes, memory_order_relaxed);
}

/* Before giving up, a longer search at hand. */
int block_chunk_make(struct store *store, uint64_t length, struct arena_chunk **chunk)
{
    length = block_bytes_for(store, length);
    *chunk = arena_take(&store->arena, length, ARENA_FIRST_TRIES);
    if (*chunk)
        return RAYMPI_OK;
    struct arena_run run, surplus;
    int status = extent_lease(store, length, &run);
    if (status == RAYMPI_OK) {
        *chunk = arena_add_take(&store->arena, run, length, &surplus);
        extent_return(store, surplus);
        return RAYMPI_OK;
    }
    *chunk = arena_take(&store->arena, length, ARENA_SEARCH_ALL);
    return *chunk ? RAYMPI_OK : status;
}

static void clock_advance(struct store *store, uint64_t bytes)
{
    uint64_t tick = store_data_bytes(store) / TICKS_PER_STORE;
    store->unclocked += bytes;
    if (store->unclocked < tick)
        return;
    /* Relaxed: a hint. */
    atomic_fetch_add_explicit(&store->pool->clock, (uint32_t)(store->unclocked / tick), memory_order_relaxed);
    store->unclocked %= tick;
}

void block_chunk_count(struct store *store, const struct arena_chunk *chunk)
{
    struct store_counters *counters = &store->counters;
    counters->memory_bytes += chunk->length;
    if (counters->peak_bytes < counters->memory_bytes)
        counters->peak_bytes = counters->memory_bytes;
    clock_advance(store, chunk->length);
}

void block_chunk_drop(struct store *store, uint32_t index)
{
    struct arena_chunk *chunk = store->blocks[index].chunk;
    if (base_unlikely(store->blocks[index].guarded))
        block_unprotect(store, index);
    store->blocks[index].chunk = NULL;
    store->counters.memory_bytes -= chunk->length;
    extent_return(store, arena_give(&store->arena, chunk));
}

/* Describes the chunk and names it by a generation of its own. */
static struct store_place block_make(struct store *store, uint32_t index, struct arena_chunk *chunk,
                                     uint64_t length)
{
    struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
    uint64_t old = atomic_load_explicit(&entry->word, memory_order_relaxed);
    uint64_t word = store_word(store_word_generation(old) + 1, STORE_CREATED);
    store->blocks[index] = (struct store_block){.chunk = chunk};
    entry_place(entry, store->data_offset + chunk->offset, length);
    atomic_store_explicit(&entry->note, 0, memory_order_relaxed);
    /* Readers look at these only after they saw SEALED, whose store releases them. */
    atomic_store_explicit(&entry->word, word, memory_order_relaxed);
    store->counters.created++;
    store->counters.blocks++;
    store->counters.bytes += chunk->length;
    block_chunk_count(store, chunk);
    block_counters_publish(store);
    return store_place_of(store, index, word);
}

static int create_locked(struct store *store, uint64_t length, struct store_place *place, void **data)
{
    uint32_t index;
    struct arena_chunk *chunk;
    int status = arena_reserve(&store->arena);
    if (status == RAYMPI_OK)
        status = descriptor_take(store, &index);
    if (status != RAYMPI_OK)
        return status;
    status = block_chunk_make(store, length, &chunk);
    if (status != RAYMPI_OK) {
        descriptor_put(store, index);
        return status;
    }
    *place = block_make(store, index, chunk, length);
    *data = store->write + chunk->offset;
    spill_ahead(store, chunk->length);
    return RAYMPI_OK;
}

int store_create(struct store *store, uint64_t length, struct store_place *place, void **data)
{
    if (length > store_data_bytes(store))
        return base_fail(RAYMPI_ERR_TOO_LARGE,
                         "%llu bytes can never fit in the host's store of %llu bytes: raise "
                         "RAYMPI_STORE_BYTES",
                         (unsigned long long)length, (unsigned long long)store_data_bytes(store));
    store_collect(store);
    pthread_mutex_lock(&store->lock);
    int status = create_locked(store, length, place, data);
    pthread_mutex_unlock(&store->lock);
    return status;
}

void block_cold_change(struct store *store, uint32_t index, int sign)
{
    /* Relaxed: a figure. */
    atomic_fetch_add_explicit(&store->ranks[store->rank].cold,
                              (uint64_t)sign * store->blocks[index].chunk->length, memory_order_relaxed);
}

void block_seal(struct store *store, struct store_place place)
{
    struct store_entry *entry = store_entry_at(store, place.rank, place.index);
    block_touch(store, entry);
    /* Before SEALED: who frees or drops it takes it off again. */
    block_cold_change(store, place.index, 1);
    if (base_unlikely(store->page)) {
        pthread_mutex_lock(&store->lock);
        block_protect(store, place.index);
        pthread_mutex_unlock(&store->lock);
    }
    descriptor_seal(entry, place.generation);
}

void store_seal(struct store *store, struct store_place place)
{
    if (!descriptor_mine(store, place, 1u << STORE_CREATED, "seal"))
        return;
    if (base_unlikely(store->checksums))
        store->blocks[place.index].checksum = block_checksum(store, place);
    block_seal(store, place);
}

/* ---- free */

/* The end of a block that nobody pins, reads or writes. */
static void block_release(struct store *store, uint32_t index)
{
    struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
    uint64_t generation = store_word_generation(atomic_load_explicit(&entry->word, memory_order_relaxed));
    store->counters.freed++;
    store->counters.blocks--;
    store->counters.bytes -= block_bytes(store, entry);
    atomic_store_explicit(&entry->word, store_word(generation, STORE_EMPTY), memory_order_relaxed);
    if (store->blocks[index].chunk)
        block_chunk_drop(store, index);
    else
        spill_block_left(store, entry);
    if (store->blocks[index].copy)
        spill_copy_forget(store, index);
    block_counters_publish(store);
    descriptor_put(store, index);
    room_note(store, false);
}

/* Whether nothing hinders the end of a block that is being freed. */
static bool block_idle(const struct store *store, uint32_t index)
{
    return !descriptor_pinned(store, store_entry_at(store, (uint32_t)store->rank, index)) &&
           !spill_copy_busy(store->blocks[index].copy);
}

/* State, pins and waiting list change under the lock together: a collector that comes after an unpinner's
 * flag finds the block in the list. */
static void free_locked(struct store *store, struct store_place place)
{
    if (!descriptor_mine(store, place, 1u << STORE_CREATED | 1u << STORE_SEALED | 1u << STORE_DISK, "free"))
        return;
    if (descriptor_free(store, place.index) == STORE_SEALED)
        block_cold_change(store, place.index, -1);
    if (block_idle(store, place.index)) {
        block_release(store, place.index);
        return;
    }
    store->blocks[place.index].next = store->waiting;
    store->waiting = place.index;
    store->counters.waiting++;
}

void store_free(struct store *store, struct store_place place)
{
    pthread_mutex_lock(&store->lock);
    free_locked(store, place);
    pthread_mutex_unlock(&store->lock);
}

int block_waiting_release(struct store *store)
{
    int released = 0;
    uint32_t *link = &store->waiting;
    while (*link != STORE_NONE) {
        uint32_t index = *link;
        if (!block_idle(store, index)) {
            link = &store->blocks[index].next;
            continue;
        }
        *link = store->blocks[index].next;
        store->counters.waiting--;
        block_release(store, index);
        released++;
    }
    return released;
}

int store_collect(struct store *store)
{
    _Atomic uint32_t *collect = &store->ranks[store->rank].collect;
    if (base_likely(!atomic_load_explicit(collect, memory_order_relaxed)))
        return 0;
    pthread_mutex_lock(&store->lock);
    /* Acquire pairs with the release of an unpinner: its reads are over before the block is used again. Taken
     * before the looks below, so that a flag raised meanwhile stays for the next call. */
    uint32_t flags = atomic_exchange_explicit(collect, 0, memory_order_seq_cst);
    if (flags & STORE_COLLECT_TAKEN)
        extent_reserve_check(store);
    int released = flags & STORE_COLLECT_UNPINNED ? block_waiting_release(store) : 0;
    pthread_mutex_unlock(&store->lock);
    return released;
}
