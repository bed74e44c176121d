/* The receiving side of the shm transport: rings in turn, long messages put together, messages to oneself. */
#include "net/net_shm.h"

#include <stdlib.h>
#include <string.h>

#define SHM_TURN        16   /* messages of one ring before the next ring has its turn */
#define SHM_WATCH_EACH  1024 /* polls between two looks at the watched life words */
#define SHM_WATCH_EMPTY 64   /* and as many in a row that found nothing, the first of them with a look */

static void shm_in_forget(struct shm_in *in)
{
    free(in->whole);
    in->whole = NULL;
}

static void shm_in_close(struct shm_net *shm, int source)
{
    struct shm_in *in = &shm->in[source];
    in->closed = true;
    shm_in_forget(in);
    net_count(&shm->net.malformed, 1);
    base_log(BASE_LOG_WARN, "net", "the ring from rank %d is corrupt: nothing more is received from it",
             source);
}

/** Senders whose ring appeared since the last look. */
static void shm_sources_renew(struct shm_net *shm)
{
    for (int word = 0; word < SHM_SET_WORDS; word++) {
        /* Acquire: pairs with the sender's release after it committed the ring's memory. */
        uint64_t used = atomic_load_explicit(&shm->own->used[word], memory_order_acquire);
        uint64_t fresh = used & ~shm->known[word];
        shm->known[word] |= fresh;
        for (; fresh != 0; fresh &= fresh - 1) {
            int source = word * 64 + __builtin_ctzll(fresh);
            if (source >= shm->net.size)
                continue;
            uint64_t offset = shm_ring_offset(shm, shm->net.rank, source);
            net_ring_reader_init(&shm->in[source].reader, shm->segment->write + offset, shm->ring_bytes);
            shm->sources[shm->source_count++] = source;
        }
    }
}

static bool shm_sources_fresh(const struct shm_net *shm)
{
    uint64_t fresh = 0;
    for (int word = 0; word < SHM_SET_WORDS; word++)
        fresh |= atomic_load_explicit(&shm->own->used[word], memory_order_relaxed) ^ shm->known[word];
    return fresh != 0;
}

bool shm_ready(struct shm_net *shm)
{
    if (atomic_load_explicit(&shm->self_count, memory_order_relaxed) > 0 || shm_deaths_new(shm) ||
        shm_sources_fresh(shm))
        return true;
    for (int i = 0; i < shm->source_count; i++) {
        const struct shm_in *in = &shm->in[shm->sources[i]];
        if (!in->closed && net_ring_ready(&in->reader))
            return true;
    }
    return false;
}

/** First part of a long message. */
static void shm_whole_begin(struct shm_net *shm, int source, const struct net_ring_record *record)
{
    struct shm_in *in = &shm->in[source];
    if (record->total <= record->size || record->total > NET_MESSAGE_MAX || record->size == 0) {
        net_malformed(&shm->net, source, "first part of a message with an impossible length");
        return;
    }
    in->whole = base_alloc_sure(record->total, "net", "a long message of another rank");
    memcpy(in->whole, record->data, record->size);
    in->total = record->total;
    in->filled = record->size;
    in->type = record->type;
}

/** Further part; true when the message is whole. */
static bool shm_whole_add(struct shm_net *shm, int source, const struct net_ring_record *record)
{
    struct shm_in *in = &shm->in[source];
    if (in->whole == NULL) {
        net_malformed(&shm->net, source, "part of a message whose beginning is missing or was refused");
        return false;
    }
    if (record->total != in->total || record->type != in->type || record->size > in->total - in->filled) {
        net_malformed(&shm->net, source, "part that does not belong to the message before it");
        shm_in_forget(in);
        return false;
    }
    memcpy(in->whole + in->filled, record->data, record->size);
    in->filled += record->size;
    return in->filled == in->total;
}

/** Handles one record; true when that delivered a message. */
static bool shm_record_take(struct shm_net *shm, int source, const struct net_ring_record *record)
{
    struct shm_in *in = &shm->in[source];
    struct net_message message = {.type = record->type,
                                  .attempt = record->attempt,
                                  .epoch = record->epoch,
                                  .source = source,
                                  .data = record->data,
                                  .length = record->size};
    if (record->kind == NET_RING_NEXT) {
        if (!shm_whole_add(shm, source, record))
            return false;
        char *whole = in->whole;
        in->whole = NULL;
        message.data = whole;
        message.length = record->total;
        net_deliver(&shm->net, &message);
        net_delivered(&shm->net, 1, message.length);
        free(whole);
        return true;
    }
    if (base_unlikely(in->whole != NULL)) {
        net_malformed(&shm->net, source, "new message before the end of the one before it");
        shm_in_forget(in);
    }
    if (record->kind == NET_RING_FIRST) {
        shm_whole_begin(shm, source, record);
        return false;
    }
    if (base_unlikely(record->total != record->size)) {
        net_malformed(&shm->net, source, "length of record and message differ");
        return false;
    }
    net_deliver(&shm->net, &message);
    net_delivered(&shm->net, 1, message.length);
    return true;
}

