/* The allocator after long use: random blocks come and go while the store stays three quarters full.
 *
 *   test_churn [OPERATIONS [SEED [MIBIBYTES]]]      prints what it measured
 *
 * Nothing is moved, so the question is what fragmentation costs. Waste is what no block uses of the extents
 * that are leased; at three quarters it is a quarter at most exactly as long as every create succeeds. Linked
 * with --wrap: no memory stands behind the extents, since nobody writes into them. */
#include "store_test.h"
#include "store/store_internal.h"

#include <math.h>

#define FILL            0.75
#define FULL            0.97 /* of that: where waste is looked at; what stages leave behind is not counted */
#define WASTE           0.25
#define FAILURES        1e-6    /* of the creates */
#define FAILURES_STAGES 0.01    /* the same where stages and bursts follow each other */
#define BURST           0.25    /* of the store, at most */
#define LONGEST         128     /* part of the store that the longest block takes */
#define SAMPLE          1000    /* operations between two looks at the waste */
#define CHECK           1000000 /* between two looks at everything */
#define STAGE_LEAST     50000   /* operations */

int __wrap_base_segment_commit(struct base_segment *segment, uint64_t offset, uint64_t length)
{
    (void)segment, (void)offset, (void)length;
    return RAYMPI_OK;
}

int __wrap_madvise(void *address, size_t length, int advice)
{
    (void)address, (void)length, (void)advice;
    return 0;
}

/* ---- blocks by age */

struct population {
    struct store_place *ring;
    uint64_t first, count, mask;
    uint64_t bytes;
};

enum order { ORDER_RANDOM, ORDER_OLDEST, ORDER_NEWEST, ORDERS };

static struct store_place *block_at(const struct population *population, uint64_t age)
{
    return &population->ring[(population->first + age) & population->mask];
}

static struct store_place block_leave(struct population *population, enum order order, uint64_t *random)
{
    uint64_t age = order == ORDER_NEWEST ? population->count - 1 : 0;
    if (order == ORDER_RANDOM)
        age = random_next(random) % population->count;
    struct store_place place = *block_at(population, age);
    *block_at(population, age) = *block_at(population, 0);
    population->count--;
    population->first += order != ORDER_NEWEST;
    return place;
}

/* ---- what comes and goes */

struct churn {
    struct host host;
    struct store *store;
    uint64_t random, longest, fill;
    struct population usual, burst;
    /* The stage: sizes (log-uniform), who goes first, operations. */
    uint64_t least, most, left;
    enum order order;
    uint64_t room, burst_length, burst_stay; /* room: for bursts */
    bool stages;

    uint64_t operations, failures, samples, broken;
    double nanoseconds, waste, waste_sum;
};

static uint64_t length_draw(struct churn *churn, uint64_t least, uint64_t most)
{
    double uniform = (double)(random_next(&churn->random) >> 11) * 0x1p-53;
    return base_align_up((uint64_t)((double)least * exp(uniform * log((double)most / (double)least))),
                         ARENA_GRANULE);
}

static void operation_free(struct churn *churn, struct population *population, enum order order)
{
    struct store_place place = block_leave(population, order, &churn->random);
    population->bytes -= churn->store->blocks[place.index].chunk->length;
    store_free(churn->store, place);
    churn->operations++;
}

/* Others go until there is room; should there be none nevertheless, more of them. */
static void operation_create(struct churn *churn, struct population *population, uint64_t length)
{
    void *data;
    bool failed = false;
    while (
        population == &churn->usual && population->count &&
        (population->bytes + length > churn->fill - churn->room || population->count == population->mask / 2))
        operation_free(churn, population, churn->order);
    while (store_create(churn->store, length, block_at(population, population->count), &data) != RAYMPI_OK) {
        if (!failed && !churn->failures++)
            fprintf(stderr, "no %llu bytes after %llu operations: %s\n", (unsigned long long)length,
                    (unsigned long long)churn->operations, base_detail());
        failed = true;
        operation_free(churn, &churn->usual, churn->order);
    }
    population->count++;
    population->bytes += length;
    churn->operations++;
}

/* A program's next stage: anything at all, small, middling or long blocks. What it had goes, but for the
 * burst. */
