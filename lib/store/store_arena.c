/* Two-level segregated fit (Masmano et al. 2004) with its records out of band: the chunks of neighbouring
 * extents form a list by address, the free ones also hang in lists by size. Whole free extents never stay
 * here. Blocks of three kinds (small, of less than an extent, longer) have extents of their own: small
 * blocks, of which there are most, would otherwise lie everywhere and keep extents from becoming whole again.
 */
#include "store/store_arena.h"

#include <stdlib.h>

#define KIND_ANY    ARENA_KINDS
#define ARENA_SMALL 12  /* a small block is shorter than this part of an extent */
#define ARENA_LOOKS 16  /* at chunks of one list, for the lowest */
#define ARENA_SLAB  128 /* records per allocation */

struct arena_slab {
    struct arena_slab *next;
    struct arena_chunk chunks[ARENA_SLAB];
};

int arena_init(struct arena *arena, uint64_t extent_bytes, uint64_t extents)
{
    *arena = (struct arena){.extent_bytes = extent_bytes, .extents = extents};
    arena->first = calloc(extents, sizeof *arena->first);
    arena->last = calloc(extents, sizeof *arena->last);
    if (arena->first && arena->last)
        return RAYMPI_OK;
    arena_fini(arena);
    return base_fail(RAYMPI_ERR_MEMORY, "no private memory for the tables of %llu store extents",
                     (unsigned long long)extents);
}

void arena_fini(struct arena *arena)
{
    struct arena_slab *slab = arena->slabs;
    while (slab) {
        struct arena_slab *next = slab->next;
        free(slab);
        slab = next;
    }
    free(arena->first);
    free(arena->last);
    *arena = (struct arena){0};
}

/* ---- records */

static void record_put(struct arena *arena, struct arena_chunk *chunk)
{
    chunk->older = arena->spare;
    arena->spare = chunk;
    arena->spares++;
}

static struct arena_chunk *record_get(struct arena *arena)
{
    struct arena_chunk *chunk = arena->spare;
    arena->spare = chunk->older;
    arena->spares--;
    *chunk = (struct arena_chunk){0};
    return chunk;
}

int arena_reserve(struct arena *arena)
{
    /* A create takes three at most: for new extents, for what is left of the chunk it divides, and for the
     * other side of extents it turns out not to need. Freeing a large chunk may leave pieces on both sides of
     * the extents it empties: one record more than it had, so each large chunk, the coming one included,
     * keeps one in reserve. */
    if (arena->spares >= arena->large + 4)
        return RAYMPI_OK;
    struct arena_slab *slab = calloc(1, sizeof *slab);
    if (!slab)
        return base_fail(RAYMPI_ERR_MEMORY, "no private memory for the store's allocation records");
    slab->next = arena->slabs;
    arena->slabs = slab;
    for (int i = 0; i < ARENA_SLAB; i++)
        record_put(arena, &slab->chunks[i]);
    return RAYMPI_OK;
}

/* ---- lists by size */

static unsigned class_of(uint64_t length)
{
    uint64_t granules = length / ARENA_GRANULE;
    if (granules < 16)
        return (unsigned)granules;
    unsigned log = 63 - (unsigned)__builtin_clzll(granules);
    return (log - 3) * 16 + ((unsigned)(granules >> (log - 4)) & 15);
}

static uint8_t kind_of(const struct arena *arena, uint64_t length)
{
    return (uint8_t)((length >= arena->extent_bytes / ARENA_SMALL) + (length >= arena->extent_bytes));
}

static void list_insert(struct arena *arena, struct arena_chunk *chunk)
{
    struct arena_lists *lists = &arena->kinds[chunk->kind];
    unsigned class = class_of(chunk->length);
    chunk->used = false;
    chunk->newer = NULL;
    chunk->older = lists->first[class];
    if (chunk->older)
        chunk->older->newer = chunk;
    lists->first[class] = chunk;
    lists->filled[class / 64] |= UINT64_C(1) << class % 64;
}

static void list_remove(struct arena *arena, struct arena_chunk *chunk)
{
    struct arena_lists *lists = &arena->kinds[chunk->kind];
    unsigned class = class_of(chunk->length);
    if (chunk->older)
        chunk->older->newer = chunk->newer;
    if (chunk->newer)
        chunk->newer->older = chunk->older;
    else
        lists->first[class] = chunk->older;
    if (!lists->first[class])
        lists->filled[class / 64] &= ~(UINT64_C(1) << class % 64);
}

