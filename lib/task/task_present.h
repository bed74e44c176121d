/* Stored values that are not where they are wanted: on disk, or on another host.
 *
 * Who wants to read a stored value pins it (task_present.c). Where that can not be done at once he asks the
 * one rank of his host that can bring it: the holder, if that is on this host (then the block is on disk),
 * else the rank that keeps the host's copy of this block (task_copy.c), which fetches it from the holder
 * (task_lease.c serves there). Then he tries again, since what was brought may have been given up meanwhile.
 *
 * A long block that has readers enough is fetched from one of them (task_told.c knows them), which may itself
 * have got a part of it only: so many hosts that read one block form a tree, and its holder sends it twice.
 * Each copy has a serial number of its keeper's. Who is sent elsewhere names the copy that the holder meant:
 * it was begun earlier, so nobody waits in a circle. Where that copy is gone he asks the holder again, who
 * then serves him.
 *
 * Nobody who handles a message waits. What lacks memory, or waits for a disk, is looked at again by who polls
 * and, as long as there is something, by an item of this rank that sleeps a millisecond in between: so the
 * job does not look at rest.
 */
#ifndef RAYMPI_TASK_PRESENT_H
#define RAYMPI_TASK_PRESENT_H

#include "task/task_internal.h"

#include <utlist.h>

#define PRESENT_TEXT 200

/** HASH_ADD() that waits for memory. */
#define HASH_ADD_SURE(table, field, item, what)                                                              \
    do {                                                                                                     \
        for (int tries_ = 0;;) {                                                                             \
            HASH_ADD(hh, table, field, sizeof(item)->field, item);                                           \
            if ((item)->hh.tbl)                                                                              \
                break;                                                                                       \
            base_await_memory(&tries_, "task", what);                                                        \
        }                                                                                                    \
    } while (0)

/** A rank that is to be told when something is here. */
struct present_want {
    struct present_want *next;
    int rank;
};
/** Those who are to be told something; made under the lock, told after it. */
struct present_news {
    struct present_news *next;
    struct stored at;
    struct store_place local; /* where it is on this host */
    int status;
    struct present_want *wants;
    char text[PRESENT_TEXT];
};

struct task_present {
    struct base_spin lock;      /* all of the rest but the atomic words */
    struct present_wait *waits; /* threads of this rank that wait */
    struct restore *restores;   /* blocks of this rank that are to come back from disk */
    struct copy *copies;        /* of blocks of other hosts, by name */
    struct copy *idle;          /* those that this rank keeps for its host, least recently used first */
    struct copy *planned;       /* those that wait for memory */
    struct copy *asking;        /* those with something left to ask for */
    int ranges;                 /* that were asked for and have not come */
    uint64_t lease_number, copy_serial;
    struct lease *leases;     /* blocks of this rank's that others read, by block and reader */
    struct task_copies count; /* of copies; all but `served` under the lock */
    _Atomic uint64_t served;
    struct told *told;   /* ranks that may have copies, by block */
    _Atomic int pending; /* restores, planned copies, one-sided reads */
    _Atomic int looking; /* somebody is in task_present_look() */
    _Atomic int minded;  /* the minder runs or will */
    struct sched_item minder;
    struct task_room *room;
    uint64_t spilled, spilled_bytes; /* that a timeline knows of */
    uint64_t room_asked;             /* when another rank was asked for memory */
    int room_turn;
};

/* ---- messages */

struct bring {
    struct stored at;
    uint64_t extent;
};
/** The text of an error follows. */
struct brought {
    struct stored at;
    struct store_place local;
    int32_t status;
    uint32_t nothing;
};
/** Length 0: only to be told where it lies, since it is read one-sidedly (LEASED). */
struct pull {
    struct stored at;
    uint64_t offset, length;
    uint64_t
        serial; /* to the holder: of the reader's copy, 0 if it must come from him; else of the copy there */
};
struct leased {
    struct stored at;
    uint64_t offset; /* in the segment of that host */
    uint64_t ready;  /* bytes from its begin on that have come so far */
    uint64_t checksum;
    struct net_pass pass; /* to read it there */
    int32_t status;
    uint32_t closed; /* 1: there it can not be read one-sidedly: it is to be asked for in ranges */
};
/** The holder's answer to a first PULL: there is a copy. */
struct elsewhere {
    struct stored at;
    uint64_t serial;
    int32_t rank;
    uint32_t nothing;
};
/** Its bytes follow; none: the block can not be read. */
struct chunk {
    struct stored at;
    union {
        uint64_t offset;
        int64_t status; /* why it can not */
    };
    uint64_t checksum; /* of the whole block */
};

