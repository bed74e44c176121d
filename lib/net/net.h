/* Active messages between nodes. One `struct net` per node, behind one interface: `shm` (ranks of a host), a
 * joint net (ranks of several hosts: shm on each, libfabric or MPI between them) and `sim` (nodes of one
 * process, seeded; for tests: net_sim.h). */
#ifndef RAYMPI_NET_H
#define RAYMPI_NET_H

#include "base/base.h"

#define NET_HANDLERS    64
#define NET_MESSAGE_MAX (UINT64_C(1) << 30) /* bytes of one message; longer values go through the store */
#define NET_MESSAGE_ONE 32704               /* bytes of a message that goes to another host in one packet */
#define NET_WORKERS_MAX 256
#define NET_RANKS_MAX   256 /* ranks of one host that the shm transport serves */

struct net;

/** A received message. `data` is 8-byte aligned and valid until the handler returns. */
struct net_message {
    uint16_t type;
    uint16_t attempt;
    uint32_t epoch;
    int source;
    const void *data;
    size_t length;
};
/** Runs on the polling thread; never blocks, never polls; may send. */
typedef void net_handler(void *arg, const struct net_message *message);

/** One piece of a message to send. */
struct net_piece {
    const void *data;
    size_t length;
};

/** What one rank shows to the others of its host: written by that rank (who makes an actor there also counts
 * it), read by all, relaxed. In the host segment; each on cache lines of its own. */
struct net_board {
    _Alignas(BASE_CACHE_LINE) _Atomic uint32_t queued; /* tasks ready to run that may be taken away */
    _Atomic uint32_t running;                          /* workers that run a task */
    _Atomic uint32_t actors;                           /* actors hosted */
    _Atomic uint32_t
        available; /* 1 while workers can take new tasks (0: main computes and there is no other worker) */
    _Atomic uint32_t idle;    /* 1 while everything is asleep and nothing is queued: see net_idle_publish() */
    _Atomic uint32_t waiting; /* fibers and threads blocked in raympi */
    _Atomic uint32_t finalizing; /* main is in raympi_finalize and all its tasks have ended */
    _Atomic uint32_t idle_epoch; /* bumped whenever idle is withdrawn */
    _Alignas(BASE_CACHE_LINE) _Atomic uint64_t
        sent;                  /* messages given to transports, as of when this rank came to rest last */
    _Atomic uint64_t received; /* messages whose handler has returned */
    _Alignas(BASE_CACHE_LINE) _Atomic uint64_t
        task[4];              /* name hash of what the first 4 workers run, 0 = nothing */
    _Atomic uint64_t crashed; /* name hash of the task that ends this rank (crash, exit), once one does */
};
#define NET_CRASH_TEXT 2048 /* bytes */

#define NET_DEATH_TEXT 384
/** What is known of a rank that was lost. */
struct net_death {
    int32_t rank;
    uint32_t whole_host; /* 1: all of its host are */
    uint64_t task[4];    /* as on its board */
    uint64_t crashed;
    char text[NET_DEATH_TEXT]; /* how it is known that it is lost; "": its process has ended */
};

/** What a job that has come to rest is: see net_idle_publish(). */
enum net_rest { NET_REST_NO = 0, NET_REST_DONE, NET_REST_DEADLOCK };

/** Opens the shm transport for rank `rank` of `size` in the control area of the host segment. `offset` is
 * where the net's part of the control area begins; it takes net_shm_bytes(size) from there. Collective only
 * in the sense that every rank of the host opens; no order is required (a message to a rank that has not
 * opened yet waits in its ring). The segment must outlive the net. MEMORY, STORE_FULL, UNSUPPORTED (more than
 * NET_RANKS_MAX ranks). */
uint64_t net_shm_bytes(int size);
int net_shm_open(struct net **net, struct base_segment *segment, uint64_t offset, int rank, int size);

