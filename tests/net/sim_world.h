/* Nodes of a sim that send each other pings, which beget pings, and look whether all is as it should be. */
#ifndef TESTS_NET_SIM_WORLD_H
#define TESTS_NET_SIM_WORLD_H

#include "../unit.h"
#include "job.h"
#include "net/net_sim.h"

#define NODES_MAX 8
enum { PING = 1, OVER = 2 };

struct world;

struct node {
    struct world *world;
    struct net *net;
    uint64_t random;
    uint32_t next_to[NODES_MAX], next_from[NODES_MAX];
    int received, disorder, late;
    unsigned dead; /* those it was told of */
    int told;      /* how often */
    bool over;
    uint64_t slept_until; /* deadline of the last sleep, when it was ended by time */
};

struct world {
    struct net_sim *sim;
    int size;
    struct node nodes[NODES_MAX];
    int flying, answers, wrong, steps;
    int kill_at, victim;
    bool resting; /* nodes publish rest */
};

struct ping {
    uint32_t number;
    uint32_t left;
};

static inline void ping_send(struct node *node, uint32_t left)
{
    int peer = (int)(job_random(&node->random) % (uint64_t)node->world->size);
    struct ping ping = {node->next_to[peer], left};
    const struct net_piece piece = {&ping, sizeof ping};
    int status = net_send(node->net, peer, PING, &piece, 1);
    bool died = net_dead_peer(node->net) == net_rank(node->net);
    if (died || node->dead >> peer & 1) {
        CU_ASSERT_EQUAL(status, RAYMPI_ERR_NODE_DIED);
        return;
    }
    CU_ASSERT_EQUAL(status, RAYMPI_OK);
    CU_ASSERT(net_pending(node->net, peer) > 0 || net_dead_peer(node->net) >= 0);
    node->next_to[peer]++;
    node->world->flying++;
}

static inline void ping_receive(void *arg, const struct net_message *message)
{
    struct node *node = arg;
    struct ping ping;
    memcpy(&ping, message->data, sizeof ping);
    node->received++;
    node->disorder += ping.number != node->next_from[message->source]++;
    node->late += node->dead >> message->source & 1;
    node->world->flying--;
    for (uint32_t i = 0; i < 2 && ping.left > 0; i++)
        if (job_random(&node->random) % 10 < 6)
            ping_send(node, ping.left - 1);
}

static inline void over_receive(void *arg, const struct net_message *message)
{
    (void)message;
    ((struct node *)arg)->over = true;
}

static inline void node_died(void *arg, int rank)
{
    struct node *node = arg;
    node->dead |= 1u << rank;
    node->told++;
}

static inline void world_create(struct world *world, int size, uint64_t seed,
                                const struct net_sim_options *options)
{
    *world = (struct world){.size = size};
    CU_ASSERT_EQUAL_FATAL(net_sim_create(&world->sim, size, seed, options), RAYMPI_OK);
    for (int rank = 0; rank < size; rank++) {
        struct node *node = &world->nodes[rank];
        node->world = world;
        node->random = (uint64_t)rank; /* the same in all worlds: only the sim's seed differs */
        CU_ASSERT_EQUAL_FATAL(net_sim_open(&node->net, world->sim, rank), RAYMPI_OK);
        net_handle(node->net, PING, ping_receive, node);
        net_handle(node->net, OVER, over_receive, node);
        net_on_death(node->net, node_died, node);
        atomic_store(&net_board(node->net, rank)->finalizing, 1);
    }
}

static inline void world_destroy(struct world *world)
{
    for (int rank = 0; rank < world->size; rank++)
        net_close(world->nodes[rank].net);
    net_sim_destroy(world->sim);
}

/** Each node sends ten pings, of which at most 2^12 others come. */
static inline void world_begin(struct world *world)
{
    for (int rank = 0; rank < world->size; rank++)
        for (int i = 0; i < 10; i++)
            ping_send(&world->nodes[rank], 12);
}

#endif
