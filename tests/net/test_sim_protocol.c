/* Protocols that send again by themselves, over datagrams of the sim: values in order from node 0 to node 1
 * in spite of loss, duplication, reordering and partitions (go-back-N; a window of 1 is stop-and-wait).
 * Switched off, what makes the protocol sound is missed: so the faults are there. */
#include "../unit.h"
#include "net/net_sim.h"

#include <string.h>

#define VALUES      100
#define MICROSECOND UINT64_C(1000)
#define TIMEOUT     (300 * MICROSECOND)
#define EVENTS_MOST 1000000 /* steps after which a run is said to hang */

enum { DATA = 1, TAKEN = 2 };

/* What the protocol is made of. */
struct rules {
    int window;
    bool again;   /* what is not acknowledged in time is sent again */
    bool in_turn; /* the receiver takes the value that is next only */
};

struct sender {
    int acknowledged, sent; /* values */
    uint64_t deadline;
};

struct run {
    struct rules rules;
    struct net_sim *sim;
    struct net *net[2];
    struct sender sender;
    uint64_t taken[4 * VALUES]; /* by the receiver, in its order */
    int taken_count, steps;
};

struct data { /* without padding, whose bytes are any: what travels is the run's history */
    int64_t number;
    uint64_t value;
};

static uint64_t value_of(int number)
{
    return base_mix((uint64_t)number + 1);
}

/* ---- sender */

static void send_value(struct run *run, int number)
{
    struct data data = {.number = number, .value = value_of(number)};
    const struct net_piece piece = {&data, sizeof data};
    CU_ASSERT_EQUAL(net_sim_datagram(run->net[0], 1, DATA, &piece, 1), RAYMPI_OK);
}

static void send_window(struct run *run)
{
    struct sender *sender = &run->sender;
    while (sender->sent < VALUES && sender->sent < sender->acknowledged + run->rules.window)
        send_value(run, sender->sent++);
}

static void acknowledged(void *arg, const struct net_message *message)
{
    struct run *run = arg;
    int next;
    memcpy(&next, message->data, sizeof next);
    if (next <= run->sender.acknowledged)
        return;
    run->sender.acknowledged = next;
    if (run->sender.sent < next) /* it was about to send them again */
        run->sender.sent = next;
    run->sender.deadline = net_now(run->net[0]) + TIMEOUT;
}

static void sender_step(struct run *run)
{
    struct sender *sender = &run->sender;
    if (net_now(run->net[0]) >= sender->deadline) {
        if (run->rules.again)
            sender->sent = sender->acknowledged;
        sender->deadline = net_now(run->net[0]) + TIMEOUT;
    }
    send_window(run);
    bool waits = sender->acknowledged < VALUES && run->rules.again;
    net_sleep(run->net[0], waits ? sender->deadline : UINT64_MAX, NULL, NULL);
}

/* ---- receiver */

static void take(void *arg, const struct net_message *message)
{
    struct run *run = arg;
    struct data data;
    memcpy(&data, message->data, sizeof data);
    if ((!run->rules.in_turn || data.number == run->taken_count) && run->taken_count < 4 * VALUES)
        run->taken[run->taken_count++] = data.value;
    const struct net_piece piece = {&run->taken_count, sizeof run->taken_count};
    CU_ASSERT_EQUAL(net_sim_datagram(run->net[1], 0, TAKEN, &piece, 1), RAYMPI_OK);
}

/* ---- runs */

static void step(void *arg, int rank)
{
    struct run *run = arg;
    run->steps++;
    while (net_poll(run->net[rank], 8) > 0)
        continue;
    if (rank == 0)
        sender_step(run);
    else
        net_sleep(run->net[1], UINT64_MAX, NULL, NULL);
}

static bool finished(void *arg)
{
    const struct run *run = arg;
    return run->sender.acknowledged >= VALUES || run->steps > EVENTS_MOST;
}

/* Loss of 30 %, and partitions of which each is longer than the protocol's patience. */
static const struct net_sim_options faults = {
    .delay = {5 * MICROSECOND, 50 * MICROSECOND, 0.05, 400 * MICROSECOND},
    .span = 4000 * MICROSECOND,
    .partitions = 2,
    .partition_most = 1500 * MICROSECOND,
    .loss = 0.3,
    .duplication = 0.2,
};

