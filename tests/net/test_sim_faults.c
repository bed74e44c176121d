/* What the sim transport can do to messages: delays, ways that break, deaths, datagrams that are lost,
 * doubled, overtaken and cut off; all of it repeatable. */
#include "sim_world.h"

#include <math.h>

#define MICROSECOND UINT64_C(1000)
#define MILLISECOND UINT64_C(1000000)

static void poll_step(void *arg, int rank)
{
    struct node *node = &((struct world *)arg)->nodes[rank];
    while (net_poll(node->net, 3) > 0)
        continue;
    net_sleep(node->net, UINT64_MAX, NULL, NULL);
}

/* ---- delays */

struct arrival {
    uint64_t least, most, shortest, longest;
    int order[2][64]; /* by sender: the place of each message among all */
    int count[2], all;
    int early, disorder;
    struct net *net;
};

struct stamp {
    uint64_t sent;
    int64_t number; /* no padding: it travels */
};

static void stamp_send(struct net *net, int number)
{
    struct stamp stamp = {net_now(net), number};
    const struct net_piece piece = {&stamp, sizeof stamp};
    CU_ASSERT_EQUAL(net_send(net, 0, PING, &piece, 1), RAYMPI_OK);
}

static void stamp_receive(void *arg, const struct net_message *message)
{
    struct arrival *arrival = arg;
    struct stamp stamp;
    memcpy(&stamp, message->data, sizeof stamp);
    uint64_t took = net_now(arrival->net) - stamp.sent;
    int from = message->source - 1;
    arrival->early += took < arrival->least;
    arrival->shortest = took < arrival->shortest ? took : arrival->shortest;
    arrival->longest = took > arrival->longest ? took : arrival->longest;
    arrival->disorder += stamp.number != arrival->count[from];
    arrival->order[from][arrival->count[from]++] = arrival->all++;
}

/* Two nodes send 64 messages each to a third one. */
static void arrivals(struct world *world, uint64_t seed, const struct net_sim_options *options,
                     const struct net_sim_delay *of_second, struct arrival *arrival)
{
    world_create(world, 3, seed, options);
    *arrival =
        (struct arrival){.least = options->delay.least, .shortest = UINT64_MAX, .net = world->nodes[0].net};
    if (of_second)
        CU_ASSERT_EQUAL(net_sim_delay(world->sim, 2, 0, of_second), RAYMPI_OK);
    net_handle(world->nodes[0].net, PING, stamp_receive, arrival);
    for (int i = 0; i < 64; i++)
        for (int rank = 1; rank < 3; rank++)
            stamp_send(world->nodes[rank].net, i);
    net_sim_run(world->sim, poll_step, NULL, world);
    CU_ASSERT_EQUAL(arrival->all, 128);
    CU_ASSERT_EQUAL(arrival->disorder, 0);
    CU_ASSERT_EQUAL(arrival->early, 0);
    world_destroy(world);
}

static void test_delays(void)
{
    const struct net_sim_options options = {.delay = {MICROSECOND, 100 * MICROSECOND, 0.01, MILLISECOND}};
    struct world world;
    struct arrival arrival;
    int spikes = 0, overtakes = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        arrivals(&world, seed, &options, NULL, &arrival);
        CU_ASSERT(arrival.shortest < 100 * MICROSECOND);
        spikes += arrival.longest > 200 * MICROSECOND;
        for (int i = 0; i < 64; i++)
            overtakes += arrival.order[0][i] > arrival.order[1][i];
    }
    CU_ASSERT(spikes > 20 && spikes < 100);
    CU_ASSERT(overtakes > 1000 && overtakes < 5400); /* of 6400: either may be the first */
}

static void test_slow_way(void)
{
    const struct net_sim_options options = {.delay = {MICROSECOND, 2 * MICROSECOND, 0, 0}};
    const struct net_sim_delay slow = {MILLISECOND, MILLISECOND, 0, 0};
    struct world world;
    struct arrival arrival;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        arrivals(&world, seed, &options, &slow, &arrival);
        CU_ASSERT_EQUAL(arrival.order[1][0], 64);
        CU_ASSERT(arrival.longest >= MILLISECOND);
    }
}

/* ---- ways that break */

struct breaking {
    struct world world; /* first */
    int at, one, other;
};

static void break_step(void *arg, int rank)
{
    struct breaking *breaking = arg;
    if (++breaking->world.steps == breaking->at)
        net_sim_break(breaking->world.sim, breaking->one, breaking->other);
    poll_step(arg, rank);
}

