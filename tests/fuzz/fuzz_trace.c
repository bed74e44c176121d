/* Serialized traces, as rank 0 gets them from all ranks before it writes the timeline. */
#include "fuzz.h"

#include "trace/trace.h"

static void fuzz_seeds(void)
{
    struct trace *trace;
    char *buffer;
    size_t length;
    FUZZ_CHECK(trace_open(&trace, 0, 64) == RAYMPI_OK);
    struct trace_thread *worker = trace_thread_open(trace, "worker 0");
    uint64_t hash = base_hash_name("rollout");
    FUZZ_CHECK(trace_name(trace, hash, "rollout") == RAYMPI_OK);
    for (unsigned kind = 0; kind < TRACE_KINDS; kind++) {
        trace_event(worker, (enum trace_kind)kind, hash, kind);
        FUZZ_CHECK(trace_serialize(trace, &buffer, &length) == RAYMPI_OK);
        fuzz_seed(buffer, length);
        free(buffer);
    }
    trace_close(trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *null;
    null = null ? null : fopen("/dev/null", "w");
    char *copy = fuzz_copy(data, size);
    const char *buffers[] = {copy, copy};
    const size_t lengths[] = {size, size};
    FUZZ_CHECK(null);
    /* The length that the header tells is right, or little would get further. */
    if (size >= 16)
        memcpy(copy + 8, &size, sizeof size);
    trace_write_json(null, buffers, lengths, 2);
    free(copy);
    return 0;
}
