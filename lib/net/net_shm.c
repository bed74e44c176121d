/* The shm transport: ranks of one host, through rings in the host segment. Layout, opening and closing,
 * sleeping. */
#include "net/net_shm.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHM_RING_BYTES      8192
#define SHM_RING_BYTES_MANY 4096
#define SHM_RING_MANY       64 /* more ranks than this get the smaller rings */

static uint32_t shm_ring_bytes(int size)
{
    return size > SHM_RING_MANY ? SHM_RING_BYTES_MANY : SHM_RING_BYTES;
}

/** Bytes before the rings: the host's words, the ranks' words, the boards, what crash handlers say. */
static uint64_t shm_words_bytes(int size)
{
    uint64_t ranks = (uint64_t)size * (sizeof(struct shm_rank) + sizeof(struct net_board) + NET_CRASH_TEXT);
    return base_align_up(sizeof(struct shm_host) + ranks, SHM_RING_ALIGNMENT);
}

uint64_t net_shm_bytes(int size)
{
    /* One alignment more: the caller's offset may be any. */
    return SHM_RING_ALIGNMENT + shm_words_bytes(size) +
           (uint64_t)size * (uint64_t)size * shm_ring_bytes(size);
}

static void shm_look_at_bell(struct net *net, int peer)
{
    struct net_bell *bell = &shm_of(net)->ranks[peer].bell;
    uint32_t state = NET_BELL_ASLEEP;
    base_fence();
    /* One of many senders takes the duty. Should it be killed between the two, the death word wakes the
     * sleeper. */
    if (base_likely(atomic_load_explicit(&bell->state, memory_order_relaxed) != NET_BELL_ASLEEP) ||
        !atomic_compare_exchange_strong(&bell->state, &state, NET_BELL_AWAKE))
        return;
    if (base_defect(DEFECT_LOST_WAKEUP))
        return;
    atomic_fetch_add(&bell->rung, 1);
    net_futex_wake(&bell->rung, 1);
    net_count(&net->wakes, 1);
}

static void shm_wake_rank(struct shm_net *shm, int rank)
{
    /* Release: what the caller did before is seen by the poller that finds "wake". */
    atomic_store_explicit(&shm->ranks[rank].wake, 1, memory_order_release);
    shm_knock(shm, rank);
}

static void shm_wake(struct net *net)
{
    shm_wake_rank(shm_of(net), net->rank);
}

static void shm_wake_all(struct net *net)
{
    for (int rank = 0; rank < net->size; rank++)
        shm_wake_rank(shm_of(net), rank);
}

static void shm_sleep_wait(struct shm_net *shm, uint32_t rung, uint64_t deadline)
{
    struct net_futex futexes[2 + NET_LIFE_WORDS] = {
        {.word = &shm->own->bell.rung, .expected = rung},
        {.word = &shm->host->deaths, .expected = shm->deaths_seen},
    };
    int count = 2 + shm_watch(shm, &futexes[2]);
    net_count(&shm->net.sleeps, 1);
    /* Nobody wakes us when there is memory for a ring again. */
    if (base_unlikely(atomic_load(&shm->unopened) > 0) && deadline > base_now() + SHM_RETRY)
        deadline = base_now() + SHM_RETRY;
    net_futex_wait(futexes, count, deadline);
}

static bool shm_sleep(struct net *net, uint64_t deadline, bool (*busy)(void *arg), void *arg)
{
    struct shm_net *shm = shm_of(net);
    /* Acquire: read before "asleep" is set, so that a bump by who saw it set makes the futex differ. */
    uint32_t rung = atomic_load_explicit(&shm->own->bell.rung, memory_order_acquire);
    atomic_store_explicit(&shm->own->bell.state, NET_BELL_ASLEEP, memory_order_relaxed);
    /* Orders "asleep" before the looks below: the other half of net_knock(). */
    if (shm->heavy)
        base_fence_heavy_shared();
    else
        base_fence();
    bool found = atomic_load_explicit(&shm->own->wake, memory_order_relaxed) || shm_ready(shm) ||
                 shm_flush(shm) || (busy != NULL && busy(arg));
    if (!found)
        shm_sleep_wait(shm, rung, deadline);
    atomic_store_explicit(&shm->own->bell.state, shm->heavy ? NET_BELL_QUIET : NET_BELL_AWAKE,
                          memory_order_relaxed);
    /* Acquire: what the wakers did before net_wake() is seen from here on. */
    bool woken = atomic_exchange_explicit(&shm->own->wake, 0, memory_order_acquire);
    return found || woken || shm_ready(shm) || shm_flush(shm) || (busy != NULL && busy(arg));
}

static void shm_seldom(struct net *net)
{
    struct shm_net *shm = shm_of(net);
    shm->heavy = shm->net.front.quiet == NET_BELL_QUIET;
    if (shm->heavy)
        atomic_store_explicit(&shm->own->bell.state, NET_BELL_QUIET, memory_order_relaxed);
}

static uint64_t shm_now(const struct net *net)
{
    (void)net;
    return base_now();
}

static void shm_self_drop(struct shm_net *shm)
{
    while (shm->self_first != NULL) {
        struct shm_self *next = shm->self_first->next;
        free(shm->self_first);
        shm->self_first = next;
    }
}

