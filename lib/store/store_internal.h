/* What the files of the store share. */
#ifndef RAYMPI_STORE_INTERNAL_H
#define RAYMPI_STORE_INTERNAL_H

#include "store/store.h"
#include "store/store_arena.h"

#include <pthread.h>

#define STORE_PAGE       4096
#define STORE_PIN_LOCKS  64          /* per rank, power of two */
#define STORE_CHUNK      (64u << 10) /* bytes of a descriptor table committed at a time */
#define STORE_NONE       UINT32_MAX
#define STORE_TEXT_BYTES 1024

/* ---- in the control area of the segment, shared by all ranks; zeroed means empty */

enum store_state {
    STORE_EMPTY = 0,
    STORE_CREATED,
    STORE_SEALED,
    STORE_FREEING,
    STORE_DISK /* sealed, and not in memory, or about to leave it */
};
#define STORE_STATE_BITS 3

static inline uint64_t store_word(uint64_t generation, enum store_state state)
{
    return generation << STORE_STATE_BITS | (uint64_t)state;
}
static inline uint64_t store_word_generation(uint64_t word)
{
    return word >> STORE_STATE_BITS;
}
static inline enum store_state store_word_state(uint64_t word)
{
    return (enum store_state)(word & ((1u << STORE_STATE_BITS) - 1));
}

/** One per block; type-stable: an entry never becomes anything else. Padded to a multiple of the cache line.
 */
struct store_entry {
    _Atomic uint64_t word;   /* generation and state */
    uint64_t length;         /* these two change only while no reader can have a valid pin */
    uint64_t offset;         /* in the segment */
    _Atomic uint32_t used;   /* the clock of the pool when it was last sealed, pinned or restored */
    _Atomic uint32_t note;   /* see store_note() */
    _Atomic uint64_t pins[]; /* bit per rank */
};

/** What others need to know of a rank, and its counters. */
struct store_rank {
    /* Work for store_collect, set by other ranks too. */
    _Atomic uint32_t collect;
    /* Descriptors whose memory is committed: only those may be touched. */
    _Atomic uint32_t ready;
    /* Written by the rank only, under its lock; away from the line above, which every pin reads. */
    _Alignas(BASE_CACHE_LINE) _Atomic uint64_t extents;
    _Atomic uint64_t blocks, bytes, disk; /* bytes in memory; bytes on disk only */
    _Atomic uint64_t promised;            /* bytes that it is going to take; without the lock */
    /* Bytes of sealed blocks in memory; of store_seal() too, which takes no lock. */
    _Atomic uint64_t cold;
};
#define STORE_COLLECT_UNPINNED 1u /* a block being freed lost a pin */
#define STORE_COLLECT_TAKEN    2u /* another rank took an extent kept in reserve */

struct store_pool {
    _Atomic uint32_t room;    /* bumped when extents come back, and for waiters */
    _Atomic uint32_t waiters; /* threads of the host that sleep on `room` */
    /* Advances with the bytes that ranks create or restore; what "recently used" means. On a line of its own:
     * every pin reads it. */
    _Alignas(BASE_CACHE_LINE) _Atomic uint32_t clock;
};

/** Owner word of an extent: 0 free; rank+1 leased; rank+1 with the reserve bit: empty, still writable by that
 * rank, for anyone to take. */
#define STORE_RESERVE (UINT32_C(1) << 31)

/* ---- private */

/** What this rank knows of an extent. */
enum extent_state {
    EXTENT_UNMAPPED = 0,
    EXTENT_SHUT, /* mapped in the write area but not accessible; page tables kept: cheap to open again */
    EXTENT_OPEN  /* writable: leased, or in reserve */
};

/** A descriptor of this rank, its private side. */
struct store_block {
    struct arena_chunk *chunk; /* NULL: no memory */
    struct spill_copy *copy;   /* NULL: no copy on disk */
    uint32_t next;             /* in the list of free or of waiting descriptors */
    uint32_t kept;             /* by those who are told that it is there, and may want to pin it */
    uint64_t checksum;         /* of what was sealed; 0: there are none */
    bool guarded;              /* its memory can only be read */
};

struct store {
    struct base_segment *segment;
    struct store_layout layout;
    int rank;
    double create_timeout;
    uint64_t data_offset;
    uint64_t page; /* blocks have whole ones, to be protected; 0: they are not */

    struct store_pool *pool;
    struct store_rank *ranks;
    _Atomic uint32_t *owners;
    _Atomic uint64_t *committed; /* bit per extent */
    char *tables;
    uint64_t tables_offset; /* in the segment */
    uint64_t entry_bytes, table_bytes;

    /* Allocation: everything below up to the next blank line belongs to the lock. */
    pthread_mutex_t lock;
    struct arena arena;
    char *write;      /* address space of the data area; only extents of this rank are accessible */
    uint8_t *extents; /* enum extent_state by extent */
    struct store_block *blocks;
    uint32_t free, waiting; /* lists of descriptors */
    uint32_t fresh;         /* descriptors from here on were never looked at */
    struct store_counters counters;
    uint64_t unclocked;             /* bytes made since the clock advanced */
    uint32_t guarded, protect_most; /* blocks; at most 0: none any more */
    bool protect_told;              /* that there are as many as there can be */

    store_extent_left *left; /* see store_on_extent_left() */
    void *left_arg;

