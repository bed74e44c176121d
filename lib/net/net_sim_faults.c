/* What goes wrong in the sim: deaths, ways that break, datagrams that are lost, doubled or cut off. */
#include "net/net_sim_internal.h"

#include <stdlib.h>

/* ---- options */

static int bad(const char *option, const char *why)
{
    return base_fail(RAYMPI_ERR_ARGUMENT, "sim: %s %s", option, why);
}

/* Not a number is no share either. */
static bool is_share(double share)
{
    return share >= 0 && share <= 1;
}

static int delay_check(const struct net_sim_delay *delay)
{
    if (delay->most > NET_SIM_TIME_MAX || delay->spike > NET_SIM_TIME_MAX)
        return bad("delay", "is longer than NET_SIM_TIME_MAX");
    if (delay->least > delay->most)
        return bad("delay.least", "is more than delay.most");
    if (!is_share(delay->spikes))
        return bad("delay.spikes", "is a share, from 0 to 1");
    if (delay->spikes > 0 && delay->spike == 0)
        return bad("delay.spike", "is 0, with delay.spikes");
    return RAYMPI_OK;
}

int sim_options_check(const struct net_sim_options *options, int size)
{
    if (options->deaths < 0 || options->deaths > size)
        return bad("deaths", "is 0 to the number of nodes");
    if (options->breaks < 0 || options->breaks > size * (size - 1) / 2)
        return bad("breaks", "is 0 to the number of pairs of nodes");
    if (options->partitions < 0 || (options->partitions > 0 && size < 2))
        return bad("partitions", "is 0 or more, of at least two nodes");
    if (options->span > NET_SIM_TIME_MAX || options->partition_most > NET_SIM_TIME_MAX)
        return bad("span or partition_most", "is longer than NET_SIM_TIME_MAX");
    if ((options->deaths || options->breaks) && options->span == 0)
        return bad("span", "is 0, with deaths or breaks");
    if (options->partitions > 0 && options->span / (uint64_t)options->partitions < 2)
        return bad("span", "is too short for its partitions");
    if (options->partitions > 0 && options->partition_most == 0)
        return bad("partition_most", "is 0, with partitions");
    if (!is_share(options->loss) || !is_share(options->duplication))
        return bad("loss or duplication", "is a share, from 0 to 1");
    return delay_check(&options->delay);
}

int net_sim_delay(struct net_sim *sim, int source, int destination, const struct net_sim_delay *delay)
{
    if (source < 0 || source >= sim->size || destination < 0 || destination >= sim->size)
        return base_fail(RAYMPI_ERR_ARGUMENT, "sim: the way from %d to %d of %d nodes", source, destination,
                         sim->size);
    int status = delay_check(delay);
    if (status == RAYMPI_OK)
        sim->pairs[source * sim->size + destination].delay = *delay;
    return status;
}

/* ---- deaths */

/* Nothing is on its way between them any more: only what has arrived is still read. */
static void part(struct net_sim *sim, int one, int other)
{
    sim->pairs[one * sim->size + other].broken = true;
    sim->pairs[other * sim->size + one].broken = true;
    sim_pair_drop(sim, one, other);
    sim_pair_drop(sim, other, one);
}

static void tell(struct net_sim *sim, int dead, int survivor)
{
    struct sim_node *node = &sim->nodes[survivor];
    if (sim_gone(node) || node->told[dead])
        return;
    struct sim_message *mark = base_alloc_sure(sizeof *mark, "net", "a death");
    *mark = (struct sim_message){.kind = SIM_LOST, .source = dead, .destination = survivor};
    sim_pair_put(sim, mark);
}

void net_sim_kill(struct net_sim *sim, int rank)
{
    struct sim_node *node = &sim->nodes[rank];
    if (sim_gone(node))
        return;
    sim_history_add(sim, (uint64_t)SIM_DEATH << 32 | (uint64_t)rank);
    node->state = SIM_DEAD;
    sim_set_remove(&sim->ready, rank);
    sim_queue_drop(&node->inbox);
    sim_cloud_drop(&sim->cloud, rank, -1);
    for (int peer = 0; peer < sim->size; peer++) {
        part(sim, rank, peer);
        tell(sim, rank, peer);
    }
}

