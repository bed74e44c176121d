/* Inside of the net of several hosts. */
#ifndef RAYMPI_NET_JOINT_H
#define RAYMPI_NET_JOINT_H

#include "net/net_link.h"
#include "net/net_read.h"
#include "net/net_watch.h"

/** What a host has to say when all of its ranks are at rest. */
struct joint_report {
    struct net_rest_view view;
    int32_t reporter; /* the rank that says so; -1: none */
};

#define HEART_RANKS 4 /* of the next host that are asked */
/** Of the first rank of a host, which asks whether the next host is alive; see net_joint_heart.c. */
struct joint_heart {
    uint64_t patience, interval; /* ns */
    _Atomic uint64_t due;        /* when to ask next; UINT64_MAX: never */
    /* poller only, once it is due */
    int ranks[HEART_RANKS], count;
    uint64_t heard, first_heard;   /* packets from these, from the first of them, as of the last question */
    uint32_t silent, first_silent; /* questions since something came */
};

struct joint_net {
    struct net net;
    struct net *inner;
    struct net_map map;
    int *local_of; /* by rank of the job; -1: on another host */
    struct net_links links;
    struct net_reads reads;
    struct net_watch watch;   /* where the wire has a descriptor */
    struct net_board unknown; /* of a rank that this one has nothing to do with so far */
    uint32_t turn;
    uint64_t packets; /* and messages that had gone and come before the last sleep */
    /* rest */
    struct base_spin rest_lock;
    _Atomic int answer;           /* enum net_rest; rank 0's */
    struct joint_report *reports; /* rank 0: by host */
    uint32_t round;               /* of questions */
    int asked, replied;           /* hosts in this round */
    bool refused;
    struct joint_heart heart;
    /* deaths; poller only */
    bool told;                /* the rank that was lost first; the job ends by that */
    struct net_death suspect; /* a connection to it has failed */
    uint64_t suspicion;       /* when that is to be believed; 0: there is none */
};

static inline struct joint_net *joint_of(const struct net *net)
{
    return (struct joint_net *)base_container(net, struct joint_net, net);
}

/** The driver between hosts; before net_hold(net, false). It is the net's from here on, whatever this
 * returns. MEMORY. */
int net_joint_wire(struct net *net, struct net_wire *wire);

/* net_joint_rest.c */
int joint_rest_open(struct joint_net *joint);
void joint_rest_close(struct joint_net *joint);
enum net_rest joint_rest_publish(struct net *net);
void joint_rest_withdraw(struct net *net);
void joint_rest_control(struct joint_net *joint, int peer, enum link_kind kind, const void *data,
                        size_t length);
static inline bool joint_rest_answered(const struct joint_net *joint)
{
    return atomic_load_explicit(&((struct joint_net *)joint)->answer, memory_order_acquire) != NET_REST_NO;
}

/* net_joint_death.c */
/** What this rank has found out itself: for all ranks of its host, and told to the other hosts, unless
 * another loss was known before. Poller only. */
void joint_death_spread(struct joint_net *joint, const struct net_death *death);
/** The inner net has told that this rank has died. Poller only. */
void joint_death_of_local(struct joint_net *joint, int rank);
/** A connection to another host has failed (links.died). Poller only. */
void joint_death_suspected(void *joint, int peer, const char *text);
/** A packet that tells of a death. Under the wire lock. */
void joint_death_control(struct joint_net *joint, int peer, const void *data, size_t length);
/** Tells what this host has learnt. Poller only. */
void joint_death_look(struct joint_net *joint);
void joint_farewell(struct net *net);
/** Nothing more comes from this rank, as far as is known. */
bool joint_death_has(void *joint, int rank);
/** There is something to tell. */
static inline bool joint_death_known(const struct joint_net *joint)
{
    return !joint->told &&
           atomic_load_explicit(&joint->net.loss->state, memory_order_relaxed) == NET_LOSS_KNOWN;
}

/* net_joint_heart.c */
void joint_heart_begin(struct joint_net *joint);
/** Asks nobody any more. Any thread. */
void joint_heart_end(struct joint_net *joint);
/** The same; and who asks this rank is told that it will not answer. */
void joint_heart_quiet(struct joint_net *joint);
/** Asks when it is time to. Poller only. */
void joint_heart_look(struct joint_net *joint);
static inline uint64_t joint_heart_due(const struct joint_net *joint)
{
    return atomic_load_explicit(&((struct joint_net *)joint)->heart.due, memory_order_relaxed);
}

#endif
