/* One replica of a shard of the control state: a link of a chain (van Renesse and Schneider, OSDI 2004). A
 * pure state machine: messages, views and time go in, messages come out; it has no clock, no thread and no
 * memory that could lack unseen. Not thread safe.
 *
 * Changes go to the head, which gives each its place in the log, and from link to link to the tail. What the
 * tail has applied is committed: it answers the client, and tells so up the chain. Each link has applied all
 * that its successor has, in the same order; that alone makes a repair simple: whoever has a new successor
 * asks what it has applied, and sends the rest; a new tail commits all it has.
 *
 * Reads are the tail's. It answers only while its lease on the view lasts: who makes views waits for the
 * lease of a link that they leave out to end, so no two answer from different views.
 *
 * Messages may be lost, doubled and overtaken: a link sends again what its successor does not confirm. */
#ifndef RAYMPI_CONTROL_CHAIN_H
#define RAYMPI_CONTROL_CHAIN_H

#include "control/control_table.h"

#define CHAIN_MOST 7 /* links */

/** Who is in the chain, from head to tail, as of an epoch. */
struct chain_view {
    uint64_t epoch; /* of the first: 1 */
    int count;
    int members[CHAIN_MOST]; /* ranks */
    int joiner; /* who gets all of it from the tail, to become the tail in a later view; -1: nobody */
};

enum chain_kind {
    CHAIN_CHANGE = 1, /* client to head: do `op` */
    CHAIN_ANSWER,     /* to the client, of op.client and op.serial: status, reply */
    CHAIN_READ,       /* client to tail: the value of op.key */
    CHAIN_VALUE,      /* to the client, of op.serial: status, reply (not done: no value), bytes */
    CHAIN_FORWARD,    /* to the successor: `op` is the change at `index`; index 0: what have you applied? */
    CHAIN_HAVE, /* to the predecessor: `index` is applied, and `committed`; `offset` bytes of `copy` are there
                 */
    CHAIN_COPY, /* tail to joiner: bytes at `offset` of a table of `total`, which is as of `copy` */
};

struct chain_message {
    enum chain_kind kind;
    uint64_t epoch;
    uint64_t index, committed;
    int client; /* rank; of changes: who asked first */
    struct control_op op;
    int status; /* OK; NODE_DIED: not the one to ask, as of `epoch`; what control_table_apply() says */
    struct control_reply reply;
    struct control_bytes bytes;
    uint64_t copy; /* which one: the place in the log that it is as of */
    uint64_t offset, total;
};

/** What comes out. Called from within the functions below; what they point to is valid for the call. */
struct chain_output {
    void *arg;
    void (*send)(void *arg, int rank, const struct chain_message *message);
    /** The joiner of this epoch's view has all of it: a view may have it as the tail. May come more than
     * once. */
    void (*joined)(void *arg, uint64_t epoch, int rank);
};

struct chain_config {
    int rank;
    uint64_t patience;   /* how long a successor may not confirm before it is sent to again */
    uint32_t copy_bytes; /* of a part of a copy */
    struct chain_output output;
};

struct chain;
/** MEMORY. */
int chain_open(struct chain **chain, const struct chain_config *config);
void chain_close(struct chain *chain);

/** A view; one that is not newer is left out. Who is new in it as head or middle, or as its only one, begins
 * with nothing: so it is in the first view only. MEMORY: as if it had not come; to be given again. */
int chain_view(struct chain *chain, const struct chain_view *view, uint64_t now);
/** A message; what makes no sense, or is of another epoch, changes nothing. MEMORY: likewise, as if it had
 * been lost. */
int chain_receive(struct chain *chain, int from, const struct chain_message *message, uint64_t now);
/** Time: sends again what was not confirmed. */
void chain_tick(struct chain *chain, uint64_t now);
/** The lease on the view of that epoch lasts until then, by the clock that `now` is of. */
void chain_lease(struct chain *chain, uint64_t epoch, uint64_t until);

/** To look at. */
struct chain_state {
    uint64_t epoch, applied, committed;
    uint64_t log; /* changes that are kept to be sent again */
    bool serves;  /* it is a link */
    const struct control_table *table;
};
void chain_state(const struct chain *chain, struct chain_state *state);

#endif