#define NET_HOST_NAME 64
/** Which ranks of a job are on which host. */
struct net_map {
    int rank, size;
    int host, hosts;                    /* this rank's, and how many there are */
    const int *host_of;                 /* by rank */
    int locals;                         /* ranks of this host */
    const int *ranks;                   /* their numbers in the job */
    const char (*names)[NET_HOST_NAME]; /* by host; NULL: they have none */
};
/** The net of a job on several hosts, over `inner` (shm, by local numbers), which it takes over if it
 * succeeds; the map's arrays have to stay. It begins on hold. A host of which nothing comes for `patience`
 * nanoseconds is lost; 0: never. MEMORY. */
int net_joint_open(struct net **net, struct net *inner, const struct net_map *map, uint64_t patience);
/** Between hosts MPI carries the messages, on a duplicate of `comm` (an MPI_Comm). Collective. MEMORY, MPI.
 */
int net_mpi_open(struct net *net, const void *comm);
/** Collective: gives `bytes` bytes of each rank to all, by rank. */
struct net_gather {
    void (*run)(void *arg, const void *mine, void *all, size_t bytes);
    void *arg;
};
/** RAYMPI_OFI_PROVIDER, RAYMPI_OFI_INTERFACE (NULL: to be chosen), RAYMPI_CONNECT_TIMEOUT. */
struct net_ofi_options {
    const char *provider, *interface;
    double timeout;
    bool reads; /* with endpoints that can read, where the provider can */
};
/**
 * Between hosts libfabric carries the messages. Collective, and all return the same: where one rank has no
 * provider, or can not open it, nothing is open on any, and all texts name that rank and why.
 *
 * Provider: the one that was asked for, or the first of cxi, verbs;ofi_rxm, efa, net, tcp, tcp;ofi_rxm that
 * all ranks have. Network, where the provider has Internet addresses: the one that was asked for; else the
 * first of rank 0's interfaces that leads to a network which all ranks are on; with another address on each
 * host. So no loopback and no bridge for containers is taken, which have the same address on each host. If
 * the hosts share none (they are routed): of each host the first address that no other one has. UNSUPPORTED
 * (built without libfabric; no common provider or network), MEMORY.
 */
int net_ofi_open(struct net *net, const struct net_gather *gather, const struct net_ofi_options *options);
/** Waits until all that was sent to other hosts has gone; then, where MPI carries that, MPI is not touched
 * until the hold ends: so the caller may. Nothing without several hosts. */
void net_hold(struct net *net, bool hold);

/* ---- one-sided reads between hosts (net_read*.c) */

enum net_read_way { NET_READ_NONE, NET_READ_RMA, NET_READ_OFI };
/** What who reads a part of a segment has to show: as net_range_open() gave it there. It travels in messages
 * as it is. All 0: nothing. */
struct net_pass {
    uint64_t offset, length; /* of that part */
    uint64_t key, base;      /* the way's own */
};
/** A part of this host's segment that other hosts may read, or memory that bytes of theirs may come to. All
 * 0: none. */
struct net_range {
    struct net_pass pass;
    void *region; /* the way's own */
};
/** A one-sided read of bytes of another host's segment. Its memory is the caller's, the net's own until
 * done(). */
struct net_read {
    struct net_read *next;
    int rank;        /* of another host: whose host's segment */
    uint64_t offset; /* in that segment */
    struct net_pass pass;
    void *to;              /* this rank's memory: where the bytes go */
    struct net_range into; /* that is open around it, by net_range_open_to() */
    uint64_t length;
    /* by the poller; OK, NODE_DIED, MPI: the text is in base_detail(). After NODE_DIED bytes may still come:
     * what is at `to` is not used for anything else as long as this process lives. */
    void (*done)(struct net_read *read, int status);
    void *arg;
};
/** The way there is; NONE: none. */
enum net_read_way net_reads(const struct net *net);
/** As RAYMPI_FETCH calls it. */
const char *net_way_name(enum net_read_way way);
/** Starts a read; any thread. Nobody looks there whether the bytes are what they were: the caller knows that
 * they stay, and that they are there (a page that is not would be made). Only where there is a way. */
