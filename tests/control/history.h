/* What clients saw of one key, and whether that can be: whether all operations could have happened one after
 * the other, each at a moment between its call and its answer (linearizability). */
#ifndef TESTS_CONTROL_HISTORY_H
#define TESTS_CONTROL_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#define HISTORY_MOST   128        /* operations on one key */
#define HISTORY_ABSENT 0          /* in place of the name of a write: the key has no value */
#define HISTORY_ANY    UINT32_MAX /* whose value was seen is not known */
#define HISTORY_OPEN   UINT64_MAX

enum history_kind {
    HISTORY_GET,
    HISTORY_PUT,
    HISTORY_PUT_IF_ABSENT,
    HISTORY_COMPARE_AND_SET,
    HISTORY_DELETE
};
enum history_answer {
    HISTORY_DONE,   /* it did what it is there for */
    HISTORY_NOT,    /* it found something else than it wanted, and did nothing */
    HISTORY_UNKNOWN /* no answer: it may have been done, it may still be, or never */
};

/** One operation. Each write has a name of its own, by which those are told apart who saw it. */
struct history_op {
    enum history_kind kind;
    enum history_answer answer;
    uint64_t begin, end; /* times; end is HISTORY_OPEN where the answer is UNKNOWN */
    uint32_t name;       /* of this write; else 0 */
    uint32_t wanted;     /* compare-and-set: the write that must be the last one */
    uint32_t seen; /* whose value there was: of gets, deletes and what was NOT done; or HISTORY_ABSENT */
};

enum history_verdict {
    HISTORY_FINE,
    HISTORY_WRONG,
    HISTORY_TOO_MUCH /* too many operations, or ways to order them, to tell */
};
/** Looks for such an order, from a key without a value on. The operations may stand in any order. */
enum history_verdict history_check(const struct history_op *ops, int count);

#endif