/* A chunk of any list from `class` on. */
static struct arena_chunk *list_above(const struct arena_lists *lists, unsigned class)
{
    for (unsigned word = class / 64; word < sizeof lists->filled / sizeof lists->filled[0]; word++) {
        uint64_t bits = lists->filled[word];
        if (word == class / 64)
            bits &= ~UINT64_C(0) << class % 64;
        if (bits)
            return lists->first[word * 64 + (unsigned)__builtin_ctzll(bits)];
    }
    return NULL;
}

/* ---- neighbours */

/* Notes a chunk that now starts or ends a contiguous stretch. */
static void edges_note(struct arena *arena, struct arena_chunk *chunk)
{
    if (!chunk->before)
        arena->first[chunk->offset / arena->extent_bytes] = chunk;
    if (!chunk->after)
        arena->last[(chunk->offset + chunk->length - 1) / arena->extent_bytes] = chunk;
}

static void neighbours_link(struct arena_chunk *before, struct arena_chunk *after)
{
    if (before)
        before->after = after;
    if (after)
        after->before = before;
}

/* Joins a chunk that is in no list with its free neighbours. Returns the whole, in no list either. */
static struct arena_chunk *chunk_join(struct arena *arena, struct arena_chunk *chunk)
{
    struct arena_chunk *after = chunk->after, *before = chunk->before;
    if (after && !after->used) {
        list_remove(arena, after);
        chunk->length += after->length;
        chunk->after = after->after;
        neighbours_link(chunk, chunk->after);
        record_put(arena, after);
    }
    if (before && !before->used) {
        list_remove(arena, before);
        before->length += chunk->length;
        before->after = chunk->after;
        neighbours_link(before, before->after);
        record_put(arena, chunk);
        chunk = before;
    }
    edges_note(arena, chunk);
    return chunk;
}

/* Cuts the whole extents out of a free chunk that is in no list, and lists what is left of it. */
static struct arena_run chunk_carve(struct arena *arena, struct arena_chunk *chunk)
{
    uint64_t extent = arena->extent_bytes;
    uint64_t start = base_align_up(chunk->offset, extent);
    uint64_t end = (chunk->offset + chunk->length) / extent * extent;
    if (start >= end) {
        list_insert(arena, chunk);
        return (struct arena_run){0, 0};
    }
    struct arena_chunk *before = chunk->before, *after = chunk->after;
    uint64_t left = start - chunk->offset, right = chunk->offset + chunk->length - end;
    if (left) {
        struct arena_chunk *piece = record_get(arena);
        piece->offset = chunk->offset;
        piece->length = left;
        piece->kind = chunk->kind;
        neighbours_link(before, piece);
        piece->before = before;
        before = piece;
        list_insert(arena, piece);
    }
    if (right) {
        chunk->offset = end;
        chunk->length = right;
        chunk->after = after;
        neighbours_link(chunk, after);
        list_insert(arena, chunk);
        after = chunk;
    } else {
        record_put(arena, chunk);
    }
    if (before) {
        before->after = NULL;
        edges_note(arena, before);
    }
    if (after) {
        after->before = NULL;
        edges_note(arena, after);
    }
    arena->first[start / extent] = NULL;
    arena->last[end / extent - 1] = NULL;
    return (struct arena_run){start / extent, (end - start) / extent};
}

/* Makes the first `length` bytes of a chunk in no list used. Returns what is left, in no list either, or
 * NULL. */
static struct arena_chunk *chunk_divide(struct arena *arena, struct arena_chunk *chunk, uint64_t length)
{
    chunk->used = true;
    if (length >= arena->extent_bytes)
        arena->large++;
    if (chunk->length == length)
        return NULL;
    struct arena_chunk *rest = record_get(arena);
    rest->offset = chunk->offset + length;
    rest->length = chunk->length - length;
    rest->kind = chunk->kind;
    neighbours_link(rest, chunk->after);
    neighbours_link(chunk, rest);
    chunk->length = length;
    edges_note(arena, rest);
    return rest;
}

/* ---- the interface */

/* Of a chunk and those behind it in its list: what is in use gathers at the low end. */
static struct arena_chunk *list_lowest(struct arena_chunk *chunk, uint64_t length)
{
    struct arena_chunk *lowest = chunk;
    for (int looks = ARENA_LOOKS; chunk && looks > 0; chunk = chunk->older, looks--)
        if (chunk->length >= length && chunk->offset < lowest->offset)
            lowest = chunk;
    return lowest;
}

