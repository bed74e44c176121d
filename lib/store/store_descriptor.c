/* Descriptor tables and the pin protocol.
 *
 * A reader sets its rank's bit, then looks at the state; the holder who frees sets FREEING, then looks at the
 * bits. Both are sequentially consistent, so at least one sees the other: the reader undoes its bit, or the
 * holder waits for it. In the same way, who clears a bit looks at the state afterwards: either the holder
 * finds the bit clear, or the reader finds FREEING and asks the holder to look again. Entries never become
 * anything else, so a stale place can touch a bit for a moment but no payload.
 *
 * A holder that drops the memory of a block does as one that frees: sets DISK, then looks at the bits; but
 * where it finds one it puts SEALED back. The reader who found DISK is told so even if it is put back: the
 * holder, whom it asks next, answers that the block is in memory. */
#include "store/store_internal.h"

#include <stdio.h>
#include <sched.h>

#define SPINS_BEFORE_YIELD 64

/* ---- the holder's side */

/* Commits the part of this rank's table that holds `index`, with its whole chunk. */
static int table_commit(struct store *store, uint32_t index)
{
    struct store_rank *self = &store->ranks[store->rank];
    if (index < atomic_load_explicit(&self->ready, memory_order_relaxed))
        return RAYMPI_OK;
    uint64_t start = index * store->entry_bytes / STORE_CHUNK * STORE_CHUNK;
    uint64_t end = start + STORE_CHUNK < store->table_bytes ? start + STORE_CHUNK : store->table_bytes;
    uint64_t offset = store->tables_offset + (uint64_t)store->rank * store->table_bytes + start;
    if (base_segment_commit(store->segment, offset, end - start) != RAYMPI_OK)
        return base_fail(RAYMPI_ERR_STORE_FULL,
                         "/dev/shm (or the memory limit of the job) has no room for %llu more "
                         "bytes of the store's descriptors",
                         (unsigned long long)(end - start));
    uint64_t ready = end / store->entry_bytes;
    /* Release: others touch entries below `ready` only after they are backed by memory. */
    atomic_store_explicit(&self->ready,
                          (uint32_t)(ready < store->layout.descriptors ? ready : store->layout.descriptors),
                          memory_order_release);
    return RAYMPI_OK;
}

/* The next descriptor that was never used, or not since the rank's part was opened: those that a predecessor
 * could not free for their pins are passed over. */
static int descriptor_fresh(struct store *store, uint32_t *index)
{
    for (; store->fresh < store->layout.descriptors; store->fresh++) {
        int status = table_commit(store, store->fresh);
        if (status != RAYMPI_OK)
            return status;
        struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, store->fresh);
        uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
        if (store_word_state(word) == STORE_EMPTY) {
            *index = store->fresh++;
            return RAYMPI_OK;
        }
    }
    return base_fail(
        RAYMPI_ERR_MEMORY,
        "rank %d holds %u stored objects, its table is full: release some, let small values travel in "
        "messages (RAYMPI_INLINE_BYTES), or raise RAYMPI_STORE_BYTES, which sizes the table",
        store->rank, store->layout.descriptors);
}

int descriptor_take(struct store *store, uint32_t *index)
{
    if (store->free == STORE_NONE)
        return descriptor_fresh(store, index);
    *index = store->free;
    store->free = store->blocks[*index].next;
    return RAYMPI_OK;
}

void descriptor_put(struct store *store, uint32_t index)
{
    store->blocks[index].next = store->free;
    store->free = index;
}

bool descriptor_pinned(const struct store *store, const struct store_entry *entry)
{
    for (int i = 0; i < store_pin_words(store); i++)
        if (atomic_load_explicit(&entry->pins[i], memory_order_seq_cst))
            return true;
    return false;
}

enum store_state descriptor_free(struct store *store, uint32_t index)
{
    struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    /* Before the look at the pins in the one order of all seq_cst operations. */
    atomic_store_explicit(&entry->word, store_word(store_word_generation(word), STORE_FREEING),
                          memory_order_seq_cst);
    return store_word_state(word);
}

