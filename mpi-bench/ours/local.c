/* A1, A2: empty tasks on one rank. A6: put and get of 8 bytes. A9: waiting for one of many refs.
 *
 *   local async|sync|put|get|waitset|wait COUNT      nanoseconds per task, put, get, wait or scanned ref
 *   local async COUNT BATCH                          the same with so many tasks at once
 */
#include "ours.h"

RAYMPI_TASK(empty)
{
    ours_task();
    return raympi_return_int(ctx, 0, 1);
}

static raympi_ref *refs;

static void take(raympi_ref ref)
{
    int64_t one;
    ours_check(raympi_get_copy(ref, &one, sizeof one), "raympi_get_copy");
    bench_require(one == 1, "a task gave another result");
}

/** Tasks are submitted in batches, each of which is then got as a whole. */
static double async(long count, long batch)
{
    double start = bench_now();
    for (long done = 0; done < count; done += batch) {
        for (long i = 0; i < batch; i++)
            refs[i] = raympi_call(empty);
        for (long i = 0; i < batch; i++)
            take(refs[i]);
        ours_check(raympi_release_all(refs, (size_t)batch), "raympi_release_all");
    }
    return (bench_now() - start) / (double)((count + batch - 1) / batch * batch);
}

static double sync_(long count)
{
    double start = bench_now();
    for (long i = 0; i < count; i++) {
        raympi_ref ref = raympi_call(empty);
        take(ref);
        ours_check(raympi_release(ref), "raympi_release");
    }
    return (bench_now() - start) / (double)count;
}

/** Rounds of 1000 objects that are put, then got; one of the two is timed. */
static double objects(long count, bool time_put)
{
    const long batch = 1000;
    const int64_t one = 1;
    double spent = 0;
    for (long done = 0; done < count; done += batch) {
        double start = bench_now();
        for (long i = 0; i < batch; i++)
            refs[i] = raympi_put(&one, sizeof one);
        double middle = bench_now();
        for (long i = 0; i < batch; i++)
            take(refs[i]);
        spent += time_put ? middle - start : bench_now() - middle;
        ours_check(raympi_release_all(refs, (size_t)batch), "raympi_release_all");
    }
    return spent / (double)((count + batch - 1) / batch * batch);
}

/** Tasks have been submitted; their refs go into a set and are taken out of it one by one. */
static double waitset(long count)
{
    raympi_waitset *set;
    raympi_ref ready;
    uint64_t tag;
    for (long i = 0; i < count; i++)
        refs[i] = raympi_call(empty);
    double start = bench_now();
    ours_check(raympi_waitset_create(&set), "raympi_waitset_create");
    for (long i = 0; i < count; i++)
        ours_check(raympi_waitset_add(set, refs[i], (uint64_t)i), "raympi_waitset_add");
    for (long i = 0; i < count; i++) {
        ours_check(raympi_waitset_wait(set, -1, &ready, &tag), "raympi_waitset_wait");
        ours_check(raympi_release(ready), "raympi_release");
    }
    double took = bench_now() - start;
    ours_check(raympi_waitset_destroy(set), "raympi_waitset_destroy");
    ours_check(raympi_release_all(refs, (size_t)count), "raympi_release_all");
    return took / (double)count;
}

/** Waits for one of the refs, takes it out of the list, and so on; all of them are ready. */
static double wait_plain(long count)
{
    bool *ready = calloc((size_t)count, sizeof *ready);
    bench_require(ready != NULL, "memory");
    for (long i = 0; i < count; i++)
        refs[i] = raympi_call(empty);
    for (long i = 0; i < count; i++)
        take(refs[i]);
    double start = bench_now();
    for (long left = count; left > 0; left--) {
        bench_require(raympi_wait(refs, (size_t)left, 1, -1, ready) >= 1, "raympi_wait");
        long i = 0;
        while (!ready[i])
            i++;
        raympi_ref taken = refs[i];
        refs[i] = refs[left - 1];
        refs[left - 1] = taken;
    }
    double took = bench_now() - start;
    ours_check(raympi_release_all(refs, (size_t)count), "raympi_release_all");
    free(ready);
    return took / (0.5 * (double)count * (double)(count + 1));
}

static double repetition(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "async";
    long count = bench_argument(argc, argv, 2, 100000);
    if (refs == NULL)
        refs = calloc((size_t)count + 1000, sizeof *refs);
    bench_require(refs != NULL, "memory");
    if (strcmp(mode, "async") == 0)
        return async(count, bench_argument(argc, argv, 3, count));
    if (strcmp(mode, "sync") == 0)
        return sync_(count);
    if (strcmp(mode, "put") == 0)
        return objects(count, true);
    if (strcmp(mode, "get") == 0)
        return objects(count, false);
    if (strcmp(mode, "waitset") == 0)
        return waitset(count);
    bench_require(strcmp(mode, "wait") == 0, "unknown mode");
    return wait_plain(count);
}

int main(int argc, char **argv)
{
    return ours_main(argc, argv, repetition);
}
