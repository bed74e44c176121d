/* A single-producer single-consumer ring of records in shared memory.
 *
 * A record is published by its own first word ("mark"), not by a shared tail: the consumer finds mark and
 * payload on the same cache line. Before a mark is published, the word where the next mark will be is set to
 * zero; so the consumer never takes old payload for a mark. A record lies in one piece; when it does not fit
 * before the end, a skip mark sends the consumer to the beginning. A producer killed half-way has published
 * nothing.
 *
 * The consumer tells how far it is every quarter of the ring. A record (or skip) takes a quarter at most, so
 * in a ring that is empty but not told to be, there is always room for one record and one skip. */
#ifndef RAYMPI_NET_RING_H
#define RAYMPI_NET_RING_H

#include "base/base.h"

#include <string.h>

enum net_ring_kind {
    NET_RING_MESSAGE = 1, /* a whole message */
    NET_RING_FIRST,       /* first part of a long one */
    NET_RING_NEXT,        /* further part */
    NET_RING_SKIP,        /* go on at the beginning */
};

/** The beginning of the memory of a ring; data follows. All zero is an empty ring. */
struct net_ring {
    _Alignas(BASE_CACHE_LINE) _Atomic uint64_t taken;   /* bytes consumed; written by the consumer */
    _Alignas(BASE_CACHE_LINE) _Atomic uint32_t blocked; /* the producer waits for room */
    _Alignas(BASE_CACHE_LINE) char data[];
};

#define NET_RING_MAGIC UINT64_C(0xa5)
#define NET_RING_AHEAD 128 /* bytes: two short messages */

/** What precedes the payload. Mark, from the low bits: size 16, type 16, attempt 16, kind 8, magic 8. */
struct net_ring_header {
    _Atomic uint64_t mark;
    uint32_t epoch;
    uint32_t total;
};
_Static_assert(sizeof(struct net_ring_header) == 16, "payload follows the header at a multiple of 8");

static inline uint64_t net_ring_mark(enum net_ring_kind kind, uint32_t size, uint16_t type, uint16_t attempt)
{
    return NET_RING_MAGIC << 56 | (uint64_t)kind << 48 | (uint64_t)attempt << 32 | (uint64_t)type << 16 |
           size;
}

static inline struct net_ring_header *net_ring_header_at(struct net_ring *ring, uint32_t index)
{
    return (struct net_ring_header *)(void *)(ring->data + index);
}

/** Of a record with so much payload. */
static inline uint32_t net_ring_bytes(uint32_t size)
{
    return (uint32_t)base_align_up(sizeof(struct net_ring_header) + size, 8);
}

struct net_ring_writer {
    struct net_ring *ring;
    uint32_t capacity;
    uint32_t index; /* where the next mark goes */
    uint32_t start; /* where the reserved record begins */
    uint64_t put;   /* bytes written since the beginning */
    uint64_t taken; /* bytes consumed as last seen */
};

struct net_ring_reader {
    struct net_ring *ring;
    uint32_t capacity;
    uint32_t quarter; /* of it */
    uint32_t index;
    uint64_t taken;
    uint64_t told; /* `taken` as the producer can see it */
};

struct net_ring_record {
    enum net_ring_kind kind;
    uint16_t type;
    uint16_t attempt;
    uint32_t epoch;
    uint32_t size;  /* bytes of payload in this record */
    uint32_t total; /* bytes of the whole message */
    const char *data;
};

enum net_ring_state { NET_RING_EMPTY = 0, NET_RING_READY, NET_RING_CORRUPT };

/** `bytes` of memory at `memory`, a multiple of 8, for both ends. */
void net_ring_writer_init(struct net_ring_writer *writer, void *memory, uint32_t bytes);
void net_ring_reader_init(struct net_ring_reader *reader, void *memory, uint32_t bytes);
/** Most payload bytes of one record. */
uint32_t net_ring_record_max(uint32_t capacity);

/** Room for a record with `size` bytes of payload, to be filled and published; NULL when there is none: then
 *  "blocked" is set, and the consumer learns of it in net_ring_tell(). */
void *net_ring_reserve(struct net_ring_writer *writer, uint32_t size);
/** Publishes what was reserved; record->data is not looked at. */
void net_ring_publish(struct net_ring_writer *writer, const struct net_ring_record *record);

