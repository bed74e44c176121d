/* Serialized traces to the JSON that chrome://tracing and Perfetto read ("Trace Event Format", Google 2016):
 * slices are complete events ("X"), single events are instants ("i"), names of processes and threads are
 * metadata ("M"). */
#include "trace/trace_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define JSON_DEPTH 64 /* slices open at once in one thread; deeper ones are left out */

struct json_name {
    uint64_t hash;
    const char *text;
    uint32_t length;
};

/** A slice that has begun: a task on its worker, or sleep. */
struct json_slice {
    bool sleep;
    uint64_t begin, a, b;
};

/** One thread of one rank on its way into the file. */
struct json_thread {
    FILE *file;
    bool *comma; /* something was written before */
    const struct json_name *names;
    uint32_t names_count;
    uint32_t rank, number;
    uint64_t shift; /* from the rank's start to nanoseconds in the file */
    uint64_t first, last;
    struct json_slice slices[JSON_DEPTH];
    unsigned depth;
};

enum json_form { JSON_NUMBER, JSON_HANDLE, JSON_NAME };

/** What the values of a single event are called. */
static const struct {
    const char *a, *b; /* NULL: unused */
    enum json_form form_a, form_b;
} json_values[TRACE_KINDS] = {
    [TRACE_SUBMIT] = {"task", "handle", JSON_NAME, JSON_HANDLE},
    [TRACE_SEND_TASK] = {"task", "to rank", JSON_NAME, JSON_NUMBER},
    [TRACE_STEAL] = {"from rank", "tasks", JSON_NUMBER, JSON_NUMBER},
    [TRACE_POLL] = {"messages", NULL, JSON_NUMBER, JSON_NUMBER},
    [TRACE_SEND] = {"type", "to rank", JSON_NUMBER, JSON_NUMBER},
    [TRACE_RECEIVE] = {"type", "from rank", JSON_NUMBER, JSON_NUMBER},
    [TRACE_STORE_CREATE] = {"object", "bytes", JSON_HANDLE, JSON_NUMBER},
    [TRACE_STORE_SEAL] = {"object", "bytes", JSON_HANDLE, JSON_NUMBER},
    [TRACE_STORE_RELEASE] = {"object", "bytes", JSON_HANDLE, JSON_NUMBER},
    [TRACE_STORE_WAIT] = {"bytes", NULL, JSON_NUMBER, JSON_NUMBER},
    [TRACE_STORE_SPILL] = {"objects", "bytes", JSON_NUMBER, JSON_NUMBER},
    [TRACE_STORE_RESTORE] = {"of local rank", "bytes", JSON_NUMBER, JSON_NUMBER},
    [TRACE_STORE_FETCH] = {"from rank", "bytes", JSON_NUMBER, JSON_NUMBER},
    [TRACE_STORE_EVICT] = {"from rank", "bytes", JSON_NUMBER, JSON_NUMBER},
    [TRACE_ACTOR_CREATE] = {"class", "handle", JSON_NAME, JSON_HANDLE},
    [TRACE_ACTOR_END] = {"class", "handle", JSON_NAME, JSON_HANDLE},
};

/* ---- strings */