static void test_break(void)
{
    const struct net_sim_options options = {.delay = {0, 3 * MICROSECOND, 0, 0}};
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct breaking breaking;
        struct world *world = &breaking.world;
        world_create(world, 4, seed, seed % 2 ? &options : NULL);
        breaking.at = 1 + (int)(seed % 60);
        breaking.one = (int)(seed % 4);
        breaking.other = (breaking.one + 1 + (int)(seed / 4 % 3)) % 4;
        world_begin(world);
        net_sim_run(world->sim, break_step, NULL, &breaking);
        unsigned ends = 1u << breaking.one | 1u << breaking.other;
        for (int rank = 0; rank < 4; rank++) {
            const struct node *node = &world->nodes[rank];
            bool end = ends >> rank & 1;
            CU_ASSERT_EQUAL(node->told, end);
            CU_ASSERT_EQUAL(node->dead, end ? ends & ~(1u << rank) : 0);
            CU_ASSERT_EQUAL(node->late, 0);
            CU_ASSERT_EQUAL(node->disorder, 0);
        }
        CU_ASSERT_EQUAL(net_dead_peer(world->nodes[breaking.one].net), breaking.other);
        CU_ASSERT_EQUAL(net_send(world->nodes[breaking.one].net, breaking.other, PING, NULL, 0),
                        RAYMPI_ERR_NODE_DIED);
        net_sim_break(world->sim, breaking.other, breaking.one); /* once is enough */
        net_sim_run(world->sim, poll_step, NULL, world);
        CU_ASSERT_EQUAL(world->nodes[breaking.one].told, 1);
        world_destroy(world);
    }
}

/* ---- faults that are drawn */

static int bits(unsigned set)
{
    return __builtin_popcount(set);
}

/* Whoever lives knows of each death once, and a way that breaks is known at both ends or, where one has died,
 * at the other. */
static void test_drawn(void)
{
    const struct net_sim_options options = {
        .delay = {0, 2 * MICROSECOND, 0, 0}, .span = 30 * MICROSECOND, .deaths = 2, .breaks = 2};
    int different = 0, told = 0;
    unsigned before = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world world;
        unsigned dead = 0, alive = 0;
        world_create(&world, 6, seed, &options);
        world_begin(&world);
        net_sim_run(world.sim, poll_step, NULL, &world);
        for (int rank = 0; rank < 6; rank++)
            if (net_send(world.nodes[rank].net, rank, PING, NULL, 0) != RAYMPI_OK)
                dead |= 1u << rank;
        CU_ASSERT_EQUAL(bits(dead), 2);
        for (int rank = 0; rank < 6; rank++) {
            const struct node *node = &world.nodes[rank];
            CU_ASSERT_EQUAL(node->told, bits(node->dead));
            CU_ASSERT_EQUAL(node->late, 0);
            CU_ASSERT_EQUAL(node->disorder, 0);
            if (dead >> rank & 1)
                continue;
            CU_ASSERT_EQUAL(node->dead & dead, dead);
            for (int peer = 0; peer < 6; peer++)
                if (node->dead >> peer & 1 && !(dead >> peer & 1))
                    CU_ASSERT(world.nodes[peer].dead >> rank & 1);
            alive += (unsigned)bits(node->dead & ~dead);
        }
        told += (int)alive;
        different += dead != before;
        before = dead;
        world_destroy(&world);
    }
    CU_ASSERT(different > 200);
    CU_ASSERT(told > 200);
}

/* ---- datagrams */

struct counts {
    int sent, twice, backwards;
    unsigned char came[400];
    int last;
};

static void datagram_receive(void *arg, const struct net_message *message)
{
    struct counts *counts = arg;
    int number;
    memcpy(&number, message->data, sizeof number);
    counts->twice += counts->came[number]++ > 0;
    counts->backwards += number < counts->last;
    counts->last = number;
}

/* 400 of them from node 0 to node 1, while `side` parts the two (NULL: nothing does). */
static struct net_sim_counters datagrams(uint64_t seed, const struct net_sim_options *options,
                                         const int *side, struct counts *counts)
{
    struct net_sim_counters counters;
    struct world world;
    *counts = (struct counts){.last = -1};
    world_create(&world, 2, seed, options);
    net_handle(world.nodes[1].net, PING, datagram_receive, counts);
    net_sim_partition(world.sim, side);
    for (int i = 0; i < 400; i++) {
        const struct net_piece piece = {&i, sizeof i};
        CU_ASSERT_EQUAL(net_sim_datagram(world.nodes[0].net, 1, PING, &piece, 1), RAYMPI_OK);
    }
    net_sim_run(world.sim, poll_step, NULL, &world);
    net_sim_counters(world.sim, &counters);
    world_destroy(&world);
    for (int i = 0; i < 400; i++)
        counts->sent += counts->came[i] > 0;
    return counters;
}