    struct store_spill *spill; /* NULL: blocks stay in memory */
    bool checksums;

    _Atomic uint32_t room; /* frees of this rank */
    /* Pins: how many views this rank has of each descriptor of the host, under the lock of the descriptor. */
    uint32_t *views;
    struct {
        _Alignas(BASE_CACHE_LINE) _Atomic uint32_t word;
    } pin_locks[STORE_PIN_LOCKS];
};

static inline struct store_entry *store_entry_at(const struct store *store, uint32_t rank, uint32_t index)
{
    return (struct store_entry *)(store->tables + rank * store->table_bytes + index * store->entry_bytes);
}
/** Says where a block is that no reader can have a valid pin of. */
static inline void entry_place(struct store_entry *entry, uint64_t offset, uint64_t length)
{
    /* Relaxed: store_find() may look all the same. */
    __atomic_store_n(&entry->length, length, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->offset, offset, __ATOMIC_RELAXED);
}
static inline int store_pin_words(const struct store *store)
{
    return (store->layout.size + 63) / 64;
}

static inline uint64_t store_data_bytes(const struct store *store)
{
    return store->layout.extents * store->layout.extent_bytes;
}
/** The block of this rank that `word` of descriptor `index` tells of. */
static inline struct store_place store_place_of(const struct store *store, uint32_t index, uint64_t word)
{
    return (struct store_place){(uint32_t)store->rank, index, store_word_generation(word)};
}

/** Lends neighbouring extents for `length` bytes: claimed for this rank, committed, writable. STORE_FULL or
 * MEMORY (with text) leaves the pool as it was. Lock held, as for the next three. */
int extent_lease(struct store *store, uint64_t length, struct arena_run *run);
/** Gives extents back, to be kept in reserve until another rank takes them. */
void extent_return(struct store *store, struct arena_run run);
/** Shuts the extents that other ranks took from the reserve. */
void extent_reserve_check(struct store *store);
/** Gives the reserve up. */
void extent_reserve_drop(struct store *store);

/** Takes a free descriptor. MEMORY when the table is full. Lock held, as for descriptor_put and
 * descriptor_free. */
int descriptor_take(struct store *store, uint32_t *index);
void descriptor_put(struct store *store, uint32_t index);
/** Sets FREEING; descriptor_pinned() comes after it. Answers what the state was. */
enum store_state descriptor_free(struct store *store, uint32_t index);
/** Sets DISK; true if nobody pins the block, else puts SEALED back. Lock held, and the SEALED of whoever
 * sealed the block acquired. */
bool descriptor_drop(struct store *store, uint32_t index);
/** Shows the block to readers. */
void descriptor_seal(struct store_entry *entry, uint64_t generation);
/** Clears the pins of a rank everywhere. */
void descriptor_pins_clear(struct store *store, int rank);
bool descriptor_pinned(const struct store *store, const struct store_entry *entry);
/** Checks that `place` is a block of this rank in one of the states of `mask` (bit per state), else logs what
 * the caller did wrong. */
bool descriptor_mine(struct store *store, struct store_place place, unsigned mask, const char *action);

/** Takes memory for a block: a chunk from memory at hand, else from new extents. Lock held, as for the rest
 * here; arena_reserve() comes before. */
int block_chunk_make(struct store *store, uint64_t length, struct arena_chunk **chunk);
/** Notes a chunk that a block now has, and one that it gives back. */
void block_chunk_count(struct store *store, const struct arena_chunk *chunk);
void block_chunk_drop(struct store *store, uint32_t index);
/** Shows a block that only its maker knows of. */
void block_seal(struct store *store, struct store_place place);
/** Of what its memory holds now. No lock: the caller knows that it stays. */
uint64_t block_checksum(const struct store *store, struct store_place place);
/** Adds the block to the bytes that could be freed, or takes it off. */
void block_cold_change(struct store *store, uint32_t index, int sign);
/** Of the memory of a block of `length` bytes, where it has some. */
static inline uint64_t block_bytes_for(const struct store *store, uint64_t length)
{
    length = length ? length : 1;
    return base_unlikely(store->page) ? base_align_up(length, store->page)
                                      : base_align_up(length, ARENA_GRANULE);
}
static inline uint64_t block_bytes(const struct store *store, const struct store_entry *entry)
{
    return block_bytes_for(store, entry->length);
}
/** Takes the right to write to the memory of a block, where blocks are protected, and gives it back to one
 * that is. */
void block_protect(struct store *store, uint32_t index);
void block_unprotect(struct store *store, uint32_t index);
/** Shows the counters to the other ranks. */
void block_counters_publish(struct store *store);
/** Releases blocks that wait for being freed, where nothing hinders it any more. Returns how many. */
int block_waiting_release(struct store *store);
/** Stamps a block as used now. */
static inline void block_touch(struct store *store, struct store_entry *entry)
{
    /* Relaxed: a hint. */
    atomic_store_explicit(&entry->used, atomic_load_explicit(&store->pool->clock, memory_order_relaxed),
                          memory_order_relaxed);
}

/** Tells waiters of this rank, and if extents came back those of the host. */
void room_note(struct store *store, bool extents);
/** One line per rank that holds something, as long as they fit. */
void store_holders(struct store *store, bool pinned, char *text, size_t size);

#endif
