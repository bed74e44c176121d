/* Opening the store, and the life of a block from create to free. */
#include "store/store_internal.h"

#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXTENT_USUAL      (4u << 20)
#define EXTENT_SMALL      (256u << 10)
#define EXTENT_LEAST      (64u << 10)
#define EXTENT_MOST       (16u << 20)
#define EXTENTS_WANTED    16u
#define EXTENTS_PER_RANK  4u
#define EXTENTS_MANY      16384u
#define DESCRIPTORS_LEAST 4096u
#define DESCRIPTORS_MOST  262144u

#define ARENA_FIRST_TRIES 16 /* chunks of a block's own size class looked at before taking a larger one */

/* ---- layout */

/* Where the parts of the control area are, from its start. */
struct offsets {
    uint64_t ranks, owners, committed, tables, entry_bytes, table_bytes, end;
};

static struct offsets offsets_make(const struct store_layout *layout)
{
    struct offsets offsets;
    uint64_t size = (uint64_t)layout->size, words = (size + 63) / 64;
    offsets.ranks = base_align_up(sizeof(struct store_pool), BASE_CACHE_LINE);
    offsets.owners = offsets.ranks + size * sizeof(struct store_rank);
    offsets.committed = base_align_up(offsets.owners + layout->extents * sizeof(uint32_t), BASE_CACHE_LINE);
    offsets.tables =
        base_align_up(offsets.committed + (layout->extents + 63) / 64 * sizeof(uint64_t), STORE_PAGE);
    offsets.entry_bytes =
        base_align_up(sizeof(struct store_entry) + words * sizeof(uint64_t), BASE_CACHE_LINE);
    offsets.table_bytes = base_align_up(layout->descriptors * offsets.entry_bytes, STORE_PAGE);
    offsets.end = offsets.tables + size * offsets.table_bytes;
    return offsets;
}

static uint64_t extent_bytes_choose(uint64_t bytes, uint64_t size)
{
    uint64_t wanted = EXTENTS_PER_RANK * size;
    if (wanted < EXTENTS_WANTED)
        wanted = EXTENTS_WANTED;
    uint64_t extent = EXTENT_USUAL;
    while (extent > EXTENT_SMALL && bytes / extent < wanted)
        extent /= 2;
    while (extent > EXTENT_LEAST && bytes / extent < size)
        extent /= 2;
    while (extent < EXTENT_MOST && bytes / extent > EXTENTS_MANY)
        extent *= 2;
    return extent;
}

void store_layout_make(struct store_layout *layout, int size, uint64_t bytes)
{
    uint64_t descriptors = bytes / 2048 / (uint64_t)size;
    if (descriptors < DESCRIPTORS_LEAST)
        descriptors = DESCRIPTORS_LEAST;
    if (descriptors > DESCRIPTORS_MOST)
        descriptors = DESCRIPTORS_MOST;
    layout->size = size;
    layout->descriptors = (uint32_t)descriptors;
    layout->extent_bytes = extent_bytes_choose(bytes, (uint64_t)size);
    layout->extents = bytes < layout->extent_bytes ? 1 : bytes / layout->extent_bytes;
    layout->control_bytes = offsets_make(layout).end;
}

/* ---- open and close */

static void control_locate(struct store *store, uint64_t control_offset)
{
    struct offsets offsets = offsets_make(&store->layout);
    char *control = store->segment->write + control_offset;
    store->pool = (struct store_pool *)control;
    store->ranks = (struct store_rank *)(control + offsets.ranks);
    store->owners = (_Atomic uint32_t *)(control + offsets.owners);
    store->committed = (_Atomic uint64_t *)(control + offsets.committed);
    store->tables = control + offsets.tables;
    store->tables_offset = control_offset + offsets.tables;
    store->entry_bytes = offsets.entry_bytes;
    store->table_bytes = offsets.table_bytes;
}

static int layout_check(const struct base_segment *segment, const struct store_layout *layout,
                        uint64_t control_offset, uint64_t data_offset, int rank)
{
    uint64_t data = layout->extents * layout->extent_bytes;
    if (rank >= 0 && rank < layout->size && control_offset % STORE_PAGE == 0 &&
        data_offset % STORE_PAGE == 0 && layout->extent_bytes % STORE_PAGE == 0 &&
        layout->control_bytes >= offsets_make(layout).end &&
        control_offset + layout->control_bytes <= segment->control_size &&
        data_offset + data <= segment->size)
        return RAYMPI_OK;
    return base_fail(RAYMPI_ERR_ARGUMENT, "the store of rank %d does not fit the host segment of %llu bytes",
                     rank, (unsigned long long)segment->size);
}