static void stage_begin(struct churn *churn)
{
    while (churn->usual.count)
        operation_free(churn, &churn->usual, churn->order);
    static const uint64_t least[] = {64, 64, 64, 4096, 65536}, most[] = {0, 0, 16384, 1048576, 0};
    uint64_t kind = random_next(&churn->random) % 5;
    churn->least = least[kind];
    churn->most = most[kind] ? most[kind] : churn->longest;
    churn->order = (enum order)(random_next(&churn->random) % ORDERS);
    churn->left = STAGE_LEAST + random_next(&churn->random) % (8 * STAGE_LEAST);
}

/* Blocks of one size, that stay for a while and then go. */
static void burst_begin(struct churn *churn)
{
    churn->burst_length = length_draw(churn, 4096, churn->longest);
    churn->burst_stay = random_next(&churn->random) % STAGE_LEAST;
}

static void burst_step(struct churn *churn)
{
    if (churn->burst_stay && churn->burst.bytes + churn->burst_length <= churn->room)
        operation_create(churn, &churn->burst, churn->burst_length);
    else if (churn->burst_stay)
        churn->burst_stay--;
    else if (churn->burst.count)
        operation_free(churn, &churn->burst, ORDER_RANDOM);
    else
        burst_begin(churn);
}

static void step(struct churn *churn)
{
    if (churn->stages) {
        if (churn->left-- == 0)
            stage_begin(churn);
        burst_step(churn);
    }
    operation_create(churn, &churn->usual, length_draw(churn, churn->least, churn->most));
}

/* ---- what must hold */

/* UINT64_MAX: the lists are wrong. */
static uint64_t listed(const struct arena *arena)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < ARENA_KINDS * ARENA_CLASSES; i++) {
        const struct arena_lists *lists = &arena->kinds[i / ARENA_CLASSES];
        unsigned class = i % ARENA_CLASSES;
        if ((lists->filled[class / 64] >> class % 64 & 1) != (lists->first[class] != NULL))
            return UINT64_MAX;
        for (const struct arena_chunk *chunk = lists->first[class]; chunk; chunk = chunk->older) {
            if (chunk->used || chunk->kind != i / ARENA_CLASSES ||
                (chunk->older && chunk->older->newer != chunk))
                return UINT64_MAX;
            count++;
        }
    }
    return count;
}

struct total {
    uint64_t used, used_bytes, unused, bytes;
};

/* Neighbours touch, and no two free ones: everything is joined. */
static bool stretch_whole(const struct arena_chunk *chunk, struct total *total)
{
    for (; chunk; chunk = chunk->after) {
        const struct arena_chunk *after = chunk->after;
        if (after && (after->offset != chunk->offset + chunk->length || after->before != chunk ||
                      (!chunk->used && !after->used)))
            return false;
        total->used += chunk->used;
        total->used_bytes += chunk->used ? chunk->length : 0;
        total->unused += !chunk->used;
        total->bytes += chunk->length;
    }
    return true;
}

/* All stretches, which do not overlap, make up the extents that are leased. */
static bool arena_whole(const struct churn *churn)
{
    const struct arena *arena = &churn->store->arena;
    struct total total = {0};
    uint64_t end = 0;
    for (uint64_t extent = 0; extent < arena->extents; extent++) {
        const struct arena_chunk *chunk = arena->first[extent];
        if (!chunk)
            continue;
        if (chunk->before || chunk->offset != extent * arena->extent_bytes || chunk->offset < end)
            return false;
        uint64_t bytes = total.bytes;
        if (!stretch_whole(chunk, &total))
            return false;
        end = chunk->offset + total.bytes - bytes;
    }
    return total.used == churn->usual.count + churn->burst.count &&
           total.used_bytes == churn->usual.bytes + churn->burst.bytes && total.unused == listed(arena) &&
           total.bytes == churn->store->counters.extents * arena->extent_bytes;
}

static void waste_look(struct churn *churn)
{
    const struct store_counters *counters = &churn->store->counters;
    if ((double)counters->bytes < FULL * (double)churn->fill)
        return;
    double waste =
        1 - (double)counters->bytes / (double)(counters->extents * churn->host.layout.extent_bytes);
    churn->waste = waste > churn->waste ? waste : churn->waste;
    churn->waste_sum += waste;
    churn->samples++;
}