bool net_sim_dead(const struct net_sim *sim, int rank)
{
    return sim->nodes[rank].state == SIM_DEAD;
}

void net_sim_break(struct net_sim *sim, int one, int other)
{
    if (one == other || sim->pairs[one * sim->size + other].broken || sim_gone(&sim->nodes[one]) ||
        sim_gone(&sim->nodes[other]))
        return;
    sim_history_add(sim, (uint64_t)SIM_BREAK << 32 | (uint64_t)(one * sim->size + other));
    sim_cloud_drop(&sim->cloud, one, other);
    part(sim, one, other);
    tell(sim, one, other);
    tell(sim, other, one);
}

/* ---- datagrams */

bool sim_cut_off(struct net_sim *sim, const struct sim_message *message)
{
    if (sim->nodes[message->source].side == sim->nodes[message->destination].side)
        return false;
    sim->counters.lost++;
    sim->counters.cut++;
    return true;
}

static int datagram_launch(struct net_sim *sim, struct sim_message *message)
{
    const struct sim_pair *pair = &sim->pairs[message->source * sim->size + message->destination];
    message->due = sim_due(sim, &pair->delay);
    return sim_cloud_add(&sim->cloud, message);
}

static int datagram_send(struct net *net, int peer, uint16_t type, const struct net_piece *pieces,
                         size_t length)
{
    struct net_sim *sim = sim_of(net);
    struct sim_message *message = sim_message_new(net, SIM_DATAGRAM, peer, type, pieces, length);
    if (message == NULL)
        return RAYMPI_ERR_MEMORY;
    bool lost = sim->pairs[net->rank * sim->size + peer].broken || sim_cut_off(sim, message);
    if (!lost && sim_chance(sim, sim->options.loss)) {
        lost = true;
        sim->counters.lost++;
    }
    int status = lost ? RAYMPI_OK : datagram_launch(sim, message);
    if (lost || status != RAYMPI_OK)
        free(message);
    return status;
}

int net_sim_datagram(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, int count)
{
    size_t length = 0;
    if (net->operations != &sim_operations)
        return base_fail(RAYMPI_ERR_ARGUMENT, "datagrams are sent on the sim only");
    if (peer < 0 || peer >= net->size || type >= NET_HANDLERS || count < 0)
        return base_fail(RAYMPI_ERR_ARGUMENT, "datagram of type %u and %d pieces to rank %d of %d", type,
                         count, peer, net->size);
    for (int i = 0; i < count; i++) {
        if (pieces[i].length > NET_SIM_DATAGRAM_MAX - length)
            return base_fail(RAYMPI_ERR_TOO_LARGE, "datagram of type %u to rank %d is longer than %d bytes",
                             type, peer, NET_SIM_DATAGRAM_MAX);
        length += pieces[i].length;
    }
    struct net_sim *sim = sim_of(net);
    int status = sim_check_alive(net, peer, type);
    if (status == RAYMPI_OK)
        status = datagram_send(net, peer, type, pieces, length);
    if (status != RAYMPI_OK || !sim_chance(sim, sim->options.duplication))
        return status;
    sim->counters.duplicates++;
    return datagram_send(net, peer, type, pieces, length); /* it may be lost too */
}

void net_sim_partition(struct net_sim *sim, const int *side)
{
    sim_history_add(sim, (uint64_t)(side ? SIM_PARTITION : SIM_HEAL) << 32);
    for (int rank = 0; rank < sim->size; rank++) {
        sim->nodes[rank].side = side ? side[rank] : 0;
        sim_history_add(sim, (uint64_t)(int64_t)sim->nodes[rank].side);
    }
}

/* ---- faults that are drawn */

static void fault_add(struct net_sim *sim, struct sim_fault fault)
{
    int place = sim->fault_count++;
    for (; place > 0 && sim->fault[place - 1].time > fault.time; place--)
        sim->fault[place] = sim->fault[place - 1];
    sim->fault[place] = fault;
}

