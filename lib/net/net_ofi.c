/* Packets by libfabric, in reliable datagrams. Strangers may reach the endpoint: what comes is believed when
 * its tag is right (net_seal.h), whatever its address; what is not authentic is dropped and counted, and does
 * no harm to the link of the rank that it claims to be of. */
#include "net/net_ofi.h"

#include <stdio.h>
#include <stdlib.h>

#define OFI_BATCH   16                  /* completions read at once */
#define OFI_BATCHES 4                   /* and by one poll */
#define OFI_LOOK    UINT64_C(100000000) /* ns between two looks at what is on its way */

_Static_assert(NET_PACKET_TAIL >= SEAL_TAG_BYTES, "the tag has to fit");
_Static_assert(sizeof(struct fi_context2) <= sizeof((struct net_packet *)0)->driver,
               "libfabric's context has to fit");

static struct ofi_wire *ofi_of(const struct net_wire *wire)
{
    return base_container((struct net_wire *)wire, struct ofi_wire, wire);
}

static bool is_other(const struct ofi_wire *ofi, int rank)
{
    return rank >= 0 && rank < ofi->net->size && rank != ofi->net->rank;
}

static struct ofi_peer *peer_of(struct ofi_wire *ofi, int rank)
{
    struct ofi_peer *peer = ofi->peers[rank];
    if (base_likely(peer != NULL))
        return peer;
    peer = base_alloc_sure(sizeof *peer, "net", "what is known of another rank");
    *peer = (struct ofi_peer){.rank = rank};
    net_seal_key(peer->key_in, ofi->secret, rank, ofi->net->rank);
    net_seal_key(peer->key_out, ofi->secret, ofi->net->rank, rank);
    return ofi->peers[rank] = peer;
}

/* ---- ranks that are lost */

/* The links are told by the next poll: a post can not. `what`: what was waited for in vain; NULL: an error.
 */
static void peer_fails(struct ofi_wire *ofi, struct ofi_peer *peer, int error, const char *what)
{
    if (peer->error)
        return;
    peer->error = error;
    peer->in_vain = what;
    peer->next = ofi->lost;
    ofi->lost = peer;
}

/* A clause. Where nothing ever went, it may be the network that is wrong. */
static void why_lost(const struct ofi_wire *ofi, const struct ofi_peer *peer, char *text, size_t size)
{
    const char *provider = ofi->info->fabric_attr->prov_name;
    char what[96];
    if (peer->in_vain)
        snprintf(what, sizeof what, "%s for %g s", peer->in_vain, (double)ofi->patience / 1e9);
    else
        snprintf(what, sizeof what, "%s", fi_strerror(peer->error));
    if (peer->reached)
        snprintf(text, size, "messages by %s from %s have failed: %s", provider, ofi->own, what);
    else
        snprintf(text, size,
                 "it is not reached by %s from %s: %s; is there a firewall, is this the network between the "
                 "hosts (RAYMPI_OFI_INTERFACE, RAYMPI_OFI_PROVIDER)? Or use RAYMPI_NET=mpi",
                 provider, ofi->own, what);
}

static void tell_lost(struct ofi_wire *ofi)
{
    while (ofi->lost) {
        struct ofi_peer *peer = ofi->lost;
        char text[OFI_TEXT + OFI_HOST + 64];
        ofi->lost = peer->next;
        why_lost(ofi, peer, text, sizeof text);
        net_link_lost(ofi->wire.links, peer->rank, text);
    }
}

/* ---- out */

/* Something for it waits: the patience begins, or is at its end. Any end of a send, and any packet from it,
 * is a sign of life. libfabric itself is no help: once a rank is dead it may answer "no room" for ever, and
 * never end a long send. */
static void peer_waits(struct ofi_wire *ofi, struct ofi_peer *peer, uint64_t now)
{
    if (peer->waits == 0)
        peer->waits = now;
    else if (now - peer->waits > ofi->patience)
        peer_fails(ofi, peer, FI_ETIMEDOUT, "nothing could be sent");
}

void ofi_rank_waits(struct ofi_wire *ofi, int rank)
{
    peer_waits(ofi, peer_of(ofi, rank), base_now());
}

