/* Single-producer single-consumer ring: see net_ring.h. */
#include "net/net_ring.h"

void net_ring_writer_init(struct net_ring_writer *writer, void *memory, uint32_t bytes)
{
    *writer = (struct net_ring_writer){.ring = memory, .capacity = bytes - (uint32_t)sizeof(struct net_ring)};
}

void net_ring_reader_init(struct net_ring_reader *reader, void *memory, uint32_t bytes)
{
    uint32_t capacity = bytes - (uint32_t)sizeof(struct net_ring);
    *reader = (struct net_ring_reader){.ring = memory, .capacity = capacity, .quarter = capacity / 4};
}

uint32_t net_ring_record_max(uint32_t capacity)
{
    return capacity / 4 / 8 * 8 - (uint32_t)sizeof(struct net_ring_header);
}

/** With the cursor last seen first: the consumer's line is only touched when that is
 * used up. */
bool net_ring_has_room(struct net_ring_writer *writer, uint64_t bytes)
{
    if (base_likely(writer->capacity - (writer->put - writer->taken) >= bytes))
        return true;
    /* Acquire: the consumer has read its records before we write over them. */
    writer->taken = atomic_load_explicit(&writer->ring->taken, memory_order_acquire);
    return writer->capacity - (writer->put - writer->taken) >= bytes;
}

void *net_ring_reserve(struct net_ring_writer *writer, uint32_t size)
{
    uint32_t bytes = net_ring_bytes(size);
    uint32_t left = writer->capacity - writer->index;
    uint32_t skip = bytes > left ? left : 0;
    uint64_t need = skip + bytes + sizeof(uint64_t); /* and the mark after it, which is set to zero */
    if (base_unlikely(!net_ring_has_room(writer, need))) {
        atomic_store_explicit(&writer->ring->blocked, 1, memory_order_relaxed);
        /* Orders "blocked" before the second look at the cursor; the consumer stores the cursor, fences, and
         * looks at "blocked": one of the two sees the other. */
        base_fence();
        if (!net_ring_has_room(writer, need))
            return NULL;
    }
    writer->start = skip > 0 ? 0 : writer->index;
    return writer->ring->data + writer->start + sizeof(struct net_ring_header);
}

void net_ring_publish(struct net_ring_writer *writer, const struct net_ring_record *record)
{
    uint32_t bytes = net_ring_bytes(record->size);
    uint32_t next = writer->start + bytes == writer->capacity ? 0 : writer->start + bytes;
    struct net_ring_header *header = net_ring_header_at(writer->ring, writer->start);
    uint64_t mark = net_ring_mark(record->kind, record->size, record->type, record->attempt);
    header->epoch = record->epoch;
    header->total = record->total;
    atomic_store_explicit(&net_ring_header_at(writer->ring, next)->mark, 0, memory_order_relaxed);
    /* Release: payload, header and the zero of the next mark are there before this mark is. */
    if (base_likely(writer->start == writer->index)) {
        atomic_store_explicit(&header->mark, mark, memory_order_release);
        writer->put += bytes;
    } else {
        struct net_ring_header *here = net_ring_header_at(writer->ring, writer->index);
        atomic_store_explicit(&header->mark, mark, memory_order_relaxed);
        /* Release: the consumer, sent to the beginning by this mark, finds the record there complete. */
        atomic_store_explicit(&here->mark, net_ring_mark(NET_RING_SKIP, 0, 0, 0), memory_order_release);
        writer->put += writer->capacity - writer->index + bytes;
    }
    writer->index = next;
}

static enum net_ring_state ring_decode(const struct net_ring_reader *reader, uint64_t mark,
                                       struct net_ring_record *record)
{
    const struct net_ring_header *header = net_ring_header_at(reader->ring, reader->index);
    record->kind = (enum net_ring_kind)(mark >> 48 & 0xff);
    record->size = (uint32_t)(mark & 0xffff);
    if (mark >> 56 != NET_RING_MAGIC || record->kind < NET_RING_MESSAGE || record->kind > NET_RING_NEXT ||
        record->size > net_ring_record_max(reader->capacity) ||
        net_ring_bytes(record->size) > reader->capacity - reader->index)
        return NET_RING_CORRUPT;
    record->type = (uint16_t)(mark >> 16);
    record->attempt = (uint16_t)(mark >> 32);
    record->epoch = header->epoch;
    record->total = header->total;
    record->data = reader->ring->data + reader->index + sizeof *header;
    return NET_RING_READY;
}

enum net_ring_state net_ring_peek(struct net_ring_reader *reader, struct net_ring_record *record)
{
    /* Acquire: what was written before the mark was published is seen after it. */
    uint64_t mark =
        atomic_load_explicit(&net_ring_header_at(reader->ring, reader->index)->mark, memory_order_acquire);
    if (mark == 0)
        return NET_RING_EMPTY;
    if (base_unlikely(mark == net_ring_mark(NET_RING_SKIP, 0, 0, 0))) {
        if (reader->index == 0)
            return NET_RING_CORRUPT;
        reader->taken += reader->capacity - reader->index;
        reader->index = 0;
        /* Visible by the acquire above: it was written before the skip mark. */
        mark = atomic_load_explicit(&net_ring_header_at(reader->ring, 0)->mark, memory_order_acquire);
    }
    return ring_decode(reader, mark, record);
}

bool net_ring_tell(struct net_ring_reader *reader)
{
    reader->told = reader->taken;
    /* Release: our reads of the records are done before the producer may write over them. */
    atomic_store_explicit(&reader->ring->taken, reader->taken, memory_order_release);
    /* Orders the cursor before the look at "blocked": the other half of net_ring_reserve(). */
    base_fence();
    if (base_likely(!atomic_load_explicit(&reader->ring->blocked, memory_order_relaxed)))
        return false;
    /* seq_cst: comes before our look at the producer's "asleep". */
    return atomic_exchange(&reader->ring->blocked, 0) != 0;
}
