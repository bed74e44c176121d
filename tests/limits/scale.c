/* Very many of something on few ranks.
 *
 *   scale refs N      N live refs on rank 0, a tenth of them results of tasks on the last rank
 *   scale blocked N   N tasks that block, more than there are fibers for: each goes on, or its wait says why
 * not scale flood N     N tasks of one driver that never waits, and lets go of each ref at once: memory stays
 * flat
 */
#include "../mpi/mpi_test.h"

#include <stdatomic.h>
#include <time.h>

static long amount;

/* A line "Name: number" of /proc/self/status, in KiB. */
static long status_of(const char *name)
{
    char line[256];
    long number = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            number = atol(line + strlen(name) + 1);
    if (file)
        fclose(file);
    return number;
}

static long number_in(const char *path)
{
    long number = 0;
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld", &number) != 1)
        number = 0;
    if (file)
        fclose(file);
    return number;
}

static long mappings(void)
{
    long lines = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    for (int c; file && (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    if (file)
        fclose(file);
    return lines;
}

/* ---- refs */

RAYMPI_TASK(scale_double)
{
    return raympi_return_int(ctx, 0, 2 * raympi_arg_int(ctx, 0));
}

static void check_number(raympi_ref ref, int64_t expected)
{
    int64_t value = -1;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    CHECK(value == expected);
}

static void refs(void)
{
    if (raympi_rank() != 0)
        return;
    raympi_ref *refs = malloc((size_t)amount * sizeof *refs);
    raympi_options there = RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = raympi_size() - 1);
    long before = status_of("VmRSS:");
    CHECK(refs != NULL);
    for (int64_t i = 0; refs && i < amount; i++)
        refs[i] = i % 10 ? raympi_put(&i, sizeof i) : raympi_call_opts(there, scale_double, i);
    if (!refs)
        return;
    CHECK(raympi_wait(refs, (size_t)amount, (size_t)amount, -1, NULL) == amount);
    printf("%ld live refs: %ld bytes each\n", amount, (status_of("VmRSS:") - before) * 1024 / amount);
    uint64_t random = 1;
    for (int i = 0; i < 20000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        int64_t which = (int64_t)(random >> 33) % amount;
        check_number(refs[which], which % 10 ? which : 2 * which);
    }
    /* Every seventh, then the rest: neither the order in which they came nor the reverse. */
    for (int64_t i = 0; i < amount; i += 7)
        CHECK_OK(raympi_release(refs[i]));
    for (int64_t i = 0; i < amount; i++)
        if (i % 7)
            CHECK_OK(raympi_release(refs[i]));
    free(refs);
}

/* ---- blocked tasks */

static atomic_long begun, refused;
static void *late_data;

RAYMPI_TASK(scale_blocks)
{
    raympi_view view;
    raympi_ref late = raympi_arg_nested(ctx, 0, *(const raympi_wire_ref *)raympi_arg(ctx, 0, NULL));
    begun++;
    int status = raympi_get(late, &view);
    if (status != RAYMPI_OK) {
        refused++;
        return status;
    }
    return raympi_return_int(ctx, 0, *(const int64_t *)view.data);
}

/* The last of the tasks: by now the others wait, or could not. */
RAYMPI_TASK(scale_lets_go)
{
    int64_t value = 42;
    raympi_ref late = raympi_arg_nested(ctx, 0, *(const raympi_wire_ref *)raympi_arg(ctx, 0, NULL));
    long maps = mappings(), most = number_in("/proc/sys/vm/max_map_count");
    printf("%ld tasks have begun, %ld of them could not wait; %ld mappings of at most %ld, %ld KiB\n",
           (long)begun, (long)refused, maps, most, status_of("VmRSS:"));
    CHECK(maps < most && begun == amount);
    memcpy(late_data, &value, sizeof value);
    return raympi_seal(late);
}

static void blocked(void)
{
    if (raympi_rank() != 0)
        return;
    raympi_ref late, last, *refs = malloc((size_t)amount * sizeof *refs);
    raympi_options here = RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = 0);
    raympi_options last_here = here;
    int64_t good = 0, failed = 0;
    last_here.num_returns = RAYMPI_NONE;
    late_data = raympi_create(sizeof(int64_t), &late);
    CHECK(refs && late_data);
    raympi_wire_ref wire = raympi_wire(late);
    raympi_ref box = raympi_put_nested(&wire, sizeof wire, &late, 1);
    for (long i = 0; i < amount; i++)
        refs[i] = raympi_call_opts(here, scale_blocks, box);
    last = raympi_call_opts(last_here, scale_lets_go, box);
    for (long i = 0; i < amount; i++) {
        int64_t value = 0;
        int status = raympi_get_copy(refs[i], &value, sizeof value);
        CHECK(status == RAYMPI_ERR_MEMORY || (status == RAYMPI_OK && value == 42));
        good += status == RAYMPI_OK;
        failed += status != RAYMPI_OK;
        CHECK_OK(raympi_release(refs[i]));
    }
    CHECK(failed == refused && good + failed == amount && good >= amount / 10);
    CHECK_OK(raympi_ref_status(last));
    CHECK_OK(raympi_release(last));
    CHECK_OK(raympi_release(box));
    CHECK_OK(raympi_release(late));
    free(refs);
    printf("%ld tasks went on\n", (long)good);
}

/* ---- a flood */

#define FLOOD_BOUND 65536      /* unfinished tasks of a rank beyond which it waits when it submits */
#define FLOOD_TASK  2          /* KiB that each may take */
#define FLOOD_LOOK  (1L << 16) /* tasks between two looks at the memory */

RAYMPI_TASK(scale_nothing)
{
    return raympi_return_int(ctx, 0, 1);
}

static void flood(void)
{
    if (raympi_rank() != 0)
        return;
    struct timespec start, end;
    long before = status_of("VmRSS:"), most = before, early = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long i = 0; i < amount; i++) {
        CHECK_OK(raympi_release(raympi_call(scale_nothing)));
        if ((i + 1) % FLOOD_LOOK == 0) {
            long now = status_of("VmRSS:");
            most = now > most ? now : most;
            early = i < amount / 10 ? most : early;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%ld tasks in %.1f s: memory grew by %ld KiB, by %ld KiB of it in the first tenth\n", amount,
           (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9, most - before,
           early - before);
    CHECK(most - before <= FLOOD_BOUND * FLOOD_TASK);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    amount = argc > 2 ? atol(argv[2]) : 1000;
    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK)
        return EXIT_FAILURE;
    return test_end(test_drive(!strcmp(what, "refs") ? refs : !strcmp(what, "blocked") ? blocked : flood));
}
