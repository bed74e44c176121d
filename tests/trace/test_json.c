#include "../unit.h"
#include "json.h"

#include "trace/trace_internal.h"

#include <unistd.h>

#define RANKS 2

struct files {
    char *buffers[RANKS];
    size_t lengths[RANKS];
};

/** Names that JSON can not hold as they are. */
static const char odd_name[] = "a \"quoted\\name\"\n\xc3\xa9 \xff\xed\xa0\x80 end";

static void record(struct trace *trace, const char *task)
{
    struct trace_thread *worker = trace_thread_open(trace, "worker 0");
    struct trace_thread *progress = trace_thread_open(trace, "progress");
    uint64_t hash = base_hash_name(task);
    CU_ASSERT_EQUAL(trace_name(trace, hash, task), RAYMPI_OK);
    trace_event(worker, TRACE_TASK_BEGIN, hash, 0x11);
    trace_event(worker, TRACE_SUBMIT, hash, 0x12);
    trace_event(worker, TRACE_TASK_BLOCK, hash, 0x11);
    trace_event(worker, TRACE_TASK_BEGIN, 0xabc, 0x12); /* a name that nobody registered */
    trace_event(worker, TRACE_TASK_END, 0xabc, 0x12);
    trace_event(worker, TRACE_TASK_RESUME, hash, 0x11);
    trace_event(worker, TRACE_TASK_END, hash, 0x11);
    trace_event(worker, TRACE_TASK, hash, 0x14);
    trace_event(worker, TRACE_TASK_BEGIN, hash, 0x13); /* still running */
    for (unsigned kind = TRACE_SUBMIT; kind < TRACE_KINDS; kind++)
        trace_event(worker, (enum trace_kind)kind, hash, 1000 + kind);
    trace_event(progress, TRACE_SLEEP_BEGIN, 0, 0);
    trace_event(progress, TRACE_SLEEP_END, 0, 0);
}

static struct files made(void)
{
    struct files files;
    for (int rank = 0; rank < RANKS; rank++) {
        struct trace *trace = NULL;
        CU_ASSERT_EQUAL_FATAL(trace_open(&trace, rank, 64), RAYMPI_OK);
        record(trace, rank == 0 ? "rollout" : odd_name);
        CU_ASSERT_EQUAL_FATAL(trace_serialize(trace, &files.buffers[rank], &files.lengths[rank]), RAYMPI_OK);
        trace_close(trace);
    }
    return files;
}

static void release(struct files *files)
{
    for (int rank = 0; rank < RANKS; rank++)
        free(files->buffers[rank]);
}

/** The JSON of some buffers, to be freed; *status is what the writer said. */
static char *json(const char *const *buffers, const size_t *lengths, int count, int *status)
{
    char *text = NULL;
    size_t length;
    FILE *file = open_memstream(&text, &length);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    *status = trace_write_json(file, buffers, lengths, count);
    fclose(file);
    return text;
}

/* Not inline: gcc 12 would take what open_memstream() gave for the address of a local variable. */
static __attribute__((noinline)) int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

