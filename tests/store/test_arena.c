/* The arena alone, against a model that knows for every granule who has it. */
#include "store_test.h"
#include "store/store_arena.h"

#define EXTENT   (64u * ARENA_GRANULE)
#define EXTENTS  64u
#define GRANULES (EXTENTS * EXTENT / ARENA_GRANULE)
#define BLOCKS   300

struct model {
    struct arena arena;
    bool leased[EXTENTS];
    uint16_t user[GRANULES]; /* block + 1 */
    struct arena_chunk *blocks[BLOCKS];
    uint64_t lengths[BLOCKS];
    uint64_t random;
    int overlaps, outside, unreserved;
};

static void model_make(struct model *model, uint64_t seed)
{
    memset(model, 0, sizeof *model);
    model->random = seed;
    CU_ASSERT_EQUAL_FATAL(arena_init(&model->arena, EXTENT, EXTENTS), RAYMPI_OK);
}

static void run_give(struct model *model, struct arena_run run)
{
    for (uint64_t e = run.first; e < run.first + run.count; e++) {
        model->outside += !model->leased[e];
        model->leased[e] = false;
    }
}

/* The first free run from a random extent on, so that runs come in any order. */
static bool run_lease(struct model *model, uint64_t count, struct arena_run *run)
{
    uint64_t start = random_next(&model->random) % EXTENTS;
    for (uint64_t i = 0; i < EXTENTS; i++) {
        uint64_t first = (start + i) % EXTENTS, n = 0;
        while (n < count && first + n < EXTENTS && !model->leased[first + n])
            n++;
        if (n < count)
            continue;
        memset(&model->leased[first], true, count);
        *run = (struct arena_run){first, count};
        return true;
    }
    return false;
}

static void chunk_mark(struct model *model, const struct arena_chunk *chunk, uint16_t from, uint16_t to)
{
    for (uint64_t g = chunk->offset / ARENA_GRANULE; g < (chunk->offset + chunk->length) / ARENA_GRANULE;
         g++) {
        model->overlaps += model->user[g] != from;
        model->outside += !model->leased[g * ARENA_GRANULE / EXTENT];
        model->user[g] = to;
    }
}

static bool block_take(struct model *model, int block, uint64_t length)
{
    struct arena_run run, surplus = {0, 0};
    CU_ASSERT_EQUAL_FATAL(arena_reserve(&model->arena), RAYMPI_OK);
    struct arena_chunk *chunk = arena_take(&model->arena, length, 4);
    if (!chunk && run_lease(model, (length + EXTENT - 1) / EXTENT, &run)) {
        chunk = arena_add_take(&model->arena, run, length, &surplus);
        run_give(model, surplus);
    }
    if (!chunk)
        chunk = arena_take(&model->arena, length, ARENA_SEARCH_ALL);
    if (!chunk)
        return false;
    CU_ASSERT_FATAL(chunk->length >= length && chunk->length < length + ARENA_GRANULE);
    chunk_mark(model, chunk, 0, (uint16_t)(block + 1));
    model->blocks[block] = chunk;
    /* What their frees may need is there. */
    model->unreserved += model->arena.spares < model->arena.large;
    return true;
}

static void block_give(struct model *model, int block)
{
    chunk_mark(model, model->blocks[block], (uint16_t)(block + 1), 0);
    run_give(model, arena_give(&model->arena, model->blocks[block]));
    model->blocks[block] = NULL;
}

/* An extent is leased exactly while a block is in it: everything free was joined and given back. */
static int extents_wrong(const struct model *model)
{
    int wrong = 0;
    for (unsigned e = 0; e < EXTENTS; e++) {
        bool used = false;
        for (unsigned g = 0; g < EXTENT / ARENA_GRANULE; g++)
            used |= model->user[e * (EXTENT / ARENA_GRANULE) + g] != 0;
        wrong += used != model->leased[e];
    }
    return wrong;
}

static uint64_t length_random(uint64_t *random)
{
    uint64_t r = random_next(random);
    if (r % 16 == 0)
        return 1 + random_next(random) % (5 * EXTENT);
    if (r % 16 == 1)
        return (1 + random_next(random) % 3) * EXTENT;
    return 1 + random_next(random) % (EXTENT / (1 + r / 16 % 8));
}

static void churn(uint64_t seed, unsigned pressure)
{
    static struct model model;
    int wrong = 0, taken = 0;
    model_make(&model, seed);
    for (int step = 0; step < 20000; step++) {
        int block = (int)(random_next(&model.random) % (BLOCKS / pressure));
        if (model.blocks[block])
            block_give(&model, block);
        else
            taken += block_take(&model, block, length_random(&model.random));
        if (step % 64 == 0)
            wrong += extents_wrong(&model);
    }
    for (int block = 0; block < BLOCKS; block++)
        if (model.blocks[block])
            block_give(&model, block);
    wrong += extents_wrong(&model);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(model.overlaps, 0);
    CU_ASSERT_EQUAL(model.outside, 0);
    CU_ASSERT_EQUAL(model.unreserved, 0);
    CU_ASSERT(taken > 1000);
    CU_ASSERT_EQUAL(model.arena.large, 0);
    for (unsigned kind = 0; kind < ARENA_KINDS; kind++)
        for (unsigned word = 0; word < sizeof model.arena.kinds[kind].filled / 8; word++)
            CU_ASSERT_EQUAL(model.arena.kinds[kind].filled[word], 0);
    arena_fini(&model.arena);
}

static void test_churn(void)
{
    for (uint64_t seed = 1; seed <= 10; seed++)
        churn(seed, seed % 2 ? 1 : 10);
}

/* A block of two extents and a bit, with blocks at both ends of its memory: when it goes, the whole extents
 * in it go back and both pieces beside them stay usable. */