/** Bytes of the UTF-8 sequence at text, or 0 when it is none (Unicode standard, table 3-7). */
static unsigned utf8_length(const unsigned char *text, size_t left)
{
    unsigned length = text[0] < 0x80 ? 1 : text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    if (length == 0 || length > left || text[0] > 0xf4)
        return 0;
    for (unsigned i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

/** The inside of a JSON string; bytes that are no UTF-8 become the replacement character. */
static void json_escape(FILE *file, const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    while (at < end) {
        unsigned bytes = utf8_length(at, (size_t)(end - at));
        if (bytes == 0)
            fputs("\\ufffd", file);
        else if (*at == '"' || *at == '\\')
            fprintf(file, "\\%c", *at);
        else if (*at < 0x20)
            fprintf(file, "\\u%04x", *at);
        else
            fwrite(at, 1, bytes, file);
        at += bytes > 0 ? bytes : 1;
    }
}

static int json_name_compare(const void *a, const void *b)
{
    const struct json_name *left = a, *right = b;
    return left->hash < right->hash ? -1 : left->hash > right->hash;
}

/** The inside of a JSON string: a name, or the hash of one that nobody registered. */
static void json_name_put(const struct json_thread *thread, uint64_t hash)
{
    struct json_name key = {hash, NULL, 0};
    const struct json_name *name = NULL;
    if (thread->names_count > 0)
        name = bsearch(&key, thread->names, thread->names_count, sizeof key, json_name_compare);
    if (name != NULL)
        json_escape(thread->file, name->text, name->length);
    else
        fprintf(thread->file, "0x%llx", (unsigned long long)hash);
}

/* ---- events */

static void json_begin(FILE *file, bool *comma)
{
    fputs(*comma ? ",\n" : "\n", file);
    *comma = true;
}

static void json_time(FILE *file, const char *label, uint64_t nanoseconds)
{
    fprintf(file, ",\"%s\":%llu.%03u", label, (unsigned long long)(nanoseconds / 1000),
            (unsigned)(nanoseconds % 1000));
}

static void json_slice_put(const struct json_thread *thread, const struct json_slice *slice, uint64_t end)
{
    FILE *file = thread->file;
    json_begin(file, thread->comma);
    fputs("{\"ph\":\"X\",\"name\":\"", file);
    if (slice->sleep)
        fputs("sleep", file);
    else
        json_name_put(thread, slice->a);
    fprintf(file, "\",\"cat\":\"%s\",\"pid\":%u,\"tid\":%u", slice->sleep ? "sleep" : "task", thread->rank,
            thread->number);
    json_time(file, "ts", slice->begin + thread->shift);
    json_time(file, "dur", end > slice->begin ? end - slice->begin : 0);
    if (!slice->sleep)
        fprintf(file, ",\"args\":{\"handle\":\"0x%llx\"}", (unsigned long long)slice->b);
    fputc('}', file);
}

static void json_value_put(const struct json_thread *thread, const char *label, enum json_form form,
                           uint64_t value)
{
    FILE *file = thread->file;
    switch (form) {
    case JSON_NUMBER:
        fprintf(file, "\"%s\":%llu", label, (unsigned long long)value);
        return;
    case JSON_HANDLE: /* as text: numbers past 2^53 lose digits in JSON */
        fprintf(file, "\"%s\":\"0x%llx\"", label, (unsigned long long)value);
        return;
    case JSON_NAME:
        fprintf(file, "\"%s\":\"", label);
        json_name_put(thread, value);
        fputc('"', file);
        return;
    }
}

static void json_instant_put(const struct json_thread *thread, enum trace_kind kind, uint64_t when,
                             const struct trace_event_words *event)
{
    FILE *file = thread->file;
    json_begin(file, thread->comma);
    fprintf(file, "{\"ph\":\"i\",\"s\":\"t\",\"name\":\"%s\",\"cat\":\"event\",\"pid\":%u,\"tid\":%u",
            trace_kind_text(kind), thread->rank, thread->number);
    json_time(file, "ts", when + thread->shift);
    fputs(",\"args\":{", file);
    if (json_values[kind].a != NULL)
        json_value_put(thread, json_values[kind].a, json_values[kind].form_a, event->a);
    if (json_values[kind].b != NULL) {
        fputc(',', file);
        json_value_put(thread, json_values[kind].b, json_values[kind].form_b, event->b);
    }
    fputs("}}", file);
}

static void json_open(struct json_thread *thread, bool sleep, uint64_t when,
                      const struct trace_event_words *event)
{
    if (thread->depth < JSON_DEPTH)
        thread->slices[thread->depth] = (struct json_slice){sleep, when, event->a, event->b};
    thread->depth++;
}

/** Ends the innermost slice; when its beginning was overwritten, it reaches back to the first event that is
 * left. */
static void json_shut(struct json_thread *thread, bool sleep, uint64_t when,
                      const struct trace_event_words *event)
{
    struct json_slice lost = {sleep, thread->first, event->a, event->b};
    if (thread->depth == 0)
        json_slice_put(thread, &lost, when);
    else if (--thread->depth < JSON_DEPTH)
        json_slice_put(thread, &thread->slices[thread->depth], when);
}

static void json_event(struct json_thread *thread, const struct trace_event_words *event)
{
    enum trace_kind kind = (enum trace_kind)(event->stamp & 0xff);
    uint64_t when = event->stamp >> 8;
    thread->last = when;
    switch (kind) {
    case TRACE_TASK_BEGIN:
    case TRACE_TASK_RESUME:
        json_open(thread, false, when, event);
        return;
    case TRACE_TASK_BLOCK:
    case TRACE_TASK_END:
        json_shut(thread, false, when, event);
        return;
    case TRACE_TASK:
        json_open(thread, false, when, event);
        json_shut(thread, false, when, event);
        return;
    case TRACE_SLEEP_BEGIN:
        json_open(thread, true, when, event);
        return;
    case TRACE_SLEEP_END:
        json_shut(thread, true, when, event);
        return;
    default:
        json_instant_put(thread, kind, when, event);
        return;
    }
}

/** What had begun and not ended when the trace was taken lasts until its last event. */
static void json_close_open(struct json_thread *thread)
{
    while (thread->depth > 0)
        if (--thread->depth < JSON_DEPTH)
            json_slice_put(thread, &thread->slices[thread->depth], thread->last);
}

/* ---- threads and ranks */

static void json_thread_name(const struct json_thread *thread, const char *name, uint32_t length,
                             uint64_t lost)
{
    FILE *file = thread->file;
    json_begin(file, thread->comma);
    fprintf(file, "{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%u,\"tid\":%u,\"args\":{\"name\":\"",
            thread->rank, thread->number);
    json_escape(file, name, length);
    fprintf(file, "\",\"lost events\":%llu}}", (unsigned long long)lost);
    json_begin(file, thread->comma);
    fprintf(
        file,
        "{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":%u,\"tid\":%u,\"args\":{\"sort_index\":%u}}",
        thread->rank, thread->number, thread->number);
}

static void json_thread(struct trace_reader *reader, struct json_thread *thread)
{
    uint32_t length;
    const char *name = trace_read_text(reader, &length);
    uint64_t lost = trace_read_u64(reader), events = trace_read_u64(reader);
    json_thread_name(thread, name, length, lost);
    for (uint64_t i = 0; i < events; i++) {
        struct trace_event_words event = trace_read_event(reader);
        if (i == 0)
            thread->first = event.stamp >> 8;
        json_event(thread, &event);
    }
    json_close_open(thread);
}

static void json_rank_name(FILE *file, bool *comma, uint32_t rank)
{
    json_begin(file, comma);
    fprintf(file, "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%u,\"args\":{\"name\":\"rank %u\"}}", rank,
            rank);
    json_begin(file, comma);
    fprintf(file, "{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":%u,\"args\":{\"sort_index\":%u}}",
            rank, rank);
}

/** One well-formed buffer. False without memory. */
static bool json_rank(FILE *file, bool *comma, const char *buffer, size_t bytes, uint64_t origin)
{
    struct trace_reader reader = {buffer, bytes, false};
    struct trace_header header;
    trace_read_header(&reader, &header);
    struct json_name *names = malloc(((size_t)header.names + 1) * sizeof *names);
    if (names == NULL)
        return false;
    for (uint32_t i = 0; i < header.names; i++) {
        names[i].hash = trace_read_u64(&reader);
        names[i].text = trace_read_text(&reader, &names[i].length);
    }
    qsort(names, header.names, sizeof *names, json_name_compare);
    json_rank_name(file, comma, header.rank);
    for (uint32_t i = 0; i < header.threads; i++) {
        struct json_thread thread = {.file = file,
                                     .comma = comma,
                                     .names = names,
                                     .names_count = header.names,
                                     .rank = header.rank,
                                     .number = i,
                                     .shift = header.start - origin};
        json_thread(&reader, &thread);
    }
    free(names);
    return true;
}

/** The earliest start of all buffers; false (and a detail text) when one is malformed. */
static bool json_origin(const char *const *buffers, const size_t *lengths, int count, uint64_t *origin)
{
    *origin = UINT64_MAX;
    for (int i = 0; i < count; i++) {
        struct trace_reader reader = {buffers[i], lengths[i], false};
        struct trace_header header;
        if (buffers[i] == NULL || !trace_check(buffers[i], lengths[i])) {
            base_fail(RAYMPI_ERR_ARGUMENT, "trace %d of %d (%zu bytes) is truncated or malformed", i, count,
                      lengths[i]);
            return false;
        }
        trace_read_header(&reader, &header);
        *origin = header.start < *origin ? header.start : *origin;
    }
    return true;
}

int trace_write_json(FILE *file, const char *const *buffers, const size_t *lengths, int count)
{
    uint64_t origin;
    bool comma = false;
    if (!json_origin(buffers, lengths, count, &origin))
        return RAYMPI_ERR_ARGUMENT;
    fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[", file);
    for (int i = 0; i < count; i++)
        if (!json_rank(file, &comma, buffers[i], lengths[i], origin))
            return base_fail(RAYMPI_ERR_MEMORY, "no memory for the names of trace %d", i);
    fputs("\n]}\n", file);
    if (fflush(file) != 0 || ferror(file))
        return base_fail(RAYMPI_ERR_CONFIG, "can not write the file of RAYMPI_TRACE: %s", strerror(errno));
    return RAYMPI_OK;
}
