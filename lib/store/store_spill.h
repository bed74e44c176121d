/* What the files of the spill tier share.
 *
 *     store_spill.c         which block is where: writes, drops, frees
 *     store_spill_restore.c the way back
 *     store_victims.c       which block is next
 *     store_spill_io.c      the two threads and their queues
 *     store_spill_file.c    files and the slots in them
 *     store_spill_hole.c    slots that are free
 *     store_spill_folder.c  which folders can be used
 *
 * A block that has been written keeps its copy on disk until it is freed: it is immutable, so the copy stays
 * right when the block is restored, and dropping its memory again needs no write. */
#ifndef RAYMPI_STORE_SPILL_H
#define RAYMPI_STORE_SPILL_H

#include "store/store_internal.h"

#define SPILL_BATCH 64 /* blocks that one write, or one round of reads, may take */
/* Of one system call: ext4 takes 1 MiB at a time four times as fast as 4 MiB (Linux 6.18). */
#define SPILL_WRITE_BYTES (UINT64_C(1) << 20)
#define SPILL_CORRUPT     (-1) /* beside errno values: not what was written */
#define SPILL_PAGE        4096
#define SPILL_SLOT_SMALL  (16u << 10) /* shorter blocks lie close to each other: no holes for them */

/* ---- copies */

enum spill_phase {
    SPILL_WRITING = 1, /* asked for; the block is in memory */
    SPILL_WRITTEN,     /* at rest */
    SPILL_READING,     /* asked for, or not taken over yet */
    SPILL_FORGOTTEN    /* its slot is to be given back; belongs to no block any more */
};

/** The copy on disk of one block, and the request for whatever is being done with it. */
struct spill_copy {
    enum spill_phase phase;         /* under the store's lock */
    struct spill_copy *next, *prev; /* prev: of holes */
    struct store_place place;
    char *memory; /* what is written, or where to read to */
    uint64_t length;
    uint64_t checksum;
    /* Set by the writing thread. */
    struct spill_file *file;
    uint64_t offset;
    int error; /* of what was done last: 0, errno, SPILL_CORRUPT */
};

/** Whether an I/O thread may be using the block's memory or copy. */
static inline bool spill_copy_busy(const struct spill_copy *copy)
{
    return copy && copy->phase != SPILL_WRITTEN;
}

/* ---- folders and files: the writing thread's, but for what is said to be anybody's */

struct spill_file {
    int fd;
    uint64_t end, slots, holes; /* slots: in use */
    uint64_t ahead;             /* blocks of the disk are there up to here */
    bool unprepared;            /* the system does not give them before */
    struct spill_folder *folder;
    /* The system could not write back what it had accepted; those who read find out. */
    _Atomic bool broken;
};

struct spill_folder {
    char *path;
    struct spill_file *current; /* being appended to, NULL at first */
    _Atomic int error;          /* of the last write, 0: it worked; anybody's */
    _Atomic uint64_t retry;     /* base_now() from which on it is tried again */
    int told;                   /* the error that was logged last */
};

struct spill_files {
    struct spill_folder *folders;
    int count, turn;
    uint64_t file_bytes;  /* of a file that holds several blocks */
    uint64_t batch_bytes; /* of several blocks that are written at once */
    int open, open_most;
    bool checksum;
    struct spill_copy *holes; /* what is left of slots, the last first */
    pthread_mutex_t breaking; /* one at a time asks whether a file is broken */
};

/** The folders of a list with colons that can be used (count may come to be 0), or ARGUMENT where one can
 * not and was asked for. */
int spill_folders_open(struct spill_files *files, const char *list, bool asked_for, bool warn);
void spill_folders_close(struct spill_files *files);
/** A file in the folder that nobody can open, and that is gone with its descriptor; -1: errno says why. */
int spill_file_create(const char *path);
/** Whether there is no folder that is worth a try now; writes why. Anybody's, as the next two. */
bool spill_folders_failed(const struct spill_files *files, char *text, size_t size);
/** Whether the last write to one of them was good. */
bool spill_folders_work(const struct spill_files *files);
/** Writes what is wrong with them. */
void spill_folders_print(const struct spill_files *files, char *text, size_t size);

