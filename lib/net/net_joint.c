/* The net of a job on several hosts: `inner` (shm) between ranks of this host, links to all others. */
#include "net/net_joint.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A wire that has no descriptor to sleep on, or no room for what has to go, is looked at from time to time.
 */
#define LOOK_AWAKE UINT64_C(200000)   /* ns after the last packet in which there is no pause between looks */
#define LOOK_FIRST UINT64_C(20000)    /* ns */
#define LOOK_LAST  UINT64_C(10000000) /* ns: less than one percent of a core */

/* While others read here by MPI. */
#define SERVE_TICK  UINT64_C(8000000) /* ns of a tick, */
#define SERVE_PAUSE 50000             /* and ns between two looks: what the kernel takes meanwhile is ready */

#define HEART_POLLS 64 /* polls between two looks at the clock */

static bool is_local(const struct joint_net *joint, int rank)
{
    return joint->local_of[rank] >= 0;
}

/* A message of this host, by its sender's number in the job. */
static void hand_on(void *arg, const struct net_message *message)
{
    struct joint_net *joint = arg;
    struct net_message named = *message;
    named.source = joint->map.ranks[message->source];
    net_deliver(&joint->net, &named);
}

static void inner_died(void *arg, int local)
{
    struct joint_net *joint = arg;
    joint_death_of_local(joint, joint->map.ranks[local]);
}

/* Packets of the net's own. Under the wire lock. */
static void control(void *arg, int peer, enum link_kind kind, const void *data, size_t length)
{
    struct joint_net *joint = arg;
    if (kind == LINK_DEATH)
        joint_death_control(joint, peer, data, length);
    else if (kind == LINK_QUIET && joint->heart.count > 0 && peer == joint->heart.ranks[0])
        joint_heart_end(joint);
    else if (kind != LINK_QUIET)
        joint_rest_control(joint, peer, kind, data, length);
}

static int joint_send(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, size_t length,
                      _Atomic uint32_t *counter)
{
    struct joint_net *joint = joint_of(net);
    if (is_local(joint, peer))
        return joint->inner->operations->send(joint->inner, joint->local_of[peer], type, pieces, length,
                                              counter);
    return net_links_send(&joint->links, peer, type, pieces, length, counter);
}

static size_t joint_pending(struct net *net, int peer)
{
    struct joint_net *joint = joint_of(net);
    return is_local(joint, peer) ? net_pending(joint->inner, joint->local_of[peer])
                                 : net_links_pending(&joint->links, peer);
}

static int joint_reach(struct net *net, int peer)
{
    struct joint_net *joint = joint_of(net);
    return is_local(joint, peer) ? net_reach(joint->inner, joint->local_of[peer])
                                 : net_links_reach(&joint->links, peer);
}

static int joint_poll(struct net *net, int budget)
{
    struct joint_net *joint = joint_of(net);
    net_links_pump(&joint->links);
    if (base_unlikely(joint_death_known(joint) || joint->suspicion != 0))
        joint_death_look(joint);
    bool far_first = joint->turn++ & 1;
    if (base_unlikely(joint->turn % HEART_POLLS == 0))
        joint_heart_look(joint);
    int ends = net_reads_deliver(&joint->reads);
    int delivered = far_first ? net_links_deliver(&joint->links, budget) : net_poll(joint->inner, budget);
    delivered += far_first ? net_poll(joint->inner, budget - delivered)
                           : net_links_deliver(&joint->links, budget - delivered);
    if (atomic_load_explicit(&joint->links.to_post, memory_order_relaxed))
        net_links_pump(&joint->links);
    return delivered + ends;
}

static void joint_look(struct net *net)
{
    net_look(joint_of(net)->inner);
}

/* The poller may be busy for long: who reads here by MPI would get a piece at each tick. */
static void joint_tick(struct net *net)
{
    struct joint_net *joint = joint_of(net);
    const struct timespec pause = {.tv_nsec = SERVE_PAUSE};
    uint64_t end = base_now() + SERVE_TICK;
    net_links_pump(&joint->links);
    while (net_reads_use_mpi(&joint->reads) && reads_word(&joint->reads.serving) > 0 && base_now() < end) {
        nanosleep(&pause, NULL);
        net_links_pump(&joint->links);
    }
}

struct joint_sleep {
    struct joint_net *joint;
    bool (*busy)(void *arg);
    void *arg;
};

static bool joint_busy(void *data)
{
    const struct joint_sleep *sleep = data;
    return net_links_ready(&sleep->joint->links) || joint_rest_answered(sleep->joint) ||
           joint_death_known(sleep->joint) || (sleep->busy && sleep->busy(sleep->arg));
}

