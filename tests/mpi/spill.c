/* More objects than the store holds, all of them wanted: spill [MiB [object KiB]], RAYMPI_STORE_BYTES in MiB
 * ("64M"). Rank 0 puts them or has tasks make them, reads all twice in random order, and has tasks read them,
 * several at once. What memory it comes to have is told and looked at. */
#include "mpi_test.h"

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static size_t object_bytes = 1 << 20;

static void fill(uint64_t *words, size_t bytes, uint64_t number)
{
    for (size_t i = 0; i < bytes / 8; i++)
        words[i] = mix(number * 1000003 + i);
}

static int is_right(const uint64_t *words, size_t len, uint64_t number)
{
    for (size_t i = 0; i < object_bytes / 8; i++)
        if (words[i] != mix(number * 1000003 + i))
            return 0;
    return len == object_bytes;
}

/* 1: all of its arguments are what they should be. */
RAYMPI_TASK(looks)
{
    int64_t good = 1;
    for (int i = 0; i < raympi_arg_count(ctx) - 1; i++) {
        size_t len;
        const uint64_t *words = raympi_arg(ctx, i, &len);
        good = good && words &&
               is_right(words, len, (uint64_t)raympi_arg_int(ctx, raympi_arg_count(ctx) - 1) + (uint64_t)i);
    }
    return raympi_return_int(ctx, 0, good);
}

/* An object as a result. */
RAYMPI_TASK(makes)
{
    size_t bytes = (size_t)raympi_arg_int(ctx, 1);
    uint64_t *words = raympi_return(ctx, 0, bytes);
    if (words)
        fill(words, bytes, (uint64_t)raympi_arg_int(ctx, 0));
    return RAYMPI_OK;
}

/* Memory that this rank has: pages that it has mapped twice count once. 0: the kernel does not tell. */
static uint64_t kilobytes_now(void)
{
    char line[200];
    uint64_t found = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "Pss:", 4) == 0)
            found = strtoull(line + 4, NULL, 10);
    if (file)
        fclose(file);
    return found;
}

static uint64_t most_kilobytes;

static void note_memory(uint64_t i)
{
    uint64_t now = i % 16 == 0 ? kilobytes_now() : 0;
    most_kilobytes = now > most_kilobytes ? now : most_kilobytes;
}

static void read_all(raympi_ref *refs, uint64_t count, uint64_t seed)
{
    uint64_t order[count];
    for (uint64_t i = 0; i < count; i++)
        order[i] = i;
    for (uint64_t i = count; i > 1; i--) {
        uint64_t j = mix(seed + i) % i, kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
    for (uint64_t i = 0; i < count; i++) {
        raympi_view view;
        int status = raympi_get(refs[order[i]], &view);
        CHECK_OK(status);
        if (status != RAYMPI_OK)
            continue;
        CHECK(is_right(view.data, view.len, order[i]));
        note_memory(i);
        CHECK_OK(raympi_view_end(&view));
    }
}

static void have_tasks_look(raympi_ref *refs, uint64_t count)
{
    enum { EACH = 3 };
    raympi_ref looked[count / EACH];
    for (uint64_t i = 0; i < count / EACH; i++)
        looked[i] =
            raympi_call(looks, refs[EACH * i], refs[EACH * i + 1], refs[EACH * i + 2], (int64_t)(EACH * i));
    for (uint64_t i = 0; i < count / EACH; i++) {
        int64_t good = 0;
        CHECK_OK(raympi_get_copy(looked[i], &good, sizeof good));
        CHECK(good == 1);
        note_memory(i);
        CHECK_OK(raympi_release(looked[i]));
    }
}

/* All that has been spilled and restored; of one rank it is known how much that is at least. */
static void look_at_tiers(const raympi_ref *refs, uint64_t count)
{
    struct raympi_store_stats stats = {.size = sizeof stats};
    uint64_t on_disk = 0, bytes = count * object_bytes;
    for (uint64_t i = 0; i < count; i++) {
        struct raympi_object_info info = {.size = sizeof info};
        CHECK_OK(raympi_object_info(refs[i], &info));
        CHECK(info.bytes == object_bytes && info.tier >= RAYMPI_TIER_MEMORY);
        on_disk += info.tier == RAYMPI_TIER_DISK;
    }
    CHECK_OK(raympi_store_stats(&stats));
    printf("spilled %llu MiB, restored %llu MiB, store %llu MiB, objects %llu MiB, on disk %llu MiB\n",
           (unsigned long long)stats.spilled >> 20, (unsigned long long)stats.restored >> 20,
           (unsigned long long)stats.capacity >> 20, (unsigned long long)bytes >> 20,
           (unsigned long long)stats.disk >> 20);
    if (raympi_size() > 1) /* some are others' */
        return;
    CHECK(stats.disk >= on_disk * object_bytes);
    CHECK(on_disk * object_bytes >= bytes - stats.capacity);
    CHECK(stats.spilled >= bytes - stats.capacity);
    CHECK(stats.restored >= bytes - stats.capacity);
}

static void drive(uint64_t bytes)
{
    uint64_t count = bytes / object_bytes;
    raympi_ref *refs = malloc(count * sizeof *refs);
    uint64_t *words = malloc(object_bytes);
    for (uint64_t i = 0; i < count; i++) {
        if (i % 2 == 0) {
            fill(words, object_bytes, i);
            refs[i] = raympi_put(words, object_bytes);
        } else {
            refs[i] = raympi_call(makes, (int64_t)i, (int64_t)object_bytes);
        }
    }
    read_all(refs, count, 1);
    read_all(refs, count, 2);
    have_tasks_look(refs, count);
    look_at_tiers(refs, count);
    for (uint64_t i = 0; i < count; i++)
        CHECK_OK(raympi_release(refs[i]));
    free(words);
    free(refs);
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    uint64_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 64) << 20;
    object_bytes = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1024) << 10;
    if (raympi_rank() == 0)
        drive(bytes);
    int finalized = raympi_finalize();
    /* The whole store of a host, and what a rank may need besides. */
    const char *store = getenv("RAYMPI_STORE_BYTES");
    uint64_t bound = (store ? strtoull(store, NULL, 10) : 0) + 256;
    if (most_kilobytes > 0)
        printf("memory: at most %llu MiB of %llu\n", (unsigned long long)most_kilobytes >> 10,
               (unsigned long long)bound);
    CHECK(!store || most_kilobytes >> 10 <= bound);
    return test_end(finalized);
}
