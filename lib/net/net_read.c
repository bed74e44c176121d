/* One-sided reads, whatever carries them: their turn, their pieces, their ends. */
#include "net/net_read.h"

#include "net/net_joint.h"

#include <stdio.h>
#include <string.h>

void net_reads_setup(struct net_reads *reads, struct net_links *links, bool (*lost)(void *arg, int rank),
                     void *arg)
{
    links->reads = reads;
    reads->links = links;
    reads->lost = lost;
    reads->lost_arg = arg;
    reads->held = true;
    reads->queue_last = &reads->queue;
    base_spin_init(&reads->queue_lock);
    for (int i = 0; i < READS_PIECES; i++) {
        reads->pieces[i].next = reads->idle;
        reads->idle = &reads->pieces[i];
    }
}

/* ---- ends */

static void look_at_end(struct net_reads *reads, struct read_active *active)
{
    if (active->ended || active->flying > 0 ||
        (active->status == RAYMPI_OK && active->posted < active->read->length))
        return;
    active->ended = true;
    atomic_fetch_sub_explicit(&reads->under_way, 1, memory_order_relaxed);
    /* Release: the poller that reads it sees what has come. */
    atomic_fetch_add_explicit(&reads->links->read_ends, 1, memory_order_release);
}

static void active_fail(struct net_reads *reads, struct read_active *active, int status, const char *text)
{
    if (active->status == RAYMPI_OK) {
        active->status = status;
        snprintf(active->text, sizeof active->text, "%s", text);
    }
    look_at_end(reads, active);
}

void read_piece_ended(struct net_reads *reads, struct read_piece *piece, int status, const char *text)
{
    struct read_active *active = piece->of;
    piece->of = NULL;
    piece->next = reads->idle;
    reads->idle = piece;
    reads->flying--;
    if (!active)
        return;
    active->flying--;
    if (status != RAYMPI_OK)
        active_fail(reads, active, status, text);
    else
        look_at_end(reads, active);
}

/* Its pieces stay the way's, which may never tell their ends. */
static void give_up(struct net_reads *reads, struct read_active *active)
{
    char text[READS_TEXT];
    for (int i = 0; i < READS_PIECES; i++)
        if (reads->pieces[i].of == active)
            reads->pieces[i].of = NULL;
    active->flying = 0;
    snprintf(text, sizeof text, "rank %d was lost while its host's store was read", active->read->rank);
    active_fail(reads, active, RAYMPI_ERR_NODE_DIED, text);
}

static void look_at_lost(struct net_reads *reads)
{
    for (int i = 0; i < READS_ACTIVE; i++) {
        struct read_active *active = &reads->active[i];
        if (active->read && !active->ended && reads->lost(reads->lost_arg, active->read->rank))
            give_up(reads, active);
    }
}

int net_reads_deliver(struct net_reads *reads)
{
    struct read_active ended[READS_ACTIVE];
    int count = 0;
    if (base_likely(atomic_load_explicit(&reads->links->read_ends, memory_order_acquire) == 0))
        return 0;
    base_spin_lock(&reads->links->wire_lock);
    for (int i = 0; i < READS_ACTIVE; i++) {
        if (!reads->active[i].ended)
            continue;
        ended[count++] = reads->active[i];
        reads->active[i] = (struct read_active){.read = NULL};
        reads->actives--;
    }
    base_spin_unlock(&reads->links->wire_lock);
    atomic_fetch_sub_explicit(&reads->links->read_ends, count, memory_order_relaxed);
    for (int i = 0; i < count; i++) {
        struct net_read *read = ended[i].read;
        if (ended[i].status == RAYMPI_OK) {
            net_count(&reads->count, 1);
            net_count(&reads->bytes, read->length);
        } else {
            base_fail(ended[i].status, "%s", ended[i].text);
        }
        read->done(read, ended[i].status);
    }
    if (reads_word(&reads->waiting) > 0) /* their turn has come */
        net_links_pump(reads->links);
    return count;
}

/* ---- starts */