/** Short whole messages, at most `most` of them. */
static int shm_in_take_short(struct shm_net *shm, int source, int most)
{
    struct shm_in *in = &shm->in[source];
    struct net_message message = {.source = source};
    uint64_t mark, length = 0;
    uint32_t bytes;
    int taken = 0;
    while (taken < most) {
        const struct net_ring_header *header = net_ring_peek_short(&in->reader, &mark, &bytes);
        if (header == NULL)
            break;
        message.type = (uint16_t)(mark >> 16);
        message.epoch = header->epoch;
        message.data = header + 1;
        message.length = header->total;
        net_deliver(&shm->net, &message);
        taken++;
        length += message.length;
        if (base_unlikely(net_ring_gone(&in->reader, bytes)))
            shm_knock(shm, source);
    }
    if (taken > 0)
        net_delivered(&shm->net, taken, length);
    return taken;
}

/** Takes records of one ring until `budget` messages are delivered or, for fairness, `records` are taken. */
static int shm_in_take(struct shm_net *shm, int source, int budget, int records)
{
    struct shm_in *in = &shm->in[source];
    int delivered = 0;
    while (!in->closed && delivered < budget && records > 0) {
        if (base_likely(in->whole == NULL)) {
            int left = budget - delivered < records ? budget - delivered : records;
            int taken = shm_in_take_short(shm, source, left);
            delivered += taken;
            records -= taken;
            if (taken == left || !net_ring_ready(&in->reader))
                break;
        }
        struct net_ring_record record;
        enum net_ring_state state = net_ring_peek(&in->reader, &record);
        if (state == NET_RING_EMPTY)
            break;
        if (base_unlikely(state == NET_RING_CORRUPT)) {
            shm_in_close(shm, source);
            break;
        }
        delivered += shm_record_take(shm, source, &record);
        records--;
        if (base_unlikely(net_ring_consume(&in->reader, &record)))
            shm_knock(shm, source);
    }
    return delivered;
}

void shm_in_finish(struct shm_net *shm, int source)
{
    struct shm_in *in = &shm->in[source];
    shm_sources_renew(shm);
    if (in->reader.ring != NULL)
        shm_in_take(shm, source, INT32_MAX, INT32_MAX);
    in->closed = true;
    shm_in_forget(in);
}

static int shm_poll_rings(struct shm_net *shm, int budget)
{
    int delivered = 0;
    if (base_unlikely(shm_sources_fresh(shm)))
        shm_sources_renew(shm);
    for (int empty = 0; empty < shm->source_count && delivered < budget;) {
        if (shm->turn >= shm->source_count)
            shm->turn = 0;
        int source = shm->sources[shm->turn++];
        int here = shm_in_take(shm, source, budget - delivered, SHM_TURN);
        delivered += here;
        empty = here < SHM_TURN ? empty + 1 : 0;
    }
    return delivered;
}

static struct shm_self *shm_self_pop(struct shm_net *shm)
{
    if (base_likely(atomic_load_explicit(&shm->self_count, memory_order_relaxed) == 0))
        return NULL;
    pthread_mutex_lock(&shm->self_lock);
    struct shm_self *message = shm->self_first;
    shm->self_first = message->next;
    if (shm->self_first == NULL)
        shm->self_last = &shm->self_first;
    atomic_fetch_sub_explicit(&shm->self_count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&shm->self_lock);
    return message;
}

static int shm_poll_self(struct shm_net *shm, int budget)
{
    int delivered = 0;
    while (delivered < budget) {
        struct shm_self *self = shm_self_pop(shm);
        if (self == NULL)
            break;
        struct net_message message = {.type = self->type,
                                      .epoch = net_epoch(&shm->net),
                                      .source = shm->net.rank,
                                      .data = self->data,
                                      .length = self->length};
        net_deliver(&shm->net, &message);
        net_delivered(&shm->net, 1, message.length);
        free(self);
        delivered++;
    }
    return delivered;
}

void shm_look(struct net *net)
{
    struct net_futex watched[NET_LIFE_WORDS];
    shm_watch(shm_of(net), watched);
}

int shm_poll(struct net *net, int budget)
{
    struct shm_net *shm = shm_of(net);
    shm->polls++;
    if (base_unlikely(shm->empty % SHM_WATCH_EMPTY == 1 || shm->polls % SHM_WATCH_EACH == 0))
        shm_look(net);
    if (!shm_ready(shm) && base_likely(atomic_load_explicit(&shm->queues, memory_order_relaxed) == 0)) {
        shm->empty++;
        return 0;
    }
    if (base_unlikely(shm_deaths_new(shm)))
        shm_deaths_handle(shm);
    /* Messages to oneself and those of others are first in turn, so that neither starves the other. */
    int delivered;
    if (shm->polls & 1) {
        delivered = shm_poll_self(shm, budget);
        delivered += shm_poll_rings(shm, budget - delivered);
    } else {
        delivered = shm_poll_rings(shm, budget);
        delivered += shm_poll_self(shm, budget - delivered);
    }
    shm_flush(shm);
    shm->empty = delivered == 0 ? shm->empty + 1 : 0;
    return delivered;
}
