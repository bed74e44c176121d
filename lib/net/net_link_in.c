/* What comes in by links: packets from the wire, messages to their handlers. */
#include "net/net_link_internal.h"
#include "net/net_read.h"

#include <stdlib.h>
#include <string.h>

/* ---- packets that arrive */

static const char *head_wrong(const struct net_links *links, const struct net_link *link,
                              const struct net_packet *packet)
{
    const struct link_head *head = link_head_of((struct net_packet *)packet);
    if (packet->length < sizeof *head || head->magic != LINK_MAGIC || head->length != packet->length)
        return "a packet without a head, or of another length than it says";
    if (head->source != link->peer || head->source == links->net->rank)
        return "a packet of another sender than it says";
    if (head->serial != link->serial_in + 1)
        return "a packet out of order, or one that had come before";
    if (head->taken > link->sent)
        return "a packet that says that more was received than was sent";
    return NULL;
}

static void load_take(struct net_link *link, const struct link_head *head)
{
    atomic_store_explicit(&link->board.queued, head->load[0], memory_order_relaxed);
    atomic_store_explicit(&link->board.running, head->load[1], memory_order_relaxed);
    atomic_store_explicit(&link->board.actors, head->load[2], memory_order_relaxed);
    atomic_store_explicit(&link->board.available, head->available, memory_order_relaxed);
    for (uint32_t i = 0; i < 4; i++)
        atomic_store_explicit(&link->board.task[i], i < head->load[1], memory_order_relaxed);
}

/* The other side has said goodbye: what waits for it is dropped, and it gets ours. */
static void link_left(struct net_links *links, struct net_link *link)
{
    base_spin_lock(&link->lock);
    if (!link->parted)
        link_clear(link);
    base_spin_unlock(&link->lock);
    link_part(links, link);
    base_spin_lock(&link->lock);
    link->left = link->dead = true;
    base_spin_unlock(&link->lock);
}

/* Under the wire lock. */
void net_link_arrived(struct net_links *links, struct net_packet *packet, int peer)
{
    struct net_link *link = peer >= 0 && peer < links->net->size ? link_of(links, peer) : NULL;
    const char *wrong = link ? NULL : "a packet of no rank";
    bool late = false;
    if (link) {
        base_spin_lock(&link->lock);
        wrong = head_wrong(links, link, packet);
        const struct link_head *head = link_head_of(packet);
        if (!wrong) {
            link->serial_in = head->serial;
            if (head->taken + LINK_WINDOW > link->granted)
                link->granted = head->taken + LINK_WINDOW;
            load_take(link, head);
        }
        bool waits = link->first != NULL && link->sent < link->granted;
        late = link->dead;
        base_spin_unlock(&link->lock);
        if (!wrong && waits)
            link_list(links, link);
    }
    if (wrong || late) {
        if (wrong)
            net_malformed(links->net, link ? peer : 0, wrong);
        net_packet_free(links, packet);
        return;
    }
    const struct link_head *head = link_head_of(packet);
    packet->peer = peer;
    packet->at = sizeof *head;
    if (head->kind == LINK_MESSAGES) {
        link_inbox_add(links, packet);
        return;
    }
    if (head->kind == LINK_BYE)
        link_left(links, link);
    else if (head->kind == LINK_PING)
        net_links_tell(links, peer, LINK_ACK, NULL, 0);
    else if (head->kind != LINK_ACK && links->control)
        links->control(links->control_arg, peer, (enum link_kind)head->kind, head + 1,
                       packet->length - sizeof *head);
    net_packet_free(links, packet);
}

/* Under the wire lock. */
static bool pump(struct net_links *links)
{
    bool moved = false;
    if (!atomic_load_explicit(&links->held, memory_order_relaxed)) {
        moved = links->wire->operations->poll(links->wire) > 0;
        moved = link_post_all(links) || moved;
    }
    return (links->reads && net_reads_pump(links->reads)) || moved;
}

bool net_links_pump(struct net_links *links)
{
    if (!base_spin_try(&links->wire_lock))
        return false;
    bool moved = pump(links);
    base_spin_unlock(&links->wire_lock);
    return moved;
}

bool net_links_pump_surely(struct net_links *links)
{
    base_spin_lock(&links->wire_lock);
    bool moved = pump(links);
    base_spin_unlock(&links->wire_lock);
    return moved;
}

bool net_links_may_sleep(struct net_links *links)
{
    base_spin_lock(&links->wire_lock);
    bool may = !pump(links) && links->wire->operations->may_sleep(links->wire);
    base_spin_unlock(&links->wire_lock);
    return may;
}

