/* What goes out by links: messages into packets, packets onto the wire. */
#include "net/net_link_internal.h"

#include <string.h>

#define RECORD_MOST (NET_PACKET_BYTES - sizeof(struct link_head) - sizeof(struct link_record))

_Static_assert(RECORD_MOST >= NET_MESSAGE_ONE, "as net.h says");

void link_list(struct net_links *links, struct net_link *link)
{
    if (atomic_exchange(&link->listed, 1))
        return;
    struct net_link *first = atomic_load(&links->to_post);
    do
        link->next = first;
    while (!atomic_compare_exchange_weak(&links->to_post, &first, link));
}

/* Under the lock: the packet at the end of the queue, if so many bytes fit, or a new one. */
static struct net_packet *packet_for(struct net_links *links, struct net_link *link, size_t need)
{
    struct net_packet *last = link->first ? base_container(link->last, struct net_packet, next) : NULL;
    if (last && NET_PACKET_BYTES - last->length >= need)
        return last;
    struct net_packet *packet = link_packet_begin(links, link->peer, LINK_MESSAGES);
    if (!packet)
        return NULL;
    *link->last = packet;
    link->last = &packet->next;
    return packet;
}

static void record_add(struct net_packet *packet, struct link_record record, struct net_cursor *cursor)
{
    memcpy(packet->bytes + packet->length, &record, sizeof record);
    net_cursor_copy(cursor, packet->bytes + packet->length + sizeof record, record.size);
    packet->length += (uint32_t)link_record_bytes(record.size);
}

static int message_add(struct net_links *links, struct net_link *link, uint16_t type,
                       const struct net_piece *pieces, size_t length)
{
    struct net_cursor cursor = {.piece = pieces};
    size_t done = 0;
    do {
        size_t left = length - done;
        uint32_t size = (uint32_t)(left < RECORD_MOST ? left : RECORD_MOST);
        struct net_packet *packet = packet_for(links, link, link_record_bytes(size));
        if (!packet)
            return base_fail(RAYMPI_ERR_MEMORY, "no memory for a message of %zu bytes", length);
        uint8_t kind = size == length ? NET_RING_MESSAGE : done == 0 ? NET_RING_FIRST : NET_RING_NEXT;
        uint32_t before = packet->length;
        record_add(packet,
                   (struct link_record){.type = type,
                                        .kind = kind,
                                        .epoch = net_epoch(links->net),
                                        .size = size,
                                        .total = (uint32_t)length},
                   &cursor);
        atomic_fetch_add_explicit(&link->waiting, packet->length - before, memory_order_relaxed);
        done += size;
    } while (done < length);
    return RAYMPI_OK;
}

int net_links_send(struct net_links *links, int peer, uint16_t type, const struct net_piece *pieces,
                   size_t length, _Atomic uint32_t *counter)
{
    struct net_link *link = link_of(links, peer);
    if (!link)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the link to rank %d", peer);
    base_spin_lock(&link->lock);
    if (link->dead) {
        base_spin_unlock(&link->lock);
        return base_fail(RAYMPI_ERR_NODE_DIED, "message of type %u to rank %d, which was lost or has left",
                         type, peer);
    }
    /* MEMORY: the receiver drops the parts it has when the next message begins. */
    int status = message_add(links, link, type, pieces, length);
    if (status == RAYMPI_OK) {
        net_count(&links->messages, 1);
        net_count(&links->bytes, length);
        net_count_alone(counter);
    }
    base_spin_unlock(&link->lock);
    if (status != RAYMPI_OK)
        return status;
    link_list(links, link);
    /* Whoever is at the wire just now may have looked at the list before; and who sleeps looks again in time
     * at what the wire had no room for. */
    if (!net_links_pump(links) || net_links_ready(links) || net_links_stuck(links))
        links->net->operations->wake(links->net);
    return RAYMPI_OK;
}

void net_links_tell(struct net_links *links, int peer, enum link_kind kind, const void *data, size_t length)
{
    struct net_packet *packet = link_packet_sure(links, peer, kind);
    struct net_link *link = link_of(links, peer);
    if (length)
        memcpy(packet->bytes + packet->length, data, length);
    packet->length += (uint32_t)length;
    base_spin_lock(&link->lock);
    bool dead = link->dead;
    if (!dead) {
        *link->own_last = packet;
        link->own_last = &packet->next;
    }
    base_spin_unlock(&link->lock);
    if (dead)
        net_packet_free(links, packet);
    else
        link_list(links, link);
}

uint64_t net_links_heard(struct net_links *links, int peer)
{
    struct net_link *link = atomic_load_explicit(&links->links[peer], memory_order_acquire);
    if (!link)
        return 0;
    base_spin_lock(&link->lock);
    uint64_t heard = link->serial_in;
    base_spin_unlock(&link->lock);
    return heard;
}

bool net_links_dead(struct net_links *links, int peer)
{
    struct net_link *link = atomic_load_explicit(&links->links[peer], memory_order_acquire);
    if (!link)
        return false;
    base_spin_lock(&link->lock);
    bool dead = link->dead;
    base_spin_unlock(&link->lock);
    return dead;
}

