/* The spill tier: blocks that come back from disk. See store_spill.h. */
#include "store/store_spill.h"

#include <errno.h>
#include <string.h>

/* ---- coming back */

/* Gives a block that is on disk the memory that it is read to. Lock held. */
static int restore_begin(struct store *store, uint32_t index)
{
    struct store_block *block = &store->blocks[index];
    struct spill_copy *copy = block->copy;
    struct arena_chunk *chunk;
    int status = arena_reserve(&store->arena);
    if (status == RAYMPI_OK)
        status = block_chunk_make(store, copy->length, &chunk);
    if (status != RAYMPI_OK)
        return status;
    block->chunk = chunk;
    block_chunk_count(store, chunk);
    block_counters_publish(store);
    copy->memory = store->write + chunk->offset;
    copy->phase = SPILL_READING;
    atomic_fetch_add_explicit(&store->spill->busy, 1, memory_order_relaxed);
    spill_ahead(store, chunk->length);
    return RAYMPI_OK;
}

/* Nothing is being read any more. Lock held. */
static void restore_cancel(struct store *store, uint32_t index)
{
    store->blocks[index].copy->phase = SPILL_WRITTEN;
    atomic_fetch_sub_explicit(&store->spill->busy, 1, memory_order_relaxed);
    block_chunk_drop(store, index);
    block_counters_publish(store);
}

/* Leaves it to the reading thread. Lock held. */
static int restore_queue(struct store *store, uint32_t index)
{
    int status = spill_queue_put(store, &store->spill->reads, store->blocks[index].copy);
    if (status == RAYMPI_OK)
        return STORE_ON_DISK;
    restore_cancel(store, index);
    return status;
}

/* OK: it is in memory. STORE_ON_DISK: it is not; *reading: it is on its way. Lock held. */
static int restore_look(struct store *store, struct store_place place, bool *reading)
{
    uint64_t word = 0;
    if (place.rank == (uint32_t)store->rank && place.index < store->fresh)
        word =
            atomic_load_explicit(&store_entry_at(store, place.rank, place.index)->word, memory_order_relaxed);
    if (word == store_word(place.generation, STORE_SEALED))
        return RAYMPI_OK;
    if (word != store_word(place.generation, STORE_DISK))
        return base_fail(RAYMPI_ERR_LOST, "block %u.%u.%llu can not be restored: it was freed", place.rank,
                         place.index, (unsigned long long)place.generation);
    *reading = store->blocks[place.index].copy->phase == SPILL_READING;
    return STORE_ON_DISK;
}

static int restore_locked(struct store *store, struct store_place place)
{
    bool reading = false;
    int status = restore_look(store, place, &reading);
    if (status != STORE_ON_DISK || reading)
        return status;
    status = restore_begin(store, place.index);
    return status == RAYMPI_OK ? restore_queue(store, place.index) : status;
}

int store_restore(struct store *store, struct store_place place)
{
    pthread_mutex_lock(&store->lock);
    int status = restore_locked(store, place);
    pthread_mutex_unlock(&store->lock);
    return status;
}

void spill_read(struct store *store, struct spill_copy *copy, int error)
{
    struct store_spill *spill = store->spill;
    copy->error = error;
    pthread_mutex_lock(&spill->reads.lock);
    copy->next = NULL;
    *spill->done_end = copy;
    spill->done_end = &copy->next;
    pthread_mutex_unlock(&spill->reads.lock);
    spill_tell(spill);
}

void spill_block_left(struct store *store, const struct store_entry *entry)
{
    store->counters.on_disk--;
    store->counters.on_disk_bytes -= block_bytes(store, entry);
}

/* The block is in memory. Lock held. */
static void block_restored(struct store *store, uint32_t index)
{
    struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
    struct store_block *block = &store->blocks[index];
    spill_block_left(store, entry);
    store->counters.restored++;
    store->counters.restored_bytes += entry->length;
    entry_place(entry, store->data_offset + block->chunk->offset, entry->length);
    block_touch(store, entry);
    block_cold_change(store, index, 1);
    block->kept++;
    if (base_unlikely(store->page))
        block_protect(store, index);
    descriptor_seal(entry, block->copy->place.generation);
    block_counters_publish(store);
}

