/* SPILL: more objects than the store holds.
 *
 *   spill MIBIBYTES      microseconds per MiB: objects of 1 MiB, three times a store of MIBIBYTES, are put,
 * then each is got once, in random order
 *
 * They are spilled into $TMPDIR. Answers "null" and the reason where the store takes no more than it holds.
 */
#include "ours.h"

#define MIB   (1L << 20)
#define TIMES 3

/** Different bytes in each. */
static void source_mark(char *source, long i)
{
    for (long at = 0; at < MIB; at += 4096)
        memcpy(source + at, &i, sizeof i);
}

static long *order_make(long count)
{
    long *order = malloc((size_t)count * sizeof *order);
    unsigned long random = 1;
    bench_require(order != NULL, "memory");
    for (long i = 0; i < count; i++) {
        random = random * 6364136223846793005UL + 1442695040888963407UL;
        long j = (long)((random >> 33) % (unsigned long)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

static void got_check(raympi_ref ref, long i)
{
    raympi_view view;
    long first, last;
    ours_check(raympi_get(ref, &view), "raympi_get");
    bench_require(view.len == MIB, "an object of another length");
    memcpy(&first, view.data, sizeof first);
    memcpy(&last, (const char *)view.data + MIB - 4096, sizeof last);
    bench_require(first == i && last == i, "the bytes of another object");
    ours_check(raympi_view_end(&view), "raympi_view_end");
}

/** Null: the object could not be put; the detail says why. */
static raympi_ref put(const char *source)
{
    raympi_ref ref = raympi_put(source, MIB);
    raympi_view view;
    /* An error shows when the ref is got; a short look at a good one costs nothing beside its bytes. */
    if (raympi_get(ref, &view) == RAYMPI_OK) {
        ours_check(raympi_view_end(&view), "raympi_view_end");
        return ref;
    }
    raympi_release(ref);
    return (raympi_ref){0};
}

/** In place of a number. */
static void refused(const char *what)
{
    char why[200];
    snprintf(why, sizeof why, "%s", raympi_detail());
    why[strcspn(why, "\n")] = 0;
    printf("null %s: %s\n", what, why);
    fflush(stdout);
}

/** Nanoseconds, or below zero when the store refuses. */
static double round_trip(raympi_ref *refs, const long *order, char *source, long count)
{
    long done = 0;
    double start = bench_now();
    for (; done < count; done++) {
        source_mark(source, done);
        refs[done] = put(source);
        if (refs[done].handle == 0)
            break;
    }
    if (done < count)
        refused("raympi_put");
    for (long i = 0; i < count && done == count; i++)
        got_check(refs[order[i]], order[i]);
    double took = done == count ? bench_now() - start : -1;
    ours_check(raympi_release_all(refs, (size_t)done), "raympi_release_all");
    return took;
}

static int settings(long mib)
{
    char text[32];
    const char *folder = getenv("TMPDIR");
    snprintf(text, sizeof text, "%ld", mib * MIB);
    return setenv("RAYMPI_STORE_BYTES", text, 0) + setenv("RAYMPI_CREATE_TIMEOUT", "2", 0) +
           setenv("RAYMPI_SPILL_DIR", folder ? folder : "/tmp", 0);
}

int main(int argc, char **argv)
{
    long mib = bench_argument(argc, argv, 1, 256), count = TIMES * mib;
    raympi_ref *refs = calloc((size_t)count, sizeof *refs);
    long *order = order_make(count);
    char *source = calloc(1, MIB);
    bench_require(refs != NULL && source != NULL && settings(mib) == 0, "memory");
    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK) {
        while (bench_asked())
            refused("raympi_init");
        return 0;
    }
    raympi_scope_begin();
    while (raympi_rank() == 0 && bench_asked()) {
        double took = round_trip(refs, order, source, count);
        if (took >= 0)
            bench_answer(1e-3 * took / (double)count);
    }
    ours_check(raympi_scope_end(), "raympi_scope_end");
    free(source);
    free(order);
    free(refs);
    return raympi_finalize();
}
