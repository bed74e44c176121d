/* The sim transport: nodes in one thread, seeded and repeatable. A driver draws, event by event, which
 * message is delivered or which node runs next; messages of one pair stay in order, everything else may
 * happen in any order. */
#include "net/net_internal.h"

#include <stdlib.h>
#include <string.h>

#define SIM_EVENT_NS                                                                                         \
    100 /* what the clock moves with each event, so that timers also end while others work                   \
         */

struct sim_message {
    struct sim_message *next;
    int source;
    uint16_t type;
    uint32_t epoch;
    size_t length;
    _Alignas(8) char data[];
};

struct sim_queue {
    struct sim_message *first, **last;
};

/** A set of small integers one can draw from; its order depends on the operations only. */
struct sim_set {
    int *items;
    int *place; /* index in items, or -1 */
    int count;
};

enum sim_state { SIM_READY, SIM_RUNNING, SIM_ASLEEP, SIM_ENDED, SIM_DEAD };

struct sim_node {
    struct net *net; /* NULL before open and after close */
    enum sim_state state;
    uint64_t deadline;
    bool wake;
    bool slept; /* is resumed from a sleep, which takes the wakes so far */
    struct sim_queue inbox;
    size_t *pending;              /* bytes on their way to each peer */
    _Atomic uint64_t sent, bytes; /* sent so far */
    bool *told;                   /* deaths it was told of */
};

struct net_sim {
    int size;
    uint64_t random;
    uint64_t time;
    uint64_t history;
    struct sim_node *nodes;
    struct sim_queue *pairs; /* [source * size + destination] */
    struct sim_set traffic;  /* pairs with messages */
    struct sim_set ready;    /* nodes to step */
    struct net_board *boards;
    struct net_rest_words rest;
    void (*suspend)(void *arg, int rank);
    void *suspend_arg;
};

struct sim_net {
    struct net net;
    struct net_sim *sim;
};

/* ---- containers */

static int sim_set_create(struct sim_set *set, int capacity)
{
    set->items = calloc((size_t)capacity, sizeof *set->items);
    set->place = malloc((size_t)capacity * sizeof *set->place);
    if (set->items == NULL || set->place == NULL)
        return RAYMPI_ERR_MEMORY;
    for (int i = 0; i < capacity; i++)
        set->place[i] = -1;
    return RAYMPI_OK;
}

static void sim_set_add(struct sim_set *set, int item)
{
    if (set->place[item] >= 0)
        return;
    set->place[item] = set->count;
    set->items[set->count++] = item;
}

static void sim_set_remove(struct sim_set *set, int item)
{
    int place = set->place[item];
    if (place < 0)
        return;
    int last = set->items[--set->count];
    set->items[place] = last;
    set->place[last] = place;
    set->place[item] = -1;
}

static void sim_set_destroy(struct sim_set *set)
{
    free(set->items);
    free(set->place);
}

static void sim_queue_put(struct sim_queue *queue, struct sim_message *message)
{
    message->next = NULL;
    *queue->last = message;
    queue->last = &message->next;
}

static struct sim_message *sim_queue_take(struct sim_queue *queue)
{
    struct sim_message *message = queue->first;
    if (message == NULL)
        return NULL;
    queue->first = message->next;
    if (queue->first == NULL)
        queue->last = &queue->first;
    return message;
}

static void sim_queue_drop(struct sim_queue *queue)
{
    struct sim_message *message;
    while ((message = sim_queue_take(queue)) != NULL)
        free(message);
}

/* ---- nodes */

static struct net_sim *sim_of(const struct net *net)
{
    return ((const struct sim_net *)base_container(net, struct sim_net, net))->sim;
}

static struct sim_node *sim_node(const struct net *net)
{
    return &sim_of(net)->nodes[net->rank];
}

static void sim_node_wake(struct net_sim *sim, int rank)
{
    struct sim_node *node = &sim->nodes[rank];
    node->wake = true;
    if (node->state != SIM_ASLEEP)
        return;
    node->state = SIM_READY;
    sim_set_add(&sim->ready, rank);
}

static bool sim_death_untold(const struct net_sim *sim, const struct sim_node *node)
{
    for (int rank = 0; rank < sim->size; rank++)
        if (sim->nodes[rank].state == SIM_DEAD && !node->told[rank])
            return true;
    return false;
}

