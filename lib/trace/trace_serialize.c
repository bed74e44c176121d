/* A rank's trace as bytes, to be sent to the rank that writes the file; and the checked reading of such
 * bytes, which may come from anywhere. */
#include "trace/trace_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- writing */

struct trace_writer {
    char *data;
    size_t length, room;
    bool failed; /* out of memory: further writes do nothing */
};

static void *writer_extend(struct trace_writer *writer, size_t bytes)
{
    if (writer->failed)
        return NULL;
    if (bytes > writer->room - writer->length) {
        size_t room = 2 * writer->room + bytes + 4096;
        char *data = realloc(writer->data, room);
        if (data == NULL) {
            writer->failed = true;
            return NULL;
        }
        writer->data = data;
        writer->room = room;
    }
    void *place = writer->data + writer->length;
    writer->length += bytes;
    return place;
}

static void write_bytes(struct trace_writer *writer, const void *bytes, size_t length)
{
    void *place = writer_extend(writer, length);
    if (place != NULL && length > 0)
        memcpy(place, bytes, length);
}

static void write_u64(struct trace_writer *writer, uint64_t value)
{
    write_bytes(writer, &value, sizeof value);
}

static void write_u32(struct trace_writer *writer, uint32_t value)
{
    write_bytes(writer, &value, sizeof value);
}

static void write_text(struct trace_writer *writer, const char *text)
{
    size_t length = strlen(text);
    write_u32(writer, (uint32_t)length);
    write_bytes(writer, text, length);
}

/** Nanoseconds since the trace was opened, from ticks since then. */
struct trace_scale {
    double nanoseconds_per_tick;
    uint64_t most; /* ticks until now: what lies beyond is a clock that ran backwards */
};

static struct trace_scale trace_scale(const struct trace *trace)
{
    struct trace_moment now = trace_moment(trace->counter_register);
    struct trace_scale scale = {1, now.ticks - trace->opened.ticks};
    if (trace->counter_register && scale.most > 0)
        scale.nanoseconds_per_tick =
            (double)(now.nanoseconds - trace->opened.nanoseconds) / (double)scale.most;
    return scale;
}

static uint64_t stamp_scale(uint64_t stamp, const struct trace_scale *scale)
{
    uint64_t ticks = stamp >> 8;
    /* The tick may be a little before the opening, seen from another core: then it wraps. */
    if (ticks > scale->most && ticks > UINT64_MAX >> 9)
        ticks = 0;
    return (uint64_t)((double)ticks * scale->nanoseconds_per_tick) << 8 | (stamp & 0xff);
}

/** Copies the events of a ring that may be written meanwhile; returns the index of the first that is whole,
 * of
 *  [*first, head). */
static uint64_t ring_copy(struct trace_thread *thread, uint64_t *first, uint64_t head,
                          struct trace_event_words *events)
{
    uint64_t slots = thread->mask + 1;
    *first = head >= slots ? head - slots + 1 : 0;
    for (uint64_t i = *first; i < head; i++) {
        struct trace_slot *slot = &thread->slots[i & thread->mask];
        struct trace_event_words *event = &events[i - *first];
        /* acquire, each: keeps the second look at the head behind these reads; pairs with trace_event() */
        event->stamp = atomic_load_explicit(&slot->stamp, memory_order_acquire);
        event->a = atomic_load_explicit(&slot->a, memory_order_acquire);
        event->b = atomic_load_explicit(&slot->b, memory_order_acquire);
    }
    /* Event `later` may be half written, over the one a whole ring before it. */
    uint64_t later = atomic_load_explicit(&thread->head, memory_order_relaxed);
    uint64_t whole = later >= slots ? later - slots + 1 : 0;
    return whole > *first ? whole : *first;
}

static void write_thread(struct trace_writer *writer, struct trace_thread *thread,
                         const struct trace_scale *scale)
{
    /* acquire: the events below this head are complete */
    uint64_t head = atomic_load_explicit(&thread->head, memory_order_acquire);
    uint64_t slots = thread->mask + 1, first;
    size_t room = (size_t)(head < slots ? head : slots);
    struct trace_event_words *events = malloc((room + 1) * sizeof *events);
    if (events == NULL) {
        writer->failed = true;
        return;
    }
    uint64_t whole = ring_copy(thread, &first, head, events);
    whole = whole < head ? whole : head;
    write_text(writer, thread->name);
    write_u64(writer, whole);
    write_u64(writer, head - whole);
    for (uint64_t i = whole; i < head; i++)
        events[i - first].stamp = stamp_scale(events[i - first].stamp, scale);
    write_bytes(writer, events + (whole - first), (size_t)(head - whole) * sizeof *events);
    free(events);
}