static void test_checker(void)
{
    CU_ASSERT_TRUE(json_valid("{\"a\":[1,-2.5e3,\"x\\u00e9\\n\",true,null,{}]}"));
    static const char *const bad[] = {"",     "{",   "{\"a\":1,}", "[1 2]", "{\"a\" 1}", "\"\n\"",
                                      "[1]x", "[,]", "\"\\x\"",    "[01]",  "{1:2}",     "\"open"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_FALSE(json_valid(bad[i]));
}

static void test_timeline(void)
{
    struct files files = made();
    int status;
    char *text = json((const char *const *)files.buffers, files.lengths, RANKS, &status);
    CU_ASSERT_EQUAL(status, RAYMPI_OK);
    CU_ASSERT_TRUE(json_valid(text));
    CU_ASSERT_EQUAL(count_of(text, "\"args\":{\"name\":\"rank 0\"}"), 1);
    CU_ASSERT_EQUAL(count_of(text, "\"args\":{\"name\":\"rank 1\"}"), 1);
    CU_ASSERT_EQUAL(count_of(text, "\"name\":\"worker 0\""), 2);
    CU_ASSERT_EQUAL(count_of(text, "\"name\":\"progress\""), 2);
    CU_ASSERT_EQUAL(count_of(text, "{\"ph\":\"X\",\"name\":\"rollout\""),
                    4); /* until it blocks, after, the brief one, and the open one */
    CU_ASSERT_EQUAL(count_of(text, "{\"ph\":\"X\",\"name\":\"0xabc\""), 2);
    CU_ASSERT_EQUAL(count_of(text, "{\"ph\":\"X\",\"name\":\"sleep\""), 2);
    CU_ASSERT_EQUAL(count_of(text, "\"name\":\"store seal\""), 2);
    CU_ASSERT_EQUAL(count_of(text, "\"class\":\"rollout\""), 2);
    CU_ASSERT_EQUAL(count_of(text, "\"handle\":\"0x11\""), 4);
    CU_ASSERT_TRUE(
        count_of(text, "a \\\"quoted\\\\name\\\"\\u000a\xc3\xa9 \\ufffd\\ufffd\\ufffd\\ufffd end") >= 3);
    free(text);
    release(&files);
}

static void test_python_reads_it(void)
{
    char path[] = "/tmp/raympi-json-XXXXXX", command[128];
    struct files files = made();
    int fd = mkstemp(path);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    FILE *file = fdopen(fd, "w");
    CU_ASSERT_EQUAL(trace_write_json(file, (const char *const *)files.buffers, files.lengths, RANKS),
                    RAYMPI_OK);
    fclose(file);
    snprintf(command, sizeof command, "! command -v python3 >/dev/null || python3 -m json.tool %s >/dev/null",
             path);
    CU_ASSERT_EQUAL(system(command), 0);
    unlink(path);
    release(&files);
}

static void test_lost_beginning(void)
{
    struct trace *trace = NULL;
    char *buffer = NULL;
    size_t length;
    int status;
    CU_ASSERT_EQUAL_FATAL(trace_open(&trace, 0, 4), RAYMPI_OK);
    struct trace_thread *worker = trace_thread_open(trace, "worker 0");
    trace_event(worker, TRACE_TASK_BEGIN, 0xf, 1);
    for (int i = 0; i < 2; i++)
        trace_event(worker, TRACE_POLL, 1, 0);
    trace_event(worker, TRACE_TASK_END, 0xf, 1);
    CU_ASSERT_EQUAL_FATAL(trace_serialize(trace, &buffer, &length), RAYMPI_OK);
    char *text = json((const char *const *)&buffer, &length, 1, &status);
    CU_ASSERT_EQUAL(status, RAYMPI_OK);
    CU_ASSERT_TRUE(json_valid(text));
    CU_ASSERT_EQUAL(count_of(text, "\"lost events\":1}"), 1);
    CU_ASSERT_EQUAL(count_of(text, "{\"ph\":\"X\",\"name\":\"0xf\""), 1);
    free(text);
    free(buffer);
    trace_close(trace);
}

static void test_deep_nesting(void)
{
    struct trace *trace = NULL;
    char *buffer = NULL;
    size_t length;
    int status;
    CU_ASSERT_EQUAL_FATAL(trace_open(&trace, 0, 1024), RAYMPI_OK);
    struct trace_thread *worker = trace_thread_open(trace, "worker 0");
    for (uint64_t i = 0; i < 200; i++)
        trace_event(worker, TRACE_TASK_BEGIN, 0xf, i);
    for (uint64_t i = 200; i > 100; i--)
        trace_event(worker, TRACE_TASK_END, 0xf, i);
    CU_ASSERT_EQUAL_FATAL(trace_serialize(trace, &buffer, &length), RAYMPI_OK);
    char *text = json((const char *const *)&buffer, &length, 1, &status);
    CU_ASSERT_TRUE(json_valid(text));
    CU_ASSERT_EQUAL(count_of(text, "\"ph\":\"X\""), 64); /* the rest is left out */
    free(text);
    free(buffer);
    trace_close(trace);
}

static void test_no_ranks(void)
{
    int status;
    char *text = json(NULL, NULL, 0, &status);
    CU_ASSERT_EQUAL(status, RAYMPI_OK);
    CU_ASSERT_TRUE(json_valid(text));
    free(text);
}

static void test_truncated(void)
{
    struct files files = made();
    for (size_t length = 0; length < files.lengths[1]; length++) {
        /* a copy of just that length, so that a sanitizer sees a read past its end */
        char *cut = malloc(length + 1), *end = cut + 1;
        memcpy(end, files.buffers[1], length);
        const char *buffers[2] = {files.buffers[0], end};
        size_t lengths[2] = {files.lengths[0], length};
        int status;
        char *text = json(buffers, lengths, 2, &status);
        CU_ASSERT_EQUAL(status, RAYMPI_ERR_ARGUMENT);
        CU_ASSERT_STRING_EQUAL(text, ""); /* not half a file */
        free(text);
        free(cut);
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "trace 1 of 2"));
    release(&files);
}