static void test_datagrams(void)
{
    const struct net_sim_options lossy = {.loss = 0.3}, doubling = {.duplication = 0.2};
    const struct net_sim_options slow = {.delay = {0, MILLISECOND, 0, 0}};
    static const int apart[] = {0, 1};
    struct counts counts;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        datagrams(seed, NULL, NULL, &counts);
        CU_ASSERT(counts.sent == 400 && counts.twice == 0 && counts.backwards > 0);
        struct net_sim_counters counters = datagrams(seed, &lossy, NULL, &counts);
        CU_ASSERT(counts.sent > 200 && counts.sent < 360 && counts.twice == 0);
        CU_ASSERT_EQUAL(counters.lost, (uint64_t)(400 - counts.sent));
        counters = datagrams(seed, &doubling, NULL, &counts);
        CU_ASSERT(counts.sent == 400 && counts.twice > 30 && counts.twice < 150);
        CU_ASSERT_EQUAL(counters.duplicates, (uint64_t)counts.twice);
        datagrams(seed, &slow, NULL, &counts);
        CU_ASSERT(counts.sent == 400 && counts.backwards > 100);
        counters = datagrams(seed, NULL, apart, &counts);
        CU_ASSERT(counts.sent == 0 && counters.cut == 400);
    }
}

static void test_partition_heals(void)
{
    static const int apart[] = {0, 1};
    struct world world;
    struct counts counts = {.last = -1};
    int number = 7;
    const struct net_piece piece = {&number, sizeof number};
    world_create(&world, 2, 1, NULL);
    net_handle(world.nodes[1].net, PING, datagram_receive, &counts);
    /* What is under way when it begins is lost; ordinary messages go on. */
    net_sim_datagram(world.nodes[0].net, 1, PING, &piece, 1);
    net_sim_partition(world.sim, apart);
    net_send(world.nodes[0].net, 1, OVER, NULL, 0);
    net_sim_run(world.sim, poll_step, NULL, &world);
    CU_ASSERT(world.nodes[1].over && counts.came[7] == 0);
    net_sim_partition(world.sim, NULL);
    net_sim_datagram(world.nodes[0].net, 1, PING, &piece, 1);
    net_sim_run(world.sim, poll_step, NULL, &world);
    CU_ASSERT_EQUAL(counts.came[7], 1);
    /* A way that is broken carries none, and who was told of that is refused. */
    net_sim_datagram(world.nodes[0].net, 1, PING, &piece, 1);
    net_sim_break(world.sim, 0, 1);
    CU_ASSERT_EQUAL(net_sim_datagram(world.nodes[0].net, 1, PING, &piece, 1), RAYMPI_OK);
    net_sim_run(world.sim, poll_step, NULL, &world);
    CU_ASSERT_EQUAL(counts.came[7], 1);
    CU_ASSERT_EQUAL(net_sim_datagram(world.nodes[0].net, 1, PING, &piece, 1), RAYMPI_ERR_NODE_DIED);
    world_destroy(&world);
}

/* Datagrams are no matter of a job's rest. */
static void test_datagrams_and_rest(void)
{
    struct world world;
    world_create(&world, 2, 1, &(struct net_sim_options){.loss = 0.5, .duplication = 0.5});
    for (int i = 0; i < 20; i++)
        net_sim_datagram(world.nodes[0].net, 1, OVER, NULL, 0);
    net_sim_run(world.sim, poll_step, NULL, &world);
    CU_ASSERT(world.nodes[1].over);
    CU_ASSERT_EQUAL(net_idle_publish(world.nodes[0].net), NET_REST_NO);
    CU_ASSERT_EQUAL(net_idle_publish(world.nodes[1].net), NET_REST_DONE);
    world_destroy(&world);
}

