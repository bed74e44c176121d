/* What carries packets to ranks of other hosts: a driver (MPI, libfabric) behind one interface. The driver
 * moves packets, reliable and in order for each pair of ranks; what is in them is net_link.c's. All its
 * operations are called under the links' wire lock, by one thread at a time. */
#ifndef RAYMPI_NET_WIRE_H
#define RAYMPI_NET_WIRE_H

#include "base/base.h"

#define NET_PACKET_BYTES 32768 /* of a packet, at most */

struct net_links;

struct net_packet {
    struct net_packet *next;
    int peer;        /* where it goes, or where it came from */
    uint32_t length; /* bytes of it that are used */
    uint32_t at;     /* reading: how far */
    _Alignas(BASE_CACHE_LINE) char bytes[NET_PACKET_BYTES];
};

struct net_wire;
struct net_wire_operations {
    const char *name;
    /** Starts to send a packet, which is the driver's until net_link_sent(). False: it has no room now. */
    bool (*post)(struct net_wire *wire, struct net_packet *packet);
    /** Tells net_link_sent() of what has gone, net_link_arrived() of what has come; how many of both. */
    int (*poll)(struct net_wire *wire);
    /** Nothing of what was posted is still on its way. */
    bool (*idle)(const struct net_wire *wire);
    void (*close)(struct net_wire *wire);
};
struct net_wire {
    const struct net_wire_operations *operations;
    struct net_links *links;
};

/** The driver has no more use for the packet. */
void net_link_sent(struct net_links *links, struct net_packet *packet);
/** A packet (of net_packet_new()) from `peer`, which is the links' from here on. */
void net_link_arrived(struct net_links *links, struct net_packet *packet, int peer);
/** Memory for a packet, of a pool; NULL: none. */
struct net_packet *net_packet_new(struct net_links *links);
void net_packet_free(struct net_links *links, struct net_packet *packet);

#endif
