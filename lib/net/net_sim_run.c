/* The driver of the sim: draws, event by event, which message is delivered or which node runs next, among
 * those whose time has come. When there are none, time goes on to the next. */
#include "net/net_sim_internal.h"

#include <stdlib.h>
#include <string.h>

#define SIM_EVENT_NS 100 /* of the clock for each event, so that timers also end while others work */

/* ---- messages on their way */

void sim_node_wake(struct net_sim *sim, int rank)
{
    struct sim_node *node = &sim->nodes[rank];
    node->wake = true;
    if (node->state != SIM_ASLEEP)
        return;
    node->state = SIM_READY;
    sim_set_add(&sim->ready, rank);
}

uint64_t sim_due(struct net_sim *sim, const struct net_sim_delay *delay)
{
    uint64_t due = sim->time + delay->least;
    if (delay->most > delay->least)
        due += sim_draw(sim, delay->most - delay->least + 1);
    if (sim_chance(sim, delay->spikes))
        due += 1 + sim_draw(sim, delay->spike);
    return due;
}

static void pair_enlist(struct net_sim *sim, int pair)
{
    const struct sim_message *first = sim->pairs[pair].queue.first;
    sim_set_remove(&sim->delayed, pair);
    if (first != NULL && first->due <= sim->time) {
        sim_set_add(&sim->traffic, pair);
        return;
    }
    sim_set_remove(&sim->traffic, pair);
    if (first != NULL)
        sim_set_add(&sim->delayed, pair);
}

void sim_pair_put(struct net_sim *sim, struct sim_message *message)
{
    int number = message->source * sim->size + message->destination;
    struct sim_pair *pair = &sim->pairs[number];
    if (pair->broken && message->kind != SIM_LOST) {
        free(message);
        return;
    }
    uint64_t due = sim_due(sim, &pair->delay);
    pair->last = message->due = due > pair->last ? due : pair->last;
    sim->nodes[message->source].pending[message->destination] += message->length;
    sim_queue_put(&pair->queue, message);
    pair_enlist(sim, number);
}

void sim_pair_drop(struct net_sim *sim, int source, int destination)
{
    int number = source * sim->size + destination;
    sim_queue_drop(&sim->pairs[number].queue);
    sim->pairs[number].last = 0;
    sim->nodes[source].pending[destination] = 0;
    pair_enlist(sim, number);
}

/* ---- deliveries */

static void history_message(struct net_sim *sim, const struct sim_message *message)
{
    sim_history_add(sim, (uint64_t)message->source << 32 | (uint64_t)message->destination);
    sim_history_add(sim, (uint64_t)message->type << 32 | message->length);
    for (size_t i = 0; i < message->length; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        size_t left = message->length - i;
        memcpy(&word, message->data + i, left < sizeof word ? left : sizeof word);
        sim_history_add(sim, word);
    }
}

static void arrive(struct net_sim *sim, struct sim_message *message)
{
    struct sim_node *node = &sim->nodes[message->destination];
    history_message(sim, message);
    if (sim_gone(node)) {
        free(message);
        return;
    }
    sim->counters.messages += message->kind == SIM_MESSAGE;
    sim->counters.datagrams += message->kind == SIM_DATAGRAM;
    sim_queue_put(&node->inbox, message);
    sim_node_wake(sim, message->destination);
}

static void deliver_of(struct net_sim *sim, int pair)
{
    struct sim_message *message = sim_queue_take(&sim->pairs[pair].queue);
    pair_enlist(sim, pair);
    sim->nodes[message->source].pending[message->destination] -= message->length;
    arrive(sim, message);
}

static void deliver_datagram(struct net_sim *sim, int place)
{
    struct sim_message *message = sim_cloud_take(&sim->cloud, place);
    if (!sim_cut_off(sim, message))
        arrive(sim, message);
    else
        free(message);
}

static void step_node(struct net_sim *sim, int rank, void (*step)(void *arg, int rank), void *arg)
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

/* ---- time */

/* Wakes the sleepers whose time has come; the earliest deadline of the others is returned. */
static uint64_t timers(struct net_sim *sim)
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

/* The same for messages. */
static uint64_t arrivals(struct net_sim *sim)
{
    uint64_t earliest = UINT64_MAX;
    for (int i = sim->delayed.count - 1; i >= 0; i--) {
        int pair = sim->delayed.items[i];
        uint64_t due = sim->pairs[pair].queue.first->due;
        if (due <= sim->time)
            pair_enlist(sim, pair);
        else if (due < earliest)
            earliest = due;
    }
    sim_cloud_advance(&sim->cloud, sim->time);
    if (sim->cloud.count > sim->cloud.due && sim->cloud.next < earliest)
        earliest = sim->cloud.next;
    return earliest;
}

/* What has come to its time may happen from here on; when the next thing does, UINT64_MAX: nothing will. */
static uint64_t advance(struct net_sim *sim)
{
    sim_faults_due(sim);
    uint64_t fault = sim_faults_next(sim), timer = timers(sim), arrival = arrivals(sim);
    uint64_t next = timer < arrival ? timer : arrival;
    return next < fault ? next : fault;
}

static void happen(struct net_sim *sim, int choice, void (*step)(void *arg, int rank), void *arg)
{
    if (choice < sim->traffic.count) {
        deliver_of(sim, sim->traffic.items[choice]);
        return;
    }
    choice -= sim->traffic.count;
    if (choice < sim->ready.count)
        step_node(sim, sim->ready.items[choice], step, arg);
    else
        deliver_datagram(sim, choice - sim->ready.count);
}

void net_sim_run(struct net_sim *sim, void (*step)(void *arg, int rank), bool (*finished)(void *arg),
                 void *arg)
{
    while (finished == NULL || !finished(arg)) {
        uint64_t next = advance(sim);
        int choices = sim->traffic.count + sim->ready.count + sim->cloud.due;
        if (choices == 0 && next == UINT64_MAX)
            return;
        if (choices == 0) {
            sim->time = next;
            continue;
        }
        sim->time += SIM_EVENT_NS;
        happen(sim, (int)sim_draw(sim, (uint64_t)choices), step, arg);
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

uint64_t net_sim_time(const struct net_sim *sim)
{
    return sim->time;
}

void net_sim_counters(const struct net_sim *sim, struct net_sim_counters *counters)
{
    *counters = sim->counters;
}
