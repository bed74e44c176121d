/* The search for an order of operations (Wing and Gong, with Lowe's memory of what was tried in vain): of
 * those that may come next, which are the ones that began before any that is left had ended, each that fits
 * the value there is tried in turn. Two ways that have the same operations behind them and end with the same
 * value go on alike, so the second is not followed. */
#include "history.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define WORDS      (HISTORY_MOST / 64)
#define TRIES_MOST 2000000

/** Which operations are done, and whose value there is. */
struct point {
    uint64_t done[WORDS];
    uint64_t value;
};

struct tried {
    struct point point;
    UT_hash_handle hh;
};

struct search {
    const struct history_op *ops;
    int count;
    struct tried *tried;
    uint64_t tries;
};

/* ---- one operation */

static bool is_wanted(const struct history_op *op, uint32_t value)
{
    switch (op->kind) {
    case HISTORY_PUT_IF_ABSENT:
        return value == HISTORY_ABSENT;
    case HISTORY_COMPARE_AND_SET:
        return value == op->wanted;
    case HISTORY_DELETE:
        return value != HISTORY_ABSENT;
    default:
        return true;
    }
}

static bool shows_value(const struct history_op *op)
{
    return op->answer == HISTORY_NOT || op->kind == HISTORY_GET || op->kind == HISTORY_DELETE;
}

static bool writes(const struct history_op *op)
{
    return op->kind != HISTORY_GET;
}

/* Whether it could have had its answer where *value is there; if so *value is what it leaves. */
static bool op_fits(const struct history_op *op, uint32_t *value)
{
    bool wanted = is_wanted(op, *value);
    if (op->answer != HISTORY_UNKNOWN) {
        if (wanted != (op->answer == HISTORY_DONE))
            return false;
        if (shows_value(op) && op->seen != *value && op->seen != HISTORY_ANY)
            return false;
    }
    if (wanted && writes(op))
        *value = op->kind == HISTORY_DELETE ? HISTORY_ABSENT : op->name;
    return true;
}

/* ---- the search */

static bool is_done(const struct point *point, int i)
{
    return point->done[i / 64] >> (i % 64) & 1;
}

/* The first end among the operations that are left: what begins after it comes later. */
static uint64_t first_end(const struct search *search, const struct point *point)
{
    uint64_t first = HISTORY_OPEN;
    for (int i = 0; i < search->count; i++)
        if (!is_done(point, i) && search->ops[i].end < first)
            first = search->ops[i].end;
    return first;
}

/* Nothing is left but what need not happen. */
static bool is_complete(const struct search *search, const struct point *point)
{
    for (int i = 0; i < search->count; i++)
        if (!is_done(point, i) && search->ops[i].answer != HISTORY_UNKNOWN)
            return false;
    return true;
}

static bool was_tried(struct search *search, const struct point *point)
{
    struct tried *tried;
    HASH_FIND(hh, search->tried, point, sizeof *point, tried);
    if (tried)
        return true;
    tried = calloc(1, sizeof *tried);
    if (!tried)
        abort();
    tried->point = *point;
    HASH_ADD(hh, search->tried, point, sizeof tried->point, tried);
    search->tries++;
    return false;
}

static bool goes_on(struct search *search, const struct point *point)
{
    if (is_complete(search, point))
        return true;
    if (search->tries > TRIES_MOST || was_tried(search, point))
        return false;
    uint64_t first = first_end(search, point);
    for (int i = 0; i < search->count; i++) {
        uint32_t value = (uint32_t)point->value;
        if (is_done(point, i) || search->ops[i].begin > first || !op_fits(&search->ops[i], &value))
            continue;
        if (search->ops[i].answer == HISTORY_UNKNOWN && value == point->value)
            continue; /* as if it had not happened */
        struct point next = *point;
        next.done[i / 64] |= UINT64_C(1) << (i % 64);
        next.value = value;
        if (goes_on(search, &next))
            return true;
    }
    return false;
}

static void search_end(struct search *search)
{
    struct tried *tried, *next;
    HASH_ITER (hh, search->tried, tried, next) {
        HASH_DEL(search->tried, tried);
        free(tried);
    }
}

enum history_verdict history_check(const struct history_op *ops, int count)
{
    struct search search = {.ops = ops, .count = count};
    struct point start;
    if (count > HISTORY_MOST)
        return HISTORY_TOO_MUCH;
    memset(&start, 0, sizeof start);
    bool found = goes_on(&search, &start);
    enum history_verdict verdict = found                       ? HISTORY_FINE
                                   : search.tries > TRIES_MOST ? HISTORY_TOO_MUCH
                                                               : HISTORY_WRONG;
    search_end(&search);
    return verdict;
}
