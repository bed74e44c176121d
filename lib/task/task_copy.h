/* A copy of a block of another host, as it is kept (task_copy.c) and fetched (task_fetch.c). */
#ifndef RAYMPI_TASK_COPY_H
#define RAYMPI_TASK_COPY_H

#include "task/task_present.h"

enum copy_state {
    COPY_KNOWN,   /* another rank keeps it */
    COPY_PLANNED, /* there is no memory for it yet */
    COPY_COMING,
    COPY_CHECKED, /* all of it has come; is it what was sealed? */
    COPY_HERE,    /* this rank keeps it */
    COPY_LOST,    /* it has not come; others have read a part of it */
};

struct copy {
    UT_hash_handle hh; /* by name */
    struct stored at;
    struct store_place local;
    uint64_t extent;
    uint32_t users;           /* pins of this rank's, those for ranks of other hosts included */
    enum copy_state state;    /* what follows is of those that this rank keeps */
    bool stale;               /* the block is gone */
    bool dirty;               /* a rank that has died may still write to it: its memory is not used again */
    struct copy *prev, *next; /* of those that are idle, planned, or have something to ask for */
    struct present_want *wants;
    uint64_t since;
    uint64_t serial; /* names it to ranks that may read it */
    int source;      /* who is asked for it: its holder, or a rank that he has named */
    uint64_t source_serial;
    char *to;         /* while it comes */
    const char *data; /* as long as anybody reads it */
    uint64_t asked, got;
    uint64_t checksum;      /* as the holder says */
    int corrupt;            /* how often it has come so */
    uint64_t offset, ready; /* where it is read one-sidedly, and how much of it is there so far */
    struct net_pass pass;   /* to do so */
    bool closed;            /* its source does not let it be read so */
    struct net_range into;  /* its memory, open for reads that come */
    struct net_read read;   /* done: NULL: none is under way */
    struct task_room *room;
};

static inline bool copy_is_idle(const struct copy *copy)
{
    return copy->state == COPY_HERE && copy->users == 0;
}

/* task_copy.c; all under the lock */
struct copy *copy_find(const struct task_present *present, const struct stored *at);
struct copy *copy_new(struct task_present *present, const struct stored *at, enum copy_state state);
/** Ends one that is in no list, and has no memory. */
void copy_end(struct task_present *present, struct copy *copy);
/** Ends one that nobody finds any more, and what has come of it. */
void copy_drop(struct task_room *room, struct copy *copy);
/** Those who read it while it came keep it as any reader does. */
void copy_pin_lent(struct task_room *room, const struct copy *copy);
/** It is to be fetched from its holder, once there is memory. */
void copy_plan(struct task_room *room, struct copy *copy);
/** The answer to all who want it. */
struct present_news *copy_news(struct copy *copy, int status);
void copy_give_up(struct task_room *room, struct copy *copy);

/* task_fetch.c */
/** Asks holders for what they may be asked for, a range of each copy in turn. Under the lock. */
void copies_ask(struct task_room *room);

#endif