/** The lock is held. */
static void write_all(struct trace_writer *writer, const struct trace *trace)
{
    struct trace_scale scale = trace_scale(trace);
    uint32_t threads = 0;
    for (struct trace_thread *thread = trace->threads; thread != NULL; thread = thread->next)
        threads++;
    write_u64(writer, TRACE_MAGIC);
    write_u64(writer, 0); /* the length, when it is known */
    write_u64(writer, trace->opened.nanoseconds);
    write_u32(writer, (uint32_t)trace->rank);
    write_u32(writer, (uint32_t)trace->names_count);
    write_u32(writer, threads);
    for (size_t i = 0; i < trace->names_count; i++) {
        write_u64(writer, trace->names[i].hash);
        write_text(writer, trace->names[i].name);
    }
    for (struct trace_thread *thread = trace->threads; thread != NULL; thread = thread->next)
        write_thread(writer, thread, &scale);
}

int trace_serialize(struct trace *trace, char **buffer, size_t *length)
{
    struct trace_writer writer = {NULL, 0, 0, false};
    pthread_mutex_lock(&trace->lock);
    write_all(&writer, trace);
    pthread_mutex_unlock(&trace->lock);
    if (writer.failed) {
        free(writer.data);
        return base_fail(RAYMPI_ERR_MEMORY, "no memory to collect the trace; lower RAYMPI_TRACE_EVENTS");
    }
    uint64_t bytes = writer.length;
    memcpy(writer.data + sizeof(uint64_t), &bytes, sizeof bytes);
    *buffer = writer.data;
    *length = writer.length;
    return RAYMPI_OK;
}

/* ---- reading */

static void read_bytes(struct trace_reader *reader, void *bytes, size_t length)
{
    memset(bytes, 0, length);
    if (reader->bad || length > reader->left) {
        reader->bad = true;
        return;
    }
    memcpy(bytes, reader->data, length);
    reader->data += length;
    reader->left -= length;
}

uint64_t trace_read_u64(struct trace_reader *reader)
{
    uint64_t value;
    read_bytes(reader, &value, sizeof value);
    return value;
}

uint32_t trace_read_u32(struct trace_reader *reader)
{
    uint32_t value;
    read_bytes(reader, &value, sizeof value);
    return value;
}

const char *trace_read_text(struct trace_reader *reader, uint32_t *length)
{
    *length = trace_read_u32(reader);
    if (reader->bad || *length > reader->left) {
        reader->bad = true;
        *length = 0;
        return NULL;
    }
    const char *text = reader->data;
    reader->data += *length;
    reader->left -= *length;
    return text;
}

struct trace_event_words trace_read_event(struct trace_reader *reader)
{
    struct trace_event_words event;
    read_bytes(reader, &event, sizeof event);
    return event;
}

bool trace_read_header(struct trace_reader *reader, struct trace_header *header)
{
    size_t length = reader->left;
    if (trace_read_u64(reader) != TRACE_MAGIC || trace_read_u64(reader) != length)
        return false;
    header->start = trace_read_u64(reader);
    header->rank = trace_read_u32(reader);
    header->names = trace_read_u32(reader);
    header->threads = trace_read_u32(reader);
    /* A name takes 12 bytes at least and a thread 20: a count beyond that is a lie, not a reason to allocate.
     */
    return !reader->bad && header->names <= reader->left / 12 && header->threads <= reader->left / 20;
}

bool trace_check(const char *buffer, size_t length)
{
    struct trace_reader reader = {buffer, length, false};
    struct trace_header header;
    uint32_t text;
    if (!trace_read_header(&reader, &header))
        return false;
    for (uint32_t i = 0; i < header.names && !reader.bad; i++) {
        trace_read_u64(&reader);
        trace_read_text(&reader, &text);
    }
    for (uint32_t i = 0; i < header.threads && !reader.bad; i++) {
        trace_read_text(&reader, &text);
        trace_read_u64(&reader);
        uint64_t events = trace_read_u64(&reader);
        for (uint64_t j = 0; j < events && !reader.bad; j++)
            if ((trace_read_event(&reader).stamp & 0xff) >= TRACE_KINDS)
                return false;
    }
    return !reader.bad && reader.left == 0;
}
