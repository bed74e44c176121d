/* Inside of the shm transport: layout in the host segment, and what its files share. */
#ifndef RAYMPI_NET_SHM_H
#define RAYMPI_NET_SHM_H

#include "net/net_futex.h"
#include "net/net_internal.h"
#include "net/net_life.h"
#include "net/net_ring.h"

#define SHM_SET_WORDS      (NET_RANKS_MAX / 64) /* words of a set of ranks */
#define SHM_RING_ALIGNMENT 4096

/** Of the host, first in the net's part of the control area. */
struct shm_host {
    struct net_rest_words rest;
    struct net_loss loss;
    _Alignas(BASE_CACHE_LINE) _Atomic uint32_t deaths; /* death word: bumped and woken for every death */
    _Atomic uint64_t dead[SHM_SET_WORDS];              /* ranks whose death was announced */
};

/** Of one rank. Lines by who writes them. */
struct shm_rank {
    struct net_bell bell;
    _Alignas(BASE_CACHE_LINE) _Atomic uint32_t wake; /* net_wake() since the last sleep */
    /* senders whose ring to this rank exists */
    _Alignas(BASE_CACHE_LINE) _Atomic uint64_t used[SHM_SET_WORDS];
    struct net_life_words life;
};

/** Memory for parcels, which are taken out in the order in which they came. */
struct shm_block {
    struct shm_block *next;
    uint32_t size, used; /* bytes of data */
    uint32_t parcels;    /* in it */
    _Alignas(8) char data[];
};

/** A message, or the rest of one, that did not fit in its ring. */
struct shm_parcel {
    struct shm_parcel *next;
    struct shm_block *block;
    struct net_cursor cursor;
    uint16_t type;
    uint32_t total;
    uint32_t done; /* bytes that are in the ring */
    struct net_piece piece;
};

#define SHM_RETRY UINT64_C(10000000) /* ns between two tries to get memory for a ring */

/** What the sending side towards one peer has besides its lane; all under the lane's lock, except the two
 * atomics. */
struct shm_out {
    struct net_lane *lane;
    uint32_t record_max; /* bytes of a message in one record, at most */
    struct shm_parcel *first, **last;
    struct shm_block *blocks, *block_last; /* oldest first */
    _Atomic int open;                      /* the ring is there */
    _Atomic size_t waiting;                /* bytes in parcels */
    bool gone;                             /* the peer died */
    bool unopened;                         /* parcels wait because there was no memory for the ring */
    uint64_t retry;                        /* then: when to try again */
};

/** The receiving side from one peer; the poller's only. */
struct shm_in {
    struct net_ring_reader reader;
    bool closed; /* its ring is corrupt, or it died */
    bool told;   /* its death was */
    char *whole; /* a long message that is being put together, or NULL */
    uint32_t total, filled;
    uint16_t type;
};

/** A message of this rank to itself. */
struct shm_self {
    struct shm_self *next;
    uint16_t type;
    size_t length;
    _Alignas(8) char data[];
};

struct shm_net {
    struct net net;
    struct base_segment *segment;
    uint64_t rings; /* offset of ring [0][0] in the segment */
    uint32_t ring_bytes;
    struct shm_host *host;
    struct shm_rank *ranks;
    struct shm_rank *own;
    struct net_life life;
    bool heavy; /* our fence before we sleep is a heavy one; the poller's */
    struct shm_out *out;
    _Atomic int queues;   /* peers with parcels */
    _Atomic int unopened; /* peers whose ring could not be made: a sleep ends by itself, to try again */
    /* poller only */
    struct shm_in *in;
    uint64_t known[SHM_SET_WORDS]; /* what was seen in own->used */
    int *sources;                  /* senders with a ring, in order of appearance */
    int source_count;
    int turn; /* index in sources that is served next */
    uint32_t polls;
    uint32_t empty; /* polls that found nothing, in a row */
    uint32_t deaths_seen;
    /* messages to oneself */
    pthread_mutex_t self_lock;
    struct shm_self *self_first, **self_last;
    _Atomic int self_count;
    _Atomic uint64_t self_messages; /* so far */
};

static inline struct shm_net *shm_of(const struct net *net)
{
    return (struct shm_net *)base_container(net, struct shm_net, net);
}

/** Offset in the segment of the ring from `sender` to `receiver`. */
static inline uint64_t shm_ring_offset(const struct shm_net *shm, int receiver, int sender)
{
    return shm->rings + ((uint64_t)receiver * (uint64_t)shm->net.size + (uint64_t)sender) * shm->ring_bytes;
}

/** Wakes the poller of `rank` if it sleeps: to be called after publishing what it should see. */
static inline void shm_knock(struct shm_net *shm, int rank)
{
    net_knock(&shm->net, &shm->ranks[rank].bell, rank);
}

/* net_shm_send.c */
int shm_send(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, size_t length,
             _Atomic uint32_t *counter);
size_t shm_pending(struct net *net, int peer);
uint64_t shm_sent(const struct net *net);
uint64_t shm_bytes_sent(const struct net *net);
int shm_reach(struct net *net, int peer);
/** Moves parcels into rings; true when any moved. */
bool shm_flush(struct shm_net *shm);
/** Throws away what waits for `peer`; later sends answer NODE_DIED when `gone`. */
void shm_out_drop(struct shm_net *shm, int peer, bool gone);

/* net_shm_poll.c */
int shm_poll(struct net *net, int budget);
void shm_look(struct net *net);
/** Anything to deliver? */
bool shm_ready(struct shm_net *shm);
/** Delivers all that a dead rank has published, then forgets the half-received. */
void shm_in_finish(struct shm_net *shm, int source);

/* net_shm_death.c */
enum net_life_state shm_life_state(const struct shm_net *shm, int rank);
/** Finds deaths among all ranks, announces and tells them. */
void shm_deaths_handle(struct shm_net *shm);
static inline bool shm_deaths_new(const struct shm_net *shm)
{
    return atomic_load_explicit(&shm->host->deaths, memory_order_relaxed) != shm->deaths_seen;
}
/** The life words this rank watches: of the next living ranks. Announces the deaths found on the way. */
int shm_watch(struct shm_net *shm, struct net_futex watched[NET_LIFE_WORDS]);
int shm_dead_peer(struct net *net);

#endif
