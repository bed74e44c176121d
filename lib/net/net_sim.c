/* The sim transport: what a node sees of it, and its life. What happens next is net_sim_run.c's. */
#include "net/net_sim_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- sending */

int sim_check_alive(const struct net *net, int peer, uint16_t type)
{
    const struct sim_node *node = sim_node(net);
    if (node->state != SIM_DEAD && !node->told[peer])
        return RAYMPI_OK;
    return base_fail(RAYMPI_ERR_NODE_DIED, "message of type %u between ranks %d and %d, one of which died",
                     type, net->rank, peer);
}

struct sim_message *sim_message_new(const struct net *net, enum sim_kind kind, int peer, uint16_t type,
                                    const struct net_piece *pieces, size_t length)
{
    struct sim_message *message = malloc(sizeof *message + length);
    if (message == NULL) {
        base_fail(RAYMPI_ERR_MEMORY, "no memory for a message of %zu bytes", length);
        return NULL;
    }
    *message = (struct sim_message){.kind = kind,
                                    .source = net->rank,
                                    .destination = peer,
                                    .type = type,
                                    .epoch = net_epoch(net),
                                    .length = length};
    struct net_cursor cursor = {.piece = pieces};
    net_cursor_copy(&cursor, message->data, length);
    return message;
}

static int sim_send(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, size_t length,
                    _Atomic uint32_t *counter)
{
    struct sim_node *node = sim_node(net);
    int status = sim_check_alive(net, peer, type);
    if (status != RAYMPI_OK)
        return status;
    struct sim_message *message = sim_message_new(net, SIM_MESSAGE, peer, type, pieces, length);
    if (message == NULL)
        return RAYMPI_ERR_MEMORY;
    net_count(&node->sent, 1);
    net_count_alone(counter);
    net_count(&node->bytes, length);
    sim_pair_put(sim_of(net), message);
    return RAYMPI_OK;
}

static size_t sim_pending(struct net *net, int peer)
{
    return sim_node(net)->pending[peer];
}

/* ---- receiving */

/* Once: the way to a peer may have broken before it died. */
static void sim_tell(struct net *net, int dead)
{
    struct sim_node *node = sim_node(net);
    if (node->told[dead])
        return;
    node->told[dead] = true;
    sim_of(net)->counters.told++;
    net_died(net, dead);
}

/* How many messages that was. */
static int sim_receive(struct net *net, const struct sim_message *message)
{
    struct net_message view = {.type = message->type,
                               .epoch = message->epoch,
                               .source = message->source,
                               .data = message->data,
                               .length = message->length};
    if (message->kind == SIM_LOST) {
        sim_tell(net, message->source);
        return 0;
    }
    net_deliver(net, &view);
    /* The rest of a job is no matter of datagrams, which are not counted when they are sent either. */
    net_delivered(net, message->kind == SIM_MESSAGE, view.length);
    return 1;
}

static int sim_poll(struct net *net, int budget)
{
    struct sim_node *node = sim_node(net);
    int delivered = 0;
    struct sim_message *message;
    if (node->state == SIM_DEAD)
        return 0; /* killed in its own step */
    while (delivered < budget && (message = sim_queue_take(&node->inbox)) != NULL) {
        delivered += sim_receive(net, message);
        free(message);
    }
    return delivered;
}

static bool sim_sleep(struct net *net, uint64_t deadline, bool (*busy)(void *arg), void *arg)
{
    struct net_sim *sim = sim_of(net);
    struct sim_node *node = sim_node(net);
    if (node->state == SIM_DEAD)
        return true; /* killed in its own step: never resumed */
    bool stay =
        node->wake || node->inbox.first != NULL || deadline <= sim->time || (busy != NULL && busy(arg));
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

/* ---- questions */

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
    for (int rank = 0; rank < sim->size; rank++)
        if (sim->pairs[rank * sim->size + net->rank].broken)
            return rank;
    return -1;
}

static uint64_t sim_bytes_sent(const struct net *net)
{
    return atomic_load_explicit(&sim_node(net)->bytes, memory_order_relaxed);
}

static uint64_t sim_sent(const struct net *net)
{
    return atomic_load_explicit(&sim_node(net)->sent, memory_order_relaxed);
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

const struct net_operations sim_operations = {
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

/* ---- life of the sim */

static int sim_nodes_make(struct net_sim *sim)
{
    size_t size = (size_t)sim->size;
    sim->nodes = calloc(size, sizeof *sim->nodes);
    sim->boards = aligned_alloc(BASE_CACHE_LINE, size * sizeof *sim->boards);
    if (sim->nodes == NULL || sim->boards == NULL)
        return RAYMPI_ERR_MEMORY;
    memset(sim->boards, 0, size * sizeof *sim->boards);
    for (size_t rank = 0; rank < size; rank++) {
        struct sim_node *node = &sim->nodes[rank];
        sim_queue_init(&node->inbox);
        node->state = SIM_ENDED; /* until it opens */
        node->pending = calloc(size, sizeof *node->pending);
        node->told = calloc(size, sizeof *node->told);
        if (node->pending == NULL || node->told == NULL)
            return RAYMPI_ERR_MEMORY;
    }
    return sim_set_create(&sim->ready, sim->size);
}

static int sim_pairs_make(struct net_sim *sim)
{
    int count = sim->size * sim->size;
    sim->pairs = calloc((size_t)count, sizeof *sim->pairs);
    if (sim->pairs == NULL)
        return RAYMPI_ERR_MEMORY;
    for (int pair = 0; pair < count; pair++) {
        sim_queue_init(&sim->pairs[pair].queue);
        sim->pairs[pair].delay = sim->options.delay;
    }
    int status = sim_set_create(&sim->traffic, count);
    return status == RAYMPI_OK ? sim_set_create(&sim->delayed, count) : status;
}

int net_sim_create(struct net_sim **sim, int size, uint64_t seed, const struct net_sim_options *options)
{
    static const struct net_sim_options nothing;
    options = options ? options : &nothing;
    if (size < 1 || size > NET_RANKS_MAX)
        return base_fail(RAYMPI_ERR_ARGUMENT, "sim of %d nodes: 1 to %d", size, NET_RANKS_MAX);
    int status = sim_options_check(options, size);
    if (status != RAYMPI_OK)
        return status;
    struct net_sim *made = aligned_alloc(BASE_CACHE_LINE, sizeof *made);
    if (made == NULL)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a sim of %d nodes", size);
    memset(made, 0, sizeof *made);
    made->size = size;
    made->random = seed;
    made->options = *options;
    if (sim_nodes_make(made) != RAYMPI_OK || sim_pairs_make(made) != RAYMPI_OK ||
        sim_faults_draw(made) != RAYMPI_OK) {
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
        sim_queue_drop(&sim->pairs[pair].queue);
    for (int rank = 0; sim->nodes != NULL && rank < sim->size; rank++) {
        sim_queue_drop(&sim->nodes[rank].inbox);
        free(sim->nodes[rank].pending);
        free(sim->nodes[rank].told);
    }
    sim_cloud_destroy(&sim->cloud);
    sim_set_destroy(&sim->delayed);
    sim_set_destroy(&sim->traffic);
    sim_set_destroy(&sim->ready);
    free(sim->fault);
    free(sim->pairs);
    free(sim->nodes);
    free(sim->boards);
    free(sim);
}