void net_read(struct net *net, struct net_read *read);
/** Opens a part of this host's segment, in memory that is committed, for reads that others begin with
 * range->pass, until it is closed. Where the way pins what can be read, this registers it, unless something
 * that was registered before has it; else there is nothing to do. UNSUPPORTED: it can not be read (the limit
 * of locked memory, as a rule); the first time this is logged. Any thread. */
int net_range_open(struct net *net, uint64_t offset, uint64_t length, struct net_range *range);
/** Opens memory that this rank can write, for reads that go there. As net_range_open(). */
int net_range_open_to(struct net *net, void *memory, uint64_t length, struct net_range *range);
/** Clears it, too. What was registered may be kept for the next one that opens it. */
void net_range_close(struct net *net, struct net_range *range);
/** That part of the segment, which this rank could write at `memory`, is not this rank's any more: what is
 * registered of it goes, once nobody has it open. */
void net_ranges_drop(struct net *net, uint64_t offset, const void *memory, uint64_t length);
/** This rank has one lease more (+1) or less (-1) open that others read: as long as there are some, it does
 * not sleep where the way needs the target's own progress. Any thread. */
void net_read_serve(struct net *net, int change);

/**
 * Opens a way to read the segments of the other hosts; before the first net_read(). Collective, after
 * net_ofi_open() or net_mpi_open(), and all return the same: where one rank can not, no rank has the way, and
 * all texts name that rank and why. The segment has to stay until the net is closed.
 *
 * By MPI: a window over the whole segment, on a duplicate of `comm` (an MPI_Comm). MPI, MEMORY.
 * By libfabric: on the endpoint that carries messages. UNSUPPORTED (MPI carries them; the provider can not),
 * MEMORY.
 */
int net_rma_open(struct net *net, const struct base_segment *segment, const struct net_gather *gather,
                 const void *comm);
int net_ofi_reads_open(struct net *net, const struct base_segment *segment, const struct net_gather *gather);
/** There is no way any more, before rooms above have used it. */
void net_reads_withdraw(struct net *net);
/** What would carry reads, with its version, as in "libfabric's net 1.17". */
void net_reads_name(const struct net *net, enum net_read_way way, char *text, size_t size);
/** Is it known (measured: the table is in net_read_known.c) that a read of a rank that dies ends? */
bool net_reads_end(const struct net *net, enum net_read_way way);
/** Collective, a tenth of a second: are ranks that sleep, as idle ones do, read promptly? `text`: what was
 * seen. All return the same. On hold. */
bool net_reads_try(struct net *net, const struct net_gather *gather, char *text, size_t size);

/** Is `rank` on this host? Its number there, -1: it is not. The rank of a number. How many ranks this host
 * has. */
int net_local(const struct net *net, int rank);
int net_rank_of_local(const struct net *net, int local);
int net_locals(const struct net *net);

/** Closes a net. Messages that are still queued are dropped. For shm: says first that this rank leaves in
 * good order (its end is not a death for others). */
void net_close(struct net *net);

int net_rank(const struct net *net);
int net_size(const struct net *net);
struct net_board *net_board(struct net *net, int rank);
/** Of this rank, in the host segment: NET_CRASH_TEXT bytes for what its crash handler has to say. NULL: none.
 */
char *net_crash_text(struct net *net);
/** The clock of this net: base_now(), or the sim's time. Nanoseconds. */
uint64_t net_now(const struct net *net);

/** Registers the handler of a message type; before the first poll. */
void net_handle(struct net *net, uint16_t type, net_handler *handler, void *arg);
/** Called once, on the polling thread, for each peer that died without leaving. */
void net_on_death(struct net *net, void (*died)(void *arg, int rank), void *arg);

/**
 * Sends one message made of `count` pieces to `peer` (may be oneself). Never blocks and never fails for lack
 * of room: what the ring can not take waits in a queue of this rank, which its polls and the look before
 * net_sleep() flush, in order. Any thread. Messages of one sending thread to one peer arrive in order (of all
 * threads: in the order of the internal lock). Long messages are split and put together again. MEMORY,
 * TOO_LARGE, NODE_DIED.
 */
