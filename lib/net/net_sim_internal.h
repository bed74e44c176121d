/* What the files of the sim transport share. */
#ifndef RAYMPI_NET_SIM_INTERNAL_H
#define RAYMPI_NET_SIM_INTERNAL_H

#include "net/net_internal.h"
#include "net/net_sim.h"

enum sim_kind {
    SIM_MESSAGE,
    SIM_DATAGRAM,
    SIM_LOST /* the source is lost to the destination: told in its turn, as net_link.c does */
};

struct sim_message {
    struct sim_message *next;
    uint64_t due; /* not delivered before */
    enum sim_kind kind;
    int source, destination;
    uint16_t type;
    uint32_t epoch;
    size_t length;
    _Alignas(8) char data[];
};

/* ---- containers (net_sim_parts.c) */

struct sim_queue {
    struct sim_message *first, **last;
};
void sim_queue_init(struct sim_queue *queue);
void sim_queue_put(struct sim_queue *queue, struct sim_message *message);
struct sim_message *sim_queue_take(struct sim_queue *queue);
void sim_queue_drop(struct sim_queue *queue);

/** A set of small integers one can draw from; its order depends on the operations only. */
struct sim_set {
    int *items;
    int *place; /* index in items, or -1 */
    int count;
};
int sim_set_create(struct sim_set *set, int capacity);
void sim_set_destroy(struct sim_set *set);
void sim_set_add(struct sim_set *set, int item);
void sim_set_remove(struct sim_set *set, int item);

/** Datagrams on their way, in no order: the first `due` of them may be delivered. */
struct sim_cloud {
    struct sim_message **items;
    int count, room, due;
    uint64_t next; /* the earliest time of the others */
};
/** MEMORY: the message is still the caller's. */
int sim_cloud_add(struct sim_cloud *cloud, struct sim_message *message);
struct sim_message *sim_cloud_take(struct sim_cloud *cloud, int place);
/** Those whose time has come are due. */
void sim_cloud_advance(struct sim_cloud *cloud, uint64_t now);
/** Drops those between two nodes; other < 0: from and to `one`. */
void sim_cloud_drop(struct sim_cloud *cloud, int one, int other);
void sim_cloud_destroy(struct sim_cloud *cloud);

/* ---- the sim */

enum sim_state { SIM_READY, SIM_RUNNING, SIM_ASLEEP, SIM_ENDED, SIM_DEAD };

struct sim_node {
    struct net *net; /* NULL before open and after close */
    enum sim_state state;
    uint64_t deadline;
    bool wake;
    bool slept; /* is resumed from a sleep, which takes the wakes so far */
    struct sim_queue inbox;
    size_t *pending;              /* bytes on their way to each peer */
    _Atomic uint64_t sent, bytes; /* sent so far */
    bool *told;                   /* deaths it was told of */
    int side;                     /* of the partition */
};

/** The way from one node to another. */
struct sim_pair {
    struct sim_queue queue;
    struct net_sim_delay delay;
    uint64_t last; /* when the last one that was sent is due */
    bool broken;
};

/** A fault that was drawn when the sim was made. */
struct sim_fault {
    uint64_t time;
    enum sim_fault_kind { SIM_DEATH, SIM_BREAK, SIM_PARTITION, SIM_HEAL } kind;
    int one, other;
    uint64_t sides; /* what the sides of a partition are drawn from */
};

struct net_sim {
    int size;
    uint64_t random;
    uint64_t time;
    uint64_t history;
    struct net_sim_options options;
    struct sim_node *nodes;
    struct sim_pair *pairs;  /* [source * size + destination] */
    struct sim_set traffic;  /* pairs whose first message is due */
    struct sim_set delayed;  /* pairs with messages of which none is due */
    struct sim_set ready;    /* nodes to step */
    struct sim_cloud cloud;  /* datagrams */
    struct sim_fault *fault; /* those to come, by time */
    int fault_count, fault_next;
    struct net_sim_counters counters;
    struct net_board *boards;
    struct net_rest_words rest;
    void (*suspend)(void *arg, int rank);
    void *suspend_arg;
};

struct sim_net {
    struct net net;
    struct net_sim *sim;
};

static inline struct net_sim *sim_of(const struct net *net)
{
    return ((const struct sim_net *)base_container(net, struct sim_net, net))->sim;
}

static inline struct sim_node *sim_node(const struct net *net)
{
    return &sim_of(net)->nodes[net->rank];
}

static inline bool sim_gone(const struct sim_node *node)
{
    return node->state == SIM_ENDED || node->state == SIM_DEAD;
}

static inline uint64_t sim_draw(struct net_sim *sim, uint64_t below)
{
    sim->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    return base_mix(sim->random) % below;
}

/** True for a share of all draws; nothing is drawn for a share of 0. */
static inline bool sim_chance(struct net_sim *sim, double share)
{
    return share > 0 && (double)sim_draw(sim, UINT64_C(1) << 53) < share * 0x1p53;
}

static inline void sim_history_add(struct net_sim *sim, uint64_t value)
{
    sim->history = base_mix(sim->history + UINT64_C(0x9e3779b97f4a7c15) + value);
}

/* net_sim.c */
/** NULL: no memory, with a text. */
struct sim_message *sim_message_new(const struct net *net, enum sim_kind kind, int peer, uint16_t type,
                                    const struct net_piece *pieces, size_t length);
/** NODE_DIED where nothing can be sent. */
int sim_check_alive(const struct net *net, int peer, uint16_t type);
extern const struct net_operations sim_operations;

/* net_sim_run.c */
void sim_node_wake(struct net_sim *sim, int rank);
/** When a message that is sent now is due. */
uint64_t sim_due(struct net_sim *sim, const struct net_sim_delay *delay);
/** Sends a message of a pair on its way, behind those before it. */
void sim_pair_put(struct net_sim *sim, struct sim_message *message);
void sim_pair_drop(struct net_sim *sim, int source, int destination);

/* net_sim_faults.c */
/** Is the datagram lost between the sides of a partition? Then it is counted. */
bool sim_cut_off(struct net_sim *sim, const struct sim_message *message);
/** ARGUMENT and which option. */
int sim_options_check(const struct net_sim_options *options, int size);
/** Draws when what goes wrong. MEMORY. */
int sim_faults_draw(struct net_sim *sim);
/** Does what is to happen by now. */
void sim_faults_due(struct net_sim *sim);
/** When the next one is; UINT64_MAX: none. */
uint64_t sim_faults_next(const struct net_sim *sim);

#endif
