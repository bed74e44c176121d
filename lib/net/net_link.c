#include "net/net_link.h"

#include "net/net_ring.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POOL_MOST   64
#define BYE_MOST    UINT64_C(1000000000) /* ns that goodbyes may take */
#define RECORD_MOST (NET_PACKET_BYTES - sizeof(struct link_head) - sizeof(struct link_record))

_Static_assert(RECORD_MOST >= NET_MESSAGE_ONE, "as net.h says");

static size_t record_bytes(uint32_t size)
{
    return sizeof(struct link_record) + base_align_up(size, 8);
}

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

static struct net_packet *packet_begin(struct net_links *links, int peer, enum link_kind kind)
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

static struct net_link *link_of(struct net_links *links, int peer)
{
    struct net_link *link = atomic_load_explicit(&links->links[peer], memory_order_acquire);
    return base_likely(link != NULL) ? link : link_make(links, peer);
}

/* A packet of the net's own: somebody waits for what it brings (credit, an answer), so memory is waited for.
 */
static struct net_packet *packet_sure(struct net_links *links, int peer, enum link_kind kind)
{
    struct net_packet *packet;
    int tries = 0;
    while (!link_of(links, peer) || !(packet = packet_begin(links, peer, kind)))
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

/* Once: the last packet to the other side. */
static void part(struct net_links *links, struct net_link *link)
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
            part(links, link);
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

/* ---- out */

static void link_list(struct net_links *links, struct net_link *link)
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
    struct net_packet *packet = packet_begin(links, link->peer, LINK_MESSAGES);
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
    packet->length += (uint32_t)record_bytes(record.size);
}

static int message_add(struct net_links *links, struct net_link *link, uint16_t type,
                       const struct net_piece *pieces, size_t length)
{
    struct net_cursor cursor = {.piece = pieces};
    size_t done = 0;
    do {
        size_t left = length - done;
        uint32_t size = (uint32_t)(left < RECORD_MOST ? left : RECORD_MOST);
        struct net_packet *packet = packet_for(links, link, record_bytes(size));
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
    struct net_packet *packet = packet_sure(links, peer, kind);
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

static bool post_all(struct net_links *links)
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

/* ---- the end of a link */

/* What waits for a rank that is no more. Both locks. */
static void link_clear(struct net_link *link)
{
    packets_drop(link->first);
    packets_drop(link->own);
    link->first = link->own = NULL;
    link->last = &link->first;
    link->own_last = &link->own;
    atomic_store_explicit(&link->waiting, 0, memory_order_relaxed);
}

static void inbox_add(struct net_links *links, struct net_packet *packet)
{
    packet->next = NULL;
    *links->inbox_last = packet;
    links->inbox_last = &packet->next;
    atomic_fetch_add_explicit(&links->arrived, 1, memory_order_relaxed);
}

void net_link_lost(struct net_links *links, int peer, const char *text)
{
    struct net_packet *mark = packet_sure(links, peer, LINK_LOST);
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
    inbox_add(links, mark);
}

/* ---- in */

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
    part(links, link);
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
        inbox_add(links, packet);
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
    if (atomic_load_explicit(&links->held, memory_order_relaxed))
        return false;
    int moved = links->wire->operations->poll(links->wire);
    bool posted = post_all(links);
    return moved > 0 || posted;
}

bool net_links_pump(struct net_links *links)
{
    if (atomic_load_explicit(&links->held, memory_order_relaxed) || !base_spin_try(&links->wire_lock))
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
    if (packet->length - packet->at < record_bytes(0) ||
        packet->length - packet->at < record_bytes(record->size))
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
    packet->at += (uint32_t)record_bytes(record->size);
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
