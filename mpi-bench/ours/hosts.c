/* B2: objects fetched from another host. B3: an object that all hosts get.
 *
 *   hosts fetch BYTES COUNT      microseconds per MiB: COUNT objects of rank 1, asked for at once
 *   hosts broadcast BYTES        microseconds per MiB: until all other ranks have the object that rank 0 has
 * put
 */
#include "ours.h"

#define MIB  (1L << 20)
#define MANY 64

RAYMPI_TASK(make, .strategy = RAYMPI_STRATEGY_NODE, .node = 1)
{
    size_t bytes = (size_t)raympi_arg_int(ctx, 0), count = (size_t)raympi_arg_int(ctx, 1);
    raympi_ref refs[MANY];
    for (size_t i = 0; i < count; i++) {
        void *data = raympi_create(bytes, &refs[i]);
        if (data == NULL)
            return raympi_fail(ctx, 1, "%s", raympi_detail());
        memset(data, (int)i + 1, bytes);
        ours_check(raympi_seal(refs[i]), "raympi_seal");
    }
    raympi_wire_ref *wires = raympi_return_nested(ctx, 0, count * sizeof *wires, refs, count);
    for (size_t i = 0; wires != NULL && i < count; i++)
        wires[i] = raympi_wire(refs[i]);
    return wires != NULL ? RAYMPI_OK : RAYMPI_ERR_MEMORY;
}

static void look(raympi_view *view, long bytes, int filled)
{
    const char *data = view->data;
    bench_require(view->len == (size_t)bytes && data[0] == filled && data[bytes - 1] == filled,
                  "other bytes");
    ours_check(raympi_view_end(view), "raympi_view_end");
}

/** New objects in each repetition: those that were fetched once are here. */
static double fetch(long bytes, long count)
{
    raympi_view made, views[MANY];
    raympi_ref refs[MANY], container;
    bench_require(raympi_size() > 1 && count <= MANY, "two ranks are needed, and 64 objects at most");
    container = raympi_call(make, (int64_t)bytes, (int64_t)count);
    ours_check(raympi_get(container, &made), "raympi_get");
    const raympi_wire_ref *wires = made.data;
    double start = bench_now();
    for (long i = 0; i < count; i++)
        refs[i] = raympi_view_ref(&made, wires[i]);
    ours_check(raympi_get_many(refs, (size_t)count, views, -1), "raympi_get_many");
    for (long i = 0; i < count; i++)
        look(&views[i], bytes, (int)i + 1);
    double took = bench_now() - start;
    ours_check(raympi_release_all(refs, (size_t)count), "raympi_release_all");
    ours_check(raympi_view_end(&made), "raympi_view_end");
    ours_check(raympi_release(container), "raympi_release");
    return 1e-3 * took / ((double)count * (double)bytes / (double)MIB);
}

RAYMPI_TASK(last)
{
    size_t bytes;
    const char *data = raympi_arg(ctx, 0, &bytes);
    return raympi_return_int(ctx, 0, data[bytes - 1]);
}

static double broadcast(long bytes)
{
    raympi_ref object, got[MANY];
    int others = raympi_size() - 1;
    bench_require(others > 0 && others <= MANY, "two ranks are needed, and 65 at most");
    void *data = raympi_create((size_t)bytes, &object);
    bench_require(data != NULL, raympi_detail());
    memset(data, 1, (size_t)bytes);
    ours_check(raympi_seal(object), "raympi_seal");
    double start = bench_now();
    for (int i = 0; i < others; i++)
        got[i] =
            raympi_call_opts(RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = i + 1), last, object);
    for (int i = 0; i < others; i++) {
        int64_t byte;
        ours_check(raympi_get_copy(got[i], &byte, sizeof byte), "raympi_get_copy");
        bench_require(byte == 1, "other bytes");
    }
    double took = bench_now() - start;
    ours_check(raympi_release_all(got, (size_t)others), "raympi_release_all");
    ours_check(raympi_release(object), "raympi_release");
    return 1e-3 * took / ((double)bytes / (double)MIB);
}

static double repetition(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "fetch";
    long bytes = bench_argument(argc, argv, 2, MIB);
    if (strcmp(mode, "broadcast") == 0)
        return broadcast(bytes);
    bench_require(strcmp(mode, "fetch") == 0, "unknown mode");
    return fetch(bytes, bench_argument(argc, argv, 3, 1));
}

int main(int argc, char **argv)
{
    return ours_main(argc, argv, repetition);
}
