/* The spill tier: blocks that leave memory for the disk, and come back. See store_spill.h. */
#include "store/store_spill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_MOST (UINT64_C(64) << 20) /* bytes being written at once, if nobody asks for more */
#define WINDOW_PART 8                    /* of the store */
#define AHEAD_MOST  (UINT64_C(4) << 20)  /* bytes that are written at once where fewer would do */
#define AHEAD_PART  32

/* ---- open and close */

static int queues_open(struct store_spill *spill)
{
    int status = spill_queue_open(&spill->writes);
    if (status != RAYMPI_OK)
        return status;
    status = spill_queue_open(&spill->reads);
    if (status != RAYMPI_OK)
        spill_queue_close(&spill->writes);
    return status;
}

int store_spill_open(struct store *store, const struct store_spill_config *config)
{
    if (!config->directories || !config->directories[0])
        return RAYMPI_OK;
    struct store_spill *spill = calloc(1, sizeof *spill);
    if (!spill)
        return base_fail(RAYMPI_ERR_MEMORY, "no private memory for spilling objects");
    spill->done_end = &spill->done;
    spill->wake = config->wake;
    spill->arg = config->arg;
    spill->files.checksum = store->checksums;
    int status = spill_folders_open(&spill->files, config->directories, config->asked_for, store->rank == 0);
    if (status == RAYMPI_OK && spill->files.count)
        status = queues_open(spill);
    if (status != RAYMPI_OK || !spill->files.count) {
        spill_folders_close(&spill->files);
        free(spill);
        return status;
    }
    store->spill = spill;
    return RAYMPI_OK;
}

/* What the threads left undone: requests that they had not begun, reads that nobody took over. */
static void requests_drop(struct store *store)
{
    struct store_spill *spill = store->spill;
    struct spill_copy *copy = spill->writes.first, *next;
    for (; copy; copy = next) {
        next = copy->next;
        if (copy->phase == SPILL_FORGOTTEN) {
            spill_file_forget(&spill->files, copy);
            free(copy);
        }
    }
    for (uint32_t index = 0; index < store->fresh; index++) {
        struct store_block *block = &store->blocks[index];
        if (!block->copy)
            continue;
        if (block->copy->phase == SPILL_WRITING) {
            free(block->copy);
            block->copy = NULL;
        } else {
            block->copy->phase = SPILL_WRITTEN;
        }
    }
}

void spill_stop(struct store *store)
{
    struct store_spill *spill = store->spill;
    if (!spill)
        return;
    spill_queue_stop(&spill->writes);
    spill_queue_stop(&spill->reads);
    requests_drop(store);
    spill->stopped = true;
}

void spill_close(struct store *store)
{
    struct store_spill *spill = store->spill;
    if (!spill)
        return;
    /* Of blocks that others still pin. */
    for (uint32_t index = 0; index < store->fresh; index++)
        if (store->blocks[index].copy)
            spill_copy_forget(store, index);
    spill_queue_close(&spill->writes);
    spill_queue_close(&spill->reads);
    spill_files_close(&spill->files);
    free(spill);
    store->spill = NULL;
}

/* ---- leaving memory */

static void told(struct store_spill *spill)
{
    /* Release: whoever sees it finds what was finished. */
    atomic_fetch_add_explicit(&spill->finished, 1, memory_order_release);
    if (spill->wake)
        spill->wake(spill->arg);
}

uint64_t spill_block_drop(struct store *store, uint32_t index)
{
    struct store_counters *counters = &store->counters;
    if (!descriptor_drop(store, index))
        return 0;
    uint64_t bytes = store->blocks[index].chunk->length;
    block_cold_change(store, index, -1);
    block_chunk_drop(store, index);
    counters->dropped++;
    counters->dropped_bytes += bytes;
    counters->on_disk++;
    counters->on_disk_bytes += bytes;
    block_counters_publish(store);
    room_note(store, false);
    return bytes;
}

/* Asks for a block to be written. Returns its bytes; 0: *status says why not. */
static uint64_t block_write(struct store *store, uint32_t index, int *status)
{
    struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
    struct store_block *block = &store->blocks[index];
    struct spill_copy *copy = calloc(1, sizeof *copy);
    if (!copy) {
        *status = base_fail(RAYMPI_ERR_MEMORY, "no private memory for spilling objects");
        return 0;
    }
    copy->phase = SPILL_WRITING;
    copy->place = store_place_of(store, index, atomic_load_explicit(&entry->word, memory_order_relaxed));
    copy->memory = store->write + block->chunk->offset;
    copy->length = entry->length;
    copy->checksum = block->checksum;
    *status = spill_queue_put(store, &store->spill->writes, copy);
    if (*status != RAYMPI_OK) {
        free(copy);
        return 0;
    }
    block->copy = copy;
    store->spill->writing_bytes += block->chunk->length;
    atomic_fetch_add_explicit(&store->spill->busy, 1, memory_order_relaxed);
    return block->chunk->length;
}