int net_send(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, int count);
/** The same; `counter`, if it is not NULL, is one more when the message is on its way. It has to be one that
 * only messages to this peer change: then no atomic operation is needed for it. */
int net_send_counted(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, int count,
                     _Atomic uint32_t *counter);
/** Can messages go to `peer` at once? STORE_FULL (on another host: MEMORY) when there is no memory for the
 * way to it: messages then wait, which who could do without sending may want to avoid. Cheap when it was
 * reached before. Any thread.
 */
int net_reach(struct net *net, int peer);
/** Bytes waiting in the queue behind the ring to `peer`: the caller's measure for back-pressure. */
size_t net_pending(struct net *net, int peer);

/** To be called now and then by any thread while the poller may be busy: answers who asks whether this rank
 * lives. */
void net_tick(struct net *net);
/** Looks for deaths of the peers that this rank watches; the next poll tells them. A poll does so itself now
 * and then: this is for pollers that come seldom. Poller only. */
void net_look(struct net *net);
/** Delivers at most `budget` messages; flushes queues; notices deaths. Returns how many were delivered. A
 * poll that delivered nothing may still have emptied a queue or told a death: who waits for such a thing
 * looks again before net_sleep(). Only one thread at a time (the poller): the caller sees to that. */
int net_poll(struct net *net, int budget);

/**
 * Sleeps until a message, net_wake(), a death, or `deadline` (net_now() nanoseconds, UINT64_MAX = none).
 * Poller only. Sets "asleep", then asks busy(arg) and its own rings once more, and returns at once when there
 * is something.
 */
void net_sleep(struct net *net, uint64_t deadline, bool (*busy)(void *arg), void *arg);
/** From now on this rank sleeps only after it has looked around for a while: a sleep may cost some
 * microseconds more, where messages to it then cost less. Poller only. */
void net_sleep_seldom(struct net *net);
/** Ends the poller's sleep, now or the next one; from any thread of this node. Cheap when nobody sleeps. */
void net_wake(struct net *net);
/** Wakes the poller of every rank of the host (for job end and deadlock, which are found in the board). */
void net_wake_all(struct net *net);

/** Declares this rank at rest (nothing runs, nothing queued, main blocked, no user thread active, no timer),
 * before it sleeps. The rank that completes the set "all at rest, sent = received" gets DONE (all finalizing,
 * nobody waiting) or DEADLOCK, once per rest; everybody else NO. After a death always NO: what the dead one
 * had received is unknown. net_idle_withdraw() when something moves again, before it is acted on: before
 * net_poll(), and before acting on DONE or DEADLOCK too (that ends the rest: the next one is answered anew).
 * Any thread, one at a time (the caller sees to that); both may be repeated. */
enum net_rest net_idle_publish(struct net *net);
void net_idle_withdraw(struct net *net);

/** The rank whose loss is known to be the first, or -1. Async-signal-safe: looks at the life words
 * themselves. */
int net_dead_peer(struct net *net);
/** What is known of its end. Async-signal-safe. */
void net_death_read(struct net *net, int rank, struct net_death *death);
/** This rank is about to end because others were lost: tells those that it has to do with on other hosts, or
 * its own end would be a riddle to them. Takes a fifth of a second at most. Poller only. */
void net_farewell(struct net *net);
/** The name of a rank's host; "" where there is only one. */
const char *net_host_name(const struct net *net, int rank);

/** This rank is about to end because another has died: its own end is not to be taken for a death, or the
 * last ones would blame those that left before them. Async-signal-safe. */
void net_leave(struct net *net);

/** Counters, for RAYMPI_STATS. */
struct net_counters {
    uint64_t sent, received, bytes_sent, bytes_received, queued, malformed, sleeps, wakes, rings;
    uint64_t far_sent, far_bytes, packets; /* of those: to other hosts, and in how many packets */
    uint64_t reads, read_bytes;            /* one-sided ones that have ended well */
    uint64_t regions, dropped, refused;    /* parts of the segment: registered; not any more; could not be */
};
void net_counters(const struct net *net, struct net_counters *counters);

#include "net/net_inline.h"

#endif