bool descriptor_drop(struct store *store, uint32_t index)
{
    struct store_entry *entry = store_entry_at(store, (uint32_t)store->rank, index);
    uint64_t generation = store_word_generation(atomic_load_explicit(&entry->word, memory_order_relaxed));
    /* Before the look at the pins in the one order of all seq_cst operations. */
    atomic_store_explicit(&entry->word, store_word(generation, STORE_DISK), memory_order_seq_cst);
    if (!descriptor_pinned(store, entry))
        return true;
    descriptor_seal(entry, generation);
    return false;
}

void descriptor_seal(struct store_entry *entry, uint64_t generation)
{
    /* Release: payload, length and offset are there before anyone sees SEALED. */
    atomic_store_explicit(&entry->word, store_word(generation, STORE_SEALED), memory_order_release);
}

bool descriptor_mine(struct store *store, struct store_place place, unsigned mask, const char *action)
{
    uint64_t word = 0;
    if (place.rank == (uint32_t)store->rank &&
        place.index < atomic_load_explicit(&store->ranks[place.rank].ready, memory_order_relaxed))
        word =
            atomic_load_explicit(&store_entry_at(store, place.rank, place.index)->word, memory_order_relaxed);
    if (store_word_generation(word) == place.generation && mask >> store_word_state(word) & 1)
        return true;
    base_log(BASE_LOG_ERROR, "store",
             "can not %s block %u.%u.%llu: not a block of this rank, or not in that state", action,
             place.rank, place.index, (unsigned long long)place.generation);
    return false;
}

/* ---- the readers' side */

static _Atomic uint32_t *pin_lock(struct store *store, struct store_place place)
{
    uint64_t hash = base_mix((uint64_t)place.rank << 32 | place.index);
    _Atomic uint32_t *lock = &store->pin_locks[hash & (STORE_PIN_LOCKS - 1)].word;
    /* Acquire pairs with the release in pin_unlock: the count of views is seen as the last one left it. */
    for (int spins = 0; atomic_exchange_explicit(lock, 1, memory_order_acquire); spins++)
        if (spins >= SPINS_BEFORE_YIELD)
            sched_yield();
    return lock;
}

static void pin_unlock(_Atomic uint32_t *lock)
{
    atomic_store_explicit(lock, 0, memory_order_release);
}

static void bit_set(struct store_entry *entry, int rank)
{
    atomic_fetch_or_explicit(&entry->pins[rank / 64], UINT64_C(1) << rank % 64, memory_order_seq_cst);
}

/* Clears a bit, then (one order of all seq_cst operations) looks whether the holder waits for that. */
static void bit_clear(struct store *store, struct store_entry *entry, uint32_t holder, int rank)
{
    atomic_fetch_and_explicit(&entry->pins[rank / 64], ~(UINT64_C(1) << rank % 64), memory_order_seq_cst);
    if (store_word_state(atomic_load_explicit(&entry->word, memory_order_seq_cst)) == STORE_FREEING)
        /* Release: our reads of the block come before the memory is used again. */
        atomic_fetch_or_explicit(&store->ranks[holder].collect, STORE_COLLECT_UNPINNED, memory_order_release);
}

/* The entry of a place that may be stale or wrong; NULL if there is none. */
static struct store_entry *entry_find(struct store *store, struct store_place place)
{
    if (place.rank >= (uint32_t)store->layout.size)
        return NULL;
    /* Acquire pairs with the release in table_commit: below `ready` is memory. */
    if (place.index >= atomic_load_explicit(&store->ranks[place.rank].ready, memory_order_acquire))
        return NULL;
    return store_entry_at(store, place.rank, place.index);
}

static uint32_t *views_of(struct store *store, struct store_place place)
{
    return &store->views[(uint64_t)place.rank * store->layout.descriptors + place.index];
}

/* Where this rank has views already, the block stays as it is, whatever its holder wants to do with it. */
static bool word_pinnable(uint64_t word, uint64_t generation, uint32_t views)
{
    return word == store_word(generation, STORE_SEALED) ||
           (views && store_word_generation(word) == generation);
}

/* While there are views, our bit is set and the entry can not be used again: views are all of one generation.
 */
