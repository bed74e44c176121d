#include "../unit.h"

#include "trace/trace_internal.h"

#include <pthread.h>
#include <string.h>

/* Sanitizers end the program at an absurd allocation unless told otherwise. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/** One thread's part of a serialized trace. */
struct read_thread {
    char name[64];
    uint64_t lost, events;
    struct trace_event_words first, last;
    uint64_t disordered; /* events before the one they follow */
    uint64_t torn;       /* events whose b is not ~a */
};

static struct trace_header read_threads(const char *buffer, size_t length, struct read_thread *threads,
                                        uint32_t room)
{
    struct trace_reader reader = {buffer, length, false};
    struct trace_header header = {0, 0, 0, 0};
    uint32_t bytes;
    CU_ASSERT_TRUE_FATAL(trace_check(buffer, length));
    CU_ASSERT_TRUE(trace_read_header(&reader, &header));
    CU_ASSERT_TRUE_FATAL(header.threads <= room);
    for (uint32_t i = 0; i < header.names; i++) {
        trace_read_u64(&reader);
        trace_read_text(&reader, &bytes);
    }
    for (uint32_t i = 0; i < header.threads; i++) {
        struct read_thread *thread = &threads[i];
        memset(thread, 0, sizeof *thread);
        const char *name = trace_read_text(&reader, &bytes);
        memcpy(thread->name, name, bytes < 63 ? bytes : 63);
        thread->lost = trace_read_u64(&reader);
        thread->events = trace_read_u64(&reader);
        for (uint64_t j = 0; j < thread->events; j++) {
            struct trace_event_words event = trace_read_event(&reader);
            if (j == 0)
                thread->first = event;
            else
                thread->disordered += event.stamp >> 8 < thread->last.stamp >> 8 || event.a <= thread->last.a;
            thread->torn += event.b != ~event.a;
            thread->last = event;
        }
    }
    CU_ASSERT_EQUAL(reader.left, 0);
    return header;
}

static struct trace_header serialize(struct trace *trace, struct read_thread *threads, uint32_t room)
{
    char *buffer = NULL;
    size_t length = 0;
    CU_ASSERT_EQUAL_FATAL(trace_serialize(trace, &buffer, &length), RAYMPI_OK);
    struct trace_header header = read_threads(buffer, length, threads, room);
    free(buffer);
    return header;
}

static struct trace *opened(uint64_t events)
{
    struct trace *trace = NULL;
    CU_ASSERT_EQUAL_FATAL(trace_open(&trace, 3, events), RAYMPI_OK);
    return trace;
}

static void test_empty(void)
{
    struct trace *trace = opened(16);
    struct read_thread none;
    struct trace_header header = serialize(trace, &none, 0);
    CU_ASSERT_EQUAL(header.rank, 3);
    CU_ASSERT_EQUAL(header.names, 0);
    CU_ASSERT_TRUE(header.start <= base_now());
    trace_close(trace);
    trace_close(NULL);
}

static void test_events_in_order(void)
{
    struct trace *trace = opened(16);
    struct trace_thread *worker = trace_thread_open(trace, "worker 0");
    struct read_thread thread;
    uint64_t before = base_now() - trace->opened.nanoseconds;
    for (uint64_t i = 0; i < 10; i++)
        trace_event(worker, TRACE_SEND, i, ~i);
    uint64_t after = base_now() - trace->opened.nanoseconds;
    serialize(trace, &thread, 1);
    CU_ASSERT_STRING_EQUAL(thread.name, "worker 0");
    CU_ASSERT_EQUAL(thread.events, 10);
    CU_ASSERT_EQUAL(thread.lost, 0);
    CU_ASSERT_EQUAL(thread.first.a, 0);
    CU_ASSERT_EQUAL(thread.last.a, 9);
    CU_ASSERT_EQUAL(thread.last.stamp & 0xff, TRACE_SEND);
    CU_ASSERT_EQUAL(thread.disordered, 0);
    CU_ASSERT_EQUAL(thread.torn, 0);
    /* Stamps are of the same clock, but for the error of matching two clocks: a second is far more. */
    CU_ASSERT_TRUE((thread.first.stamp >> 8) + UINT64_C(1000000000) > before);
    CU_ASSERT_TRUE(thread.last.stamp >> 8 < after + UINT64_C(1000000000));
    trace_close(trace);
}

