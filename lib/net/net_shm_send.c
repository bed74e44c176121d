/* The sending side of the shm transport. Per peer one ring under a light lock; what does not fit waits in
 * parcels, first in, first out, which polls move into the ring, and the look before sleep. */
#include "net/net_shm.h"

#include <stdlib.h>
#include <string.h>

#define SHM_BLOCK 16384 /* bytes of memory for parcels that are got at once */

/** First message to this peer: makes the ring real and shows it to the receiver. */
static int shm_out_open(struct shm_net *shm, struct shm_out *out, int peer)
{
    uint64_t offset = shm_ring_offset(shm, peer, shm->net.rank);
    int status = base_segment_commit(shm->segment, offset, shm->ring_bytes);
    if (status != RAYMPI_OK)
        return status;
    net_ring_writer_init(&out->lane->writer, shm->segment->write + offset, shm->ring_bytes);
    out->record_max = net_ring_record_max(out->lane->writer.capacity);
    _Atomic uint64_t *used = &shm->ranks[peer].used[shm->net.rank / 64];
    /* Release: the ring's memory exists before the receiver reads it. */
    atomic_fetch_or_explicit(used, UINT64_C(1) << (shm->net.rank % 64), memory_order_release);
    net_count(&shm->net.rings, 1);
    atomic_store_explicit(&out->open, 1, memory_order_relaxed);
    return RAYMPI_OK;
}

/** Writes as much of a parcel as the ring takes; true when all of it is in. */
static bool shm_parcel_write(struct shm_net *shm, struct shm_out *out, struct shm_parcel *parcel)
{
    struct net_ring_record record = {
        .type = parcel->type, .epoch = net_epoch(&shm->net), .total = parcel->total};
    do {
        uint32_t left = parcel->total - parcel->done;
        record.size = left < out->record_max ? left : out->record_max;
        if (parcel->done > 0)
            record.kind = NET_RING_NEXT;
        else
            record.kind = record.size == parcel->total ? NET_RING_MESSAGE : NET_RING_FIRST;
        void *room = net_ring_reserve(&out->lane->writer, record.size);
        if (room == NULL)
            return false;
        net_cursor_copy(&parcel->cursor, room, record.size);
        if (record.kind == NET_RING_NEXT && base_defect(DEFECT_SPLIT_MESSAGE))
            memset(room, 0, record.size);
        net_ring_publish(&out->lane->writer, &record);
        parcel->done += record.size;
    } while (parcel->done < parcel->total);
    return true;
}

/** Memory a parcel takes; never 0, so that an empty message is seen to wait too. */
static size_t shm_parcel_cost(const struct shm_parcel *parcel)
{
    return sizeof *parcel + parcel->piece.length;
}

/** Bytes of a block that a parcel with so many bytes takes. */
static size_t shm_parcel_room(size_t bytes)
{
    return base_align_up(sizeof(struct shm_parcel) + bytes, 8);
}

static struct shm_block *shm_block_add(struct shm_out *out, size_t need)
{
    size_t size = need > SHM_BLOCK ? need : SHM_BLOCK;
    struct shm_block *block = malloc(sizeof *block + size);
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->size = (uint32_t)size;
    block->used = block->parcels = 0;
    if (out->block_last != NULL)
        out->block_last->next = block;
    else
        out->blocks = block;
    out->block_last = block;
    return block;
}

static struct shm_parcel *shm_parcel_new(struct shm_out *out, size_t bytes)
{
    size_t need = shm_parcel_room(bytes);
    struct shm_block *block = out->block_last;
    if ((block == NULL || block->size - block->used < need) && (block = shm_block_add(out, need)) == NULL)
        return NULL;
    struct shm_parcel *parcel = (struct shm_parcel *)(void *)(block->data + block->used);
    block->used += (uint32_t)need;
    block->parcels++;
    parcel->block = block;
    return parcel;
}

/** Of the oldest parcel. A block goes with its last parcel: with many peers, empty ones would add up. */
static void shm_parcel_free(struct shm_out *out, struct shm_parcel *parcel)
{
    struct shm_block *block = parcel->block;
    if (--block->parcels > 0)
        return;
    out->blocks = block->next;
    if (out->blocks == NULL)
        out->block_last = NULL;
    free(block);
}