/* True when all values came, in order and once. */
static bool transfer(uint64_t seed, struct rules rules, const struct net_sim_options *options,
                     uint64_t *history, struct net_sim_counters *counters)
{
    struct run run = {.rules = rules};
    CU_ASSERT_EQUAL_FATAL(net_sim_create(&run.sim, 2, seed, options), RAYMPI_OK);
    for (int rank = 0; rank < 2; rank++)
        CU_ASSERT_EQUAL_FATAL(net_sim_open(&run.net[rank], run.sim, rank), RAYMPI_OK);
    net_handle(run.net[0], TAKEN, acknowledged, &run);
    net_handle(run.net[1], DATA, take, &run);
    run.sender.deadline = TIMEOUT;
    net_sim_run(run.sim, step, finished, &run);
    *history = net_sim_history(run.sim);
    net_sim_counters(run.sim, counters);
    for (int rank = 0; rank < 2; rank++)
        net_close(run.net[rank]);
    net_sim_destroy(run.sim);
    CU_ASSERT(run.steps <= EVENTS_MOST);
    bool good = run.taken_count == VALUES;
    for (int number = 0; number < VALUES; number++)
        good = good && run.taken[number] == value_of(number);
    return good;
}

static int failures(struct rules rules, const struct net_sim_options *options, uint64_t seeds)
{
    struct net_sim_counters counters;
    int failed = 0;
    uint64_t history;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        failed += !transfer(seed, rules, options, &history, &counters);
    return failed;
}

static void test_all_arrive(void)
{
    struct net_sim_counters counters;
    uint64_t cut = 0, before = 0;
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        const struct rules rules = {.window = 1 + (int)(seed % 8), .again = true, .in_turn = true};
        uint64_t history, again;
        bool good = transfer(seed, rules, &faults, &history, &counters);
        if (!good)
            fprintf(stderr, "seed %llu: not all values came, in order\n", (unsigned long long)seed);
        CU_ASSERT(good);
        CU_ASSERT(counters.lost > 0 && counters.duplicates > 0);
        cut += counters.cut > 0;
        CU_ASSERT_NOT_EQUAL(history, before);
        before = history;
        if (seed % 10)
            continue;
        CU_ASSERT(transfer(seed, rules, &faults, &again, &counters));
        CU_ASSERT_EQUAL(history, again);
    }
    CU_ASSERT(cut > 1000);
}

static void test_without_again(void)
{
    const struct rules rules = {.window = VALUES, .again = false, .in_turn = true};
    CU_ASSERT_EQUAL(failures(rules, NULL, 20), 20); /* even the order of datagrams is no matter of course */
    CU_ASSERT_EQUAL(failures(rules, &faults, 200), 200);
    const struct rules sound = {.window = VALUES, .again = true, .in_turn = true};
    CU_ASSERT_EQUAL(failures(sound, NULL, 20), 0);
}

/* One fault alone is enough for a receiver that takes whatever comes. */
static void test_without_turns(void)
{
    const struct rules rules = {.window = 8, .again = true, .in_turn = false};
    const struct net_sim_options doubling = {.duplication = 0.2};
    const struct net_sim_options slow = {.delay = {0, 50 * MICROSECOND, 0, 0}};
    CU_ASSERT(failures(rules, &doubling, 100) > 90);
    CU_ASSERT(failures(rules, &slow, 100) > 90);
}

static void test_partition(void)
{
    const struct net_sim_options parting = {
        .delay = {5 * MICROSECOND, 50 * MICROSECOND, 0, 0},
        .span = 1000 * MICROSECOND,
        .partitions = 1,
        .partition_most = 500 * MICROSECOND,
    };
    const struct rules patient = {.window = 1, .again = true, .in_turn = true};
    const struct rules once = {.window = 1, .again = false, .in_turn = true};
    CU_ASSERT_EQUAL(failures(patient, &parting, 200), 0);
    CU_ASSERT(failures(once, &parting, 200) > 150);
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"all values come through loss, duplicates, disorder and partitions", test_all_arrive},
        {"without retransmission they do not", test_without_again},
        {"without numbers they come twice or out of order", test_without_turns},
        {"a partition that heals is only noticed by who does not send again", test_partition},
    };
    return UNIT_MAIN("net: protocols on the sim", tests);
}