bool net_links_left(struct net_links *links, int peer)
{
    struct net_link *link = atomic_load_explicit(&links->links[peer], memory_order_acquire);
    if (!link)
        return false;
    base_spin_lock(&link->lock);
    bool left = link->left;
    base_spin_unlock(&link->lock);
    return left;
}

/* Something has passed between the two. */
static bool is_used(struct net_link *link)
{
    base_spin_lock(&link->lock);
    bool used = link->serial > 0 || link->serial_in > 0;
    base_spin_unlock(&link->lock);
    return used;
}

void net_links_tell_all(struct net_links *links, enum link_kind kind, const void *data, size_t length,
                        bool (*skip)(void *arg, int peer), void *arg)
{
    for (int peer = 0; peer < links->net->size; peer++) {
        struct net_link *link = atomic_load_explicit(&links->links[peer], memory_order_acquire);
        if (link && is_used(link) && !skip(arg, peer))
            net_links_tell(links, peer, kind, data, length);
    }
}

size_t net_links_pending(struct net_links *links, int peer)
{
    struct net_link *link = atomic_load_explicit(&links->links[peer], memory_order_acquire);
    return link ? atomic_load_explicit(&link->waiting, memory_order_relaxed) : 0;
}

/* Under the wire lock: what the other side is to know anyway, on the back of any packet. */
static void head_finish(struct net_links *links, struct net_link *link, struct net_packet *packet)
{
    struct link_head *head = link_head_of(packet);
    const struct net_board *own = net_board(links->net, links->net->rank);
    head->length = packet->length;
    head->serial = ++link->serial;
    head->taken = atomic_load_explicit(&link->taken, memory_order_relaxed);
    atomic_store_explicit(&link->told, head->taken, memory_order_relaxed);
    head->available = (uint8_t)atomic_load_explicit(&own->available, memory_order_relaxed);
    head->load[0] = atomic_load_explicit(&own->queued, memory_order_relaxed);
    head->load[1] = 0;
    head->load[2] = atomic_load_explicit(&own->actors, memory_order_relaxed);
    for (int i = 0; i < 4; i++)
        head->load[1] += atomic_load_explicit(&own->task[i], memory_order_relaxed) != 0;
}

/* Under both locks. */
static bool packet_post(struct net_links *links, struct net_link *link, struct net_packet *packet)
{
    uint64_t told = atomic_load_explicit(&link->told, memory_order_relaxed);
    head_finish(links, link, packet);
    if (links->wire->operations->post(links->wire, packet)) {
        net_count(&links->packets, 1);
        return true;
    }
    link->serial--;
    atomic_store_explicit(&link->told, told, memory_order_relaxed);
    return false;
}

/* Under both locks: the first packet of what may go. What is the net's own needs no credit: it brings some.
 */
static bool post_first(struct net_links *links, struct net_link *link)
{
    bool own = link->own != NULL;
    struct net_packet *packet = own ? link->own : link->first;
    if (!own && link->sent == link->granted)
        return false;
    struct net_packet *next = packet->next;
    uint32_t payload = packet->length - (uint32_t)sizeof(struct link_head);
    if (!packet_post(links, link, packet))
        return false;
    struct net_packet **first = own ? &link->own : &link->first;
    *first = next;
    if (!next)
        *(own ? &link->own_last : &link->last) = first;
    if (own)
        return true;
    link->sent++;
    atomic_fetch_sub_explicit(&link->waiting, payload, memory_order_relaxed);
    return true;
}

/* Under the wire lock. What may not go for want of credit is listed again when some comes; for want of room
 * in the wire, at once. */
static bool link_post(struct net_links *links, struct net_link *link)
{
    bool posted = false;
    base_spin_lock(&link->lock);
    while ((link->own || link->first) && post_first(links, link))
        posted = true;
    bool full = link->own || (link->first && link->sent < link->granted);
    base_spin_unlock(&link->lock);
    if (full)
        link_list(links, link);
    return posted;
}

bool link_post_all(struct net_links *links)
{
    bool posted = false;
    struct net_link *link = atomic_exchange(&links->to_post, NULL);
    while (link) {
        struct net_link *next = link->next;
        atomic_store(&link->listed, 0);
        posted = link_post(links, link) || posted;
        link = next;
    }
    return posted;
}

bool net_links_gone(struct net_links *links)
{
    bool gone = true;
    for (int peer = 0; peer < links->net->size && gone; peer++) {
        struct net_link *link = atomic_load(&links->links[peer]);
        if (!link)
            continue;
        base_spin_lock(&link->lock);
        gone = !link->first && !link->own;
        base_spin_unlock(&link->lock);
    }
    base_spin_lock(&links->wire_lock);
    gone = gone && links->wire->operations->idle(links->wire);
    base_spin_unlock(&links->wire_lock);
    return gone;
}

void net_link_sent(struct net_links *links, struct net_packet *packet)
{
    net_packet_free(links, packet);
}
