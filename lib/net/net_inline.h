/* The short way of a message, inline: into the ring to another rank of the host, when that has room. Included
 * by net.h only. */
#ifndef RAYMPI_NET_INLINE_H
#define RAYMPI_NET_INLINE_H

#include "net/net_ring.h"

enum net_bell_state {
    NET_BELL_AWAKE = 0,
    NET_BELL_ASLEEP, /* the poller sleeps or is about to */
    NET_BELL_QUIET,  /* it is awake, and its fence before it sleeps is a heavy one */
    NET_BELL_NEVER,  /* no bell's state */
};
/** How to wake the poller of a rank; in the host segment. Senders look at it for every message, so nothing
 * that changes often shares its line. */
struct net_bell {
    _Alignas(BASE_CACHE_LINE) _Atomic uint32_t state; /* enum net_bell_state */
    _Atomic uint32_t rung;                            /* futex: bumped by who found it asleep */
};

/** The way to one peer; all but `bell` under `lock`. */
struct net_lane {
    _Alignas(BASE_CACHE_LINE) struct base_spin lock;
    uint32_t short_until;          /* a short message that begins before this may be written without a look */
    struct net_ring_writer writer; /* ring NULL until first used */
    _Atomic uint64_t messages, bytes; /* sent so far */
    struct net_bell *bell;            /* the peer's */
    uint32_t short_end; /* shorter messages may go straight into the ring, if there is room; 0: none may */
};
#define NET_SHORT_MAX 112 /* bytes of a short message; with its header it fills two cache lines */

/** What the rooms above may look at of a net, which begins with it. */
struct net_front {
    struct net_lane *lanes;  /* by peer; NULL: this transport has none */
    uint32_t quiet;          /* where a bell's state is this, no fence is needed */
    _Atomic uint32_t deaths; /* peers whose death this rank was told: the epoch its messages carry */
};

/** For net_knock(), where that is not sure that nobody sleeps. */
void net_look_at_bell(struct net *net, int peer);
/** Wakes the poller of `peer` if it sleeps: to be called after publishing what it should see. */
static inline void net_knock(struct net *net, const struct net_bell *bell, int peer)
{
    const struct net_front *front = (const struct net_front *)net;
    /* Orders what was published before the look at "asleep". The sleeper sets "asleep", fences, and looks at
     * what is published: one of the two sees the other. Without this the load may pass the stores and a
     * wake-up is lost. Where the sleeper's fence is a heavy one, ours is light. */
    atomic_signal_fence(memory_order_seq_cst);
    if (base_unlikely(atomic_load_explicit(&bell->state, memory_order_relaxed) != front->quiet))
        net_look_at_bell(net, peer);
}

/** Under the lock: a load and a store do. */
static inline void net_lane_count(struct net_lane *lane, size_t length)
{
    uint64_t messages = atomic_load_explicit(&lane->messages, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&lane->bytes, memory_order_relaxed);
    atomic_store_explicit(&lane->messages, messages + 1, memory_order_relaxed);
    atomic_store_explicit(&lane->bytes, bytes + length, memory_order_relaxed);
}

/** A counter that its writers change one after the other. */
static inline void net_count_alone(_Atomic uint32_t *counter)
{
    if (counter != NULL)
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                              memory_order_relaxed);
}

/** What was done before a message was sent comes before the handling of its answer. That order goes through
 * another process, where ThreadSanitizer does not see it: so it is told, here and in net_deliver(). */
static inline void net_tell_order(struct net *net)
{
    base_tsan_release(net);
}

/** For net_put_begin(): is there room for a message of `size` bytes? Under the lock. */
bool net_lane_look(struct net_lane *lane, uint32_t size);
/**
 * net_send() in two halves, for a short message that is written where it will be read: memory for `size`
 * bytes (at most NET_SHORT_MAX), to be filled at once and ended by net_put_end(). NULL where it has to be
 * sent in the long way (the ring is full or not there yet, somebody else sends to that peer, the peer is
 * oneself or gone): then nothing has happened. `peer` is one of the job.
 */
static inline __attribute__((always_inline)) void *net_put_begin(struct net *net, int peer, uint32_t size)
{
    struct net_lane *lanes = ((struct net_front *)net)->lanes;
    if (base_unlikely(lanes == NULL || !base_spin_try_once(&lanes[peer].lock)))
        return NULL;
    struct net_lane *lane = &lanes[peer];
    if (base_unlikely(lane->writer.index >= lane->short_until && !net_lane_look(lane, size))) {
        base_spin_unlock(&lane->lock);
        return NULL;
    }
    return net_ring_payload(&lane->writer);
}

/** Sends what was begun; `size` and `counter` as there and in net_send_counted(). */
static inline __attribute__((always_inline)) void net_put_end(struct net *net, int peer, uint16_t type,
                                                              uint32_t size, _Atomic uint32_t *counter)
{
    struct net_front *front = (struct net_front *)net;
    struct net_lane *lane = &front->lanes[peer];
    net_tell_order(net);
    net_ring_end_short(&lane->writer, type, atomic_load_explicit(&front->deaths, memory_order_relaxed), size);
    net_lane_count(lane, size);
    net_count_alone(counter);
    base_spin_unlock(&lane->lock);
    net_knock(net, lane->bell, peer);
}

#endif