#define CHUNK_BYTES (NET_MESSAGE_ONE - sizeof(struct chunk))
#define RANGE_BYTES (8 * CHUNK_BYTES)   /* asked for at once */
#define STEP_BYTES  (UINT64_C(8) << 20) /* read one-sidedly before others are told that it is here */

#define TREE_BYTES   (UINT64_C(4) << 20) /* a block from which on it goes from reader to reader */
#define TREE_READERS 2                   /* whom its holder serves himself */

/* task_present.c */
static inline bool stored_near(const struct task_room *room, const struct stored *at)
{
    return net_local(room->net, at->holder) >= 0;
}
void present_tell(struct task_room *room, int rank, enum task_message_type type, const void *head,
                  size_t size, const void *data, size_t length);
/** Notes who is to be told; under the lock. Memory is waited for. */
void present_want(struct present_want **wants, int rank);
struct present_news *present_news_new(const struct stored *at, struct store_place local, int status,
                                      const char *text, struct present_want *wants);
/** Tells them all, without the lock. */
void present_announce(struct task_room *room, struct present_news *news);
/** Adds to the bytes that room is to be made for. */
void present_lack(const struct task_room *room, uint64_t *lacking, uint64_t bytes);
/** Tells the timeline. */
static inline void present_trace(enum trace_kind kind, uint64_t a, uint64_t b)
{
    if (task_self)
        trace_event(task_self->trace, kind, a, b);
}
/** There is something to look at again. */
void present_mind(struct task_room *room);
/** A block of this rank's is to come back from disk, for `rank` (-1: for a lease). Under the lock. */
void present_restore(struct task_room *room, struct store_place place, int rank);

/* task_restore.c */
void restores_open(struct task_room *room);
void restores_close(struct task_room *room);

/* task_copy.c: all but copy_at() and the handlers under the lock */
int copy_pin(struct task_room *room, const struct stored *at, const void **data, uint64_t *length);
void copy_unpin(struct task_room *room, const struct stored *at);
const void *copy_at(struct task_room *room, const struct stored *at);
/** Another rank of the host has it there. */
void copy_learn(struct task_room *room, const struct stored *at, struct store_place local);
/** The copy of that serial number, for a rank of another host; NULL: it is gone. Until copy_return(). */
struct copy *copy_lend(struct task_room *room, const struct stored *at, uint64_t serial);
void copy_return(struct task_room *room, struct copy *copy);
/** Where it is, and how much of it has come. NULL: nothing will. */
const char *copy_lent(const struct copy *copy, uint64_t *length, uint64_t *ready);
struct store_place copy_place(const struct copy *copy);
/** Of the block, as the holder has told it; known where something has come. */
uint64_t copy_checksum(const struct copy *copy);
/** It is of no use any more: the block is gone, or who has read it says that it is corrupt. */
void copy_stale(struct task_room *room, const struct stored *at);
/** Brings one for `rank`; the answer may be at hand. */
struct present_news *copy_bring(struct task_room *room, const struct stored *at, uint64_t extent, int rank);
/** Goes on with those that wait for memory; *lacking: bytes that were not there. */
struct present_news *copies_advance(struct task_room *room, uint64_t *lacking);
/** Gives up copies that nobody of this rank reads. Returns how many bytes. */
uint64_t copies_evict(struct task_room *room, uint64_t bytes);
void copy_on_stale(void *arg, const struct net_message *message);
void copies_close(struct task_room *room);

/* task_fetch.c */
void copy_on_chunk(void *arg, const struct net_message *message);
void copy_on_leased(void *arg, const struct net_message *message);
void copy_on_elsewhere(void *arg, const struct net_message *message);

/* task_lease.c */
void lease_on_pull(void *arg, const struct net_message *message);
void lease_on_read(void *arg, const struct net_message *message);
void lease_on_corrupt(void *arg, const struct net_message *message);
/** There is more of what readers may wait for, or (not OK) nothing of it will come. Without the lock. */
void leases_look(struct task_room *room, const struct stored *at, int status);
void leases_close(struct task_room *room);

/* task_told.c: under the lock */
/** `rank` reads it; serial number 0: its copy is not for others. */
void told_add(struct task_present *present, struct store_place place, int rank, uint64_t serial);
/** A copy that is to be read instead, by `rank`, which has a copy, too, from now on. False: there is none. */
bool told_elsewhere(struct task_present *present, int rank, const struct pull *pull,
                    struct elsewhere *elsewhere);
void told_close(struct task_present *present);

#endif
