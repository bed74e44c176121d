/* What plan.c makes plans of: the generator, growing arrays, operations, and slots that fit as operands. */
#ifndef PLAN_PARTS_H
#define PLAN_PARTS_H

#include "plan.h"

enum want {
    WANT_REF = 1,
    WANT_ACTOR = 2,
    WANT_CERTAIN = 4,  /* it can not be that its actor was killed */
    WANT_SEALED = 8,   /* does not wait for this script */
    WANT_TIGHT = 16,   /* not loose */
    WANT_MEMBERS = 32, /* an object with refs in it */
    WANT_VALUE = 64,   /* no error */
    WANT_OWN = 128,    /* held by the innermost scope, or kept */
    WANT_SCOPED = 256, /* not kept */
    WANT_VIEWED = 512,
    WANT_NOT_VIEWED = 1024,
    WANT_MEMBER = 2048, /* can be put in an object */
    WANT_SHARED = 4096, /* if an actor, one that several may call */
    WANT_CALLABLE = 8192,
    WANT_VICTIM = 16384,
    WANT_PLAIN = 32768, /* an object without refs in it */
};
#define WANT_AWAITED (WANT_REF | WANT_SEALED | WANT_TIGHT)

/** The generator: a number, one in [0, n), true with so many percent. */
uint64_t draw(struct plan *plan);
int below(struct plan *plan, int n);
bool chance(struct plan *plan, int percent);

/** The array with room for one more; a test that has no memory ends. */
void *grown(void *array, int count, int *room, size_t size);
int slot_new(struct plan *plan, int owner);
int script_new(struct plan *plan, enum script_kind kind, int call);
/** One of this kind, with nothing in it. */
struct op op_of(int owner, enum op_kind kind);
void op_add(struct plan *plan, const struct op *op);
/** Adds an operation that is no call, with its effect. */
int op_do(struct plan *plan, struct op op, int outs);

/** Adds up to `most` slots of the script that fit to the operands; the number of operands then. */
int pick_some(struct plan *plan, struct op *op, int most, unsigned want);
/** False: none fits. */
bool pick_one(struct plan *plan, struct op *op, unsigned want);
/** Bytes of objects: in the record, in private memory, in the store, large. */
uint32_t some_length(struct plan *plan);
uint32_t container_length(struct plan *plan, int members);
uint32_t argument_length(struct plan *plan);

#endif