static bool is_readable(const struct net_reads *reads, const struct net_read *read)
{
    const struct net *net = reads->links->net;
    if (read->rank < 0 || read->rank >= net->size || net->local_of[read->rank] >= 0)
        return false;
    uint64_t size = reads->way->sizes[read->rank];
    return read->offset <= size && read->length <= size - read->offset;
}

static struct net_read *queue_take(struct net_reads *reads)
{
    base_spin_lock(&reads->queue_lock);
    struct net_read *read = reads->queue;
    if (read) {
        reads->queue = read->next;
        if (!reads->queue)
            reads->queue_last = &reads->queue;
        atomic_fetch_sub_explicit(&reads->waiting, 1, memory_order_relaxed);
    }
    base_spin_unlock(&reads->queue_lock);
    return read;
}

static void read_begin(struct net_reads *reads, struct read_active *active, struct net_read *read)
{
    *active = (struct read_active){.read = read};
    reads->actives++;
    if (is_readable(reads, read)) {
        look_at_end(reads, active); /* nothing to read: that is its end */
        return;
    }
    char text[READS_TEXT];
    snprintf(text, sizeof text, "a read of %llu bytes at %llu of rank %d: no such bytes of another host",
             (unsigned long long)read->length, (unsigned long long)read->offset, read->rank);
    active_fail(reads, active, RAYMPI_ERR_MPI, text);
}

static void queue_move(struct net_reads *reads)
{
    for (int i = 0; i < READS_ACTIVE && reads_word(&reads->waiting) > 0; i++) {
        struct net_read *read = reads->active[i].read ? NULL : queue_take(reads);
        if (read)
            read_begin(reads, &reads->active[i], read);
    }
}

/* ---- pieces */

/* False: there is no room now. */
static bool piece_post(struct net_reads *reads, struct read_active *active)
{
    struct read_piece *piece = reads->idle;
    const struct net_read *read = active->read;
    uint64_t left = read->length - active->posted;
    piece->of = active;
    piece->rank = read->rank;
    piece->offset = read->offset + active->posted;
    piece->to = (char *)read->to + active->posted;
    piece->length = left < reads->way->piece ? left : reads->way->piece;
    int status = reads->way->operations->post(reads->way, piece);
    if (status == RAYMPI_OK) {
        reads->idle = piece->next;
        reads->flying++;
        active->flying++;
        active->posted += piece->length;
        return true;
    }
    piece->of = NULL;
    if (status != READ_NO_ROOM)
        active_fail(reads, active, status, base_detail());
    return status != READ_NO_ROOM;
}

/* A piece of each in turn, while there is room. */
static bool pieces_post(struct net_reads *reads)
{
    bool posted = false, full = false;
    for (int nothing = 0; nothing < READS_ACTIVE && reads->idle && !full; nothing++) {
        struct read_active *active = &reads->active[reads->turn++ % READS_ACTIVE];
        if (!active->read || active->status != RAYMPI_OK || active->posted == active->read->length)
            continue;
        full = !piece_post(reads, active);
        posted = posted || !full;
        nothing = -1;
    }
    atomic_store_explicit(&reads->links->reads_stuck, full, memory_order_relaxed);
    return posted;
}

bool net_reads_pump(struct net_reads *reads)
{
    bool moved = false, poll = reads_word(&reads->serving) > 0 || reads->flying > 0;
    if (!reads->way || reads->held || reads->withdrawn)
        return false;
    if (poll && reads->way->operations->poll)
        moved = reads->way->operations->poll(reads->way);
    queue_move(reads);
    if (reads->actives == 0) {
        atomic_store_explicit(&reads->links->reads_stuck, false, memory_order_relaxed);
        return moved;
    }
    look_at_lost(reads);
    return pieces_post(reads) || moved;
}

/* ---- what the rooms above call */

struct net_reads *reads_of(const struct net *net)
{
    return net->reads;
}

const char *net_way_name(enum net_read_way way)
{
    static const char *const names[] = {
        [NET_READ_NONE] = "pull", [NET_READ_RMA] = "rma", [NET_READ_OFI] = "ofi"};
    return names[way];
}

