/* Divides the extents a rank holds into blocks. All it knows about them lies in private memory: nothing that
 * is written into the data pages can damage it. Not thread safe. */
#ifndef RAYMPI_STORE_ARENA_H
#define RAYMPI_STORE_ARENA_H

#include "base/base.h"

#define ARENA_GRANULE 64
/* Lists of free chunks: 16 per power of two of granules, enough for 2^41 granules. */
#define ARENA_CLASSES    608
#define ARENA_SEARCH_ALL UINT32_MAX
#define ARENA_KINDS      3

/** A stretch of memory, used or free; offsets and lengths are bytes in the data area, multiples of the
 * granule. */
struct arena_chunk {
    uint64_t offset, length;
    struct arena_chunk *before, *after; /* neighbours that touch it, NULL at the edge of what is leased */
    struct arena_chunk *newer, *older;  /* of its list when free */
    bool used;
    uint8_t kind; /* of the blocks that its extents are for */
};

/** Neighbouring extents; none when count is 0. */
struct arena_run {
    uint64_t first, count;
};

struct arena {
    uint64_t extent_bytes, extents;
    /* By extent: the chunk that starts (ends) there and touches nothing before (after) it. */
    struct arena_chunk **first, **last;
    struct arena_lists {
        struct arena_chunk *first[ARENA_CLASSES];
        uint64_t filled[(ARENA_CLASSES + 63) / 64]; /* bit per list: not empty */
    } kinds[ARENA_KINDS];
    struct arena_chunk *spare; /* unused records, linked by `older` */
    uint64_t spares;
    uint64_t large; /* used chunks of an extent or more */
    void *slabs;    /* of records, linked by their first word */
};

int arena_init(struct arena *arena, uint64_t extent_bytes, uint64_t extents);
void arena_fini(struct arena *arena);
/** Sets records aside so that the calls of one create, and later the free, need no memory. MEMORY changes
 * nothing. */
int arena_reserve(struct arena *arena);
/** A used chunk of `length` bytes, or NULL. `tries`: how many chunks of about that size to look at before
 * taking a larger one; ARENA_SEARCH_ALL: at all, also in extents of other kinds. */
struct arena_chunk *arena_take(struct arena *arena, uint64_t length, uint32_t tries);
/** Free bytes that touch extents before (after) them and would become one with them, were they added for a
 * block of `length`; any: also those in extents for other blocks, which arena_add_take uses where the rest is
 * not enough. */
uint64_t arena_free_before(const struct arena *arena, uint64_t extent, uint64_t length, bool any);
uint64_t arena_free_after(const struct arena *arena, uint64_t extent, uint64_t length, bool any);
/** Adds extents and takes a chunk out of them and the free memory beside them; *surplus: extents it did not
 * need, no longer the arena's. `run` must be enough for `length`. */
struct arena_chunk *arena_add_take(struct arena *arena, struct arena_run run, uint64_t length,
                                   struct arena_run *surplus);
/** Frees a chunk. Returns the extents that this emptied: they are no longer the arena's. */
struct arena_run arena_give(struct arena *arena, struct arena_chunk *chunk);

#endif