static int read_failed(const struct spill_copy *copy, int error)
{
    const struct store_place *place = &copy->place;
    if (error == SPILL_CORRUPT)
        return base_fail(
            RAYMPI_ERR_LOST,
            "block %u.%u.%llu is corrupt: what came back from %s is not what was sealed (checksum)",
            place->rank, place->index, (unsigned long long)place->generation, copy->file->folder->path);
    return base_fail(RAYMPI_ERR_LOST, "block %u.%u.%llu can not be read back from the spill folder %s: %s",
                     place->rank, place->index, (unsigned long long)place->generation,
                     copy->file->folder->path, strerror(error));
}

/* Takes over a block that has been read, or could not be. Lock held. */
static int read_take(struct store *store, struct spill_copy *copy)
{
    struct store_place place = copy->place;
    const struct store_entry *entry = store_entry_at(store, place.rank, place.index);
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    bool freed = store_word_state(word) == STORE_FREEING;
    copy->phase = SPILL_WRITTEN;
    if (!copy->error && !freed) {
        block_restored(store, place.index);
        return RAYMPI_OK;
    }
    block_chunk_drop(store, place.index);
    block_counters_publish(store);
    room_note(store, false);
    if (!freed)
        return read_failed(copy, copy->error);
    block_waiting_release(store);
    return base_fail(RAYMPI_ERR_LOST, "block %u.%u.%llu was freed while it was being restored", place.rank,
                     place.index, (unsigned long long)place.generation);
}

void store_let_go(struct store *store, struct store_place place)
{
    pthread_mutex_lock(&store->lock);
    const struct store_entry *entry = store_entry_at(store, place.rank, place.index);
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    if (store_word_generation(word) == place.generation && store->blocks[place.index].kept)
        store->blocks[place.index].kept--;
    pthread_mutex_unlock(&store->lock);
}

/* The lock is not held while it is read. */
static int cached_locked(struct store *store, struct store_place place)
{
    struct spill_copy *copy;
    bool reading = false;
    int status = restore_look(store, place, &reading);
    if (status == RAYMPI_OK)
        store->blocks[place.index].kept++;
    if (status != STORE_ON_DISK || reading)
        return status;
    status = restore_begin(store, place.index);
    if (status != RAYMPI_OK)
        return status;
    copy = store->blocks[place.index].copy;
    pthread_mutex_unlock(&store->lock);
    copy->error = spill_file_read_cached(&store->spill->files, copy);
    pthread_mutex_lock(&store->lock);
    if (copy->error == EAGAIN)
        return restore_queue(store, place.index);
    atomic_fetch_sub_explicit(&store->spill->busy, 1, memory_order_relaxed);
    return read_take(store, copy);
}

int store_restore_cached(struct store *store, struct store_place place)
{
    pthread_mutex_lock(&store->lock);
    int status = cached_locked(store, place);
    pthread_mutex_unlock(&store->lock);
    return status;
}

static struct spill_copy *done_take(struct store_spill *spill)
{
    pthread_mutex_lock(&spill->reads.lock);
    struct spill_copy *copy = spill->done;
    spill->done = NULL;
    spill->done_end = &spill->done;
    pthread_mutex_unlock(&spill->reads.lock);
    return copy;
}

int store_spill_poll(struct store *store, void (*restored)(void *arg, struct store_place place, int status),
                     void *arg)
{
    struct store_spill *spill = store->spill;
    if (!spill || base_likely(!atomic_load_explicit(&spill->finished, memory_order_relaxed)))
        return 0;
    /* Acquire pairs with spill_tell(). */
    int finished = (int)atomic_exchange_explicit(&spill->finished, 0, memory_order_acquire);
    struct spill_copy *copy = done_take(spill), *next;
    for (; copy; copy = next) {
        next = copy->next;
        struct store_place place = copy->place;
        pthread_mutex_lock(&store->lock);
        int status = read_take(store, copy);
        pthread_mutex_unlock(&store->lock);
        atomic_fetch_sub_explicit(&spill->busy, 1, memory_order_relaxed);
        restored(arg, place, status);
        if (status == RAYMPI_OK)
            store_let_go(store, place);
    }
    return finished;
}

int store_spill_busy(const struct store *store)
{
    return store->spill ? (int)atomic_load_explicit(&store->spill->busy, memory_order_relaxed) : 0;
}