static void test_longer_than_it_says(void)
{
    struct files files = made();
    size_t length = files.lengths[0] + 8;
    char *longer = calloc(1, length);
    memcpy(longer, files.buffers[0], files.lengths[0]);
    CU_ASSERT_FALSE(trace_check(longer, length));
    uint64_t claimed = length;
    memcpy(longer + 8, &claimed, sizeof claimed);
    CU_ASSERT_FALSE(trace_check(longer, length));
    free(longer);
    release(&files);
}

/* Whatever one byte becomes: refused, or read without harm into JSON. */
static void test_every_byte_changed(void)
{
    static const unsigned char changes[] = {0x01, 0x80, 0xff};
    struct files files = made();
    int refused = 0, accepted = 0, invalid = 0;
    for (size_t i = 0; i < files.lengths[0]; i++)
        for (size_t j = 0; j < sizeof changes; j++) {
            int status;
            files.buffers[0][i] ^= (char)changes[j];
            char *text = json((const char *const *)files.buffers, files.lengths, 1, &status);
            refused += status == RAYMPI_ERR_ARGUMENT;
            accepted += status == RAYMPI_OK;
            invalid += status == RAYMPI_OK && !json_valid(text);
            free(text);
            files.buffers[0][i] ^= (char)changes[j];
        }
    CU_ASSERT_EQUAL(invalid, 0);
    CU_ASSERT_TRUE(refused > 0 && accepted > 0);
    CU_ASSERT_EQUAL((size_t)(refused + accepted), 3 * files.lengths[0]);
    release(&files);
}

static void test_full_disk(void)
{
    struct files files = made();
    FILE *full = fopen("/dev/full", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(full);
    CU_ASSERT_EQUAL(trace_write_json(full, (const char *const *)files.buffers, files.lengths, RANKS),
                    RAYMPI_ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "RAYMPI_TRACE"));
    fclose(full);
    release(&files);
}

static const struct unit_test tests[] = {
    {"the checker of these tests can say no", test_checker},
    {"timeline of two ranks", test_timeline},
    {"python3 reads it", test_python_reads_it},
    {"a slice whose beginning was overwritten", test_lost_beginning},
    {"slices nested too deep", test_deep_nesting},
    {"no ranks", test_no_ranks},
    {"truncated buffers are refused", test_truncated},
    {"buffers that are too long are refused", test_longer_than_it_says},
    {"every byte changed", test_every_byte_changed},
    {"a full disk", test_full_disk},
};

int main(void)
{
    return UNIT_MAIN("trace: JSON", tests);
}