static void test_oldest_is_overwritten(void)
{
    struct trace *trace = opened(100); /* rounded up to 128, of which 127 can be told whole */
    struct trace_thread *worker = trace_thread_open(trace, "worker 0");
    struct read_thread thread;
    for (uint64_t i = 0; i < 1000; i++)
        trace_event(worker, TRACE_POLL, i, ~i);
    serialize(trace, &thread, 1);
    CU_ASSERT_EQUAL(thread.events, 127);
    CU_ASSERT_EQUAL(thread.lost, 1000 - 127);
    CU_ASSERT_EQUAL(thread.first.a, 1000 - 127);
    CU_ASSERT_EQUAL(thread.last.a, 999);
    CU_ASSERT_EQUAL(thread.disordered + thread.torn, 0);
    trace_close(trace);
}

static void test_ring_is_continued(void)
{
    struct trace *trace = opened(16);
    struct read_thread threads[3];
    struct trace_thread *first = trace_thread_open(trace, "user"), *second = trace_thread_open(trace, "user");
    CU_ASSERT_PTR_NOT_EQUAL(first, second); /* both in use */
    trace_event(first, TRACE_SUBMIT, 1, ~UINT64_C(1));
    trace_count(first, TRACE_COUNT_RUN, 2);
    trace_thread_close(trace, first);
    CU_ASSERT_PTR_EQUAL(trace_thread_open(trace, "user"), first);
    trace_event(first, TRACE_SUBMIT, 2, ~UINT64_C(2));
    trace_count(first, TRACE_COUNT_RUN, 3);
    CU_ASSERT_PTR_NOT_EQUAL(trace_thread_open(trace, "worker 0"), first);
    CU_ASSERT_EQUAL(serialize(trace, threads, 3).threads, 3);
    CU_ASSERT_EQUAL(threads[0].events, 2);
    CU_ASSERT_EQUAL(threads[1].events, 0);
    CU_ASSERT_EQUAL(trace_counter_sum(trace, TRACE_COUNT_RUN), 5);
    trace_close(trace);
}

static void test_no_thread(void)
{
    trace_event(NULL, TRACE_POLL, 1, 2);
    trace_count(NULL, TRACE_COUNT_RUN, 1);
    trace_thread_close(NULL, NULL);
    CU_ASSERT_PTR_NULL(trace_thread_open(NULL, "worker 0"));
    CU_ASSERT_EQUAL(trace_name(NULL, 1, "f"), RAYMPI_OK);
    CU_ASSERT_EQUAL(trace_counter_sum(NULL, TRACE_COUNT_RUN), 0);
}

static void test_too_much_memory(void)
{
    struct trace *trace = opened(UINT64_C(1) << 58);
    CU_ASSERT_PTR_NULL(trace_thread_open(trace, "worker 0"));
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "RAYMPI_TRACE_EVENTS"));
    trace_close(trace);
}

static void test_counters(void)
{
    struct trace *trace = opened(16);
    struct trace_thread *a = trace_thread_open(trace, "worker 0"), *b = trace_thread_open(trace, "worker 1");
    uint64_t sums[TRACE_COUNTERS];
    trace_count(a, TRACE_COUNT_PUT_BYTES, UINT64_C(1) << 40);
    trace_count(b, TRACE_COUNT_PUT_BYTES, 5);
    trace_count(b, TRACE_COUNT_SLEEPS, 1);
    trace_counters(trace, sums);
    for (unsigned i = 0; i < TRACE_COUNTERS; i++)
        CU_ASSERT_EQUAL(sums[i],
                        i == TRACE_COUNT_PUT_BYTES ? (UINT64_C(1) << 40) + 5 : i == TRACE_COUNT_SLEEPS);
    trace_close(trace);
}

