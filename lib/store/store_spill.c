/* The spill tier: blocks that leave memory for the disk, and come back. See store_spill.h. */
#include "store/store_spill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_MOST  (UINT64_C(64) << 20) /* bytes being written at once, if nobody asks for more */
#define WINDOW_PART  8                    /* of the store */
#define AHEAD_MOST   (UINT64_C(4) << 20)  /* bytes that are written at once where fewer would do */
#define AHEAD_PART   32
#define PRESSED_PART 4 /* of the store: as much is written ahead of who takes memory after it was short */

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
        if (copy->phase == SPILL_FORGOTTEN)
            spill_file_forget(&spill->files, copy);
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

void spill_tell(struct store_spill *spill)
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
    spill_tell(spill);
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

static struct room_call room_call_of(const struct store *store, uint64_t bytes)
{
    uint64_t size = store_data_bytes(store), window = least(WINDOW_MOST, size / WINDOW_PART);
    return (struct room_call){.bytes = bytes,
                              .window = window > bytes ? window : bytes,
                              .ahead = least(AHEAD_MOST, size / AHEAD_PART)};
}

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
    struct room_call call = room_call_of(store, bytes);
    *coming = 0;
    *status = RAYMPI_OK;
    if (!store->spill)
        return 0;
    if (spill_folders_failed(&store->spill->files, text, sizeof text)) {
        call.failed = true;
        call.status = base_fail(RAYMPI_ERR_STORE_FULL, "%s", text);
    }
    pthread_mutex_lock(&store->lock);
    store->spill->pressed = store_data_bytes(store) / PRESSED_PART;
    room_make(store, &call);
    *coming = store->spill->writing_bytes;
    pthread_mutex_unlock(&store->lock);
    *status = call.status;
    return call.freed;
}

/* What blocks can be made of without anything leaving memory, now or soon. */
static uint64_t room_coming(const struct store *store)
{
    const struct store_rank *self = &store->ranks[store->rank];
    uint64_t leased = atomic_load_explicit(&self->extents, memory_order_relaxed) * store->layout.extent_bytes;
    return leased - store->counters.memory_bytes + store->spill->writing_bytes + store_unleased(store);
}

void spill_ahead(struct store *store, uint64_t bytes)
{
    struct store_spill *spill = store->spill;
    char text[STORE_TEXT_BYTES / 2];
    if (!spill || base_likely(!spill->pressed))
        return;
    spill->pressed -= least(bytes, spill->pressed);
    struct room_call call = room_call_of(store, bytes);
    if (room_coming(store) < call.ahead + bytes && !spill_folders_failed(&spill->files, text, sizeof text))
        room_make(store, &call);
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
}