static void shm_memory_free(struct shm_net *shm)
{
    free(shm->sources);
    free(shm->in);
    free(shm->out);
    free(shm->net.front.lanes);
    free(shm);
}

static void shm_free(struct shm_net *shm)
{
    for (int peer = 0; peer < shm->net.size; peer++) {
        shm_out_drop(shm, peer, true);
        free(shm->in[peer].whole);
    }
    shm_self_drop(shm);
    pthread_mutex_destroy(&shm->self_lock);
    net_teardown(&shm->net);
    shm_memory_free(shm);
}

static void shm_close(struct net *net)
{
    struct shm_net *shm = shm_of(net);
    /* A forked child has neither the thread nor a right to speak for its parent. */
    if (shm->life.process == getpid())
        net_life_stop(&shm->life);
    shm_free(shm);
}

static void shm_leave(struct net *net)
{
    net_life_leave(&shm_of(net)->life);
}

static const struct net_operations shm_operations = {
    .send = shm_send,
    .pending = shm_pending,
    .reach = shm_reach,
    .look_at_bell = shm_look_at_bell,
    .poll = shm_poll,
    .look = shm_look,
    .sleep = shm_sleep,
    .seldom = shm_seldom,
    .wake = shm_wake,
    .wake_all = shm_wake_all,
    .now = shm_now,
    .dead_peer = shm_dead_peer,
    .leave = shm_leave,
    .sent = shm_sent,
    .bytes_sent = shm_bytes_sent,
    .close = shm_close,
};

static struct shm_net *shm_allocate(int size)
{
    struct shm_net *shm = calloc(1, sizeof *shm);
    if (shm == NULL)
        return NULL;
    size_t lane_bytes = (size_t)size * sizeof(struct net_lane);
    shm->net.front.lanes = aligned_alloc(BASE_CACHE_LINE, lane_bytes);
    shm->out = calloc((size_t)size, sizeof *shm->out);
    shm->in = calloc((size_t)size, sizeof *shm->in);
    shm->sources = calloc((size_t)size, sizeof *shm->sources);
    if (shm->net.front.lanes == NULL || shm->out == NULL || shm->in == NULL || shm->sources == NULL) {
        shm_memory_free(shm);
        return NULL;
    }
    memset(shm->net.front.lanes, 0, lane_bytes);
    return shm;
}

/** Finds the parts of the net in the segment. */
static void shm_locate(struct shm_net *shm, struct base_segment *segment, uint64_t begin, int rank, int size)
{
    shm->segment = segment;
    shm->ring_bytes = shm_ring_bytes(size);
    shm->rings = begin + shm_words_bytes(size);
    shm->host = (struct shm_host *)(void *)(segment->write + begin);
    shm->ranks = (struct shm_rank *)(void *)(shm->host + 1);
    shm->own = &shm->ranks[rank];
    /* A death from before this rank opened is found by its first poll. */
    shm->deaths_seen = 0;
}

static void shm_prepare(struct shm_net *shm)
{
    for (int peer = 0; peer < shm->net.size; peer++) {
        struct net_lane *lane = &shm->net.front.lanes[peer];
        base_spin_init(&lane->lock);
        lane->bell = &shm->ranks[peer].bell;
        shm->out[peer].lane = lane;
        shm->out[peer].last = &shm->out[peer].first;
    }
    shm->net.front.quiet = base_fences_open_shared() ? NET_BELL_QUIET : NET_BELL_NEVER;
    pthread_mutex_init(&shm->self_lock, NULL);
    shm->self_last = &shm->self_first;
}

int net_shm_open(struct net **net, struct base_segment *segment, uint64_t offset, int rank, int size)
{
    if (size < 1 || rank < 0 || rank >= size)
        return base_fail(RAYMPI_ERR_ARGUMENT, "net for rank %d of %d", rank, size);
    if (size > NET_RANKS_MAX)
        return base_fail(RAYMPI_ERR_UNSUPPORTED, "%d ranks on one host; at most %d", size, NET_RANKS_MAX);
    uint64_t begin = base_align_up(offset, SHM_RING_ALIGNMENT);
    int status = base_segment_commit(segment, begin, shm_words_bytes(size));
    if (status != RAYMPI_OK)
        return status;
    struct shm_net *shm = shm_allocate(size);
    if (shm == NULL)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the net of rank %d", rank);
    shm_locate(shm, segment, begin, rank, size);
    struct net_board *boards = (struct net_board *)(void *)(shm->ranks + size);
    status = net_setup(&shm->net, &shm_operations, rank, size, boards, &shm->host->rest);
    if (status != RAYMPI_OK) {
        shm_memory_free(shm);
        return status;
    }
    shm->net.loss = &shm->host->loss;
    shm->net.crash_text = (char *)(boards + size) + (size_t)rank * NET_CRASH_TEXT;
    shm_prepare(shm);
    status = net_life_start(&shm->life, &shm->own->life);
    if (status != RAYMPI_OK) {
        shm_free(shm);
        return status;
    }
    *net = &shm->net;
    return RAYMPI_OK;
}
