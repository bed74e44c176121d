/* The object store of a host: values in the host segment, sealed immutable, read in place by every rank of the host. */
#ifndef RAYMPI_STORE_H
#define RAYMPI_STORE_H

#include "base/base.h"

struct store;

/** Where a stored object is: names one use of one descriptor. 16 bytes, travels in messages. A stale place is
 *  recognised by its generation, it can never reach somebody else's payload. */
struct store_place {
    uint32_t rank;       /* the holder: whose table and whose extent */
    uint32_t index;      /* of the descriptor in the holder's table */
    uint64_t generation; /* never reused for one index */
};

/** Sizes, the same on every rank of the host. */
struct store_layout {
    int size;              /* ranks of the host */
    uint32_t descriptors;  /* per rank */
    uint64_t extent_bytes; /* e.g. 1 MiB .. 16 MiB */
    uint64_t extents;      /* in the host's pool */
    uint64_t control_bytes; /* of the control area: descriptor tables, extent pool */
};
/** Works out a layout for `bytes` of payload. */
void store_layout_make(struct store_layout *layout, int size, uint64_t bytes);

/** Opens rank's part: descriptor tables and the extent pool lie at `control_offset` of the segment's control area,
 *  extents at `data_offset`. The first rank to open formats nothing: a zeroed segment is a valid empty store. */
int store_open(struct store **store, struct base_segment *segment, const struct store_layout *layout,
               uint64_t control_offset, uint64_t data_offset, int rank, double create_timeout);
/** Gives every extent back. Blocks that others still pin stay readable to them (the mapping is theirs). */
void store_close(struct store *store);

/** A block of `length` bytes, 64-byte aligned, writable by this rank only. *place names it; unsealed. One block may
 *  span several neighbouring extents. STORE_FULL at once when there is no room now (callers wait and try again, see
 *  store_room_wait), TOO_LARGE when it can never fit. Thread safe. */
int store_create(struct store *store, uint64_t length, struct store_place *place, void **data);
/** Makes the block immutable and visible to readers (release order). */
void store_seal(struct store *store, struct store_place place);
/** Frees a block of this rank: sets FREEING, then looks at the pins; memory is reused once the last pin is gone.
 *  Called once per block, by the holder, sealed or not. `waiting` frees are finished by store_collect(). */
void store_free(struct store *store, struct store_place place);
/** Finishes frees that waited for pins; cheap when there are none. Returns how many. */
int store_collect(struct store *store);

/** Pins a sealed block, anywhere on the host, in constant time, and shows it read-only. LOST when the place is stale,
 *  unsealed or being freed. Pins nest per rank (counted privately); any thread. */
int store_pin(struct store *store, struct store_place place, const void **data, uint64_t *length);
/** Drops one pin. */
void store_unpin(struct store *store, struct store_place place);
/** Clears the pins of a dead rank. */
void store_rank_died(struct store *store, int rank);

/** Blocks the calling thread for at most `seconds` or until some memory of the host store was freed since `ticket`
 *  (from store_room_ticket, taken before the failed create). For threads that have nothing else to do. */
uint32_t store_room_ticket(struct store *store);
bool store_room_changed(struct store *store, uint32_t ticket);

/** Who holds what: one line per rank: extents, bytes in use, blocks, pinned blocks. For STORE_FULL messages. */
void store_describe(struct store *store, char *text, size_t size);

struct store_counters {
    uint64_t blocks, bytes, extents, peak_bytes, created, freed, waiting;
};
void store_counters(struct store *store, struct store_counters *counters);

#endif
