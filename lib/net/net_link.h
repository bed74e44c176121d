/* Links to ranks of other hosts: messages in packets, several to one where they queue, in order, with
 * credits; and packets of the net's own ("control"), which no handler sees and no count of messages has. */
#ifndef RAYMPI_NET_LINK_H
#define RAYMPI_NET_LINK_H

#include "net/net_internal.h"
#include "net/net_wire.h"

#include <sys/types.h>

#define LINK_MAGIC  0x7261796dU
#define LINK_WINDOW 16 /* packets that may be on their way, or not yet taken by the other side's handlers */

enum link_kind {
    LINK_MESSAGES = 1,
    LINK_ACK,
    LINK_REST_REPORT,
    LINK_REST_ASK,
    LINK_REST_REPLY,
    LINK_PING,  /* is to be answered, by an ACK */
    LINK_QUIET, /* from here on it is not */
    LINK_DEATH, /* a struct net_death: the sender leaves because of it, or passes it on */
    LINK_BYE, /* the last packet to the other side, whose answer is the same: from then on silence is no death
               */
    LINK_LOST, /* never sent: stands in the inbox behind all that came from a rank that was lost, and says why
                */
};

/** First in each packet. */
struct link_head {
    uint32_t magic;
    uint8_t kind; /* enum link_kind */
    uint8_t available;
    uint16_t unused;
    int32_t source;
    uint32_t length;  /* of the packet */
    uint64_t serial;  /* of all packets of the pair, from 1 */
    uint64_t taken;   /* packets of messages from the other side that this one has taken */
    uint32_t load[3]; /* of the sender: tasks queued, tasks running, actors */
    uint32_t nothing;
};
/** Before each message, or part of one; its bytes follow, padded to 8. */
struct link_record {
    uint16_t type;
    uint8_t kind; /* enum net_ring_kind */
    uint8_t unused;
    uint32_t epoch;
    uint32_t size;  /* bytes here */
    uint32_t total; /* of the message */
};

static inline struct link_head *link_head_of(struct net_packet *packet)
{
    return (struct link_head *)(void *)packet->bytes;
}

/** To and from one rank; made on first use. */
struct net_link {
    struct base_spin lock;              /* of what goes out */
    struct net_packet *first, **last;   /* messages */
    struct net_packet *own, **own_last; /* of the net's own */
    uint64_t sent, granted;             /* packets of messages: posted, and how many may be */
    uint64_t serial;
    _Atomic size_t waiting; /* bytes in packets that are not posted */
    _Atomic uint64_t taken; /* packets of messages that have come and were taken */
    _Atomic uint64_t told;  /* as much of that as the other side knows */
    uint64_t serial_in;
    bool dead;          /* nothing goes out any more, and what comes is dropped */
    bool left;          /* has said goodbye */
    bool parted;        /* so have we */
    _Atomic int listed; /* in the list of those with something to post */
    struct net_link *next;
    int peer;
    /* poller only */
    char *whole;
    uint32_t total, filled;
    uint16_t type;
    struct net_board board; /* what is known of its load */
};

struct net_reads;

struct net_links {
    struct net *net; /* the one the rooms see */
    struct net_wire *wire;
    _Atomic(struct net_link *) *links; /* by rank */
    struct base_spin make_lock;
    struct base_spin wire_lock;
    _Atomic int held;                       /* the wire is not to be touched */
    _Atomic int lost;                       /* the rank that was lost first, or -1 */
    bool closing;                           /* those that leave at the same time are not lost */
    pid_t process;                          /* a forked child's links are not its own */
    _Atomic(struct net_link *) to_post;     /* a stack */
    struct net_packet *inbox, **inbox_last; /* messages to deliver; under the wire lock */
    struct net_packet *current;             /* that are being delivered; poller only */
    _Atomic int arrived;                    /* packets in these two */
    struct net_reads *reads;                /* which the wire lock is also for; NULL: none */
    _Atomic int read_ends;                  /* that are to be told */
    _Atomic bool reads_stuck;               /* the wire had no room for one */
    struct base_spin pool_lock;
    struct net_packet *pool;
    int pooled;
    _Atomic uint64_t messages, bytes; /* sent */
    _Atomic uint64_t packets;
    void (*control)(void *arg, int peer, enum link_kind kind, const void *data, size_t length);
    void *control_arg;
    void (*died)(void *arg, int peer, const char *text); /* all that had come from it was delivered */
    void *died_arg;
};

int net_links_open(struct net_links *links, struct net *net);
void net_links_close(struct net_links *links);
int net_links_send(struct net_links *links, int peer, uint16_t type, const struct net_piece *pieces,
                   size_t length, _Atomic uint32_t *counter);
/** A packet of the net's own, for which memory is waited for; it goes nowhere where the other side was lost.
 */
void net_links_tell(struct net_links *links, int peer, enum link_kind kind, const void *data, size_t length);
size_t net_links_pending(struct net_links *links, int peer);
/** Posts what may be posted and takes what has come; handles what is the net's own. True: something happened.
 * Unless another thread is about it. */
bool net_links_pump(struct net_links *links);
/** The same, after who is about it just now: what had to be posted when this was called has been tried. */
bool net_links_pump_surely(struct net_links *links);
/** For the wire's descriptor: pumps, and says whether to wait for it now. False: something happened, pump
 * again. */
bool net_links_may_sleep(struct net_links *links);
/** Something has to be posted for which the wire has no room now: its descriptor may not tell of that. */
static inline bool net_links_stuck(const struct net_links *links)
{
    struct net_links *own = (struct net_links *)links;
    return atomic_load_explicit(&own->to_post, memory_order_relaxed) != NULL ||
           atomic_load_explicit(&own->reads_stuck, memory_order_relaxed);
}
/** Has messages to deliver, a death or the end of a read to tell. */
static inline bool net_links_ready(const struct net_links *links)
{
    struct net_links *own = (struct net_links *)links;
    return atomic_load_explicit(&own->arrived, memory_order_relaxed) > 0 ||
           atomic_load_explicit(&own->read_ends, memory_order_relaxed) > 0;
}
/** Packets that have come from a rank so far. Any thread. */
uint64_t net_links_heard(struct net_links *links, int peer);
/** Nothing goes to it any more: it was lost, or has said goodbye. */
bool net_links_dead(struct net_links *links, int peer);
/** Has it said goodbye? */
bool net_links_left(struct net_links *links, int peer);
/** Tells all to whom packets have gone, or from whom some have come, but those for whom skip(arg, peer). */
void net_links_tell_all(struct net_links *links, enum link_kind kind, const void *data, size_t length,
                        bool (*skip)(void *arg, int peer), void *arg);
/** All that was sent has gone. */
bool net_links_gone(struct net_links *links);
/** Delivers at most `budget` messages. Poller only. */
int net_links_deliver(struct net_links *links, int budget);
/** Makes the link to a rank, if there is none yet. MEMORY. */
int net_links_reach(struct net_links *links, int peer);
/** What is known of a rank of another host; NULL: nothing, there is no link to it. */
struct net_board *net_links_board(struct net_links *links, int rank);

#endif
