/* Links: made on first use, ended by goodbyes or by losses; their packets. */
#include "net/net_link_internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POOL_MOST 64
#define BYE_MOST  UINT64_C(1000000000) /* ns that goodbyes may take */

/* ---- packets */

struct net_packet *net_packet_new(struct net_links *links)
{
    base_spin_lock(&links->pool_lock);
    struct net_packet *packet = links->pool;
    if (packet) {
        links->pool = packet->next;
        links->pooled--;
    }
    base_spin_unlock(&links->pool_lock);
    return packet ? packet : aligned_alloc(BASE_CACHE_LINE, sizeof *packet);
}

void net_packet_free(struct net_links *links, struct net_packet *packet)
{
    base_spin_lock(&links->pool_lock);
    bool keep = links->pooled < POOL_MOST;
    if (keep) {
        packet->next = links->pool;
        links->pool = packet;
        links->pooled++;
    }
    base_spin_unlock(&links->pool_lock);
    if (!keep)
        free(packet);
}

struct net_packet *link_packet_begin(struct net_links *links, int peer, enum link_kind kind)
{
    struct net_packet *packet = net_packet_new(links);
    if (!packet)
        return NULL;
    packet->next = NULL;
    packet->peer = peer;
    packet->length = sizeof(struct link_head);
    *link_head_of(packet) =
        (struct link_head){.magic = LINK_MAGIC, .kind = (uint8_t)kind, .source = links->net->rank};
    return packet;
}

/* ---- links */

static struct net_link *link_make(struct net_links *links, int peer)
{
    base_spin_lock(&links->make_lock);
    struct net_link *link = atomic_load_explicit(&links->links[peer], memory_order_acquire);
    if (!link && (link = aligned_alloc(BASE_CACHE_LINE, base_align_up(sizeof *link, BASE_CACHE_LINE)))) {
        memset(link, 0, sizeof *link);
        base_spin_init(&link->lock);
        link->last = &link->first;
        link->own_last = &link->own;
        link->granted = LINK_WINDOW;
        link->peer = peer;
        atomic_store(&link->board.available, 1);
        atomic_store_explicit(&links->links[peer], link, memory_order_release);
    }
    base_spin_unlock(&links->make_lock);
    return link;
}

struct net_link *link_of(struct net_links *links, int peer)
{
    struct net_link *link = atomic_load_explicit(&links->links[peer], memory_order_acquire);
    return base_likely(link != NULL) ? link : link_make(links, peer);
}

struct net_packet *link_packet_sure(struct net_links *links, int peer, enum link_kind kind)
{
    struct net_packet *packet;
    int tries = 0;
    while (!link_of(links, peer) || !(packet = link_packet_begin(links, peer, kind)))
        base_await_memory(&tries, "net", "a packet that another host waits for");
    return packet;
}

int net_links_open(struct net_links *links, struct net *net)
{
    links->net = net;
    atomic_store(&links->lost, -1);
    links->process = getpid();
    links->links = calloc((size_t)net->size, sizeof *links->links);
    if (!links->links)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for links to %d ranks", net->size);
    links->inbox_last = &links->inbox;
    base_spin_init(&links->make_lock);
    base_spin_init(&links->wire_lock);
    base_spin_init(&links->pool_lock);
    return RAYMPI_OK;
}

void link_part(struct net_links *links, struct net_link *link)
{
    base_spin_lock(&link->lock);
    bool already = link->parted || link->dead;
    link->parted = true;
    base_spin_unlock(&link->lock);
    if (!already)
        net_links_tell(links, link->peer, LINK_BYE, NULL, 0);
}

static bool all_parted(struct net_links *links)
{
    for (int peer = 0; peer < links->net->size; peer++) {
        struct net_link *link = atomic_load(&links->links[peer]);
        if (link && link->parted && !link->left && !link->dead)
            return false;
    }
    return net_links_gone(links);
}

/* Who leaves says so, that its end is not taken for a death, and waits for the answer: an endpoint that is
 * closed while something comes is reset, and the goodbye could be lost. */
static void goodbyes(struct net_links *links)
{
    uint64_t end = base_now() + BYE_MOST;
    links->closing = true;
    for (int peer = 0; peer < links->net->size; peer++) {
        struct net_link *link = atomic_load(&links->links[peer]);
        if (link && (link->serial > 0 || link->serial_in > 0))
            link_part(links, link);
    }
    while ((net_links_pump_surely(links) || !all_parted(links)) && base_now() < end)
        sched_yield();
}

static void packets_drop(struct net_packet *packet)
{
    while (packet) {
        struct net_packet *next = packet->next;
        free(packet);
        packet = next;
    }
}

void net_links_close(struct net_links *links)
{
    if (links->process != getpid())
        return; /* and lets what it inherited of the wire be */
    if (links->wire) {
        if (!links->wire->operations->uses_mpi)
            goodbyes(links);
        links->wire->operations->close(links->wire);
    }
    for (int peer = 0; peer < links->net->size; peer++) {
        struct net_link *link = atomic_load(&links->links[peer]);
        if (!link)
            continue;
        packets_drop(link->first);
        packets_drop(link->own);
        free(link->whole);
        free(link);
    }
    packets_drop(links->inbox);
    packets_drop(links->current);
    packets_drop(links->pool);
    free(links->links);
}

struct net_board *net_links_board(struct net_links *links, int rank)
{
    struct net_link *link = atomic_load_explicit(&links->links[rank], memory_order_acquire);
    return link ? &link->board : NULL;
}

int net_links_reach(struct net_links *links, int peer)
{
    return link_of(links, peer) ? RAYMPI_OK
                                : base_fail(RAYMPI_ERR_MEMORY, "no memory for the link to rank %d", peer);
}

/* ---- the end of a link */

/* What waits for a rank that is no more. Both locks. */
void link_clear(struct net_link *link)
{
    packets_drop(link->first);
    packets_drop(link->own);
    link->first = link->own = NULL;
    link->last = &link->first;
    link->own_last = &link->own;
    atomic_store_explicit(&link->waiting, 0, memory_order_relaxed);
}

void link_inbox_add(struct net_links *links, struct net_packet *packet)
{
    packet->next = NULL;
    *links->inbox_last = packet;
    links->inbox_last = &packet->next;
    atomic_fetch_add_explicit(&links->arrived, 1, memory_order_relaxed);
}

void net_link_lost(struct net_links *links, int peer, const char *text)
{
    struct net_packet *mark = link_packet_sure(links, peer, LINK_LOST);
    struct net_link *link = link_of(links, peer);
    int none = -1;
    base_spin_lock(&link->lock);
    bool news = !link->dead && !link->left && !links->closing;
    link->dead = true;
    link_clear(link);
    base_spin_unlock(&link->lock);
    if (!news) {
        net_packet_free(links, mark);
        return;
    }
    atomic_compare_exchange_strong(&links->lost, &none, peer);
    base_log(BASE_LOG_INFO, "net", "rank %d is lost: %s", peer, text);
    snprintf(mark->bytes + mark->length, NET_DEATH_TEXT, "%s", text);
    link_inbox_add(links, mark);
}