/** Writes blocks one after the other into a file; 0, or errno of the folder that was tried last. */
int spill_files_write(struct spill_files *files, struct spill_copy **copies, int count);
/** Reads a block back: 0, errno, SPILL_CORRUPT. For whoever has set SPILL_READING, or was asked by them. */
int spill_file_read(struct spill_files *files, struct spill_copy *copy);
/** The same without waiting for the disk; EAGAIN: that needs it. */
int spill_file_read_cached(struct spill_files *files, struct spill_copy *copy);
/** Asks the system to read ahead. The reading thread's. */
void spill_file_want(const struct spill_copy *copy);
/** Gives the slot of a copy back, and takes over the record. */
void spill_file_forget(struct spill_files *files, struct spill_copy *copy);
/** Nothing in it is needed any more: it begins anew, or is closed. */
void spill_file_emptied(struct spill_files *files, struct spill_file *file);

/* ---- holes (store_spill_hole.c): the writing thread's */

static inline uint64_t spill_pages(uint64_t length)
{
    return (length + SPILL_PAGE - 1) / SPILL_PAGE;
}
/** A slot that is free; takes over the record. */
void spill_hole_add(struct spill_files *files, struct spill_copy *copy);
/** Gives a copy such a slot. */
bool spill_hole_take(struct spill_files *files, struct spill_copy *copy);
/** Gives one back to the disk, or all of a file without slots in use; false: there are none. */
bool spill_hole_return(struct spill_files *files);
/** Closes what has no slots any more, and forgets the folders. */
void spill_files_close(struct spill_files *files);

/* ---- threads */

/** Requests, first in, first out, and the thread that does them, made when the first one comes. */
struct spill_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct spill_copy *first, **end;
    pthread_t thread;
    bool started, stopping; /* started: under the store's lock */
};

/** What the threads tell: called by them, without a lock. */
void spill_written(struct store *store, struct spill_copy **copies, int count, int error);
void spill_read(struct store *store, struct spill_copy *copy, int error);

int spill_queue_open(struct spill_queue *queue);
/** Asks for what copy->phase says. STORE_FULL, with text, where there can be no thread. Store lock held. */
int spill_queue_put(struct store *store, struct spill_queue *queue, struct spill_copy *copy);
/** Lets the thread finish what it is doing and ends it. */
void spill_queue_stop(struct spill_queue *queue);
void spill_queue_close(struct spill_queue *queue);

/* ---- the tier */

#define VICTIMS_MOST 4096

struct victim {
    uint32_t index, used, age;
    uint64_t offset;
};

/** Blocks in the order in which they should go. */
struct victims {
    struct victim list[VICTIMS_MOST];
    uint32_t next, count;
    uint32_t hand; /* where the search goes on */
    uint32_t left; /* descriptors that the current call may still look at */
};

struct store_spill {
    void (*wake)(void *arg);
    void *arg;
    struct spill_files files;
    struct spill_queue writes, reads;

    /* Under the store's lock. */
    struct victims victims;
    uint64_t writing_bytes;
    uint64_t pressed; /* bytes that blocks may still take before nothing is written ahead any more */
    bool stopped;     /* no thread any more */

    /* Reads that have finished, under `reads.lock`. */
    struct spill_copy *done, **done_end;
    _Atomic uint32_t finished; /* I/Os since the last poll */
    _Atomic uint32_t busy;
};

/** Starts a walk over the blocks of this rank, and goes on with it; STORE_NONE: all were looked at. Lock
 * held. */
void victims_start(struct store *store);
uint32_t victims_next(struct store *store);

/** Drops the memory of a block that has a copy at rest, unless somebody pins it. Returns the bytes. Lock
 * held.
 */
uint64_t spill_block_drop(struct store *store, uint32_t index);
/** A block has taken so many bytes: begins to write others where memory was short not long ago. Lock held. */
void spill_ahead(struct store *store, uint64_t bytes);
/** Tells whoever polls that there is something. */
void spill_tell(struct store_spill *spill);
/** A block that is on disk ends. Lock held. */
void spill_block_left(struct store *store, const struct store_entry *entry);
/** The copy of a block that ends. Lock held. */
void spill_copy_forget(struct store *store, uint32_t index);
/** Ends the threads; then, when blocks are freed, the files. Both do nothing without a tier. */
void spill_stop(struct store *store);
void spill_close(struct store *store);

#endif