/* libfabric loses what is on its way when it makes a connection anew. */
static void look_at_gaps(struct ofi_wire *ofi, uint64_t now)
{
    for (int rank = 0; rank < ofi->net->size; rank++) {
        struct ofi_peer *peer = ofi->peers[rank];
        if (peer && peer->gap && now - peer->gap > ofi->patience)
            peer_fails(ofi, peer, FI_EIO, "a packet was missing, later ones were there,");
    }
}

/* From time to time, while nothing moves. */
static void look_at_waiting(struct ofi_wire *ofi)
{
    uint64_t now = base_now();
    if (now - ofi->looked < OFI_LOOK)
        return;
    ofi->looked = now;
    for (int i = 0; i < ofi->outs; i++)
        peer_waits(ofi, peer_of(ofi, ofi->out[i]->peer), now);
    ofi_reads_wait(ofi);
    if (ofi->gaps)
        look_at_gaps(ofi, now);
}

static bool ofi_post(struct net_wire *wire, struct net_packet *packet)
{
    struct ofi_wire *ofi = ofi_of(wire);
    struct ofi_peer *peer = peer_of(ofi, packet->peer);
    if (peer->error || ofi->outs == ofi->most_out)
        return false;
    /* Should there be no room, the serial is used again for another content: this one has not left us then.
     */
    net_seal_make((unsigned char *)packet->bytes + packet->length, peer->key_out, ofi->net->rank,
                  link_head_of(packet)->serial, packet->bytes, packet->length);
    size_t length = packet->length + SEAL_TAG_BYTES;
    ssize_t result = fi_send(ofi->ep, ofi_buffer_out(ofi, packet, length), length, ofi_buffers_desc(ofi),
                             ofi->addresses[packet->peer], packet->driver);
    if (result == -FI_EAGAIN)
        peer_waits(ofi, peer, base_now());
    else if (result < 0)
        peer_fails(ofi, peer, (int)-result, NULL);
    if (result < 0) {
        ofi_buffer_back(ofi, packet, 0);
        return false;
    }
    packet->at = (uint32_t)ofi->outs;
    ofi->out[ofi->outs++] = packet;
    return true;
}

static void sent(struct ofi_wire *ofi, struct net_packet *packet)
{
    struct net_packet *last = ofi->out[--ofi->outs];
    ofi->out[packet->at] = last;
    last->at = packet->at;
    ofi_buffer_back(ofi, packet, 0);
    net_link_sent(ofi->wire.links, packet);
}

/* ---- in */

/* `claimed`: the rank that the packet says it is of. */
static void refuse(struct ofi_wire *ofi, struct net_packet *packet, int claimed, const char *what)
{
    net_packet_free(ofi->wire.links, packet);
    if (is_other(ofi, claimed)) {
        net_malformed(ofi->net, claimed, what);
        return;
    }
    net_count(&ofi->net->malformed, 1);
    if (!ofi->warned)
        base_log(BASE_LOG_WARN, "net",
                 "malformed packet that is of no other rank: %s; further ones are only counted", what);
    ofi->warned = true;
}

/* Hands on what it is the turn of. */
static void in_order(struct ofi_wire *ofi, struct ofi_peer *peer)
{
    uint64_t before = peer->serial;
    while (peer->early && link_head_of(peer->early)->serial == peer->serial + 1) {
        struct net_packet *packet = peer->early;
        peer->early = packet->next;
        peer->serial++;
        net_link_arrived(ofi->wire.links, packet, peer->rank);
    }
    if (base_likely(!peer->early && !peer->gap))
        return;
    ofi->gaps += (peer->early != NULL) - (peer->gap != 0);
    if (!peer->early)
        peer->gap = 0;
    else if (!peer->gap || peer->serial != before)
        peer->gap = base_now();
}

/* False: that serial has been there. */
static bool early_add(struct ofi_peer *peer, struct net_packet *packet)
{
    uint64_t serial = link_head_of(packet)->serial;
    struct net_packet **place = &peer->early;
    if (serial <= peer->serial)
        return false;
    while (*place && link_head_of(*place)->serial < serial)
        place = &(*place)->next;
    if (*place && link_head_of(*place)->serial == serial)
        return false;
    packet->next = *place;
    *place = packet;
    return true;
}

