/* The sim transport: repeatable, in order per pair, timers, deaths, rest; with and without fibers' suspend
 * hook. */
#include "sim_world.h"

/** True when this node was told of the rest, and has done something about it. */
static bool node_rest(struct node *node)
{
    struct world *world = node->world;
    enum net_rest answer = net_idle_publish(node->net);
    if (answer == NET_REST_NO)
        return false;
    world->wrong += answer != NET_REST_DONE || world->flying != 0;
    world->answers++;
    net_idle_withdraw(node->net);
    for (int i = 0; i < 5 && world->answers < 20; i++)
        ping_send(node, 10);
    for (int peer = 0; peer < world->size && world->answers == 20; peer++)
        CU_ASSERT_EQUAL(net_send(node->net, peer, OVER, NULL, 0), RAYMPI_OK);
    return true;
}

static void node_step(void *arg, int rank)
{
    struct world *world = arg;
    struct node *node = &world->nodes[rank];
    if (++world->steps == world->kill_at)
        net_sim_kill(world->sim, world->victim);
    net_idle_withdraw(node->net);
    while (net_poll(node->net, 3) > 0)
        ;
    while (world->resting && !node->over && node_rest(node))
        ;
    if (!node->over)
        net_sleep(node->net, UINT64_MAX, NULL, NULL);
}

static uint64_t traffic_history(int size, uint64_t seed)
{
    struct world world;
    world_create(&world, size, seed, NULL);
    world_begin(&world);
    net_sim_run(world.sim, node_step, NULL, &world);
    int received = 0;
    for (int rank = 0; rank < size; rank++) {
        received += world.nodes[rank].received;
        CU_ASSERT_EQUAL(world.nodes[rank].disorder, 0);
    }
    CU_ASSERT(received >= 10 * size);
    CU_ASSERT_EQUAL(world.flying, 0);
    uint64_t history = net_sim_history(world.sim);
    world_destroy(&world);
    return history;
}

static void test_replay(void)
{
    for (int size = 1; size <= NODES_MAX; size++)
        for (uint64_t seed = 1; seed <= 20; seed++) {
            uint64_t history = traffic_history(size, seed);
            CU_ASSERT_EQUAL(history, traffic_history(size, seed));
            /* One node has one order only. */
            if (size > 1)
                CU_ASSERT_NOT_EQUAL(history, traffic_history(size, seed + 1000));
        }
}

static void test_rest(void)
{
    for (int size = 1; size <= NODES_MAX; size++)
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct world world;
            world_create(&world, size, seed, NULL);
            world.resting = true;
            net_sim_run(world.sim, node_step, NULL, &world);
            CU_ASSERT_EQUAL(world.answers, 20);
            CU_ASSERT_EQUAL(world.wrong, 0);
            for (int rank = 0; rank < size; rank++)
                CU_ASSERT(world.nodes[rank].over);
            world_destroy(&world);
        }
}

static void test_death(void)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct world world;
        world_create(&world, 5, seed, NULL);
        world.kill_at = 1 + (int)(seed % 40);
        world.victim = (int)(seed % 5);
        world_begin(&world);
        net_sim_run(world.sim, node_step, NULL, &world);
        for (int rank = 0; rank < 5; rank++) {
            CU_ASSERT_EQUAL(world.nodes[rank].dead, rank == world.victim ? 0 : 1u << world.victim);
            CU_ASSERT_EQUAL(world.nodes[rank].told, rank != world.victim);
            CU_ASSERT_EQUAL(world.nodes[rank].late, 0);
            CU_ASSERT_EQUAL(world.nodes[rank].disorder, 0);
        }
        CU_ASSERT_EQUAL(net_dead_peer(world.nodes[0].net), world.victim);
        world_destroy(&world);
    }
}

/* ---- time */

static void timer_step(void *arg, int rank)
{
    struct world *world = arg;
    struct node *node = &world->nodes[rank];
    net_poll(node->net, 10);
    if (node->slept_until > 0)
        CU_ASSERT(net_now(node->net) >= node->slept_until);
    if (++node->received > 5)
        return; /* its program is over */
    node->slept_until = net_now(node->net) + 1000000 * (uint64_t)(rank + 1);
    net_sleep(node->net, node->slept_until, NULL, NULL);
}

static void test_timers(void)
{
    struct world world;
    world_create(&world, 3, 9, NULL);
    net_sim_run(world.sim, timer_step, NULL, &world);
    for (int rank = 0; rank < 3; rank++)
        CU_ASSERT_EQUAL(world.nodes[rank].received, 6);
    uint64_t now = net_now(world.nodes[0].net);
    CU_ASSERT(now >= 15000000 && now < 16000000);
    world_destroy(&world);
}

/* ---- the hook, wakes, finished() */

struct hooked {
    struct world world;
    int suspended[NODES_MAX];
    int stepped[NODES_MAX];
};

static void hooked_suspend(void *arg, int rank)
{
    ((struct hooked *)arg)->suspended[rank]++;
}

static bool hooked_busy(void *arg)
{
    return *(int *)arg < 3;
}

static void hooked_step(void *arg, int rank)
{
    struct hooked *hooked = arg;
    struct net *net = hooked->world.nodes[rank].net;
    net_poll(net, 10);
    hooked->stepped[rank]++;
    /* Rank 0 is busy for three steps, then wakes everybody once. */
    if (rank == 0 && hooked->stepped[0] == 3)
        net_wake_all(net);
    net_sleep(net, UINT64_MAX, rank == 0 ? hooked_busy : NULL, &hooked->stepped[0]);
}

static bool hooked_finished(void *arg)
{
    return ((struct hooked *)arg)->stepped[0] == 2;
}

static void test_hook(void)
{
    struct hooked hooked = {.suspended = {0}};
    world_create(&hooked.world, 3, 11, NULL);
    net_sim_on_sleep(hooked.world.sim, hooked_suspend, &hooked);
    net_sim_run(hooked.world.sim, hooked_step, hooked_finished, &hooked);
    CU_ASSERT_EQUAL(hooked.stepped[0], 2);
    net_sim_run(hooked.world.sim, hooked_step, NULL, &hooked);
    for (int rank = 0; rank < 3; rank++)
        CU_ASSERT_EQUAL(hooked.suspended[rank], hooked.stepped[rank]);
    CU_ASSERT(hooked.stepped[0] >= 3);
    CU_ASSERT(hooked.stepped[1] >= 2 && hooked.stepped[2] >= 2);
    world_destroy(&hooked.world);
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"a seed replays exactly, another differs", test_replay},
        {"rest is found once", test_rest},
        {"the others are told of a death", test_death},
        {"time goes on when nothing else can", test_timers},
        {"sleep calls the hook, wakes and busy count", test_hook},
    };
    return UNIT_MAIN("net: sim", tests);
}