static bool death_drawn(const struct net_sim *sim, int rank)
{
    for (int i = 0; i < sim->fault_count; i++)
        if (sim->fault[i].kind == SIM_DEATH && sim->fault[i].one == rank)
            return true;
    return false;
}

static void death_draw(struct net_sim *sim)
{
    uint64_t size = (uint64_t)sim->size, time = sim_draw(sim, sim->options.span);
    int rank = (int)sim_draw(sim, size);
    while (death_drawn(sim, rank))
        rank = (rank + 1) % sim->size;
    fault_add(sim, (struct sim_fault){.time = time, .kind = SIM_DEATH, .one = rank});
}

static void break_draw(struct net_sim *sim)
{
    uint64_t size = (uint64_t)sim->size, time = sim_draw(sim, sim->options.span);
    int one = (int)sim_draw(sim, size), other = (int)(((uint64_t)one + 1 + sim_draw(sim, size - 1)) % size);
    fault_add(sim, (struct sim_fault){.time = time, .kind = SIM_BREAK, .one = one, .other = other});
}

/* Within its share of the span, so that two never overlap. */
static void partition_draw(struct net_sim *sim, int number)
{
    uint64_t share = sim->options.span / (uint64_t)sim->options.partitions;
    uint64_t begin = sim_draw(sim, share - 1), most = share - 1 - begin;
    if (most > sim->options.partition_most)
        most = sim->options.partition_most;
    uint64_t from = (uint64_t)number * share + begin, sides = sim_draw(sim, UINT64_MAX);
    fault_add(sim, (struct sim_fault){.time = from, .kind = SIM_PARTITION, .sides = sides});
    fault_add(sim, (struct sim_fault){.time = from + 1 + sim_draw(sim, most), .kind = SIM_HEAL});
}

int sim_faults_draw(struct net_sim *sim)
{
    const struct net_sim_options *options = &sim->options;
    size_t most = (size_t)options->deaths + (size_t)options->breaks + 2 * (size_t)options->partitions;
    if (most == 0)
        return RAYMPI_OK;
    sim->fault = calloc(most, sizeof *sim->fault);
    if (sim->fault == NULL)
        return RAYMPI_ERR_MEMORY;
    for (int i = 0; i < options->deaths; i++)
        death_draw(sim);
    for (int i = 0; i < options->breaks; i++)
        break_draw(sim);
    for (int i = 0; i < options->partitions; i++)
        partition_draw(sim, i);
    return RAYMPI_OK;
}

static void partition_begin(struct net_sim *sim, uint64_t sides)
{
    int side[NET_RANKS_MAX], sum = 0;
    for (int rank = 0; rank < sim->size; rank++)
        sum += side[rank] = (int)(base_mix(sides + (uint64_t)rank) & 1);
    if (sum == 0 || sum == sim->size) /* nobody is on the other side: one is */
        side[sides % (uint64_t)sim->size] ^= 1;
    net_sim_partition(sim, side);
}

void sim_faults_due(struct net_sim *sim)
{
    while (sim->fault_next < sim->fault_count && sim->fault[sim->fault_next].time <= sim->time) {
        const struct sim_fault *fault = &sim->fault[sim->fault_next++];
        switch (fault->kind) {
        case SIM_DEATH:
            net_sim_kill(sim, fault->one);
            break;
        case SIM_BREAK:
            net_sim_break(sim, fault->one, fault->other);
            break;
        case SIM_PARTITION:
            partition_begin(sim, fault->sides);
            break;
        case SIM_HEAL:
            net_sim_partition(sim, NULL);
            break;
        }
    }
}

uint64_t sim_faults_next(const struct net_sim *sim)
{
    if (sim->fault_next == sim->fault_count)
        return UINT64_MAX;
    for (int rank = 0; rank < sim->size; rank++)
        if (!sim_gone(&sim->nodes[rank]))
            return sim->fault[sim->fault_next].time;
    return UINT64_MAX;
}
