/* The sim transport, for tests: the nodes of a job in one process and one thread. A driver draws, event by
 * event, what happens next; time is the sim's own. What is drawn comes from a seed, so a run can be repeated
 * exactly. */
#ifndef RAYMPI_NET_SIM_H
#define RAYMPI_NET_SIM_H

#include "net/net.h"

#define NET_SIM_TIME_MAX     UINT64_C(1000000000000000) /* ns, of each duration below */
#define NET_SIM_DATAGRAM_MAX 65536                      /* bytes of a datagram */

struct net_sim;

/** How long a message takes, in nanoseconds. All 0: nothing but the draw of the next event decides. */
struct net_sim_delay {
    uint64_t least, most; /* uniform between them */
    double spikes;        /* the share of messages, 0 to 1, that take up to `spike` more */
    uint64_t spike;
};

/** What goes wrong. All 0: nothing. */
struct net_sim_options {
    struct net_sim_delay delay; /* of every way, see net_sim_delay() for one */
    uint64_t span;              /* ns: the moments of the three kinds of faults below are drawn from it */
    int deaths;                 /* of nodes, other ones each time */
    int breaks;                 /* of ways between two nodes */
    int partitions;             /* one after the other; datagrams only */
    uint64_t partition_most;    /* ns that one lasts, at most: it ends before the next one begins */
    double loss, duplication;   /* shares of the datagrams, 0 to 1 */
};

/**
 * `size` nodes. Messages per ordered pair are FIFO; the order between pairs is drawn. `options` may be NULL.
 * ARGUMENT, with the name of the option that can not be; MEMORY.
 */
int net_sim_create(struct net_sim **sim, int size, uint64_t seed, const struct net_sim_options *options);
int net_sim_open(struct net **net, struct net_sim *sim, int rank);
void net_sim_destroy(struct net_sim *sim);

/** Runs what is called by nodes' net_sleep(): `step(arg, rank)` resumes a node until it sleeps again. Returns
 * when no node has anything to do (all asleep, no message, no timer, no fault to come; or all have ended) or
 * when `finished(arg)` says so. Every delivery and every fault is appended to the history hash, so that two
 * runs with one seed can be compared. */
void net_sim_run(struct net_sim *sim, void (*step)(void *arg, int rank), bool (*finished)(void *arg),
                 void *arg);
/** What a node's net_sleep() calls once its deadline is noted: suspend(arg, rank) switches back to the driver
 * and returns when step() resumes the node. Without it net_sleep() returns at once, and so must the step. */
void net_sim_on_sleep(struct net_sim *sim, void (*suspend)(void *arg, int rank), void *arg);
uint64_t net_sim_history(const struct net_sim *sim);
/** Nanoseconds since it was created. */
uint64_t net_sim_time(const struct net_sim *sim);

/** From now on messages from `source` to `destination` take so long. ARGUMENT. */
int net_sim_delay(struct net_sim *sim, int source, int destination, const struct net_sim_delay *delay);
/** Makes rank die: what is on its way from it and to it is dropped. Each of the others is told of that as of
 * a message: after all that had arrived before, at a moment that is drawn. Until then it may send to the dead
 * one, in vain. Nothing where it has died or ended before. */
void net_sim_kill(struct net_sim *sim, int rank);
bool net_sim_dead(const struct net_sim *sim, int rank);
/** The way between two nodes breaks: to each of them it is as if the other one had died. Nothing where one of
 * them has died or ended, or it is broken already. */
void net_sim_break(struct net_sim *sim, int one, int other);

/**
 * For protocols that send again by themselves: as net_send(), but what is sent can be lost, come twice or be
 * overtaken. The handler of its type gets it. ARGUMENT (also: not a net of a sim), TOO_LARGE, MEMORY,
 * NODE_DIED.
 */
int net_sim_datagram(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, int count);
/** From now on datagrams are lost between nodes of different sides (`side[rank]`), those under way too. NULL:
 * it is over. */
void net_sim_partition(struct net_sim *sim, const int *side);

/** What has happened so far. */
struct net_sim_counters {
    uint64_t messages, datagrams; /* delivered */
    uint64_t lost;                /* datagrams: drawn, and between sides */
    uint64_t cut;                 /* of those: between sides */
    uint64_t duplicates;
    uint64_t told; /* deaths, by all who were told */
};
void net_sim_counters(const struct net_sim *sim, struct net_sim_counters *counters);

#endif
