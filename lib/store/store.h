/* The object store of a host: values in the host segment, sealed immutable, read in place by every rank of
 * the host; and, where memory is short, on disk. */
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
    int size;               /* ranks of the host */
    uint32_t descriptors;   /* per rank */
    uint64_t extent_bytes;  /* e.g. 1 MiB .. 16 MiB */
    uint64_t extents;       /* in the host's pool */
    uint64_t control_bytes; /* of the control area: descriptor tables, extent pool */
};
/** Works out a layout for `bytes` of payload: extents of 4 MiB; smaller ones (down to 256 KiB, to 64 KiB
 * where ranks would get none) until there are 16 of them and 4 per rank; larger ones (up to 16 MiB) from
 * 16384 on. `bytes` is rounded down to whole extents. Descriptors: two per 4 KiB of a rank's share, 4096 at
 * least, 262144 at most. */
void store_layout_make(struct store_layout *layout, int size, uint64_t bytes);

/** Opens rank's part (`create_timeout`: see store_room_wait): descriptor tables and the extent pool lie at
 * `control_offset` of the segment's control area, extents at `data_offset`. The first rank to open formats
 * nothing: a zeroed segment is a valid empty store. */
int store_open(struct store **store, struct base_segment *segment, const struct store_layout *layout,
               uint64_t control_offset, uint64_t data_offset, int rank, double create_timeout);
/** Ends the pins of this rank, frees its blocks and gives its extents back. Extents with blocks that others
 * still pin stay leased for good, so those blocks stay as they are. */
void store_close(struct store *store);

/** Bytes of the host's store, and those that a block of `length` bytes takes of it. */
uint64_t store_capacity(const struct store *store);
uint64_t store_takes(const struct store *store, uint64_t length);
/** Bytes of it that no rank has leased, and none was promised; as of a moment. */
uint64_t store_unleased(const struct store *store);
/** This rank is going to take so many bytes (less than 0: it has, or will not). */
void store_promise(struct store *store, int64_t bytes);

/** A block of `length` bytes, 64-byte aligned, writable by this rank only. *place names it; unsealed. One
 * block may span several neighbouring extents. STORE_FULL at once when there is no room now (callers wait and
 * try again, see store_room_wait), TOO_LARGE when it can never fit. Thread safe. */
int store_create(struct store *store, uint64_t length, struct store_place *place, void **data);
/** Makes the block immutable and visible to readers (release order). */
void store_seal(struct store *store, struct store_place place);
/** From here on every block gets a checksum (xxHash) as it is sealed; before the first block, and before
 * store_spill_open(). UNSUPPORTED in a build without xxHash. */
int store_checksums_open(struct store *store);
/** The checksum of a block that this rank has sealed and pinned; 0 where there are none. */
uint64_t store_checksum_of(const struct store *store, struct store_place place);
/** Seals the copy of a block whose checksum is known, if it has that one; it stays in memory until
 * store_let_go(). False: it has *found, is corrupt, and stays unsealed. Without checksums it is right. */
bool store_seal_copy(struct store *store, struct store_place place, uint64_t checksum, uint64_t *found);
/** A block that was kept in memory without a pin may go; it may be another one by now. */
void store_let_go(struct store *store, struct store_place place);
/** A copy of this block of the rank's was corrupt: looks whether the block itself is, says so, and drops its
 * memory where it can be read again from disk. Any place; nothing without checksums. */
void store_distrust(struct store *store, struct store_place place);
/** Frees a block of this rank: sets FREEING, then looks at the pins; memory is reused once the last pin is
 * gone. Called once per block, by the holder, sealed or not. `waiting` frees are finished by store_collect().
 */
void store_free(struct store *store, struct store_place place);
/** Finishes frees that waited for pins; cheap when there are none. Returns how many. */
int store_collect(struct store *store);

/** store_pin()'s answer for a block that is on disk: its holder has to restore it first. No status of the
 * public's. */
