/* Where tasks and actors go. */
#include "../unit.h"
#include "place/place.h"

#include <string.h>

enum { N = 5 };

static void all_free(struct place_node *nodes, int count)
{
    for (int i = 0; i < count; i++)
        nodes[i] = (struct place_node){.available = true, .allowed = true};
}

static void a_task_stays_below_the_threshold(void)
{
    struct place_node nodes[N];
    all_free(nodes, N);
    nodes[2].load = 4;
    CU_ASSERT_EQUAL(place_task(nodes, N, 2, 4), 2);
    CU_ASSERT_EQUAL(place_task(nodes, N, 2, 3), 3);
}

static void a_task_goes_to_the_least_loaded(void)
{
    struct place_node nodes[N];
    all_free(nodes, N);
    static const uint32_t loads[N] = {5, 3, 9, 2, 4};
    for (int i = 0; i < N; i++)
        nodes[i].load = loads[i];
    for (int self = 0; self < N; self++)
        CU_ASSERT_EQUAL(place_task(nodes, N, self, 0), 3);
}

static void ties_go_to_oneself_then_round(void)
{
    struct place_node nodes[N];
    all_free(nodes, N);
    for (int i = 0; i < N; i++)
        nodes[i].load = 7;
    for (int self = 0; self < N; self++)
        CU_ASSERT_EQUAL(place_task(nodes, N, self, 0), self);
    nodes[1].load = nodes[4].load = 3;
    CU_ASSERT_EQUAL(place_task(nodes, N, 0, 0), 1);
    CU_ASSERT_EQUAL(place_task(nodes, N, 2, 0), 4);
    CU_ASSERT_EQUAL(place_task(nodes, N, 4, 0), 4);
}

static void a_task_goes_only_where_it_is_allowed(void)
{
    struct place_node nodes[N];
    all_free(nodes, N);
    nodes[0].allowed = nodes[1].allowed = false;
    nodes[2].load = 50, nodes[3].load = 40, nodes[4].load = 60;
    CU_ASSERT_EQUAL(place_task(nodes, N, 0, 100), 3);
    for (int i = 0; i < N; i++)
        nodes[i].allowed = false;
    CU_ASSERT_EQUAL(place_task(nodes, N, 0, 100), -1);
}

static void a_task_avoids_nodes_whose_main_computes(void)
{
    struct place_node nodes[N];
    all_free(nodes, N);
    nodes[1].available = nodes[2].available = nodes[3].available = nodes[4].available = false;
    nodes[0].load = 90;
    CU_ASSERT_EQUAL(place_task(nodes, N, 0, 0), 0);
    nodes[0].allowed = false; /* it waits where it may run, rather than nowhere */
    int node = place_task(nodes, N, 0, 0);
    CU_ASSERT(node >= 1 && node < N);
}

static void tasks_spread_evenly(void)
{
    struct place_node nodes[N];
    all_free(nodes, N);
    for (int i = 0; i < 1003; i++)
        nodes[place_task(nodes, N, 1, 0)].load++;
    for (int i = 0; i < N; i++)
        CU_ASSERT(nodes[i].load >= 1003 / N && nodes[i].load <= 1003 / N + 1);
}

static void actors_spread_evenly(void)
{
    struct place_node nodes[N];
    all_free(nodes, N);
    for (int i = 0; i < 503; i++)
        nodes[place_actor(nodes, N, i * 7 % N)].actors++;
    for (int i = 0; i < N; i++)
        CU_ASSERT(nodes[i].actors >= 503 / N && nodes[i].actors <= 503 / N + 1);
}

static void an_actor_starts_where_it_was_told(void)
{
    struct place_node nodes[N];
    all_free(nodes, N);
    for (int start = 0; start < N; start++)
        CU_ASSERT_EQUAL(place_actor(nodes, N, start), start);
    nodes[3].actors = 1;
    CU_ASSERT_EQUAL(place_actor(nodes, N, 3), 4);
}

static void an_actor_prefers_available_nodes(void)
{
    struct place_node nodes[N];
    all_free(nodes, N);
    for (int i = 0; i < N; i++)
        nodes[i].available = i == 3;
    nodes[3].actors = 10;
    CU_ASSERT_EQUAL(place_actor(nodes, N, 0), 3);
    nodes[3].allowed = false;
    CU_ASSERT_EQUAL(place_actor(nodes, N, 1), 1);
    for (int i = 0; i < N; i++)
        nodes[i].allowed = false;
    CU_ASSERT_EQUAL(place_actor(nodes, N, 1), -1);
}

static void the_victim_has_most_to_give(void)
{
    uint32_t queued[N] = {0, 1, 5, 5, 9};
    CU_ASSERT_EQUAL(place_victim(queued, N, 0), 4);
    queued[4] = 5;
    CU_ASSERT_EQUAL(place_victim(queued, N, 2), 3);
    CU_ASSERT_EQUAL(place_victim(queued, N, 3), 4);
    memset(queued, 0, sizeof queued);
    queued[0] = 100; /* oneself */
    queued[1] = 1;   /* its only one: it will run that itself */
    CU_ASSERT_EQUAL(place_victim(queued, N, 0), -1);
    CU_ASSERT_EQUAL(place_victim(queued, 1, 0), -1);
}

static const struct unit_test tests[] = {
    {"a task stays below the threshold", a_task_stays_below_the_threshold},
    {"a task goes to the least loaded node", a_task_goes_to_the_least_loaded},
    {"ties go to oneself, then round", ties_go_to_oneself_then_round},
    {"a task goes only where it is allowed", a_task_goes_only_where_it_is_allowed},
    {"a task avoids nodes whose main computes", a_task_avoids_nodes_whose_main_computes},
    {"tasks spread evenly", tasks_spread_evenly},
    {"actors spread evenly", actors_spread_evenly},
    {"an actor starts where it was told", an_actor_starts_where_it_was_told},
    {"an actor prefers available nodes", an_actor_prefers_available_nodes},
    {"the victim has most to give", the_victim_has_most_to_give},
};

int main(void)
{
    return UNIT_MAIN("place: policies", tests);
}
