/* A7: put of large objects. A8: get of one that another rank of the host has.
 *
 *   bytes used BYTES     microseconds per MiB: puts into store memory that was used before, although some was
 * not bytes fresh BYTES    the same into store memory that never was, for 14 repetitions bytes near BYTES
 * nanoseconds per get of an object that rank 1 has put, the first one of each
 */
#include "ours.h"

#define MIB       (1L << 20)
#define USED      (256 * MIB) /* bytes in a repetition, at least one object */
#define FRESH     (128 * MIB)
#define FRESH_ALL (16 * FRESH)
#define NEAR      4 /* objects in a repetition */

static raympi_ref refs[1024];

static char *source_make(long bytes)
{
    char *source = malloc((size_t)bytes);
    bench_require(source != NULL, "memory");
    for (long i = 0; i < bytes; i++)
        source[i] = (char)(i / 64);
    return source;
}

static double put_all(const char *source, long bytes, long count)
{
    double start = bench_now();
    for (long i = 0; i < count; i++)
        refs[i] = raympi_put(source, (size_t)bytes);
    double took = bench_now() - start;
    raympi_view view;
    ours_check(raympi_get(refs[count - 1], &view), "raympi_get");
    bench_require(memcmp(view.data, source, (size_t)bytes) == 0, "a put has changed the bytes");
    ours_check(raympi_view_end(&view), "raympi_view_end");
    return 1e-3 * took / ((double)count * (double)bytes / (double)MIB);
}

static double put(long bytes, bool fresh)
{
    static char *source;
    if (source == NULL)
        source = source_make(bytes);
    long all = fresh ? FRESH : USED, count = all / bytes > 0 ? all / bytes : 1;
    double answer = put_all(source, bytes, count);
    if (!fresh)
        ours_check(raympi_release_all(refs, (size_t)count), "raympi_release_all");
    return answer;
}

RAYMPI_TASK(large, .strategy = RAYMPI_STRATEGY_NODE, .node = 1)
{
    size_t bytes = (size_t)raympi_arg_int(ctx, 0);
    void *data = raympi_return(ctx, 0, bytes);
    if (data != NULL)
        memset(data, 1, bytes);
    return data != NULL ? RAYMPI_OK : RAYMPI_ERR_STORE_FULL;
}

static double get_near(long bytes)
{
    raympi_view views[NEAR];
    bool ready[NEAR];
    bench_require(raympi_size() > 1, "two ranks are needed");
    for (int i = 0; i < NEAR; i++)
        refs[i] = raympi_call(large, (int64_t)bytes);
    bench_require(raympi_wait(refs, NEAR, NEAR, -1, ready) == NEAR, "raympi_wait");
    double start = bench_now();
    for (int i = 0; i < NEAR; i++)
        ours_check(raympi_get(refs[i], &views[i]), "raympi_get");
    double took = bench_now() - start;
    for (int i = 0; i < NEAR; i++) {
        bench_require(views[i].len == (size_t)bytes && ((const char *)views[i].data)[bytes - 1] == 1,
                      "other bytes");
        ours_check(raympi_view_end(&views[i]), "raympi_view_end");
    }
    ours_check(raympi_release_all(refs, NEAR), "raympi_release_all");
    return took / NEAR;
}

static double repetition(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "used";
    long bytes = bench_argument(argc, argv, 2, MIB);
    if (strcmp(mode, "near") == 0)
        return get_near(bytes);
    bench_require(strcmp(mode, "used") == 0 || strcmp(mode, "fresh") == 0, "unknown mode");
    return put(bytes, strcmp(mode, "fresh") == 0);
}

/** Twice what is in use at once: there is fresh memory, which is not to be taken. */
static void store_choose(int argc, char **argv)
{
    char text[32];
    long bytes = bench_argument(argc, argv, 2, MIB), all = 2 * (bytes > USED ? bytes : USED);
    if (argc > 1 && strcmp(argv[1], "fresh") == 0)
        all = FRESH_ALL;
    if (argc > 1 && strcmp(argv[1], "near") == 0)
        all = 2 * NEAR * bytes + 64 * MIB;
    snprintf(text, sizeof text, "%ld", all);
    setenv("RAYMPI_STORE_BYTES", text, 0);
}

int main(int argc, char **argv)
{
    store_choose(argc, argv);
    return ours_main(argc, argv, repetition);
}