/* Zeroed memory of which only the touched pages come to exist. */
static void *sparse_map(uint64_t bytes, int protection)
{
    void *memory = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static uint64_t data_bytes(const struct store *store)
{
    return store->layout.extents * store->layout.extent_bytes;
}
static uint64_t views_bytes(const struct store *store)
{
    return (uint64_t)store->layout.size * store->layout.descriptors * sizeof *store->views;
}
static uint64_t blocks_bytes(const struct store *store)
{
    return store->layout.descriptors * sizeof *store->blocks;
}

static void private_free(struct store *store)
{
    if (store->write)
        munmap(store->write, data_bytes(store));
    if (store->views)
        munmap(store->views, views_bytes(store));
    if (store->blocks)
        munmap(store->blocks, blocks_bytes(store));
    free(store->extents);
    arena_fini(&store->arena);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static int private_make(struct store *store)
{
    store->write = sparse_map(data_bytes(store), PROT_NONE);
    store->views = sparse_map(views_bytes(store), PROT_READ | PROT_WRITE);
    store->blocks = sparse_map(blocks_bytes(store), PROT_READ | PROT_WRITE);
    store->extents = calloc(store->layout.extents, sizeof *store->extents);
    if (store->write && store->views && store->blocks && store->extents)
        return arena_init(&store->arena, store->layout.extent_bytes, store->layout.extents);
    return base_fail(
        RAYMPI_ERR_MEMORY,
        "no address space or private memory for a store of %llu bytes (ulimit -v; RAYMPI_STORE_BYTES)",
        (unsigned long long)data_bytes(store));
}

/* All but the descriptor tables, which grow as they are used. Each rank does it; it is the same memory. */
static int control_commit(struct store *store, uint64_t control_offset)
{
    uint64_t bytes = offsets_make(&store->layout).tables;
    if (base_segment_commit(store->segment, control_offset, bytes) == RAYMPI_OK)
        return RAYMPI_OK;
    return base_fail(RAYMPI_ERR_STORE_FULL,
                     "/dev/shm (or the memory limit of the job) has no room for the %llu bytes "
                     "of the store's tables",
                     (unsigned long long)bytes);
}

int store_open(struct store **out, struct base_segment *segment, const struct store_layout *layout,
               uint64_t control_offset, uint64_t data_offset, int rank, double create_timeout)
{
    int status = layout_check(segment, layout, control_offset, data_offset, rank);
    if (status != RAYMPI_OK)
        return status;
    struct store *store = aligned_alloc(_Alignof(struct store), sizeof *store);
    if (!store)
        return base_fail(RAYMPI_ERR_MEMORY, "no private memory for the store");
    memset(store, 0, sizeof *store);
    store->segment = segment;
    store->layout = *layout;
    store->rank = rank;
    store->create_timeout = create_timeout;
    store->data_offset = data_offset;
    store->free = store->waiting = STORE_NONE;
    pthread_mutex_init(&store->lock, NULL);
    control_locate(store, control_offset);
    status = private_make(store);
    if (status == RAYMPI_OK)
        status = control_commit(store, control_offset);
    if (status != RAYMPI_OK) {
        private_free(store);
        return status;
    }
    *out = store;
    return RAYMPI_OK;
}

static struct store_place place_of(const struct store *store, uint32_t index, uint64_t word)
{
    return (struct store_place){(uint32_t)store->rank, index, store_word_generation(word)};
}

static void blocks_free_all(struct store *store)
{
    for (uint32_t index = 0; index < store->fresh; index++) {
        struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
        uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
        if (store_word_state(word) == STORE_CREATED || store_word_state(word) == STORE_SEALED)
            store_free(store, place_of(store, index, word));
    }
}

void store_close(struct store *store)
{
    descriptor_pins_clear(store, store->rank);
    blocks_free_all(store);
    /* Looks at every waiting block once more, whatever the flags say: it is the last time. */
    atomic_fetch_or_explicit(&store->ranks[store->rank].collect, STORE_COLLECT_UNPINNED,
                             memory_order_relaxed);
    store_collect(store);
    pthread_mutex_lock(&store->lock);
    extent_reserve_drop(store);
    pthread_mutex_unlock(&store->lock);
    private_free(store);
}

/* ---- create and seal */

static void counters_publish(struct store *store)
{
    struct store_rank *self = &store->ranks[store->rank];
    atomic_store_explicit(&self->blocks, store->counters.blocks, memory_order_relaxed);
    atomic_store_explicit(&self->bytes, store->counters.bytes, memory_order_relaxed);
}

/* A chunk from memory at hand, else from new extents, else, before giving up, from a longer search at hand.
 */
static int chunk_make(struct store *store, uint64_t length, struct arena_chunk **chunk)
{
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

static void block_count(struct store *store, const struct arena_chunk *chunk)
{
    store->counters.created++;
    store->counters.blocks++;
    store->counters.bytes += chunk->length;
    if (store->counters.peak_bytes < store->counters.bytes)
        store->counters.peak_bytes = store->counters.bytes;
    counters_publish(store);
}

/* Describes the chunk and names it by a generation of its own. */
static struct store_place block_make(struct store *store, uint32_t index, struct arena_chunk *chunk,
                                     uint64_t length)
{
    struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
    uint64_t old = atomic_load_explicit(&entry->word, memory_order_relaxed);
    uint64_t word = store_word(store_word_generation(old) + 1, STORE_CREATED);
    store->blocks[index].chunk = chunk;
    entry->length = length;
    entry->offset = store->data_offset + chunk->offset;
    /* Readers look at these only after they saw SEALED, whose store releases them. */
    atomic_store_explicit(&entry->word, word, memory_order_relaxed);
    block_count(store, chunk);
    return place_of(store, index, word);
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
    status = chunk_make(store, length, &chunk);
    if (status != RAYMPI_OK) {
        descriptor_put(store, index);
        return status;
    }
    *place = block_make(store, index, chunk, length);
    *data = store->write + chunk->offset;
    return RAYMPI_OK;
}

int store_create(struct store *store, uint64_t length, struct store_place *place, void **data)
{
    if (length > data_bytes(store))
        return base_fail(RAYMPI_ERR_TOO_LARGE,
                         "%llu bytes can never fit in the host's store of %llu bytes: raise "
                         "RAYMPI_STORE_BYTES",
                         (unsigned long long)length, (unsigned long long)data_bytes(store));
    store_collect(store);
    pthread_mutex_lock(&store->lock);
    int status = create_locked(store, length, place, data);
    pthread_mutex_unlock(&store->lock);
    return status;
}

void store_seal(struct store *store, struct store_place place)
{
    if (!descriptor_mine(store, place, 1u << STORE_CREATED, "seal"))
        return;
    struct store_entry *entry = store_entry_at(store, place.rank, place.index);
    /* Release: payload, length and offset are there before anyone sees SEALED. */
    atomic_store_explicit(&entry->word, store_word(place.generation, STORE_SEALED), memory_order_release);
}

/* ---- free */

/* The end of a block that nobody pins. */
static void block_release(struct store *store, uint32_t index)
{
    struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
    struct arena_chunk *chunk = store->blocks[index].chunk;
    uint64_t generation = store_word_generation(atomic_load_explicit(&entry->word, memory_order_relaxed));
    store->counters.freed++;
    store->counters.blocks--;
    store->counters.bytes -= chunk->length;
    counters_publish(store);
    atomic_store_explicit(&entry->word, store_word(generation, STORE_EMPTY), memory_order_relaxed);
    store->blocks[index].chunk = NULL;
    descriptor_put(store, index);
    extent_return(store, arena_give(&store->arena, chunk));
    room_note(store, false);
}

/* State, pins and waiting list change under the lock together: a collector that comes after an unpinner's
 * flag finds the block in the list. */
static void free_locked(struct store *store, struct store_place place)
{
    if (!descriptor_mine(store, place, 1u << STORE_CREATED | 1u << STORE_SEALED, "free"))
        return;
    if (descriptor_free(store, place.index)) {
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

static int waiting_release(struct store *store)
{
    int released = 0;
    uint32_t *link = &store->waiting;
    while (*link != STORE_NONE) {
        uint32_t index = *link;
        if (descriptor_pinned(store, store_entry_at(store, (uint32_t)store->rank, index))) {
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
    int released = flags & STORE_COLLECT_UNPINNED ? waiting_release(store) : 0;
    pthread_mutex_unlock(&store->lock);
    return released;
}

/* ---- waiting for room */

static long room_futex(struct store *store, int operation, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, &store->pool->room, operation, value, timeout, NULL, 0);
}

void room_note(struct store *store, bool extents)
{
    /* Before the look at `waiters` in the one order of all seq_cst operations; see store_room_wait. */
    atomic_fetch_add_explicit(&store->room, 1, memory_order_seq_cst);
    uint32_t waiters = atomic_load_explicit(&store->pool->waiters, memory_order_seq_cst);
    if (!extents && !waiters)
        return;
    atomic_fetch_add_explicit(&store->pool->room, 1, memory_order_seq_cst);
    waiters = atomic_load_explicit(&store->pool->waiters, memory_order_seq_cst);
    if (waiters)
        room_futex(store, FUTEX_WAKE, INT32_MAX, NULL);
}

uint32_t store_room_ticket(struct store *store)
{
    return atomic_load_explicit(&store->room, memory_order_seq_cst) +
           atomic_load_explicit(&store->pool->room, memory_order_seq_cst);
}

bool store_room_changed(struct store *store, uint32_t ticket)
{
    return store_room_ticket(store) != ticket;
}

static bool room_sleep(struct store *store, uint32_t ticket, uint64_t deadline)
{
    /* The word first, the ticket after it: whatever is freed after the look at the ticket changes the word,
     * because the freer sees us among the waiters. */
    uint32_t word = atomic_load_explicit(&store->pool->room, memory_order_seq_cst);
    uint64_t now = base_now();
    if (store_room_changed(store, ticket) || now >= deadline)
        return false;
    uint64_t left = deadline - now;
    struct timespec timeout = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    room_futex(store, FUTEX_WAIT, word, &timeout);
    return true;
}

bool store_room_wait(struct store *store, uint32_t ticket, double seconds)
{
    if (seconds < 0)
        seconds = store->create_timeout;
    uint64_t deadline = base_now() + (uint64_t)(seconds * 1e9);
    atomic_fetch_add_explicit(&store->pool->waiters, 1, memory_order_seq_cst);
    while (room_sleep(store, ticket, deadline))
        continue;
    atomic_fetch_sub_explicit(&store->pool->waiters, 1, memory_order_relaxed);
    return store_room_changed(store, ticket);
}

/* ---- who holds what */

static uint64_t rank_pinned(struct store *store, uint32_t rank)
{
    uint64_t pinned = 0;
    uint32_t ready = atomic_load_explicit(&store->ranks[rank].ready, memory_order_acquire);
    for (uint32_t index = 0; index < ready; index++)
        pinned += descriptor_pinned(store, store_entry_at(store, rank, index));
    return pinned;
}

void store_holders(struct store *store, bool pinned, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (uint32_t rank = 0; rank < (uint32_t)store->layout.size && used + 1 < size; rank++) {
        struct store_rank *it = &store->ranks[rank];
        unsigned long long extents = atomic_load_explicit(&it->extents, memory_order_relaxed);
        unsigned long long bytes = atomic_load_explicit(&it->bytes, memory_order_relaxed);
        unsigned long long blocks = atomic_load_explicit(&it->blocks, memory_order_relaxed);
        if (!extents && !blocks)
            continue;
        int wrote = snprintf(text + used, size - used, "%srank %u: %llu extents, %llu bytes in %llu blocks",
                             used ? "\n" : "", rank, extents, bytes, blocks);
        if (pinned && used + (size_t)wrote < size)
            wrote += snprintf(text + used + wrote, size - used - (size_t)wrote, ", %llu pinned",
                              (unsigned long long)rank_pinned(store, rank));
        used += (size_t)wrote;
    }
}

void store_describe(struct store *store, char *text, size_t size)
{
    store_holders(store, true, text, size);
}

void store_counters(struct store *store, struct store_counters *counters)
{
    pthread_mutex_lock(&store->lock);
    *counters = store->counters;
    pthread_mutex_unlock(&store->lock);
}
