/* Inside of the net of several hosts. */
#ifndef RAYMPI_NET_JOINT_H
#define RAYMPI_NET_JOINT_H

#include "net/net_link.h"
#include "net/net_watch.h"

/** What a host has to say when all of its ranks are at rest. */
struct joint_report {
    struct net_rest_view view;
    int32_t reporter; /* the rank that says so; -1: none */
};

struct joint_net {
    struct net net;
    struct net *inner;
    struct net_map map;
    int *local_of; /* by rank of the job; -1: on another host */
    struct net_links links;
    struct net_watch watch;   /* where the wire has a descriptor */
    struct net_board unknown; /* of a rank that this one has nothing to do with so far */
    uint32_t turn;
    /* rest */
    struct base_spin rest_lock;
    _Atomic int answer;           /* enum net_rest; rank 0's */
    struct joint_report *reports; /* rank 0: by host */
    uint32_t round;               /* of questions */
    int asked, replied;           /* hosts in this round */
    bool refused;
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
void joint_rest_control(void *arg, int peer, enum link_kind kind, const void *data, size_t length);
static inline bool joint_rest_answered(const struct joint_net *joint)
{
    return atomic_load_explicit(&((struct joint_net *)joint)->answer, memory_order_acquire) != NET_REST_NO;
}

#endif
