/* What all transports have in common: checks, handlers, counters. */
#include "net/net_internal.h"

#include <stdlib.h>
#include <string.h>

int net_setup(struct net *net, const struct net_operations *operations, int rank, int size,
              struct net_board *boards, struct net_rest_words *rest)
{
    net->warned = calloc((size_t)size, sizeof *net->warned);
    if (net->warned == NULL)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the net of rank %d", rank);
    net->operations = operations;
    net->rank = rank;
    net->size = size;
    net->boards = boards;
    net->own = boards ? &boards[rank] : NULL;
    net->rest = rest;
    for (int type = 0; type < NET_HANDLERS; type++) {
        net->handlers[type].run = net_undelivered;
        net->handlers[type].arg = net;
    }
    return RAYMPI_OK;
}

void net_teardown(struct net *net)
{
    free(net->warned);
}

void net_close(struct net *net)
{
    if (net != NULL)
        net->operations->close(net);
}

int net_rank(const struct net *net)
{
    return net->rank;
}

int net_size(const struct net *net)
{
    return net->size;
}

struct net_board *net_board(struct net *net, int rank)
{
    return net->operations->board ? net->operations->board(net, rank) : &net->boards[rank];
}

char *net_crash_text(struct net *net)
{
    return net->crash_text;
}

int net_local(const struct net *net, int rank)
{
    return net->map ? net->local_of[rank] : rank;
}

int net_rank_of_local(const struct net *net, int local)
{
    return net->map ? net->map->ranks[local] : local;
}

int net_locals(const struct net *net)
{
    return net->map ? net->map->locals : net->size;
}

uint64_t net_now(const struct net *net)
{
    return net->operations->now(net);
}

void net_handle(struct net *net, uint16_t type, net_handler *handler, void *arg)
{
    if (type >= NET_HANDLERS || type == 0)
        return;
    net->handlers[type].run = handler;
    net->handlers[type].arg = arg;
}

void net_on_death(struct net *net, void (*died)(void *arg, int rank), void *arg)
{
    net->died = died;
    net->died_arg = arg;
}

/** Length of all pieces; more than NET_MESSAGE_MAX is told as NET_MESSAGE_MAX + 1, so that no sum overflows.
 */
static size_t pieces_length(const struct net_piece *pieces, int count)
{
    size_t length = 0;
    for (int i = 0; i < count; i++) {
        if (pieces[i].length > NET_MESSAGE_MAX - length)
            return NET_MESSAGE_MAX + 1;
        length += pieces[i].length;
    }
    return length;
}

int net_send_counted(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, int count,
                     _Atomic uint32_t *counter)
{
    if (base_likely(count == 1 && pieces->length <= NET_MESSAGE_MAX && (unsigned)peer < (unsigned)net->size &&
                    type < NET_HANDLERS)) {
        net_tell_order(net);
        return net->operations->send(net, peer, type, pieces, pieces->length, counter);
    }
    if (base_unlikely(peer < 0 || peer >= net->size || type >= NET_HANDLERS || count < 0))
        return base_fail(RAYMPI_ERR_ARGUMENT, "message of type %u and %d pieces to rank %d of %d", type,
                         count, peer, net->size);
    static const struct net_piece nothing = {NULL, 0};
    size_t length = pieces_length(pieces, count);
    if (count == 0)
        pieces = &nothing;
    if (base_unlikely(length > NET_MESSAGE_MAX))
        return base_fail(RAYMPI_ERR_TOO_LARGE, "message of type %u to rank %d is longer than %llu bytes",
                         type, peer, (unsigned long long)NET_MESSAGE_MAX);
    net_tell_order(net);
    return net->operations->send(net, peer, type, pieces, length, counter);
}

int net_send(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, int count)
{
    return net_send_counted(net, peer, type, pieces, count, NULL);
}

void net_look_at_bell(struct net *net, int peer)
{
    net->operations->look_at_bell(net, peer);
}

bool net_lane_look(struct net_lane *lane, uint32_t size)
{
    const struct net_ring_writer *writer = &lane->writer;
    lane->short_until = 0;
    if (size >= lane->short_end || !net_ring_has_short(&lane->writer, size))
        return false;
    /* As far as the consumer was, and as there is room before the end. */
    uint32_t bytes = net_ring_bytes(NET_SHORT_MAX);
    uint64_t room = writer->capacity - (writer->put - writer->taken);
    uint64_t end = writer->index + room < writer->capacity ? writer->index + room : writer->capacity;
    if (end > bytes + sizeof(uint64_t))
        lane->short_until = (uint32_t)(end - bytes - sizeof(uint64_t));
    return true;
}

int net_reach(struct net *net, int peer)
{
    return net->operations->reach ? net->operations->reach(net, peer) : RAYMPI_OK;
}

size_t net_pending(struct net *net, int peer)
{
    return net->operations->pending(net, peer);
}

void net_look(struct net *net)
{
    if (net->operations->look != NULL)
        net->operations->look(net);
}