#define STORE_ON_DISK (-1000)
/** Pins a sealed block, anywhere on the host, in constant time, and shows it read-only. LOST when the place
 * is stale, unsealed, or being freed and not pinned by this rank already; STORE_ON_DISK (without a text) when
 * it has been spilled. Pins nest per rank (counted privately); any thread. */
int store_pin(struct store *store, struct store_place place, const void **data, uint64_t *length);
/** Where a block is that the caller's rank has pinned. */
const void *store_at(const struct store *store, struct store_place place);
/** The offset of such a block in the host's segment. */
uint64_t store_offset(const struct store *store, struct store_place place);
/** The extents that such a block, or one that this rank has made, lies in: bytes of the segment, which are in
 * memory, and this rank's as long as the block is there. */
void store_extents_of(const struct store *store, struct store_place place, uint64_t *offset,
                      uint64_t *length);
/** What this rank may write around a block that it is making: the extents, or the block's own pages where
 * blocks are protected. */
void store_writable_around(const struct store *store, struct store_place place, void **memory,
                           uint64_t *length);
/** Tells of an extent that is this rank's no more, another one may have it: where it is in the segment, and
 * where this rank could write it. With the store's lock, some time after. */
typedef void store_extent_left(void *arg, uint64_t offset, const void *memory, uint64_t length);
/** Whom to tell; NULL: nobody. */
void store_on_extent_left(struct store *store, store_extent_left *left, void *arg);
/** What can be seen of a block from anywhere on its host, as of a moment. */
struct store_look {
    bool in_memory, on_disk; /* neither: it is not sealed, being freed, or gone */
    bool freed;              /* goes as soon as nobody pins it */
    uint64_t length;
    char pinned[64]; /* the ranks of the host that do, "0 3 5", or "" */
};
void store_look(struct store *store, struct store_place place, struct store_look *look);
/** Drops one pin. */
void store_unpin(struct store *store, struct store_place place);
/** Clears the pins of a dead rank on every block of the host; one survivor's call is enough, more do no harm.
 * What the dead rank held stays readable, and its extents stay leased: they do not go back to the pool. */
void store_rank_died(struct store *store, int rank);

/** Tells whether memory that this rank could use was freed since `ticket`, which store_room_ticket gave
 * before the create that failed: by this rank, or as extents by another. */
uint32_t store_room_ticket(struct store *store);
bool store_room_changed(struct store *store, uint32_t ticket);
/** Blocks the calling thread for at most `seconds` (negative: the create_timeout of store_open) or until
 *  store_room_changed(ticket), and answers that. For threads that have nothing else to do. */
bool store_room_wait(struct store *store, uint32_t ticket, double seconds);

/* ---- writes by mistake (store_protect.c) */

/** From here on nobody can write to a sealed block of this rank by the pointer that store_create() gave: who
 * does gets SIGSEGV. Blocks take whole pages then, and a system call each to seal and to end. Of very many
 * blocks some are not protected, with one warning. Before the first block. */
void store_protect(struct store *store);
/** Notes something about a block of this rank that store_find() tells; 0: nothing. Before the seal. */
void store_note(struct store *store, struct store_place place, uint32_t note);
struct store_spot {
    int rank; /* who holds the sealed block that is there; -1: there is none, and the rest is 0 */
    uint32_t note;
    uint64_t length, at; /* bytes of the block; the address is that many from its start */
};
/** What is at an address; false: it is not in the store. Async-signal-safe; as of a moment. */
bool store_find(const struct store *store, const void *address, struct store_spot *spot);

/** Copies a value into the store: memcpy, from 1 MiB on past the caches (x86-64). May be followed by
 * store_seal at once; the two must not overlap. */
void store_copy(void *to, const void *from, size_t length);

/* ---- the spill tier (store_spill.c): blocks on disk. A block keeps its place there and back. */