enum net_read_way net_reads(const struct net *net)
{
    const struct net_reads *reads = reads_of(net);
    return reads && reads->way && !reads->withdrawn ? reads->way->operations->way : NET_READ_NONE;
}

void net_reads_withdraw(struct net *net)
{
    struct net_reads *reads = reads_of(net);
    base_spin_lock(&reads->links->wire_lock);
    for (int i = 0; i < READS_ACTIVE; i++)
        if (reads->active[i].read && !reads->active[i].ended)
            give_up(reads, &reads->active[i]);
    reads->withdrawn = true;
    base_spin_unlock(&reads->links->wire_lock);
}

void net_read(struct net *net, struct net_read *read)
{
    struct net_reads *reads = reads_of(net);
    struct net_links *links = reads->links;
    read->next = NULL;
    /* Before it can end. */
    atomic_fetch_add_explicit(&reads->under_way, 1, memory_order_relaxed);
    base_spin_lock(&reads->queue_lock);
    *reads->queue_last = read;
    reads->queue_last = &read->next;
    atomic_fetch_add_explicit(&reads->waiting, 1, memory_order_relaxed);
    base_spin_unlock(&reads->queue_lock);
    /* Whoever is at the wire just now may have looked before; and a sleeping poller has to look at what
     * nothing else tells it of. */
    if (!net_links_pump(links) || net_links_ready(links) || net_links_stuck(links) ||
        net_reads_use_mpi(reads))
        net_wake(net);
}

static bool is_ranged(const struct net_reads *reads)
{
    return reads && reads->way && reads->way->ranged;
}

static int range_opened(struct net_reads *reads, int status)
{
    if (base_unlikely(status != RAYMPI_OK) && atomic_fetch_add(&reads->refused, 1) == 0)
        base_log(BASE_LOG_WARN, "net", "values go by messages where they can not be read: %s", base_detail());
    return status;
}

int net_range_open(struct net *net, uint64_t offset, uint64_t length, struct net_range *range)
{
    struct net_reads *reads = reads_of(net);
    *range = (struct net_range){.region = NULL};
    if (!is_ranged(reads))
        return RAYMPI_OK;
    base_spin_lock(&reads->links->wire_lock);
    int status = reads->way->operations->range_open(reads->way, offset, length, range);
    base_spin_unlock(&reads->links->wire_lock);
    return range_opened(reads, status);
}

int net_range_open_to(struct net *net, void *memory, uint64_t length, struct net_range *range)
{
    struct net_reads *reads = reads_of(net);
    *range = (struct net_range){.region = NULL};
    if (!is_ranged(reads))
        return RAYMPI_OK;
    base_spin_lock(&reads->links->wire_lock);
    int status = reads->way->operations->range_open_to(reads->way, memory, length, range);
    base_spin_unlock(&reads->links->wire_lock);
    return range_opened(reads, status);
}

void net_range_close(struct net *net, struct net_range *range)
{
    struct net_reads *reads = reads_of(net);
    if (!range->region)
        return;
    base_spin_lock(&reads->links->wire_lock);
    reads->way->operations->range_close(reads->way, range);
    base_spin_unlock(&reads->links->wire_lock);
    *range = (struct net_range){.region = NULL};
}

void net_ranges_drop(struct net *net, uint64_t offset, const void *memory, uint64_t length)
{
    struct net_reads *reads = reads_of(net);
    if (!is_ranged(reads))
        return;
    base_spin_lock(&reads->links->wire_lock);
    reads->way->operations->ranges_drop(reads->way, offset, memory, length);
    base_spin_unlock(&reads->links->wire_lock);
}

void net_read_serve(struct net *net, int change)
{
    struct net_reads *reads = reads_of(net);
    if (!reads || !reads->way || reads->withdrawn)
        return;
    int before = atomic_fetch_add(&reads->serving, change);
    if (before > 0 || before + change <= 0)
        return;
    if (net_reads_use_mpi(reads))
        net_wake(net); /* its sleep becomes one that looks at MPI */
    else
        net_watch_serve(&joint_of(net)->watch);
}