/* ---- delivery */

static void whole_forget(struct net_link *link)
{
    free(link->whole);
    link->whole = NULL;
}

static const char *record_wrong(const struct net_packet *packet, const struct link_record *record)
{
    if (packet->length - packet->at < link_record_bytes(0) ||
        packet->length - packet->at < link_record_bytes(record->size))
        return "a message that is longer than its packet";
    if (record->total > NET_MESSAGE_MAX || record->size > record->total)
        return "a message with an impossible length";
    return NULL;
}

static bool whole_add(struct net_links *links, struct net_link *link, const struct link_record *record,
                      const void *data)
{
    if (record->kind == NET_RING_FIRST) {
        whole_forget(link);
        link->whole = base_alloc_sure(record->total, "net", "a long message of another host");
        link->total = record->total;
        link->type = record->type;
        link->filled = 0;
    }
    if (!link->whole || record->total != link->total || record->type != link->type ||
        record->size > link->total - link->filled) {
        net_malformed(links->net, link->peer, "a part that does not belong to the message before it");
        whole_forget(link);
        return false;
    }
    memcpy(link->whole + link->filled, data, record->size);
    link->filled += record->size;
    return link->filled == link->total;
}

/* True: a message was delivered. */
static bool record_deliver(struct net_links *links, struct net_link *link, const struct link_record *record,
                           const void *data)
{
    struct net_message message = {.type = record->type,
                                  .epoch = record->epoch,
                                  .source = link->peer,
                                  .data = data,
                                  .length = record->size};
    char *whole = NULL;
    if (record->kind == NET_RING_MESSAGE) {
        whole_forget(link);
    } else {
        if (!whole_add(links, link, record, data))
            return false;
        message.data = whole = link->whole;
        message.length = link->total;
        link->whole = NULL;
    }
    net_deliver(links->net, &message);
    net_delivered(links->net, 1, message.length);
    free(whole);
    return true;
}

/* The packet was taken: the other side is told, at the latest when half of its credit is used. */
static void packet_taken(struct net_links *links, struct net_link *link, struct net_packet *packet)
{
    uint64_t taken = atomic_load_explicit(&link->taken, memory_order_relaxed) + 1;
    atomic_store_explicit(&link->taken, taken, memory_order_relaxed);
    net_packet_free(links, packet);
    if (taken - atomic_load_explicit(&link->told, memory_order_relaxed) >= LINK_WINDOW / 2)
        net_links_tell(links, link->peer, LINK_ACK, NULL, 0);
}

static struct net_packet *inbox_take(struct net_links *links)
{
    if (atomic_load_explicit(&links->arrived, memory_order_relaxed) == 0)
        return NULL;
    base_spin_lock(&links->wire_lock);
    struct net_packet *packet = links->inbox;
    links->inbox = packet->next;
    if (!links->inbox)
        links->inbox_last = &links->inbox;
    base_spin_unlock(&links->wire_lock);
    packet->next = NULL;
    return packet;
}

/* All that had come from the rank before was delivered. */
static void death_deliver(struct net_links *links, struct net_link *link, struct net_packet *packet)
{
    whole_forget(link);
    if (links->died)
        links->died(links->died_arg, link->peer, packet->bytes + sizeof(struct link_head));
    net_packet_free(links, packet);
}

/* The next message of a packet; false: there is none any more. */
static bool packet_deliver(struct net_links *links, struct net_packet *packet, int *delivered)
{
    struct net_link *link = atomic_load_explicit(&links->links[packet->peer], memory_order_relaxed);
    if (base_unlikely(link_head_of(packet)->kind == LINK_LOST)) {
        death_deliver(links, link, packet);
        return false;
    }
    const struct link_record *record = (const struct link_record *)(const void *)(packet->bytes + packet->at);
    const char *wrong = packet->at < packet->length ? record_wrong(packet, record) : NULL;
    if (wrong)
        net_malformed(links->net, packet->peer, wrong);
    if (wrong || packet->at >= packet->length) {
        packet_taken(links, link, packet);
        return false;
    }
    packet->at += (uint32_t)link_record_bytes(record->size);
    *delivered += record_deliver(links, link, record, record + 1);
    return true;
}

int net_links_deliver(struct net_links *links, int budget)
{
    int delivered = 0;
    while (delivered < budget && (links->current || (links->current = inbox_take(links)))) {
        if (packet_deliver(links, links->current, &delivered))
            continue;
        links->current = NULL;
        atomic_fetch_sub_explicit(&links->arrived, 1, memory_order_relaxed);
    }
    return delivered;
}