static void test_pieces(void)
{
    static struct model model;
    model_make(&model, 1);
    model.leased[0] = model.leased[6] = true; /* neighbours of others */
    struct arena_run run = {1, 5}, surplus;
    CU_ASSERT_EQUAL_FATAL(arena_reserve(&model.arena), RAYMPI_OK);
    memset(&model.leased[1], true, 5);
    struct arena_chunk *low = arena_add_take(&model.arena, run, EXTENT + EXTENT / 2, &surplus);
    CU_ASSERT_EQUAL(surplus.first, 3);
    CU_ASSERT_EQUAL(surplus.count, 3);
    run_give(&model, surplus);
    CU_ASSERT_EQUAL(arena_free_before(&model.arena, 3, 3 * EXTENT, false), EXTENT / 2);
    CU_ASSERT_EQUAL(arena_free_before(&model.arena, 3, EXTENT / 2, false), 0);
    /* Half of extent 2 is left; three more extents touch it. */
    memset(&model.leased[3], true, 3);
    CU_ASSERT_EQUAL_FATAL(arena_reserve(&model.arena), RAYMPI_OK);
    struct arena_chunk *middle = arena_add_take(&model.arena, (struct arena_run){3, 3}, 3 * EXTENT, &surplus);
    CU_ASSERT_EQUAL(surplus.count, 0);
    CU_ASSERT_EQUAL(middle->offset, 2 * EXTENT + EXTENT / 2);
    /* Shorter blocks have extents of their own, as long as there are some. */
    CU_ASSERT_PTR_NULL(arena_take(&model.arena, EXTENT / 2, 0));
    struct arena_chunk *high = arena_take(&model.arena, EXTENT / 2, ARENA_SEARCH_ALL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(high);
    CU_ASSERT_EQUAL(high->offset, 5 * EXTENT + EXTENT / 2);
    struct arena_run emptied = arena_give(&model.arena, middle);
    CU_ASSERT_EQUAL(emptied.first, 3);
    CU_ASSERT_EQUAL(emptied.count, 2);
    struct arena_chunk *again = arena_take(&model.arena, EXTENT / 2, ARENA_SEARCH_ALL);
    struct arena_chunk *other = arena_take(&model.arena, EXTENT / 2, ARENA_SEARCH_ALL);
    CU_ASSERT(again && other && again != other);
    CU_ASSERT_PTR_NULL(arena_take(&model.arena, 1, ARENA_SEARCH_ALL));
    arena_give(&model.arena, low);
    arena_give(&model.arena, high);
    arena_give(&model.arena, again);
    arena_give(&model.arena, other);
    CU_ASSERT_PTR_NULL(arena_take(&model.arena, 1, ARENA_SEARCH_ALL));
    arena_fini(&model.arena);
}

/* The extents that a long block gets are not enough: it also takes what a block of another kind left beside
 * them. */
static void test_other_kind(void)
{
    static struct model model;
    struct arena_run surplus;
    model_make(&model, 1);
    CU_ASSERT_EQUAL_FATAL(arena_reserve(&model.arena), RAYMPI_OK);
    struct arena_chunk *middling =
        arena_add_take(&model.arena, (struct arena_run){1, 1}, EXTENT / 2, &surplus);
    CU_ASSERT_EQUAL(arena_free_before(&model.arena, 2, 2 * EXTENT, false), 0);
    CU_ASSERT_EQUAL(arena_free_before(&model.arena, 2, 2 * EXTENT, true), EXTENT / 2);
    CU_ASSERT_EQUAL_FATAL(arena_reserve(&model.arena), RAYMPI_OK);
    struct arena_chunk *longer =
        arena_add_take(&model.arena, (struct arena_run){2, 1}, EXTENT + EXTENT / 4, &surplus);
    CU_ASSERT_EQUAL(surplus.count, 0);
    CU_ASSERT_EQUAL(longer->offset, EXTENT + EXTENT / 2);
    struct arena_run emptied = arena_give(&model.arena, longer);
    CU_ASSERT_EQUAL(emptied.first, 2);
    CU_ASSERT_EQUAL(emptied.count, 1);
    emptied = arena_give(&model.arena, middling);
    CU_ASSERT_EQUAL(emptied.first, 1);
    CU_ASSERT_EQUAL(emptied.count, 1);
    CU_ASSERT_PTR_NULL(arena_take(&model.arena, 1, ARENA_SEARCH_ALL));
    arena_fini(&model.arena);
}

/* The only chunk that fits lies behind many of its size class that do not. */
static void test_search_all(void)
{
    static struct model model;
    struct arena_run surplus;
    model_make(&model, 1);
    /* In each extent one free chunk of 58 granules, in extent 0 one of 59: all of one size class. */
    for (unsigned e = 0; e < 16; e++) {
        CU_ASSERT_EQUAL_FATAL(arena_reserve(&model.arena), RAYMPI_OK);
        arena_add_take(&model.arena, (struct arena_run){2 * e, 1}, (e ? 6 : 5) * ARENA_GRANULE, &surplus);
    }
    CU_ASSERT_PTR_NULL(arena_take(&model.arena, 59 * ARENA_GRANULE, 4));
    CU_ASSERT_PTR_NOT_NULL(arena_take(&model.arena, 59 * ARENA_GRANULE, ARENA_SEARCH_ALL));
    arena_fini(&model.arena);
}

static const struct unit_test tests[] = {
    {"arena: random sizes against a model: no overlap, all joined and given back", test_churn},
    {"arena: pieces on both sides of emptied extents", test_pieces},
    {"arena: a long block takes free memory of another kind where it has to", test_other_kind},
    {"arena: a fit deep in its list is found", test_search_all},
};

int main(void)
{
    return UNIT_MAIN("store: arena", tests);
}