struct store_spill_config {
    const char *directories; /* separated by colons; NULL or "": no spilling */
    bool asked_for; /* by name: what can not be used is an error; else it is left out, with one warning */
    void (*wake)(void *arg); /* called by I/O threads when something has been finished: somebody should call
                                store_spill_poll(); may be NULL */
    void *arg;
};
/** Opens the tier; before any other thread uses the store. ARGUMENT (with folder, reason and cure) for a
 * folder that can not be used and was asked for. No thread and no file is made before the first block is
 * spilled. store_close() closes it: waits for what the I/O threads are doing, drops the files. */
int store_spill_open(struct store *store, const struct store_spill_config *config);

/** Makes room: walks the blocks of this rank that are sealed and that nobody pins, from the least recently
 * used on (see store_victims.c). Memory of those that have a copy on disk is dropped at once, others begin to
 * be written (their memory goes when they are written, whoever calls what), until that comes to `bytes` or
 * more, or as much is being written as is good for the disk. Repeated calls get on until nothing in memory is
 * unpinned. Returns bytes freed at once; *coming: bytes being written now, of all calls. Never blocks on I/O.
 * Any thread. *status: RAYMPI_OK, or why nothing can be written now (disk full, unwritable: text in
 * base_detail()); such a folder is tried again some seconds later, or when something in it was freed. */
uint64_t store_make_room(struct store *store, uint64_t bytes, uint64_t *coming, int *status);
/** Whether blocks can go to disk, as far as is known. */
bool store_spills(const struct store *store);
/** What hinders them, and the cure; "" if nothing is known to. */
void store_spill_fault(const struct store *store, char *text, size_t size);
/** Bytes of this rank's that could be freed: sealed, in memory. Of another local rank too: read from shared
 * memory. */
uint64_t store_cold_bytes(const struct store *store, int local);
/** Begins to bring a block of this rank's back: OK: it is in memory; STORE_ON_DISK: on its way,
 * store_spill_poll() tells; STORE_FULL: no room for it now (make room, try again); MEMORY: no private memory;
 * LOST: stale place. */
int store_restore(struct store *store, struct store_place place);
/** The same by the caller, at once, if the system has the block in its cache: OK: it is in memory, and stays
 * there until store_let_go(). Else it is on its way. Copies the block: for those who have time for that. */
int store_restore_cached(struct store *store, struct store_place place);
/** Takes over I/O that has finished; calls restored() for each block that was being restored: RAYMPI_OK (it
 * can not be spilled again before restored() returns, which may pin it), or why not (text in base_detail()):
 * LOST when its file can not be read or the checksum is wrong, or when it was freed meanwhile. Cheap (one
 * relaxed load) when nothing has. Any thread, usually the poller; holds no lock during restored(). Returns
 * how many I/Os were finished since the last call, writes included. */
int store_spill_poll(struct store *store, void (*restored)(void *arg, struct store_place place, int status),
                     void *arg);
/** I/O in flight of this rank: writes that have not finished, restores that store_spill_poll() has not told.
 */
int store_spill_busy(const struct store *store);

/** Who holds what: one line per rank that holds something: extents, bytes in use, blocks, pinned blocks,
 * bytes on disk. For
 * messages at a deadline: looks at every descriptor of the host. */
void store_describe(struct store *store, char *text, size_t size);

struct store_counters {
    uint64_t blocks, bytes, extents, peak_bytes, created, freed, waiting; /* bytes: in memory and on disk */
    uint64_t memory_bytes;           /* of blocks in memory; peak_bytes is the most of it */
    uint64_t on_disk, on_disk_bytes; /* blocks that are on disk only */
    uint64_t copies_bytes;           /* on disk, also of blocks that are in memory too */
    uint64_t spilled, spilled_bytes; /* blocks written, since the store was opened */
    uint64_t dropped, dropped_bytes; /* left memory: written before, or by this */
    uint64_t restored, restored_bytes;
};
void store_counters(struct store *store, struct store_counters *counters);

#endif