/* `watched`: the wire's descriptor may end it. */
static bool sleep_once(struct joint_net *joint, uint64_t deadline, struct joint_sleep *sleep, bool watched)
{
    if (watched)
        net_watch_begin(&joint->watch);
    bool something = joint->inner->operations->sleep(joint->inner, deadline, joint_busy, sleep);
    if (watched)
        net_watch_end(&joint->watch);
    return something;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When the host that this rank looks after is to be asked, or a suspicion is to be believed. */
static uint64_t next_look(const struct joint_net *joint)
{
    bool suspects = joint->suspicion != 0 && !joint->told;
    return earlier(joint_heart_due(joint), suspects ? joint->suspicion : UINT64_MAX);
}

/* Until when a wire that can not wake us is looked at all the time: an answer may be near. 0: it can, or
 * nothing has gone or come since the last sleep. */
static uint64_t awake_until(struct joint_net *joint)
{
    uint64_t packets = atomic_load_explicit(&joint->links.packets, memory_order_relaxed) +
                       atomic_load_explicit(&joint->net.own->received, memory_order_relaxed);
    bool quiet = packets == joint->packets;
    joint->packets = packets;
    return joint->watch.runs || quiet ? 0 : base_now() + LOOK_AWAKE;
}

static bool joint_sleep(struct net *net, uint64_t deadline, bool (*busy)(void *arg), void *arg)
{
    struct joint_net *joint = joint_of(net);
    struct joint_sleep sleep = {joint, busy, arg};
    uint64_t pause = LOOK_FIRST, awake = awake_until(joint);
    for (;;) {
        if (net_links_pump_surely(&joint->links))
            pause = LOOK_FIRST;
        joint_heart_look(joint);
        joint_death_look(joint);
        bool watched = joint->watch.runs && !net_links_stuck(&joint->links),
             look = net_reads_restless(&joint->reads) || (awake && base_now() < awake);
        uint64_t next = look ? base_now() : watched ? UINT64_MAX : base_now() + pause;
        next = earlier(next, next_look(joint));
        bool last = deadline <= next;
        if (sleep_once(joint, last ? deadline : next, &sleep, joint->watch.runs && !look) || last)
            return true;
        if (look)
            sched_yield();
        else
            pause = pause < LOOK_LAST / 2 ? 2 * pause : LOOK_LAST;
    }
}

static void joint_seldom(struct net *net)
{
    net_sleep_seldom(joint_of(net)->inner);
}

static void joint_wake(struct net *net)
{
    net_wake(joint_of(net)->inner);
}

static void joint_wake_all(struct net *net)
{
    net_wake_all(joint_of(net)->inner);
}

static uint64_t joint_now(const struct net *net)
{
    (void)net;
    return base_now();
}

static int joint_dead_peer(struct net *net)
{
    struct joint_net *joint = joint_of(net);
    int local = joint->inner->operations->dead_peer(joint->inner);
    return local < 0 ? atomic_load(&joint->links.lost) : joint->map.ranks[local];
}

static void joint_leave(struct net *net)
{
    net_leave(joint_of(net)->inner);
}

static uint64_t joint_sent(const struct net *net)
{
    const struct joint_net *joint = joint_of(net);
    return joint->inner->operations->sent(joint->inner) +
           atomic_load_explicit(&((struct joint_net *)joint)->links.messages, memory_order_relaxed);
}

static uint64_t joint_bytes_sent(const struct net *net)
{
    const struct joint_net *joint = joint_of(net);
    return joint->inner->operations->bytes_sent(joint->inner) +
           atomic_load_explicit(&((struct joint_net *)joint)->links.bytes, memory_order_relaxed);
}

static void joint_count(const struct net *net, struct net_counters *counters)
{
    struct joint_net *joint = joint_of(net);
    struct net_counters inner;
    net_counters(joint->inner, &inner);
    counters->bytes_received += inner.bytes_received;
    counters->queued += inner.queued;
    counters->malformed += inner.malformed;
    counters->sleeps += inner.sleeps;
    counters->wakes += inner.wakes;
    counters->rings += inner.rings;
    counters->far_sent = atomic_load_explicit(&joint->links.messages, memory_order_relaxed);
    counters->far_bytes = atomic_load_explicit(&joint->links.bytes, memory_order_relaxed);
    counters->reads = atomic_load_explicit(&joint->reads.count, memory_order_relaxed);
    counters->read_bytes = atomic_load_explicit(&joint->reads.bytes, memory_order_relaxed);
    counters->regions = atomic_load_explicit(&joint->reads.regions, memory_order_relaxed);
    counters->dropped = atomic_load_explicit(&joint->reads.dropped, memory_order_relaxed);
    counters->refused = atomic_load_explicit(&joint->reads.refused, memory_order_relaxed);
    counters->packets = atomic_load_explicit(&joint->links.packets, memory_order_relaxed);
}

static struct net_board *joint_board(struct net *net, int rank)
{
    struct joint_net *joint = joint_of(net);
    if (is_local(joint, rank))
        return net_board(joint->inner, joint->local_of[rank]);
    struct net_board *board = net_links_board(&joint->links, rank);
    return board ? board : &joint->unknown;
}

static void joint_free(struct joint_net *joint)
{
    net_teardown(&joint->net);
    joint_rest_close(joint);
    free(joint->local_of);
    free(joint);
}

static void joint_close(struct net *net)
{
    struct joint_net *joint = joint_of(net);
    if (joint->links.process == getpid()) { /* a forked child has no such thread, and no such window */
        net_watch_close(&joint->watch);
        net_reads_close(net);
    }
    net_links_close(&joint->links);
    net_close(joint->inner);
    joint_free(joint);
}

static const struct net_operations joint_operations = {
    .send = joint_send,
    .pending = joint_pending,
    .reach = joint_reach,
    .poll = joint_poll,
    .look = joint_look,
    .tick = joint_tick,
    .sleep = joint_sleep,
    .seldom = joint_seldom,
    .wake = joint_wake,
    .wake_all = joint_wake_all,
    .now = joint_now,
    .dead_peer = joint_dead_peer,
    .leave = joint_leave,
    .farewell = joint_farewell,
    .sent = joint_sent,
    .bytes_sent = joint_bytes_sent,
    .count = joint_count,
    .board = joint_board,
    .idle_publish = joint_rest_publish,
    .idle_withdraw = joint_rest_withdraw,
    .close = joint_close,
};

static struct joint_net *joint_allocate(const struct net_map *map)
{
    struct joint_net *joint = aligned_alloc(BASE_CACHE_LINE, base_align_up(sizeof *joint, BASE_CACHE_LINE));
    if (!joint)
        return NULL;
    memset(joint, 0, sizeof *joint);
    joint->map = *map;
    joint->local_of = malloc((size_t)map->size * sizeof *joint->local_of);
    if (!joint->local_of || joint_rest_open(joint) != RAYMPI_OK) {
        free(joint->local_of);
        free(joint);
        return NULL;
    }
    for (int rank = 0; rank < map->size; rank++)
        joint->local_of[rank] = -1;
    for (int local = 0; local < map->locals; local++)
        joint->local_of[map->ranks[local]] = local;
    atomic_store(&joint->unknown.available, 1);
    atomic_store(&joint->heart.due, UINT64_MAX);
    return joint;
}

int net_joint_open(struct net **net, struct net *inner, const struct net_map *map, uint64_t patience)
{
    struct joint_net *joint = joint_allocate(map);
    if (!joint)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the net of %d hosts", map->hosts);
    joint->inner = inner;
    int status = net_setup(&joint->net, &joint_operations, map->rank, map->size, NULL, NULL);
    if (status == RAYMPI_OK)
        status = net_links_open(&joint->links, &joint->net);
    if (status != RAYMPI_OK) {
        joint_free(joint);
        return status;
    }
    joint->net.map = &joint->map;
    joint->net.local_of = joint->local_of;
    joint->net.reads = &joint->reads;
    joint->net.own = net_board(inner, inner->rank);
    inner->inner = true;
    joint->net.loss = inner->loss;
    joint->net.crash_text = inner->crash_text;
    joint->heart.patience = patience;
    atomic_store(&joint->links.held, 1);
    net_reads_setup(&joint->reads, &joint->links, joint_death_has, joint);
    joint->links.control = control;
    joint->links.died = joint_death_suspected;
    joint->links.control_arg = joint->links.died_arg = joint;
    for (uint16_t type = 1; type < NET_HANDLERS; type++)
        net_handle(inner, type, hand_on, joint);
    net_on_death(inner, inner_died, joint);
    *net = &joint->net;
    return RAYMPI_OK;
}

int net_joint_wire(struct net *net, struct net_wire *wire)
{
    struct joint_net *joint = joint_of(net);
    joint->links.wire = wire;
    wire->links = &joint->links;
    if (!wire->operations->uses_mpi)
        atomic_store(&joint->links.held, 0);
    return wire->operations->descriptor ? net_watch_open(&joint->watch, &joint->links, joint->inner)
                                        : RAYMPI_OK;
}

void net_hold(struct net *net, bool hold)
{
    if (!net->map)
        return;
    struct joint_net *joint = joint_of(net);
    bool mpi = joint->links.wire->operations->uses_mpi, reads_mpi = net_reads_use_mpi(&joint->reads);
    if (!hold)
        joint_heart_begin(joint);
    else if (mpi)
        joint_heart_quiet(joint);
    while (hold && (reads_word(&joint->reads.under_way) > 0 || !net_links_gone(&joint->links))) {
        net_links_pump(&joint->links);
        sched_yield();
    }
    joint->reads.orderly = hold;
    base_spin_lock(&joint->links.wire_lock);
    if (mpi)
        atomic_store(&joint->links.held, hold);
    joint->reads.held = hold && reads_mpi;
    base_spin_unlock(&joint->links.wire_lock);
    if (!hold)
        joint_wake(net);
}