static void arrived(struct ofi_wire *ofi, struct net_packet *packet, size_t length)
{
    const struct link_head *head = link_head_of(packet);
    if (length < sizeof *head + SEAL_TAG_BYTES || length > sizeof packet->bytes) {
        refuse(ofi, packet, -1, "it is too short or too long");
        return;
    }
    int source = head->source;
    if (!is_other(ofi, source)) {
        refuse(ofi, packet, -1, "it names none");
        return;
    }
    struct ofi_peer *peer = peer_of(ofi, source);
    packet->length = (uint32_t)(length - SEAL_TAG_BYTES);
    if (!net_seal_good((const unsigned char *)packet->bytes + packet->length, peer->key_in, source,
                       head->serial, packet->bytes, packet->length)) {
        refuse(ofi, packet, source,
               "a packet that is not authentic: another sender's, or changed on its way");
        return;
    }
    if (!early_add(peer, packet)) {
        refuse(ofi, packet, source, "a packet that had come before");
        return;
    }
    peer->waits = 0;
    peer->reached = true;
    in_order(ofi, peer);
}

/* Takes a receive out of those that are posted: so many bytes have come. */
static void received(struct ofi_wire *ofi, struct net_packet *packet, size_t length)
{
    struct net_packet *last = ofi->in[--ofi->ins];
    ofi->in[packet->at] = last;
    last->at = packet->at;
    ofi_buffer_back(ofi, packet, length);
}

static void receives_post(struct ofi_wire *ofi)
{
    while (ofi->ins < OFI_IN) {
        struct net_packet *packet = net_packet_new(ofi->wire.links);
        if (!packet)
            return; /* the next poll tries again */
        packet->peer = -1;
        packet->at = (uint32_t)ofi->ins;
        if (fi_recv(ofi->ep, ofi_buffer_in(ofi, packet), sizeof packet->bytes, ofi_buffers_desc(ofi),
                    FI_ADDR_UNSPEC, packet->driver) != 0) {
            ofi_buffer_back(ofi, packet, 0);
            net_packet_free(ofi->wire.links, packet);
            return;
        }
        ofi->in[ofi->ins++] = packet;
    }
}

/* ---- completions */

static struct net_packet *packet_of(void *context)
{
    return (struct net_packet *)(void *)((char *)context - offsetof(struct net_packet, driver));
}

static void lives(struct ofi_wire *ofi, int rank)
{
    struct ofi_peer *peer = peer_of(ofi, rank);
    peer->waits = 0;
    peer->reached = true;
}

static void completed(struct ofi_wire *ofi, const struct fi_cq_msg_entry *entry)
{
    struct read_piece *piece = ofi_read_of(ofi, entry->op_context);
    if (piece) {
        lives(ofi, piece->rank);
        ofi_read_ended(ofi, piece, 0);
        return;
    }
    struct net_packet *packet = packet_of(entry->op_context);
    if (packet->peer >= 0) {
        lives(ofi, packet->peer);
        sent(ofi, packet);
        return;
    }
    received(ofi, packet, entry->len);
    arrived(ofi, packet, entry->len);
}

/* A send or read that fails: the other side is gone, or a read was not allowed. A receive that fails: a
 * packet that was too long, or whose sender went away halfway. */
static void failed(struct ofi_wire *ofi)
{
    struct fi_cq_err_entry error = {0};
    if (fi_cq_readerr(ofi->cq, &error, 0) != 1)
        return;
    if (!error.op_context) {
        base_log(BASE_LOG_DEBUG, "net", "libfabric reports an error of no packet: %s",
                 fi_strerror(error.err));
        return;
    }
    int cause = error.err ? error.err : FI_EIO;
    struct read_piece *piece = ofi_read_of(ofi, error.op_context);
    if (piece) {
        if (ofi_is_loss(cause))
            peer_fails(ofi, peer_of(ofi, piece->rank), cause, NULL);
        ofi_read_ended(ofi, piece, cause);
        return;
    }
    struct net_packet *packet = packet_of(error.op_context);
    if (packet->peer < 0) {
        received(ofi, packet, 0);
        refuse(ofi, packet, -1, fi_strerror(error.err));
        return;
    }
    peer_fails(ofi, peer_of(ofi, packet->peer), cause, NULL);
    sent(ofi, packet);
}

