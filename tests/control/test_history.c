/* Does the checker of histories accept what can be, and nothing else? */
#include "../unit.h"
#include "history.h"

#include <string.h>

#define GET(b, e, s)                                                                                         \
    {                                                                                                        \
        HISTORY_GET, HISTORY_DONE, b, e, 0, 0, s                                                             \
    }
#define PUT(b, e, n)                                                                                         \
    {                                                                                                        \
        HISTORY_PUT, HISTORY_DONE, b, e, n, 0, 0                                                             \
    }
#define PUT_LOST(b, n)                                                                                       \
    {                                                                                                        \
        HISTORY_PUT, HISTORY_UNKNOWN, b, HISTORY_OPEN, n, 0, 0                                               \
    }
#define ABSENT(b, e, n)                                                                                      \
    {                                                                                                        \
        HISTORY_PUT_IF_ABSENT, HISTORY_DONE, b, e, n, 0, 0                                                   \
    }
#define PRESENT(b, e, n, s)                                                                                  \
    {                                                                                                        \
        HISTORY_PUT_IF_ABSENT, HISTORY_NOT, b, e, n, 0, s                                                    \
    }
#define SET(b, e, n, w)                                                                                      \
    {                                                                                                        \
        HISTORY_COMPARE_AND_SET, HISTORY_DONE, b, e, n, w, 0                                                 \
    }
#define UNSET(b, e, n, w, s)                                                                                 \
    {                                                                                                        \
        HISTORY_COMPARE_AND_SET, HISTORY_NOT, b, e, n, w, s                                                  \
    }
#define SET_LOST(b, n, w)                                                                                    \
    {                                                                                                        \
        HISTORY_COMPARE_AND_SET, HISTORY_UNKNOWN, b, HISTORY_OPEN, n, w, 0                                   \
    }
#define DELETE(b, e, s)                                                                                      \
    {                                                                                                        \
        HISTORY_DELETE, HISTORY_DONE, b, e, 0, 0, s                                                          \
    }
#define DELETE_NOT(b, e)                                                                                     \
    {                                                                                                        \
        HISTORY_DELETE, HISTORY_NOT, b, e, 0, 0, HISTORY_ABSENT                                              \
    }

struct sample {
    const char *what;
    struct history_op ops[8];
};

/* ---- by hand */

static const struct sample good[] = {
    {"nothing", {{0}}},
    {"one after the other", {PUT(1, 2, 1), GET(3, 4, 1), PUT(5, 6, 2), GET(7, 8, 2)}},
    {"a read beside a write sees the new value", {PUT(1, 2, 1), PUT(3, 6, 2), GET(4, 5, 2)}},
    {"a read beside a write sees the old value", {PUT(1, 2, 1), PUT(3, 6, 2), GET(4, 5, 1)}},
    {"two writes at once, in the order that the reads want",
     {PUT(1, 9, 1), PUT(1, 9, 2), GET(2, 3, 2), GET(4, 5, 1)}},
    {"a write without an answer is seen late", {PUT(1, 2, 1), PUT_LOST(3, 2), GET(4, 5, 1), GET(6, 7, 2)}},
    {"a write without an answer is never seen", {PUT(1, 2, 1), PUT_LOST(3, 2), GET(4, 5, 1)}},
    {"of two that put if absent one does", {ABSENT(1, 4, 1), PRESENT(2, 3, 2, 1), GET(5, 6, 1)}},
    {"of two that compare and set one does", {PUT(1, 2, 1), SET(3, 6, 2, 1), UNSET(4, 5, 3, 1, 2)}},
    {"deleted, and made again",
     {PUT(1, 2, 1), DELETE(3, 4, 1), DELETE_NOT(5, 6), ABSENT(7, 8, 2), GET(9, 10, 2)}},
    {"a change without an answer explains a later one", {PUT(1, 2, 1), SET_LOST(3, 2, 1), SET(5, 6, 3, 2)}},
};

static const struct sample bad[] = {
    {"a read sees what nobody wrote", {PUT(1, 2, 1), GET(3, 4, 7)}},
    {"a read sees an old value after a newer one was written", {PUT(1, 2, 1), PUT(3, 4, 2), GET(5, 6, 1)}},
    {"a write that had its answer is lost", {PUT(1, 2, 1), GET(3, 4, HISTORY_ABSENT)}},
    {"two reads see two writes in an order, two others in the other",
     {PUT(1, 9, 1), PUT(1, 9, 2), GET(10, 11, 2), GET(12, 13, 1)}},
    {"a read goes back behind another", {PUT(1, 2, 1), PUT(3, 20, 2), GET(4, 5, 2), GET(6, 7, 1)}},
    {"two put if absent", {ABSENT(1, 4, 1), ABSENT(2, 3, 2), GET(5, 6, 1)}},
    {"two compare and set the same", {PUT(1, 2, 1), SET(3, 6, 2, 1), SET(4, 5, 3, 1)}},
    {"a compare and set fails though what it wants is there", {PUT(1, 2, 1), UNSET(3, 4, 2, 1, 1)}},
    {"a retry does its work twice", {PUT(1, 2, 1), PUT(3, 4, 2), PUT(5, 6, 3), GET(7, 8, 3), GET(9, 10, 2)}},
    {"a deleted value comes back", {PUT(1, 2, 1), DELETE(3, 4, 1), GET(5, 6, 1)}},
    {"a value is seen before its write begins", {GET(1, 2, 1), PUT(3, 4, 1)}},
    {"a write without an answer is seen, and then is not",
     {PUT(1, 2, 1), PUT_LOST(3, 2), GET(4, 5, 2), GET(6, 7, 1)}},
    {"a refused write is seen", {PUT(1, 2, 1), PRESENT(3, 4, 2, 1), GET(5, 6, 2)}},
    {"a key is deleted twice", {PUT(1, 2, 1), DELETE(3, 4, 1), DELETE(5, 6, 1)}},
};

