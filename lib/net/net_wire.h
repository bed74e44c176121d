/* What carries packets to ranks of other hosts: a driver (MPI, libfabric) behind one interface. The driver
 * moves packets, reliable and in order for each pair of ranks; what is in them is net_link.c's. All its
 * operations are called under the links' wire lock, by one thread at a time. */
#ifndef RAYMPI_NET_WIRE_H
#define RAYMPI_NET_WIRE_H

#include "base/base.h"

#define NET_PACKET_BYTES 32768 /* of a packet, at most */
#define NET_PACKET_TAIL  16    /* bytes that the driver may append */

struct net_links;

struct net_packet {
    struct net_packet *next;
    int peer;        /* where it goes, or where it came from */
    uint32_t length; /* bytes of it that are used */
    uint32_t at;     /* reading: how far; the driver's own while the packet is */
    void *driver[8]; /* the driver's own while the packet is */
    void *buffer;    /* so is this */
    _Alignas(BASE_CACHE_LINE) char bytes[NET_PACKET_BYTES + NET_PACKET_TAIL];
};

struct net_wire;
struct net_wire_operations {
    const char *name;
    /** It is MPI that carries the packets: under net_hold() it is left alone, and who leaves says no goodbye,
     * which might come when the other side no longer receives. */
    bool uses_mpi;
    /** Starts to send a packet, which is the driver's until net_link_sent(). False: it has no room now. */
    bool (*post)(struct net_wire *wire, struct net_packet *packet);
    /** Tells net_link_sent() of what has gone, net_link_arrived() of what has come; how many of both. */
    int (*poll)(struct net_wire *wire);
    /** Nothing of what was posted is still on its way. */
    bool (*idle)(const struct net_wire *wire);
    /** What becomes readable when poll() has something to do, if may_sleep() was true before. Both NULL:
     * there is no such thing. */
    int (*descriptor)(const struct net_wire *wire);
    bool (*may_sleep)(struct net_wire *wire);
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
/** No packet goes to `peer` any more: it has died, or can not be reached, as `text` says (a clause). What
 * waits for it is dropped, later messages to it answer NODE_DIED; the poller tells its death once all that
 * had come from it is delivered. Nothing of that where it has said goodbye. Under the wire lock, but not in
 * post(). */
void net_link_lost(struct net_links *links, int peer, const char *text);
/** Memory for a packet, of a pool; NULL: none. */
struct net_packet *net_packet_new(struct net_links *links);
void net_packet_free(struct net_links *links, struct net_packet *packet);

#endif