static int sim_send(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, size_t length,
                    _Atomic uint32_t *counter)
{
    struct net_sim *sim = sim_of(net);
    struct sim_node *node = sim_node(net);
    if (node->state == SIM_DEAD || node->told[peer])
        return base_fail(RAYMPI_ERR_NODE_DIED,
                         "message of type %u between ranks %d and %d, one of which died", type, net->rank,
                         peer);
    struct sim_message *message = malloc(sizeof *message + length);
    if (message == NULL)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a message of %zu bytes", length);
    message->source = net->rank;
    message->type = type;
    message->epoch = net_epoch(net);
    message->length = length;
    struct net_cursor cursor = {.piece = pieces};
    net_cursor_copy(&cursor, message->data, length);
    net_count(&node->sent, 1);
    net_count_alone(counter);
    net_count(&node->bytes, length);
    node->pending[peer] += length;
    int pair = net->rank * sim->size + peer;
    sim_queue_put(&sim->pairs[pair], message);
    sim_set_add(&sim->traffic, pair);
    return RAYMPI_OK;
}

static size_t sim_pending(struct net *net, int peer)
{
    return sim_node(net)->pending[peer];
}

static void sim_deaths_tell(struct net *net)
{
    struct net_sim *sim = sim_of(net);
    struct sim_node *node = sim_node(net);
    for (int rank = 0; rank < sim->size; rank++) {
        if (sim->nodes[rank].state != SIM_DEAD || node->told[rank])
            continue;
        node->told[rank] = true;
        net_died(net, rank);
    }
}

static int sim_poll(struct net *net, int budget)
{
    struct sim_node *node = sim_node(net);
    int delivered = 0;
    struct sim_message *message;
    if (node->state == SIM_DEAD)
        return 0; /* killed in its own step */
    while (delivered < budget && (message = sim_queue_take(&node->inbox)) != NULL) {
        struct net_message view = {.type = message->type,
                                   .epoch = message->epoch,
                                   .source = message->source,
                                   .data = message->data,
                                   .length = message->length};
        net_deliver(net, &view);
        net_delivered(net, 1, view.length);
        free(message);
        delivered++;
    }
    /* Only then: nothing of a dead peer arrives after its death was told. */
    if (node->inbox.first == NULL)
        sim_deaths_tell(net);
    return delivered;
}

static bool sim_sleep(struct net *net, uint64_t deadline, bool (*busy)(void *arg), void *arg)
{
    struct net_sim *sim = sim_of(net);
    struct sim_node *node = sim_node(net);
    if (node->state == SIM_DEAD)
        return true; /* killed in its own step: never resumed */
    bool stay = node->wake || node->inbox.first != NULL || deadline <= sim->time ||
                sim_death_untold(sim, node) || (busy != NULL && busy(arg));
    node->deadline = deadline;
    node->slept = true;
    node->state = stay ? SIM_READY : SIM_ASLEEP;
    if (stay)
        sim_set_add(&sim->ready, net->rank); /* the driver may let others go first */
    else
        net_count(&net->sleeps, 1);
    if (sim->suspend != NULL)
        sim->suspend(sim->suspend_arg, net->rank);
    return true;
}

static void sim_wake(struct net *net)
{
    sim_node_wake(sim_of(net), net->rank);
}

static void sim_wake_all(struct net *net)
{
    for (int rank = 0; rank < net->size; rank++)
        sim_node_wake(sim_of(net), rank);
}

static uint64_t sim_now(const struct net *net)
{
    return sim_of(net)->time;
}

static int sim_dead_peer(struct net *net)
{
    const struct net_sim *sim = sim_of(net);
    for (int rank = 0; rank < sim->size; rank++)
        if (sim->nodes[rank].state == SIM_DEAD)
            return rank;
    return -1;
}

static void sim_close(struct net *net)
{
    struct net_sim *sim = sim_of(net);
    struct sim_node *node = sim_node(net);
    if (node->state != SIM_DEAD)
        node->state = SIM_ENDED;
    node->net = NULL;
    sim_set_remove(&sim->ready, net->rank);
    sim_queue_drop(&node->inbox);
    net_teardown(net);
    free(base_container(net, struct sim_net, net));
}

static uint64_t sim_bytes_sent(const struct net *net)
{
    return atomic_load_explicit(&sim_of(net)->nodes[net->rank].bytes, memory_order_relaxed);
}