static int ofi_poll(struct net_wire *wire)
{
    struct ofi_wire *ofi = ofi_of(wire);
    struct fi_cq_msg_entry entries[OFI_BATCH];
    ssize_t count = OFI_BATCH;
    int moved = 0;
    for (int batch = 0; batch < OFI_BATCHES && count == OFI_BATCH; batch++) {
        count = fi_cq_read(ofi->cq, entries, OFI_BATCH);
        if (base_unlikely(count == -FI_EAVAIL)) {
            failed(ofi);
            moved++;
            count = OFI_BATCH; /* and on */
            continue;
        }
        for (ssize_t i = 0; i < count; i++)
            completed(ofi, &entries[i]);
        moved += count > 0 ? (int)count : 0;
    }
    if (base_unlikely(ofi->ins < OFI_IN))
        receives_post(ofi);
    if (base_unlikely(ofi->gaps > 0 || (moved == 0 && (ofi->outs > 0 || ofi_reads_flying(ofi)))))
        look_at_waiting(ofi);
    if (base_unlikely(ofi->lost != NULL)) {
        tell_lost(ofi);
        moved++;
    }
    return moved;
}

static bool ofi_idle(const struct net_wire *wire)
{
    const struct ofi_wire *ofi = ofi_of(wire);
    for (int i = 0; i < ofi->outs; i++)
        if (!ofi->peers[ofi->out[i]->peer]->error) /* what is on its way to the dead may stay so */
            return false;
    return true;
}

static int ofi_descriptor(const struct net_wire *wire)
{
    return ofi_of(wire)->descriptor;
}

static bool ofi_may_sleep(struct net_wire *wire)
{
    struct ofi_wire *ofi = ofi_of(wire);
    struct fid *queue = &ofi->cq->fid;
    return fi_trywait(ofi->fabric, &queue, 1) == FI_SUCCESS;
}

/* ---- the end */

static void packets_free(struct net_packet *const *packets, int count)
{
    for (int i = 0; i < count; i++)
        free(packets[i]);
}

static void peer_free(struct ofi_peer *peer)
{
    while (peer && peer->early) {
        struct net_packet *packet = peer->early;
        peer->early = packet->next;
        free(packet);
    }
    free(peer);
}

void ofi_free(struct ofi_wire *ofi)
{
    /* Memory before the endpoint that it may be bound to. */
    struct fid *open[] = {ofi->buffers_mr ? &ofi->buffers_mr->fid : NULL,
                          ofi->ep ? &ofi->ep->fid : NULL,
                          ofi->cq ? &ofi->cq->fid : NULL,
                          ofi->av ? &ofi->av->fid : NULL,
                          ofi->domain ? &ofi->domain->fid : NULL,
                          ofi->fabric ? &ofi->fabric->fid : NULL};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        if (open[i])
            fi_close(open[i]);
    /* Only now nobody writes there any more. */
    free(ofi->buffers);
    packets_free(ofi->in, ofi->ins);
    packets_free(ofi->out, ofi->outs);
    for (int rank = 0; ofi->peers && rank < ofi->net->size; rank++)
        peer_free(ofi->peers[rank]);
    fi_freeinfo(ofi->info);
    free(ofi->peers);
    free(ofi->addresses);
    free(ofi->hosts);
    free(ofi);
}

static void ofi_close(struct net_wire *wire)
{
    ofi_free(ofi_of(wire));
}

const struct net_wire_operations ofi_operations = {.name = "ofi",
                                                   .post = ofi_post,
                                                   .poll = ofi_poll,
                                                   .idle = ofi_idle,
                                                   .descriptor = ofi_descriptor,
                                                   .may_sleep = ofi_may_sleep,
                                                   .close = ofi_close};