/** Copies what is left of a message to the end of the queue. */
static int shm_out_queue(struct shm_net *shm, struct shm_out *out, const struct shm_parcel *parcel)
{
    size_t left = parcel->total - parcel->done;
    struct shm_parcel *copy = shm_parcel_new(out, left);
    if (copy == NULL)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory to queue a message of %u bytes", parcel->total);
    struct net_cursor cursor = parcel->cursor;
    struct shm_block *block = copy->block;
    *copy = *parcel;
    copy->block = block;
    copy->next = NULL;
    net_cursor_copy(&cursor, copy + 1, left);
    copy->piece = (struct net_piece){.data = copy + 1, .length = left};
    copy->cursor = (struct net_cursor){.piece = &copy->piece};
    if (out->first == NULL)
        atomic_fetch_add(&shm->queues, 1);
    *out->last = copy;
    out->last = &copy->next;
    atomic_fetch_add_explicit(&out->waiting, shm_parcel_cost(copy), memory_order_relaxed);
    net_count(&shm->net.queued, 1);
    return RAYMPI_OK;
}

/** Remembers that a ring is still to be made. */
static void shm_out_unopened(struct shm_net *shm, struct shm_out *out, int peer)
{
    if (out->unopened)
        return;
    out->unopened = true;
    out->retry = base_now() + SHM_RETRY;
    atomic_fetch_add(&shm->unopened, 1);
    base_log(BASE_LOG_WARN, "net", "messages to rank %d wait for memory: %s", peer, base_detail());
}

/** Tries again to make the ring that parcels wait for. */
static bool shm_out_reopen(struct shm_net *shm, struct shm_out *out, int peer)
{
    if (out->lane->writer.ring != NULL)
        return true;
    if (out->unopened && base_now() < out->retry)
        return false;
    out->retry = base_now() + SHM_RETRY;
    if (shm_out_open(shm, out, peer) != RAYMPI_OK)
        return false;
    if (out->unopened)
        atomic_fetch_sub(&shm->unopened, 1);
    out->unopened = false;
    return true;
}

int shm_reach(struct net *net, int peer)
{
    struct shm_net *shm = shm_of(net);
    struct shm_out *out = &shm->out[peer];
    if (peer == net->rank || base_likely(atomic_load_explicit(&out->open, memory_order_relaxed)))
        return RAYMPI_OK;
    base_spin_lock(&out->lane->lock);
    bool opened = shm_out_reopen(shm, out, peer);
    base_spin_unlock(&out->lane->lock);
    return opened ? RAYMPI_OK
                  : base_fail(RAYMPI_ERR_STORE_FULL,
                              "no memory in /dev/shm for messages to rank %d: free some", peer);
}

/** After what decides about it has changed: nothing may overtake a parcel, or go to a rank that is gone. */
static void shm_out_judge(struct shm_out *out)
{
    bool free = out->lane->writer.ring != NULL && out->first == NULL && !out->gone;
    out->lane->short_end = free ? out->record_max + 1 : 0;
    out->lane->short_until = 0; /* it is looked at again */
}

static int shm_out_put(struct shm_net *shm, struct shm_out *out, int peer, struct shm_parcel *parcel)
{
    if (base_unlikely(out->gone))
        return base_fail(RAYMPI_ERR_NODE_DIED, "message of type %u to rank %d, which died", parcel->type,
                         peer);
    /* Without memory for the ring (/dev/shm is full just now) the message waits: many of them are replies
     * that somebody depends on. */
    bool opened = base_likely(out->lane->writer.ring != NULL) || shm_out_reopen(shm, out, peer);
    shm_out_judge(out);
    if (base_likely(opened) && out->first == NULL && shm_parcel_write(shm, out, parcel))
        return RAYMPI_OK;
    int status = shm_out_queue(shm, out, parcel);
    if (status == RAYMPI_OK && !opened)
        shm_out_unopened(shm, out, peer);
    shm_out_judge(out);
    return status; /* MEMORY: the receiver drops the parts it has when the next message begins */
}

static int shm_send_self(struct shm_net *shm, uint16_t type, const struct net_piece *pieces, size_t length,
                         _Atomic uint32_t *counter)
{
    struct shm_self *message = malloc(sizeof *message + length);
    if (message == NULL)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a message of %zu bytes to oneself", length);
    message->next = NULL;
    message->type = type;
    message->length = length;
    struct net_cursor cursor = {.piece = pieces};
    net_cursor_copy(&cursor, message->data, length);
    pthread_mutex_lock(&shm->self_lock);
    atomic_fetch_add_explicit(&shm->self_messages, 1, memory_order_relaxed);
    net_count_alone(counter);
    *shm->self_last = message;
    shm->self_last = &message->next;
    atomic_fetch_add_explicit(&shm->self_count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&shm->self_lock);
    return RAYMPI_OK;
}

/** A short message while nothing waits: straight into the ring. */
static inline bool shm_out_short(struct net_lane *lane, uint16_t type, uint32_t epoch,
                                 const struct net_piece *piece, size_t length)
{
    if (base_unlikely(length >= lane->short_end || piece->length != length ||
                      !net_ring_has_short(&lane->writer, (uint32_t)length)))
        return false;
    net_ring_copy(net_ring_payload(&lane->writer), piece->data, (uint32_t)length);
    net_ring_end_short(&lane->writer, type, epoch, (uint32_t)length);
    return true;
}