static int sample_length(const struct sample *sample)
{
    int count = 0;
    while (count < 8 && sample->ops[count].end)
        count++;
    return count;
}

static void samples_check(const struct sample *samples, size_t count, enum history_verdict expected)
{
    for (size_t i = 0; i < count; i++) {
        enum history_verdict verdict = history_check(samples[i].ops, sample_length(&samples[i]));
        if (verdict != expected)
            printf("(%s: %d) ", samples[i].what, (int)verdict);
        CU_ASSERT_EQUAL(verdict, expected);
    }
}

static void test_good(void)
{
    samples_check(good, sizeof good / sizeof good[0], HISTORY_FINE);
}

static void test_bad(void)
{
    samples_check(bad, sizeof bad / sizeof bad[0], HISTORY_WRONG);
}

/* ---- made by a register that does one operation after the other */

static uint64_t random_state;

static uint32_t random_below(uint32_t most)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % most;
}

/* Does it, and notes what there was. */
static void op_do(struct history_op *op, uint32_t *value)
{
    bool wanted = op->kind == HISTORY_PUT_IF_ABSENT     ? !*value
                  : op->kind == HISTORY_COMPARE_AND_SET ? *value == op->wanted
                  : op->kind == HISTORY_DELETE          ? *value != 0
                                                        : true;
    op->answer = wanted ? HISTORY_DONE : HISTORY_NOT;
    op->seen = *value;
    if (wanted && op->kind != HISTORY_GET)
        *value = op->kind == HISTORY_DELETE ? HISTORY_ABSENT : op->name;
}

/* Each operation happens at a moment of its own, and began some time before and ended some after it; of some
 * the answer is lost, and of those some do not happen at all. */
static void history_make(struct history_op *ops, int count, uint32_t slack)
{
    uint32_t value = HISTORY_ABSENT;
    for (int i = 0; i < count; i++) {
        uint64_t moment = 1000 + 10 * (uint64_t)i;
        struct history_op *op = &ops[i];
        *op = (struct history_op){.kind = (enum history_kind)random_below(5), .name = (uint32_t)i + 1};
        op->wanted = random_below(2) ? value : random_below((uint32_t)count);
        op->begin = moment - random_below(slack);
        op->end = moment + random_below(slack);
        if (op->kind == HISTORY_GET || op->kind == HISTORY_DELETE)
            op->name = 0;
        bool lost = random_below(10) == 0;
        if (!lost || random_below(2))
            op_do(op, &value);
        if (lost) {
            op->answer = HISTORY_UNKNOWN;
            op->end = HISTORY_OPEN;
        }
    }
}

static void test_register(void)
{
    struct history_op ops[100];
    for (int round = 0; round < 300; round++) {
        random_state = (uint64_t)round;
        history_make(ops, 100, 60);
        CU_ASSERT_EQUAL(history_check(ops, 100), HISTORY_FINE);
    }
}

/* ---- against all orders */

static bool any_order(const struct history_op *ops, int count, unsigned done, uint32_t value)
{
    bool left = false;
    for (int i = 0; i < count; i++)
        left |= !(done >> i & 1) && ops[i].answer != HISTORY_UNKNOWN;
    if (!left)
        return true;
    for (int i = 0; i < count; i++) {
        bool early = true;
        for (int j = 0; j < count; j++)
            early &= done >> j & 1 || ops[j].end >= ops[i].begin;
        if (done >> i & 1 || !early)
            continue;
        struct history_op played = ops[i];
        uint32_t after = value;
        op_do(&played, &after);
        bool shows =
            played.answer == HISTORY_NOT || played.kind == HISTORY_GET || played.kind == HISTORY_DELETE;
        bool fits = ops[i].answer == HISTORY_UNKNOWN ||
                    (ops[i].answer == played.answer && (!shows || ops[i].seen == played.seen));
        if (fits && any_order(ops, count, done | 1u << i, after))
            return true;
    }
    return false;
}

/* Short histories of which something may have been changed. */
static void test_all_orders(void)
{
    int found[2] = {0, 0};
    for (int round = 0; round < 20000; round++) {
        struct history_op ops[7];
        random_state = UINT64_C(77777) + (uint64_t)round;
        history_make(ops, 7, 40);
        if (round % 2) {
            struct history_op *op = &ops[random_below(7)];
            op->seen = random_below(8);
            if (op->answer != HISTORY_UNKNOWN)
                op->answer = random_below(4) ? HISTORY_DONE : HISTORY_NOT;
            if (op->kind == HISTORY_GET || op->kind == HISTORY_PUT)
                op->answer = op->answer == HISTORY_NOT ? HISTORY_DONE : op->answer;
        }
        bool can_be = any_order(ops, 7, 0, HISTORY_ABSENT);
        CU_ASSERT_EQUAL(history_check(ops, 7), can_be ? HISTORY_FINE : HISTORY_WRONG);
        found[can_be]++;
    }
    CU_ASSERT(found[0] > 2000 && found[1] > 2000);
}

static void test_too_much(void)
{
    static struct history_op ops[HISTORY_MOST + 1];
    CU_ASSERT_EQUAL(history_check(ops, HISTORY_MOST + 1), HISTORY_TOO_MUCH);
}

static const struct unit_test tests[] = {
    {"history: what can be", test_good},
    {"history: 14 planted histories that can not be are rejected", test_bad},
    {"history: what a register makes", test_register},
    {"history: as if all orders were tried", test_all_orders},
    {"history: more operations than it knows", test_too_much},
};

int main(void)
{
    return UNIT_MAIN("control: histories", tests);
}
