/* Opening and closing the store. */
#include "store/store_internal.h"
#include "store/store_spill.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXTENT_USUAL      (4u << 20)
#define EXTENT_SMALL      (256u << 10)
#define EXTENT_LEAST      (64u << 10)
#define EXTENT_MOST       (16u << 20)
#define EXTENTS_WANTED    16u
#define EXTENTS_PER_RANK  4u
#define EXTENTS_MANY      16384u
#define DESCRIPTORS_LEAST 4096u
#define DESCRIPTORS_MOST  262144u

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
        munmap(store->write, store_data_bytes(store));
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
    store->write = sparse_map(store_data_bytes(store), PROT_NONE);
    store->views = sparse_map(views_bytes(store), PROT_READ | PROT_WRITE);
    store->blocks = sparse_map(blocks_bytes(store), PROT_READ | PROT_WRITE);
    store->extents = calloc(store->layout.extents, sizeof *store->extents);
    if (store->write && store->views && store->blocks && store->extents)
        return arena_init(&store->arena, store->layout.extent_bytes, store->layout.extents);
    return base_fail(
        RAYMPI_ERR_MEMORY,
        "no address space or private memory for a store of %llu bytes (ulimit -v; RAYMPI_STORE_BYTES)",
        (unsigned long long)store_data_bytes(store));
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

static void blocks_free_all(struct store *store)
{
    for (uint32_t index = 0; index < store->fresh; index++) {
        struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
        uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
        bool ours = store->blocks[index].chunk || store->blocks[index].copy; /* not a predecessor's */
        if (ours && store_word_state(word) != STORE_FREEING)
            store_free(store, store_place_of(store, index, word));
    }
}

uint64_t store_capacity(const struct store *store)
{
    return store_data_bytes(store);
}

uint64_t store_takes(const struct store *store, uint64_t length)
{
    return block_bytes_for(store, length);
}

void store_close(struct store *store)
{
    spill_stop(store);
    descriptor_pins_clear(store, store->rank);
    blocks_free_all(store);
    /* Looks at every waiting block once more, whatever the flags say: it is the last time. */
    atomic_fetch_or_explicit(&store->ranks[store->rank].collect, STORE_COLLECT_UNPINNED,
                             memory_order_relaxed);
    store_collect(store);
    pthread_mutex_lock(&store->lock);
    extent_reserve_drop(store);
    pthread_mutex_unlock(&store->lock);
    spill_close(store);
    private_free(store);
}
