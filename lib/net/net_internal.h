/* What the files of this room share: the operations of a transport, the common part of every net, delivery.
 */
#ifndef RAYMPI_NET_INTERNAL_H
#define RAYMPI_NET_INTERNAL_H

#include "net/net.h"

/** One transport. Arguments are checked by net.c before they come here. */
struct net_operations {
    int (*send)(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, size_t length,
                _Atomic uint32_t *counter);
    size_t (*pending)(struct net *net, int peer);
    int (*reach)(struct net *net, int peer);         /* may be NULL: always */
    void (*look_at_bell)(struct net *net, int peer); /* where there are lanes */
    int (*poll)(struct net *net, int budget);
    void (*look)(struct net *net); /* may be NULL */
    void (*tick)(struct net *net); /* may be NULL */
    /* false: nothing but the deadline ended it */
    bool (*sleep)(struct net *net, uint64_t deadline, bool (*busy)(void *arg), void *arg);
    void (*seldom)(struct net *net); /* may be NULL */
    void (*wake)(struct net *net);
    void (*wake_all)(struct net *net);
    uint64_t (*now)(const struct net *net);
    int (*dead_peer)(struct net *net);
    void (*leave)(struct net *net);          /* may be NULL */
    void (*farewell)(struct net *net);       /* may be NULL */
    uint64_t (*sent)(const struct net *net); /* messages, all told to the board before a rest */
    uint64_t (*bytes_sent)(const struct net *net);
    void (*count)(const struct net *net, struct net_counters *counters); /* what else there is; may be NULL */
    /* where they are not what boards and rest words of one memory make them */
    struct net_board *(*board)(struct net *net, int rank);
    enum net_rest (*idle_publish)(struct net *net);
    void (*idle_withdraw)(struct net *net);
    void (*close)(struct net *net);
};

/** Host-wide words of rest detection (net_idle.c). */
struct net_rest_words {
    _Alignas(BASE_CACHE_LINE) _Atomic uint32_t idle; /* ranks that have published */
    _Atomic uint64_t
        answer; /* number of the rest * 2, + 1 while a rank has its answer and has not withdrawn */
};

enum net_loss_state { NET_LOSS_NONE, NET_LOSS_BEGUN, NET_LOSS_KNOWN };
/** In the host segment: whose loss the ranks of this host have learnt of first. */
struct net_loss {
    _Alignas(BASE_CACHE_LINE) _Atomic uint32_t state;
    struct net_death death; /* from KNOWN on it stays as it is */
};

struct net {
    struct net_front front; /* first */
    const struct net_operations *operations;
    int rank;
    int size;
    struct net_board *boards;
    struct net_board *own;     /* this rank's */
    const struct net_map *map; /* NULL: one host */
    const int *local_of;
    struct net_reads *reads; /* NULL: this transport has none */
    struct net_rest_words *rest;
    struct net_loss *loss; /* NULL: this transport has none */
    char *crash_text;      /* likewise */
    struct {
        net_handler *run;
        void *arg;
    } handlers[NET_HANDLERS]; /* 0 is nobody's */
    void (*died)(void *arg, int rank);
    void *died_arg;
    bool inner;    /* of a net of several hosts */
    bool idle;     /* published and not withdrawn */
    bool answered; /* was given the answer of the present rest */
    bool *warned;  /* by source: a log line about its malformed messages was written */
    _Atomic uint64_t bytes_received, queued, malformed, sleeps, wakes, rings;
};

/** Fills the common part; `boards` and `rest` are shared by all nets of the job, or NULL. */
int net_setup(struct net *net, const struct net_operations *operations, int rank, int size,
              struct net_board *boards, struct net_rest_words *rest);
void net_teardown(struct net *net);

/** What handles those that nobody else does; arg is the net. */
void net_undelivered(void *arg, const struct net_message *message);
/** Runs the handler of a message. */
static inline void net_deliver(struct net *net, const struct net_message *message)
{
    base_tsan_acquire(net); /* see net_tell_order() */
    unsigned type = base_likely(message->type < NET_HANDLERS) ? message->type : 0;
    net->handlers[type].run(net->handlers[type].arg, message);
}
/** Counts messages that were delivered, before the poll ends. */
void net_delivered(struct net *net, int messages, uint64_t bytes);
/** Counts a malformed message of `source`; one log line per source. */
void net_malformed(struct net *net, int source, const char *what);
/** Tells the death of a peer to whom it concerns. */
void net_died(struct net *net, int rank);

static inline void net_count(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

/** The number of deaths this rank knows of; messages carry it. */
static inline uint32_t net_epoch(const struct net *net)
{
    return atomic_load_explicit(&net->front.deaths, memory_order_relaxed);
}

/* net_idle.c */
/** What the boards of one memory say, while all their ranks are at rest. */
struct net_rest_view {
    uint64_t epochs; /* sum; epochs only grow, so an equal sum means that all are equal */
    uint64_t sent, received, waiting;
    int finalizing;
};
/** Two readings that agree: it was so at one moment. False: some rank is not at rest. */
bool net_rest_read(const struct net *net, struct net_rest_view *view);
/** What such a rest of `ranks` ranks is, if nothing is on its way. */
static inline enum net_rest net_rest_answer(const struct net_rest_view *view, int ranks)
{
    return view->finalizing == ranks && view->waiting == 0 ? NET_REST_DONE : NET_REST_DEADLOCK;
}
/** This rank is at rest from now on, after having sent so many messages; true: it is the last one. */
bool net_rest_enter(struct net *net, uint64_t sent);
/** It is no longer; false: it was not. */
bool net_rest_leave(struct net *net);

/** Reads the pieces of a message one after the other. */
struct net_cursor {
    const struct net_piece *piece;
    size_t within;
};
void net_cursor_copy(struct net_cursor *cursor, void *to, size_t length);

#endif