/* ---- the churn */

static bool population_make(struct population *population, uint32_t descriptors)
{
    population->mask = (UINT64_C(1) << (63 - __builtin_clzll(descriptors))) - 1;
    population->ring = calloc(population->mask + 1, sizeof *population->ring);
    return population->ring != NULL;
}

static bool churn_open(struct churn *churn, uint64_t seed, uint64_t bytes, bool stages)
{
    *churn = (struct churn){.random = seed, .stages = stages, .left = STAGE_LEAST};
    /* With the descriptors of a store four times as large: there are times of small blocks only. */
    struct store_layout layout = layout_of(1, 4 * bytes);
    layout.extents = bytes / layout.extent_bytes;
    churn->longest = bytes / LONGEST;
    churn->fill = (uint64_t)(FILL * (double)bytes);
    churn->room = stages ? (uint64_t)(BURST * (double)bytes) : 0;
    churn->least = ARENA_GRANULE, churn->most = churn->longest;
    if (!population_make(&churn->usual, layout.descriptors) ||
        !population_make(&churn->burst, layout.descriptors) || !host_make(&churn->host, layout))
        return false;
    churn->store = host_open(&churn->host, 0);
    return churn->store != NULL;
}

static void churn_close(struct churn *churn)
{
    while (churn->usual.count)
        operation_free(churn, &churn->usual, ORDER_RANDOM);
    while (churn->burst.count)
        operation_free(churn, &churn->burst, ORDER_RANDOM);
    churn->broken += !arena_whole(churn) || churn->store->counters.extents || churn->store->arena.large;
    store_close(churn->store);
    host_end(&churn->host);
    free(churn->usual.ring);
    free(churn->burst.ring);
}

/* The first looks come once the store is full. */
static void churn_run(struct churn *churn, uint64_t operations)
{
    while (churn->usual.bytes + churn->longest < churn->fill - churn->room)
        step(churn);
    churn->operations = 0;
    uint64_t looks = 0, checks = 0, start = base_now();
    while (churn->operations < operations) {
        step(churn);
        if (churn->operations / SAMPLE == looks)
            continue;
        looks = churn->operations / SAMPLE;
        waste_look(churn);
        if (churn->operations / CHECK == checks)
            continue;
        checks = churn->operations / CHECK;
        churn->nanoseconds += (double)(base_now() - start);
        churn->broken += !arena_whole(churn);
        start = base_now();
    }
    churn->nanoseconds += (double)(base_now() - start);
}

static uint64_t operations = 1000000, seed = 1, bytes = UINT64_C(1) << 30;

static void churn_all(bool stages)
{
    static struct churn churn;
    CU_ASSERT_FATAL(churn_open(&churn, seed, bytes, stages));
    churn_run(&churn, operations);
    printf(
        "%llu operations, %.0f ns each; waste of leased extents: %.1f %% at most, %.1f %% on average; %llu "
        "creates failed\n",
        (unsigned long long)churn.operations, churn.nanoseconds / (double)churn.operations, 100 * churn.waste,
        100 * churn.waste_sum / (double)churn.samples, (unsigned long long)churn.failures);
    churn_close(&churn);
    CU_ASSERT(churn.samples > 0);
    CU_ASSERT((double)churn.failures <= (double)churn.operations / 2 * (stages ? FAILURES_STAGES : FAILURES));
    CU_ASSERT(stages || churn.waste <= WASTE);
    CU_ASSERT_EQUAL(churn.broken, 0);
}

static void test_mix(void)
{
    churn_all(false);
}

static void test_stages(void)
{
    churn_all(true);
}

static const struct unit_test tests[] = {
    {"arena: at three quarters, random sizes in random order: no create fails, a quarter of waste at most",
     test_mix},
    {"arena: the same with stages of other sizes, and bursts of one size", test_stages},
};

int main(int argc, char **argv)
{
    operations = argc > 1 ? strtoull(argv[1], NULL, 0) : operations;
    seed = argc > 2 ? strtoull(argv[2], NULL, 0) : seed;
    bytes = argc > 3 ? strtoull(argv[3], NULL, 0) << 20 : bytes;
    return UNIT_MAIN("store: churn", tests);
}