static int entry_pin(struct store *store, struct store_entry *entry, struct store_place place)
{
    uint32_t *views = views_of(store, place);
    if (*views == 0)
        bit_set(entry, store->rank);
    /* After the bit (see above); it also acquires what the holder released by sealing. */
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_seq_cst);
    if (base_likely(word_pinnable(word, place.generation, *views))) {
        if (++*views == 1)
            block_touch(store, entry);
        return RAYMPI_OK;
    }
    if (*views == 0)
        bit_clear(store, entry, place.rank, store->rank);
    return word == store_word(place.generation, STORE_DISK) ? STORE_ON_DISK : RAYMPI_ERR_LOST;
}

int store_pin(struct store *store, struct store_place place, const void **data, uint64_t *length)
{
    struct store_entry *entry = entry_find(store, place);
    int status = RAYMPI_ERR_LOST;
    if (entry) {
        _Atomic uint32_t *lock = pin_lock(store, place);
        status = entry_pin(store, entry, place);
        pin_unlock(lock);
    }
    if (status == STORE_ON_DISK)
        return status;
    if (status != RAYMPI_OK)
        return base_fail(RAYMPI_ERR_LOST,
                         "block %u.%u.%llu is not in the store: it was freed, or is not sealed yet",
                         place.rank, place.index, (unsigned long long)place.generation);
    *data = store->segment->read + entry->offset;
    *length = entry->length;
    return RAYMPI_OK;
}

/* Ranks that have their bit set, as many as fit. */
static void pinners_print(const struct store *store, const struct store_entry *entry, char *text, size_t size)
{
    size_t used = 0;
    *text = 0;
    for (int rank = 0; rank < store->layout.size && used < size; rank++) {
        uint64_t pins = atomic_load_explicit(&entry->pins[rank / 64], memory_order_relaxed);
        int wrote =
            pins >> rank % 64 & 1 ? snprintf(text + used, size - used, "%s%d", used ? " " : "", rank) : 0;
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

void store_look(struct store *store, struct store_place place, struct store_look *look)
{
    struct store_entry *entry = entry_find(store, place);
    *look = (struct store_look){.length = 0};
    if (!entry)
        return;
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_acquire);
    look->in_memory = word == store_word(place.generation, STORE_SEALED);
    look->on_disk = word == store_word(place.generation, STORE_DISK);
    look->freed = word == store_word(place.generation, STORE_FREEING);
    if (!look->in_memory && !look->on_disk)
        return;
    look->length = entry->length;
    pinners_print(store, entry, look->pinned, sizeof look->pinned);
}

uint64_t store_offset(const struct store *store, struct store_place place)
{
    return store_entry_at(store, place.rank, place.index)->offset;
}

const void *store_at(const struct store *store, struct store_place place)
{
    return store->segment->read + store_entry_at(store, place.rank, place.index)->offset;
}

static bool entry_unpin(struct store *store, struct store_entry *entry, struct store_place place)
{
    uint32_t *views = views_of(store, place);
    if (*views == 0 ||
        store_word_generation(atomic_load_explicit(&entry->word, memory_order_relaxed)) != place.generation)
        return false;
    if (--*views == 0)
        bit_clear(store, entry, place.rank, store->rank);
    return true;
}

void store_unpin(struct store *store, struct store_place place)
{
    struct store_entry *entry = entry_find(store, place);
    bool unpinned = false;
    if (entry) {
        _Atomic uint32_t *lock = pin_lock(store, place);
        unpinned = entry_unpin(store, entry, place);
        pin_unlock(lock);
    }
    if (!unpinned)
        base_log(BASE_LOG_ERROR, "store", "unpin of block %u.%u.%llu, which this rank has not pinned",
                 place.rank, place.index, (unsigned long long)place.generation);
}

void descriptor_pins_clear(struct store *store, int rank)
{
    uint64_t bit = UINT64_C(1) << rank % 64;
    for (uint32_t holder = 0; holder < (uint32_t)store->layout.size; holder++) {
        uint32_t ready = atomic_load_explicit(&store->ranks[holder].ready, memory_order_acquire);
        for (uint32_t index = 0; index < ready; index++) {
            struct store_entry *entry = store_entry_at(store, holder, index);
            if (atomic_load_explicit(&entry->pins[rank / 64], memory_order_relaxed) & bit)
                bit_clear(store, entry, holder, rank);
        }
    }
}

void store_rank_died(struct store *store, int rank)
{
    descriptor_pins_clear(store, rank);
}