/* A block has been written, or could not be. It may have been freed meanwhile. Lock held. */
static void block_written(struct store *store, struct spill_copy *copy, int error)
{
    uint32_t index = copy->place.index;
    struct store_counters *counters = &store->counters;
    uint64_t bytes = store->blocks[index].chunk->length;
    store->spill->writing_bytes -= bytes;
    if (error) {
        store->blocks[index].copy = NULL;
        free(copy);
        return;
    }
    copy->phase = SPILL_WRITTEN;
    counters->spilled++;
    counters->spilled_bytes += copy->length;
    counters->copies_bytes += copy->length;
    const struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
    /* Acquire: see block_candidate(). */
    if (store_word_state(atomic_load_explicit(&entry->word, memory_order_acquire)) == STORE_SEALED)
        spill_block_drop(store, index);
}

void spill_written(struct store *store, struct spill_copy **copies, int count, int error)
{
    struct store_spill *spill = store->spill;
    pthread_mutex_lock(&store->lock);
    for (int i = 0; i < count; i++)
        block_written(store, copies[i], error);
    block_waiting_release(store);
    pthread_mutex_unlock(&store->lock);
    atomic_fetch_sub_explicit(&spill->busy, (uint32_t)count, memory_order_relaxed);
    told(spill);
}

/* ---- making room */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What one call tries to do, and has done. */
struct room_call {
    uint64_t bytes, freed, begun;
    uint64_t window, ahead;
    bool failed; /* nothing can be written now */
    int status;
};

static bool room_enough(const struct store *store, const struct room_call *call)
{
    uint64_t wanted = call->begun && call->bytes < call->ahead ? call->ahead : call->bytes;
    return call->freed + call->begun >= wanted ||
           (!call->failed && store->spill->writing_bytes >= call->window);
}

static void room_make(struct store *store, struct room_call *call)
{
    victims_start(store);
    while (!room_enough(store, call)) {
        uint32_t index = victims_next(store);
        if (index == STORE_NONE)
            return;
        if (store->blocks[index].copy) {
            call->freed += spill_block_drop(store, index);
        } else if (!call->failed) {
            call->begun += block_write(store, index, &call->status);
            call->failed = call->status != RAYMPI_OK;
        }
    }
}

uint64_t store_make_room(struct store *store, uint64_t bytes, uint64_t *coming, int *status)
{
    char text[STORE_TEXT_BYTES / 2];
    uint64_t size = store_data_bytes(store), window = least(WINDOW_MOST, size / WINDOW_PART);
    struct room_call call = {.bytes = bytes,
                             .window = window > bytes ? window : bytes,
                             .ahead = least(AHEAD_MOST, size / AHEAD_PART)};
    *coming = 0;
    *status = RAYMPI_OK;
    if (!store->spill)
        return 0;
    if (spill_folders_failed(&store->spill->files, text, sizeof text)) {
        call.failed = true;
        call.status = base_fail(RAYMPI_ERR_STORE_FULL, "%s", text);
    }
    pthread_mutex_lock(&store->lock);
    room_make(store, &call);
    *coming = store->spill->writing_bytes;
    pthread_mutex_unlock(&store->lock);
    *status = call.status;
    return call.freed;
}

bool store_spills(const struct store *store)
{
    return store->spill && spill_folders_work(&store->spill->files);
}

void store_spill_fault(const struct store *store, char *text, size_t size)
{
    if (store->spill)
        spill_folders_print(&store->spill->files, text, size);
    else
        snprintf(text, size, "nothing goes to disk: name folders on a disk in RAYMPI_SPILL_DIR");
}

uint64_t store_cold_bytes(const struct store *store, int local)
{
    return atomic_load_explicit(&store->ranks[local].cold, memory_order_relaxed);
}

/* ---- coming back */

/* Begins to read a block. Lock held. */
static int restore_begin(struct store *store, struct store_place place)
{
    struct store_block *block = &store->blocks[place.index];
    struct spill_copy *copy = block->copy;
    struct arena_chunk *chunk;
    int status = arena_reserve(&store->arena);
    if (status == RAYMPI_OK)
        status = block_chunk_make(store, copy->length, &chunk);
    if (status != RAYMPI_OK)
        return status;
    block->chunk = chunk;
    block_chunk_count(store, chunk);
    copy->memory = store->write + chunk->offset;
    copy->phase = SPILL_READING;
    status = spill_queue_put(store, &store->spill->reads, copy);
    if (status != RAYMPI_OK) {
        copy->phase = SPILL_WRITTEN;
        block_chunk_drop(store, place.index);
        return status;
    }
    block_counters_publish(store);
    atomic_fetch_add_explicit(&store->spill->busy, 1, memory_order_relaxed);
    return STORE_ON_DISK;
}

static int restore_locked(struct store *store, struct store_place place)
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
    if (store->blocks[place.index].copy->phase == SPILL_READING)
        return STORE_ON_DISK;
    return restore_begin(store, place);
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
    told(spill);
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
    /* Acquire pairs with told(). */
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

/* ---- the end of a copy */

void spill_copy_forget(struct store *store, uint32_t index)
{
    struct store_spill *spill = store->spill;
    struct spill_copy *copy = store->blocks[index].copy;
    store->blocks[index].copy = NULL;
    store->counters.copies_bytes -= copy->length;
    copy->phase = SPILL_FORGOTTEN;
    /* The writing thread was there when the copy was made. */
    if (!spill->stopped && spill_queue_put(store, &spill->writes, copy) == RAYMPI_OK)
        return;
    spill_file_forget(&spill->files, copy);
    free(copy);
}