static uint64_t sim_sent(const struct net *net)
{
    return atomic_load_explicit(&sim_of(net)->nodes[net->rank].sent, memory_order_relaxed);
}

static const struct net_operations sim_operations = {
    .send = sim_send,
    .pending = sim_pending,
    .poll = sim_poll,
    .sleep = sim_sleep,
    .wake = sim_wake,
    .wake_all = sim_wake_all,
    .now = sim_now,
    .dead_peer = sim_dead_peer,
    .sent = sim_sent,
    .bytes_sent = sim_bytes_sent,
    .close = sim_close,
};

/* ---- the driver */

static uint64_t sim_draw(struct net_sim *sim, uint64_t below)
{
    sim->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    return base_mix(sim->random) % below;
}

static void sim_history_add(struct net_sim *sim, uint64_t value)
{
    sim->history = base_mix(sim->history + UINT64_C(0x9e3779b97f4a7c15) + value);
}

static void sim_history_message(struct net_sim *sim, const struct sim_message *message, int destination)
{
    sim_history_add(sim, (uint64_t)message->source << 32 | (uint64_t)destination);
    sim_history_add(sim, (uint64_t)message->type << 32 | message->length);
    for (size_t i = 0; i < message->length; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        size_t left = message->length - i;
        memcpy(&word, message->data + i, left < sizeof word ? left : sizeof word);
        sim_history_add(sim, word);
    }
}

/** Moves the next message of a pair into its destination's inbox. */
static void sim_deliver(struct net_sim *sim, int pair)
{
    int source = pair / sim->size, destination = pair % sim->size;
    struct sim_message *message = sim_queue_take(&sim->pairs[pair]);
    if (sim->pairs[pair].first == NULL)
        sim_set_remove(&sim->traffic, pair);
    sim->nodes[source].pending[destination] -= message->length;
    sim_history_message(sim, message, destination);
    if (sim->nodes[destination].state == SIM_ENDED || sim->nodes[destination].state == SIM_DEAD) {
        free(message);
        return;
    }
    sim_queue_put(&sim->nodes[destination].inbox, message);
    sim_node_wake(sim, destination);
}

static void sim_step(struct net_sim *sim, int rank, void (*step)(void *arg, int rank), void *arg)
{
    struct sim_node *node = &sim->nodes[rank];
    sim_set_remove(&sim->ready, rank);
    node->state = SIM_RUNNING;
    if (node->slept)
        node->wake = false;
    node->slept = false;
    step(arg, rank);
    /* It came back without going to sleep: its program is over. */
    if (node->state == SIM_RUNNING)
        node->state = SIM_ENDED;
}

/** Wakes the sleepers whose time has come; the earliest deadline of the others is returned. */
static uint64_t sim_timers(struct net_sim *sim)
{
    uint64_t earliest = UINT64_MAX;
    for (int rank = 0; rank < sim->size; rank++) {
        const struct sim_node *node = &sim->nodes[rank];
        if (node->state != SIM_ASLEEP)
            continue;
        if (node->deadline <= sim->time)
            sim_node_wake(sim, rank);
        else if (node->deadline < earliest)
            earliest = node->deadline;
    }
    return earliest;
}

void net_sim_run(struct net_sim *sim, void (*step)(void *arg, int rank), bool (*finished)(void *arg),
                 void *arg)
{
    while (finished == NULL || !finished(arg)) {
        uint64_t earliest = sim_timers(sim);
        int choices = sim->traffic.count + sim->ready.count;
        if (choices == 0 && earliest == UINT64_MAX)
            return;
        if (choices == 0) {
            sim->time = earliest;
            continue;
        }
        sim->time += SIM_EVENT_NS;
        int choice = (int)sim_draw(sim, (uint64_t)choices);
        if (choice < sim->traffic.count)
            sim_deliver(sim, sim->traffic.items[choice]);
        else
            sim_step(sim, sim->ready.items[choice - sim->traffic.count], step, arg);
    }
}

void net_sim_on_sleep(struct net_sim *sim, void (*suspend)(void *arg, int rank), void *arg)
{
    sim->suspend = suspend;
    sim->suspend_arg = arg;
}

uint64_t net_sim_history(const struct net_sim *sim)
{
    return sim->history;
}

