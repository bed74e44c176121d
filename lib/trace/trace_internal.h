/* What the files of this room share. */
#ifndef RAYMPI_TRACE_INTERNAL_H
#define RAYMPI_TRACE_INTERNAL_H

#include "trace/trace.h"

#include <pthread.h>

#define TRACE_MAGIC UINT64_C(0x3145434152545952) /* "RYTRACE1"; other byte orders do not match */

struct trace_named {
    uint64_t hash;
    char *name;
};

/** One moment on both clocks. */
struct trace_moment {
    uint64_t ticks, nanoseconds;
};

struct trace {
    int rank;
    uint64_t slots; /* of each ring; a power of two */
    bool counter_register;
    struct trace_moment opened;
    pthread_mutex_t lock; /* of all that follows */
    struct trace_thread *threads;
    struct trace_thread **threads_end;
    struct trace_named *names;
    size_t names_count, names_room;
};

/** Reads both clocks at once, as far as that is possible. */
struct trace_moment trace_moment(bool counter_register);

/* The serialized form, native byte order, nothing aligned:
 *     u64 magic, u64 length of all, u64 start in nanoseconds, u32 rank, u32 names, u32 threads
 *     names:   u64 hash, u32 length, bytes
 *     threads: u32 length, bytes of the name, u64 lost events, u64 events
 *     events:  u64 nanoseconds since start << 8 | kind, u64 a, u64 b */

struct trace_event_words {
    uint64_t stamp, a, b;
};

/** A serialized trace being read; every read checks the length. */
struct trace_reader {
    const char *data;
    size_t left;
    bool bad; /* something was missing; all that is read from then on is 0 */
};
uint64_t trace_read_u64(struct trace_reader *reader);
uint32_t trace_read_u32(struct trace_reader *reader);
/** A counted string; NULL (and bad) when it is cut off. Not terminated. */
const char *trace_read_text(struct trace_reader *reader, uint32_t *length);
struct trace_event_words trace_read_event(struct trace_reader *reader);

struct trace_header {
    uint64_t start;
    uint32_t rank, names, threads;
};
/** False when the buffer does not begin as a trace of its length does. */
bool trace_read_header(struct trace_reader *reader, struct trace_header *header);
/** Whether a whole buffer is well-formed. */
bool trace_check(const char *buffer, size_t length);

#endif