/** The next record, without consuming it. */
enum net_ring_state net_ring_peek(struct net_ring_reader *reader, struct net_ring_record *record);
/** True when there is something to peek at; cheap. */
static inline bool net_ring_ready(const struct net_ring_reader *reader)
{
    /* A record begins with its mark. */
    const _Atomic uint64_t *mark = (const _Atomic uint64_t *)(void *)(reader->ring->data + reader->index);
    return atomic_load_explicit((_Atomic uint64_t *)mark, memory_order_relaxed) != 0;
}
/** Tells the producer how far the consumer is; true when it was blocked and should be woken. */
bool net_ring_tell(struct net_ring_reader *reader);
static inline bool net_ring_gone(struct net_ring_reader *reader, uint32_t bytes)
{
    uint32_t next = reader->index + bytes;
    reader->index = next == reader->capacity ? 0 : next;
    reader->taken += bytes;
    return base_unlikely(reader->taken - reader->told >= reader->quarter) && net_ring_tell(reader);
}
/** Gives the record back; true when the producer was blocked and should be woken. */
static inline bool net_ring_consume(struct net_ring_reader *reader, const struct net_ring_record *record)
{
    return net_ring_gone(reader, net_ring_bytes(record->size));
}

/* ---- the commonest record: a whole message that neither waits nor goes round the end of the ring */

/** Short messages were written just now, word by word, and longer loads would wait for all those stores. */
static inline void net_ring_word(char *to, const char *from, unsigned i)
{
    uint64_t word;
    memcpy(&word, from + 8 * i, 8);
    atomic_store_explicit((_Atomic uint64_t *)(void *)(to + 8 * i), word, memory_order_relaxed);
}
static inline void net_ring_copy(char *to, const char *from, uint32_t size)
{
    switch (size / 8) {
    case 6:
        net_ring_word(to, from, 5);
        net_ring_word(to, from, 4); /* fall through */
    case 4:
        net_ring_word(to, from, 3); /* fall through */
    case 3:
        net_ring_word(to, from, 2); /* fall through */
    case 2:
        net_ring_word(to, from, 1); /* fall through */
    case 1:
        net_ring_word(to, from, 0);
        if (base_unlikely(size % 8 != 0))
            memcpy(to + size / 8 * 8, from + size / 8 * 8, size % 8);
        break;
    default:
        if (size > 0)
            memcpy(to, from, size);
    }
}

/** Looks at how far the consumer is: is there room now? */
bool net_ring_has_room(struct net_ring_writer *writer, uint64_t bytes);
/** Is there room for such a record? At most record_max bytes. */
static inline bool net_ring_has_short(struct net_ring_writer *writer, uint32_t size)
{
    uint32_t bytes = net_ring_bytes(size);
    return base_likely(writer->index + bytes < writer->capacity) &&
           (base_likely(writer->capacity - (writer->put - writer->taken) >= bytes + sizeof(uint64_t)) ||
            net_ring_has_room(writer, bytes + sizeof(uint64_t)));
}
/** Then: where its payload goes, of any size that there is room for. */
static inline void *net_ring_payload(const struct net_ring_writer *writer)
{
    return net_ring_header_at(writer->ring, writer->index) + 1;
}
/** Publishes it. */
static inline void net_ring_end_short(struct net_ring_writer *writer, uint16_t type, uint32_t epoch,
                                      uint32_t size)
{
    uint32_t bytes = net_ring_bytes(size), next = writer->index + bytes;
    struct net_ring_header *header = net_ring_header_at(writer->ring, writer->index);
    header->epoch = epoch;
    header->total = size;
    atomic_store_explicit(&net_ring_header_at(writer->ring, next)->mark, 0, memory_order_relaxed);
    /* What comes after that is still the consumer's, and stores wait for each other: it is asked for in time.
     */
    if (base_likely(next + NET_RING_AHEAD < writer->capacity))
        base_prefetch_line((uintptr_t)net_ring_header_at(writer->ring, next + NET_RING_AHEAD));
    writer->put += bytes;
    writer->index = next;
    /* Release: as in net_ring_publish(). */
    atomic_store_explicit(&header->mark, net_ring_mark(NET_RING_MESSAGE, size, type, 0),
                          memory_order_release);
}

/** The next record, if it is such a one and well-formed; NULL: it is not, see net_ring_peek(). After it was
 * used: net_ring_gone() with `bytes`. */
static inline const struct net_ring_header *net_ring_peek_short(const struct net_ring_reader *reader,
                                                                uint64_t *mark, uint32_t *bytes)
{
    const struct net_ring_header *header = net_ring_header_at(reader->ring, reader->index);
    /* Acquire: what was written before the mark was published is seen after it. */
    *mark = atomic_load_explicit(&((struct net_ring_header *)header)->mark, memory_order_acquire);
    uint32_t size = (uint32_t)(*mark & 0xffff);
    *bytes = net_ring_bytes(size);
    if (base_unlikely(*mark >> 32 != (NET_RING_MAGIC << 24 | NET_RING_MESSAGE << 16) ||
                      header->total != size || *bytes > reader->quarter ||
                      *bytes > reader->capacity - reader->index))
        return NULL;
    return header;
}

#endif