static __attribute__((noinline)) int shm_out_long(struct shm_net *shm, struct shm_out *out, int peer,
                                                  uint16_t type, const struct net_piece *pieces,
                                                  size_t length)
{
    struct shm_parcel parcel = {.cursor = {.piece = pieces}, .type = type, .total = (uint32_t)length};
    return shm_out_put(shm, out, peer, &parcel);
}

int shm_send(struct net *net, int peer, uint16_t type, const struct net_piece *pieces, size_t length,
             _Atomic uint32_t *counter)
{
    struct shm_net *shm = shm_of(net);
    struct shm_out *out = &shm->out[peer];
    struct net_lane *lane = &net->front.lanes[peer];
    int status = RAYMPI_OK;
    if (base_unlikely(peer == net->rank)) {
        status = shm_send_self(shm, type, pieces, length, counter);
    } else {
        base_spin_lock(&lane->lock);
        if (base_unlikely(!shm_out_short(lane, type, net_epoch(net), pieces, length)))
            status = shm_out_long(shm, out, peer, type, pieces, length);
        if (base_likely(status == RAYMPI_OK)) {
            net_lane_count(lane, length);
            net_count_alone(counter);
        }
        base_spin_unlock(&lane->lock);
    }
    shm_knock(shm, peer);
    /* The receiver may have made room, and said so, before the parcel was in the queue: while our poller was
     * still awake, or about to sleep on an empty queue. It has to look once more. */
    if (base_unlikely(atomic_load_explicit(&out->waiting, memory_order_relaxed) > 0))
        shm_knock(shm, net->rank);
    return status;
}

uint64_t shm_sent(const struct net *net)
{
    uint64_t sum = atomic_load_explicit(&shm_of(net)->self_messages, memory_order_relaxed);
    for (int peer = 0; peer < net->size; peer++)
        sum += atomic_load_explicit(&net->front.lanes[peer].messages, memory_order_relaxed);
    return sum;
}

uint64_t shm_bytes_sent(const struct net *net)
{
    uint64_t sum = 0;
    for (int peer = 0; peer < net->size; peer++)
        sum += atomic_load_explicit(&net->front.lanes[peer].bytes, memory_order_relaxed);
    return sum;
}

size_t shm_pending(struct net *net, int peer)
{
    return atomic_load_explicit(&shm_of(net)->out[peer].waiting, memory_order_relaxed);
}

static void shm_parcel_pop(struct shm_net *shm, struct shm_out *out)
{
    struct shm_parcel *parcel = out->first;
    out->first = parcel->next;
    if (out->first == NULL) {
        out->last = &out->first;
        atomic_fetch_sub(&shm->queues, 1);
    }
    atomic_fetch_sub_explicit(&out->waiting, shm_parcel_cost(parcel), memory_order_relaxed);
    shm_parcel_free(out, parcel);
}

/** Moves what the ring takes; true when something moved. */
static bool shm_out_flush(struct shm_net *shm, struct shm_out *out, int peer)
{
    if (base_unlikely(!shm_out_reopen(shm, out, peer)))
        return false;
    uint64_t before = out->lane->writer.put;
    while (out->first != NULL && shm_parcel_write(shm, out, out->first))
        shm_parcel_pop(shm, out);
    shm_out_judge(out);
    return out->lane->writer.put != before;
}

bool shm_flush(struct shm_net *shm)
{
    bool moved = false;
    if (base_likely(atomic_load(&shm->queues) == 0))
        return false;
    for (int peer = 0; peer < shm->net.size; peer++) {
        struct shm_out *out = &shm->out[peer];
        if (atomic_load_explicit(&out->waiting, memory_order_relaxed) == 0)
            continue;
        base_spin_lock(&out->lane->lock);
        bool here = shm_out_flush(shm, out, peer);
        base_spin_unlock(&out->lane->lock);
        if (here)
            shm_knock(shm, peer);
        moved = moved || here;
    }
    return moved;
}

void shm_out_drop(struct shm_net *shm, int peer, bool gone)
{
    struct shm_out *out = &shm->out[peer];
    base_spin_lock(&out->lane->lock);
    out->gone = out->gone || gone;
    while (out->first != NULL)
        shm_parcel_pop(shm, out);
    if (out->unopened)
        atomic_fetch_sub(&shm->unopened, 1);
    out->unopened = false;
    shm_out_judge(out);
    base_spin_unlock(&out->lane->lock);
}