static void sim_pair_drop(struct net_sim *sim, int source, int destination)
{
    int pair = source * sim->size + destination;
    sim_queue_drop(&sim->pairs[pair]);
    sim_set_remove(&sim->traffic, pair);
    sim->nodes[source].pending[destination] = 0;
}

void net_sim_kill(struct net_sim *sim, int rank)
{
    struct sim_node *node = &sim->nodes[rank];
    node->state = SIM_DEAD;
    sim_set_remove(&sim->ready, rank);
    sim_queue_drop(&node->inbox);
    for (int peer = 0; peer < sim->size; peer++) {
        sim_pair_drop(sim, rank, peer);
        sim_pair_drop(sim, peer, rank);
        sim_node_wake(sim, peer);
    }
}

/* ---- life of the sim */

static int sim_allocate(struct net_sim *sim)
{
    size_t size = (size_t)sim->size;
    sim->nodes = calloc(size, sizeof *sim->nodes);
    sim->pairs = calloc(size * size, sizeof *sim->pairs);
    sim->boards = aligned_alloc(BASE_CACHE_LINE, size * sizeof *sim->boards);
    if (sim->nodes == NULL || sim->pairs == NULL || sim->boards == NULL)
        return RAYMPI_ERR_MEMORY;
    memset(sim->boards, 0, size * sizeof *sim->boards);
    for (size_t pair = 0; pair < size * size; pair++)
        sim->pairs[pair].last = &sim->pairs[pair].first;
    for (size_t rank = 0; rank < size; rank++) {
        struct sim_node *node = &sim->nodes[rank];
        node->inbox.last = &node->inbox.first;
        node->state = SIM_ENDED; /* until it opens */
        node->pending = calloc(size, sizeof *node->pending);
        node->told = calloc(size, sizeof *node->told);
        if (node->pending == NULL || node->told == NULL)
            return RAYMPI_ERR_MEMORY;
    }
    if (sim_set_create(&sim->ready, sim->size) != RAYMPI_OK)
        return RAYMPI_ERR_MEMORY;
    return sim_set_create(&sim->traffic, sim->size * sim->size);
}

int net_sim_create(struct net_sim **sim, int size, uint64_t seed)
{
    if (size < 1)
        return base_fail(RAYMPI_ERR_ARGUMENT, "sim of %d nodes", size);
    struct net_sim *made = aligned_alloc(BASE_CACHE_LINE, sizeof *made);
    if (made == NULL)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a sim of %d nodes", size);
    memset(made, 0, sizeof *made);
    made->size = size;
    made->random = seed;
    if (sim_allocate(made) != RAYMPI_OK) {
        net_sim_destroy(made);
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a sim of %d nodes", size);
    }
    *sim = made;
    return RAYMPI_OK;
}

int net_sim_open(struct net **net, struct net_sim *sim, int rank)
{
    if (rank < 0 || rank >= sim->size || sim->nodes[rank].net != NULL)
        return base_fail(RAYMPI_ERR_ARGUMENT, "rank %d of %d in the sim, or opened twice", rank, sim->size);
    struct sim_net *made = calloc(1, sizeof *made);
    if (made == NULL)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the net of rank %d", rank);
    int status = net_setup(&made->net, &sim_operations, rank, sim->size, sim->boards, &sim->rest);
    if (status != RAYMPI_OK) {
        free(made);
        return status;
    }
    made->sim = sim;
    sim->nodes[rank].net = &made->net;
    sim->nodes[rank].state = SIM_READY;
    sim_set_add(&sim->ready, rank);
    *net = &made->net;
    return RAYMPI_OK;
}

void net_sim_destroy(struct net_sim *sim)
{
    if (sim == NULL)
        return;
    for (int pair = 0; sim->pairs != NULL && pair < sim->size * sim->size; pair++)
        sim_queue_drop(&sim->pairs[pair]);
    for (int rank = 0; sim->nodes != NULL && rank < sim->size; rank++) {
        sim_queue_drop(&sim->nodes[rank].inbox);
        free(sim->nodes[rank].pending);
        free(sim->nodes[rank].told);
    }
    sim_set_destroy(&sim->traffic);
    sim_set_destroy(&sim->ready);
    free(sim->pairs);
    free(sim->nodes);
    free(sim->boards);
    free(sim);
}
