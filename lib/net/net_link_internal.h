/* What the files of the links share. */
#ifndef RAYMPI_NET_LINK_INTERNAL_H
#define RAYMPI_NET_LINK_INTERNAL_H

#include "net/net_link.h"
#include "net/net_ring.h"

/** Of a message, or a part of one, in its packet. */
static inline size_t link_record_bytes(uint32_t size)
{
    return sizeof(struct link_record) + base_align_up(size, 8);
}

/* net_link.c */
/** Made if it is not there yet; NULL: no memory. */
struct net_link *link_of(struct net_links *links, int peer);
/** A packet with a head; NULL: no memory. */
struct net_packet *link_packet_begin(struct net_links *links, int peer, enum link_kind kind);
/** The same for the net's own: somebody waits for what it brings (credit, an answer), so memory is waited
 * for.
 */
struct net_packet *link_packet_sure(struct net_links *links, int peer, enum link_kind kind);
/** Drops what waits to go out. Both locks. */
void link_clear(struct net_link *link);
/** Says goodbye, once. */
void link_part(struct net_links *links, struct net_link *link);
/** Under the wire lock. */
void link_inbox_add(struct net_links *links, struct net_packet *packet);

/* net_link_out.c */
/** It has something to post. */
void link_list(struct net_links *links, struct net_link *link);
/** Posts what may go, of all that are listed. Under the wire lock. True: something went. */
bool link_post_all(struct net_links *links);

#endif