static void test_texts(void)
{
    for (unsigned i = 0; i < TRACE_KINDS; i++)
        CU_ASSERT_PTR_NOT_NULL(trace_kind_text(i));
    for (unsigned i = 0; i < TRACE_COUNTERS; i++)
        CU_ASSERT_PTR_NOT_NULL(trace_counter_text(i));
    CU_ASSERT_STRING_EQUAL(trace_kind_text(TRACE_KINDS), "?");
    CU_ASSERT_STRING_EQUAL(trace_counter_text(TRACE_COUNTERS), "?");
}

static void test_table(void)
{
    uint64_t sums[2][TRACE_COUNTERS] = {{0}};
    char *text = NULL;
    size_t length;
    FILE *file = open_memstream(&text, &length);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    sums[0][TRACE_COUNT_SUBMITTED] = 12;
    sums[1][TRACE_COUNT_SUBMITTED] = 99999999999;
    trace_table(file, &sums[0][0], 2);
    fclose(file);
    size_t lines = 0, width = strcspn(text, "\n");
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1, lines++)
        CU_ASSERT_EQUAL(strcspn(line, "\n"), width); /* columns stand below each other */
    CU_ASSERT_EQUAL(lines, 4);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "raympi:  rank     submitted  "));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "raympi:     0            12  "));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "raympi:     1   99999999999  "));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "raympi: total  100000000011  "));
    free(text);
}

/* ---- threads */

#define WRITTEN 200000

struct writer {
    struct trace *trace;
    const char *name;
    _Atomic bool *begun;
};

static void *write_events(void *arg)
{
    struct writer *writer = arg;
    struct trace_thread *thread = trace_thread_open(writer->trace, writer->name);
    for (uint64_t i = 0; i < WRITTEN; i++) {
        trace_event(thread, TRACE_SEND, i, ~i);
        trace_count(thread, TRACE_COUNT_MESSAGES, 1);
        if (i == 100)
            atomic_store(writer->begun, true);
    }
    trace_thread_close(writer->trace, thread);
    return NULL;
}

static void test_read_while_written(void)
{
    struct trace *trace = opened(64);
    _Atomic bool begun[2] = {false, false};
    struct writer writers[2] = {{trace, "worker 0", &begun[0]}, {trace, "worker 1", &begun[1]}};
    struct read_thread threads[2];
    pthread_t ids[2];
    for (int i = 0; i < 2; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&ids[i], NULL, write_events, &writers[i]), 0);
    while (!atomic_load(&begun[0]) || !atomic_load(&begun[1]))
        sched_yield();
    uint64_t bad = 0, sum = 0;
    while (sum < 2 * WRITTEN) {
        sum = trace_counter_sum(trace, TRACE_COUNT_MESSAGES);
        serialize(trace, threads, 2);
        for (int i = 0; i < 2; i++)
            bad += threads[i].torn + threads[i].disordered + (threads[i].events > 63);
    }
    CU_ASSERT_EQUAL(bad, 0);
    for (int i = 0; i < 2; i++)
        pthread_join(ids[i], NULL);
    serialize(trace, threads, 2);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(threads[i].lost + threads[i].events, WRITTEN);
        CU_ASSERT_EQUAL(threads[i].last.a, WRITTEN - 1);
    }
    trace_close(trace);
}

static const struct unit_test tests[] = {
    {"an empty trace", test_empty},
    {"events come back in order", test_events_in_order},
    {"the oldest events are overwritten and counted", test_oldest_is_overwritten},
    {"a closed ring is continued", test_ring_is_continued},
    {"a thread without a ring", test_no_thread},
    {"no memory for a ring", test_too_much_memory},
    {"counters add up over threads", test_counters},
    {"kinds and counters have names", test_texts},
    {"table of counters", test_table},
    {"a ring is read while it is written", test_read_while_written},
};

int main(void)
{
    return UNIT_MAIN("trace: rings and counters", tests);
}