void net_tick(struct net *net)
{
    if (net->operations->tick != NULL)
        net->operations->tick(net);
}

int net_poll(struct net *net, int budget)
{
    return net->operations->poll(net, budget);
}

void net_sleep(struct net *net, uint64_t deadline, bool (*busy)(void *arg), void *arg)
{
    net->operations->sleep(net, deadline, busy, arg);
}

void net_sleep_seldom(struct net *net)
{
    if (net->operations->seldom != NULL)
        net->operations->seldom(net);
}

void net_wake(struct net *net)
{
    net->operations->wake(net);
}

void net_wake_all(struct net *net)
{
    net->operations->wake_all(net);
}

void net_leave(struct net *net)
{
    if (net->operations->leave != NULL)
        net->operations->leave(net);
}

void net_farewell(struct net *net)
{
    if (net->operations->farewell != NULL)
        net->operations->farewell(net);
}

/* Acquire: the death is seen as it was written. */
static const struct net_death *first_loss(const struct net *net)
{
    bool known = net->loss && atomic_load_explicit(&net->loss->state, memory_order_acquire) == NET_LOSS_KNOWN;
    return known ? &net->loss->death : NULL;
}

int net_dead_peer(struct net *net)
{
    const struct net_death *first = first_loss(net);
    return first ? first->rank : net->operations->dead_peer(net);
}

void net_death_read(struct net *net, int rank, struct net_death *death)
{
    const struct net_death *first = first_loss(net);
    const struct net_board *board = net_board(net, rank);
    if (first && first->rank == rank) {
        *death = *first;
        return;
    }
    *death = (struct net_death){.rank = rank};
    for (int i = 0; i < 4; i++)
        death->task[i] = atomic_load_explicit(&board->task[i], memory_order_relaxed);
    death->crashed = atomic_load_explicit(&board->crashed, memory_order_relaxed);
}

const char *net_host_name(const struct net *net, int rank)
{
    return net->map && net->map->names ? net->map->names[net->map->host_of[rank]] : "";
}

void net_malformed(struct net *net, int source, const char *what)
{
    net_count(&net->malformed, 1);
    if (net->warned[source])
        return;
    net->warned[source] = true;
    base_log(BASE_LOG_WARN, "net", "malformed message from rank %d: %s; further ones are only counted",
             source, what);
}

void net_undelivered(void *arg, const struct net_message *message)
{
    net_malformed(arg, message->source, "nobody handles its type");
}

void net_delivered(struct net *net, int messages, uint64_t bytes)
{
    /* Only the poller writes these two, so a load and a store do. A message that nobody handles is received
     * all the same: it is no longer on its way. */
    _Atomic uint64_t *received = &net->own->received;
    atomic_store_explicit(received, atomic_load_explicit(received, memory_order_relaxed) + (uint64_t)messages,
                          memory_order_relaxed);
    uint64_t before = atomic_load_explicit(&net->bytes_received, memory_order_relaxed);
    atomic_store_explicit(&net->bytes_received, before + bytes, memory_order_relaxed);
}

void net_died(struct net *net, int rank)
{
    atomic_fetch_add_explicit(&net->front.deaths, 1, memory_order_relaxed);
    if (!net->inner) /* that knows ranks by other numbers, and tells the one above it */
        base_log(BASE_LOG_INFO, "net", "rank %d died", rank);
    if (net->died != NULL)
        net->died(net->died_arg, rank);
}

void net_cursor_copy(struct net_cursor *cursor, void *to, size_t length)
{
    char *out = to;
    while (length > 0) {
        size_t left = cursor->piece->length - cursor->within;
        size_t part = left < length ? left : length;
        if (part > 0)
            memcpy(out, (const char *)cursor->piece->data + cursor->within, part);
        out += part;
        length -= part;
        cursor->within += part;
        if (cursor->within == cursor->piece->length) {
            cursor->piece++;
            cursor->within = 0;
        }
    }
}

void net_counters(const struct net *net, struct net_counters *counters)
{
    const struct net_board *board = net->own;
    counters->sent = net->operations->sent(net);
    counters->received = atomic_load_explicit(&board->received, memory_order_relaxed);
    counters->bytes_sent = net->operations->bytes_sent(net);
    counters->bytes_received = atomic_load_explicit(&net->bytes_received, memory_order_relaxed);
    counters->queued = atomic_load_explicit(&net->queued, memory_order_relaxed);
    counters->malformed = atomic_load_explicit(&net->malformed, memory_order_relaxed);
    counters->sleeps = atomic_load_explicit(&net->sleeps, memory_order_relaxed);
    counters->wakes = atomic_load_explicit(&net->wakes, memory_order_relaxed);
    counters->rings = atomic_load_explicit(&net->rings, memory_order_relaxed);
    counters->far_sent = counters->far_bytes = counters->packets = 0;
    counters->reads = counters->read_bytes = 0;
    counters->regions = counters->dropped = counters->refused = 0;
    if (net->operations->count)
        net->operations->count(net, counters);
}