static void test_datagram_arguments(void)
{
    static const char bytes[NET_SIM_DATAGRAM_MAX + 1];
    const struct net_piece most = {bytes, sizeof bytes - 1}, more = {bytes, sizeof bytes};
    struct world world;
    world_create(&world, 2, 1, NULL);
    struct net *net = world.nodes[0].net;
    CU_ASSERT_EQUAL(net_sim_datagram(net, 1, 9, &most, 1), RAYMPI_OK);
    CU_ASSERT_EQUAL(net_sim_datagram(net, 1, 9, &more, 1), RAYMPI_ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(net_sim_datagram(net, 2, 9, &most, 1), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(net_sim_datagram(net, 1, NET_HANDLERS, &most, 1), RAYMPI_ERR_ARGUMENT);
    world_destroy(&world);
}

/* ---- everything at once */

static void chaos_receive(void *arg, const struct net_message *message)
{
    struct node *node = arg;
    uint32_t left;
    memcpy(&left, message->data, sizeof left);
    node->received++;
    for (uint32_t i = 0; i < 2 && left > 0; i++) {
        int peer = (int)(job_random(&node->random) % (uint64_t)node->world->size);
        uint32_t next = left - 1;
        const struct net_piece piece = {&next, sizeof next};
        net_sim_datagram(node->net, peer, message->type, &piece, 1);
    }
}

static uint64_t chaos(uint64_t seed, struct net_sim_counters *counters)
{
    const struct net_sim_options options = {.delay = {0, 5 * MICROSECOND, 0.05, 20 * MICROSECOND},
                                            .span = 200 * MICROSECOND,
                                            .deaths = 1,
                                            .breaks = 1,
                                            .partitions = 3,
                                            .partition_most = 40 * MICROSECOND,
                                            .loss = 0.1,
                                            .duplication = 0.1};
    struct world world;
    struct net_sim_counters these;
    world_create(&world, 5, seed, &options);
    for (int rank = 0; rank < 5; rank++)
        net_handle(world.nodes[rank].net, 3, chaos_receive, &world.nodes[rank]);
    world_begin(&world);
    const uint32_t left = 6;
    const struct net_piece piece = {&left, sizeof left};
    for (int rank = 0; rank < 5; rank++)
        net_sim_datagram(world.nodes[rank].net, (rank + 1) % 5, 3, &piece, 1);
    net_sim_run(world.sim, poll_step, NULL, &world);
    net_sim_counters(world.sim, &these);
    counters->lost += these.lost;
    counters->cut += these.cut;
    counters->duplicates += these.duplicates;
    counters->told += these.told;
    uint64_t history = net_sim_history(world.sim);
    world_destroy(&world);
    return history;
}

static void test_replay(void)
{
    struct net_sim_counters counters = {0};
    uint64_t before = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t history = chaos(seed, &counters);
        CU_ASSERT_EQUAL(history, chaos(seed, &counters));
        CU_ASSERT_NOT_EQUAL(history, before);
        before = history;
    }
    CU_ASSERT(counters.lost > counters.cut && counters.cut > 0 && counters.duplicates > 0);
    CU_ASSERT(counters.told >= 600 * 4); /* of the death alone, in each of the runs */
}

/* ---- options */

static void refused(const struct net_sim_options *options, const char *name)
{
    struct net_sim *sim = NULL;
    CU_ASSERT_EQUAL(net_sim_create(&sim, 3, 1, options), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_PTR_NULL(sim);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), name));
}

#define REFUSED(name, ...) refused(&(struct net_sim_options){__VA_ARGS__}, name)

static void test_options(void)
{
    REFUSED("delay.least", .delay = {2, 1, 0, 0});
    REFUSED("delay.spikes", .delay = {0, 0, 1.5, 1});
    REFUSED("delay.spikes", .delay = {0, 0, (double)NAN, 1});
    REFUSED("delay.spike", .delay = {0, 0, 0.5, 0});
    REFUSED("NET_SIM_TIME_MAX", .delay = {0, NET_SIM_TIME_MAX + 1, 0, 0});
    REFUSED("deaths", .deaths = 4, .span = 1);
    REFUSED("deaths", .deaths = -1);
    REFUSED("breaks", .breaks = 4, .span = 1);
    REFUSED("span", .breaks = 1);
    REFUSED("span", .partitions = 3, .span = 5, .partition_most = 1);
    REFUSED("partition_most", .partitions = 1, .span = 5);
    REFUSED("partitions", .partitions = -1);
    REFUSED("loss", .loss = -0.1);
    REFUSED("duplication", .duplication = 2);
    struct net_sim *sim;
    CU_ASSERT_EQUAL(net_sim_create(&sim, 0, 1, NULL), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(net_sim_create(&sim, NET_RANKS_MAX + 1, 1, NULL), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL_FATAL(net_sim_create(&sim, 3, 1, NULL), RAYMPI_OK);
    const struct net_sim_delay delay = {1, 2, 0, 0}, bad = {2, 1, 0, 0};
    CU_ASSERT_EQUAL(net_sim_delay(sim, 0, 2, &delay), RAYMPI_OK);
    CU_ASSERT_EQUAL(net_sim_delay(sim, 0, 3, &delay), RAYMPI_ERR_ARGUMENT);
    CU_ASSERT_EQUAL(net_sim_delay(sim, 0, 2, &bad), RAYMPI_ERR_ARGUMENT);
    net_sim_destroy(sim);
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"delays keep the order of a pair and change it between pairs", test_delays},
        {"a way can be slower than others", test_slow_way},
        {"both ends of a way that breaks are told, once and last", test_break},
        {"deaths and breaks can be drawn", test_drawn},
        {"datagrams are lost, doubled, overtaken and cut off", test_datagrams},
        {"a partition heals, a break does not", test_partition_heals},
        {"datagrams are no matter of a job's rest", test_datagrams_and_rest},
        {"datagrams that can not be are refused", test_datagram_arguments},
        {"a seed replays every fault exactly, another differs", test_replay},
        {"bad options are named", test_options},
    };
    return UNIT_MAIN("net: faults of the sim", tests);
}