static struct arena_chunk *take_of_kind(struct arena *arena, uint8_t kind, uint64_t length, uint32_t tries)
{
    const struct arena_lists *lists = &arena->kinds[kind];
    unsigned class = class_of(length);
    struct arena_chunk *chunk = lists->first[class];
    while (chunk && chunk->length < length)
        chunk = tries-- ? chunk->older : NULL;
    if (!chunk)
        chunk = list_above(lists, class + 1);
    if (!chunk)
        return NULL;
    chunk = list_lowest(chunk, length);
    list_remove(arena, chunk);
    struct arena_chunk *rest = chunk_divide(arena, chunk, length);
    if (rest)
        list_insert(arena, rest);
    return chunk;
}

struct arena_chunk *arena_take(struct arena *arena, uint64_t length, uint32_t tries)
{
    length = base_align_up(length ? length : 1, ARENA_GRANULE);
    uint8_t kind = kind_of(arena, length);
    struct arena_chunk *chunk = take_of_kind(arena, kind, length, tries);
    for (uint8_t other = 0; !chunk && tries == ARENA_SEARCH_ALL && other < ARENA_KINDS; other++)
        chunk = take_of_kind(arena, other, length, tries);
    return chunk;
}

/* ---- more extents */

/* The chunk that ends before (starts at) an extent, if extents of `kind`, which may be KIND_ANY, would be
 * joined to it. */
static struct arena_chunk *edge_before(const struct arena *arena, uint64_t extent, uint8_t kind)
{
    struct arena_chunk *chunk = extent > 0 ? arena->last[extent - 1] : NULL;
    return chunk && (chunk->kind == kind || kind == KIND_ANY) ? chunk : NULL;
}

static struct arena_chunk *edge_after(const struct arena *arena, uint64_t extent, uint8_t kind)
{
    struct arena_chunk *chunk = extent < arena->extents ? arena->first[extent] : NULL;
    return chunk && (chunk->kind == kind || kind == KIND_ANY) ? chunk : NULL;
}

static uint64_t free_bytes(const struct arena_chunk *chunk)
{
    return chunk && !chunk->used ? chunk->length : 0;
}

uint64_t arena_free_before(const struct arena *arena, uint64_t extent, uint64_t length, bool any)
{
    return free_bytes(edge_before(arena, extent, any ? KIND_ANY : kind_of(arena, length)));
}

uint64_t arena_free_after(const struct arena *arena, uint64_t extent, uint64_t length, bool any)
{
    return free_bytes(edge_after(arena, extent, any ? KIND_ANY : kind_of(arena, length)));
}

/* Puts new extents beside the chunks they touch, as one free chunk in no list. */
static struct arena_chunk *run_link(struct arena *arena, struct arena_run run, uint64_t length)
{
    uint64_t there = run.count * arena->extent_bytes + arena_free_before(arena, run.first, length, false) +
                     arena_free_after(arena, run.first + run.count, length, false);
    uint8_t kind = there < length ? KIND_ANY : kind_of(arena, length);
    struct arena_chunk *chunk = record_get(arena);
    uint64_t end = run.first + run.count;
    chunk->kind = kind_of(arena, length);
    chunk->offset = run.first * arena->extent_bytes;
    chunk->length = run.count * arena->extent_bytes;
    struct arena_chunk *before = edge_before(arena, run.first, kind), *after = edge_after(arena, end, kind);
    if (before) {
        chunk->before = before;
        neighbours_link(before, chunk);
        arena->last[run.first - 1] = NULL;
    }
    if (after) {
        chunk->after = after;
        neighbours_link(chunk, after);
        arena->first[end] = NULL;
    }
    return chunk_join(arena, chunk);
}

struct arena_chunk *arena_add_take(struct arena *arena, struct arena_run run, uint64_t length,
                                   struct arena_run *surplus)
{
    length = base_align_up(length ? length : 1, ARENA_GRANULE);
    struct arena_chunk *chunk = run_link(arena, run, length);
    struct arena_chunk *rest = chunk_divide(arena, chunk, length);
    *surplus = rest ? chunk_carve(arena, rest) : (struct arena_run){0, 0};
    return chunk;
}

struct arena_run arena_give(struct arena *arena, struct arena_chunk *chunk)
{
    if (chunk->length >= arena->extent_bytes)
        arena->large--;
    chunk->used = false;
    return chunk_carve(arena, chunk_join(arena, chunk));
}
