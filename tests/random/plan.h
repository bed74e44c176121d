/*
 * Random programs for raympi: a plan says what every driver, task and method does; the model works the plan
 * out one operation after the other; the runner does what it says on the ranks of a job and compares.
 *
 * A plan is a pure function of seed, ranks and number of operations, so every rank makes the same one. The
 * order of `ops` is a sequential order: an operation depends on earlier ones only. So nothing that a plan
 * waits for can depend on what waits, with the exceptions that plan.c keeps out (see there: loose slots).
 *
 * Single assignment: an operation writes slots that nobody else writes. What an operation gives can therefore
 * be told before anything has run, and each script (the operations of one driver, task or method) runs once.
 */
#ifndef RANDOM_PLAN_H
#define RANDOM_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAN_OPERANDS 6
#define PLAN_MEMBERS  4
#define PLAN_RETURNS  4
#define PLAN_NONE     (-1)

enum op_kind {
    OP_PUT,
    OP_PUT_NESTED,
    OP_CREATE,
    OP_SEAL,
    OP_CALL,
    OP_CALL_NODE,
    OP_CALL_SPREAD,
    OP_CALL_MANY, /* several results, or none at all */
    OP_ACTOR_NEW,
    OP_METHOD,
    OP_READY,
    OP_KILL,
    OP_GET,
    OP_POLL, /* get with timeouts until it is there */
    OP_GET_MANY,
    OP_WAIT,
    OP_WAITSET,
    OP_STATUS,
    OP_VIEW, /* get, and keep the view */
    OP_VIEW_END,
    OP_NESTED, /* a ref or a handle out of an object */
    OP_RETAIN,
    OP_RELEASE,
    OP_KEEP,
    OP_SCOPE,
    OP_SCOPE_END,
    OP_SEND, /* a ref or a handle to another driver */
    OP_RECEIVE,
    OP_RETURN,
    OP_RETURN_NESTED,
    OP_RETURN_REF,
    OP_FAIL,
    OP_BURST, /* of brief tasks or calls, all of whose refs are gone at its end */
    OP_KINDS
};

enum fail_how { FAIL_CODE, FAIL_MESSAGE, FAIL_GENERIC, FAIL_NO_RESULT, FAIL_TYPE, FAIL_HOWS };

struct op {
    uint8_t kind;
    uint8_t how;   /* variant, by kind */
    uint8_t count; /* operands */
    uint8_t list;  /* the first `list` operands of a call travel as one list */
    uint8_t outs;  /* slots written: out, out + 1, ... */
    bool live;     /* the model's: it is done */
    bool dead;     /* the model's: the actor that it asks has ended; a get: may have */
    int slot[PLAN_OPERANDS];
    int out;
    int owner;       /* the script that does it */
    int script;      /* a call: what the task or method does */
    int where;       /* a rank; SEND: the driver that gets it; returns: which result */
    int pair;        /* the operation that goes with it: both or none */
    int next;        /* of the same script */
    uint32_t length; /* of what is put, passed or returned */
    uint64_t number; /* of what is put or passed */
};

enum script_kind { SCRIPT_DRIVER, SCRIPT_TASK, SCRIPT_METHOD };

struct script {
    uint8_t kind;
    uint8_t returns;
    uint8_t depth;
    bool exits;              /* a method that ends its actor */
    bool runs;               /* the model's: it is run, for certain */
    int rank, thread;        /* of a driver; thread 0 is main */
    int call;                /* the operation that submits it */
    int first, last;         /* operations */
    int args[PLAN_OPERANDS]; /* slots of its own that hold the arguments */
    int arg_count;
    int first_slot; /* list by slot.next */
    int limit;      /* calls only actors with a smaller number */
    int actor;      /* of a method */
    /* the generator's: operations whose counterpart is still to come */
    int open_create, open_scope[2];
    /* the model's, while it is at the script */
    bool stopped, maybe;
    uint8_t scopes;
    int code, culprit;
    uint64_t digest;          /* of all that it has seen */
    int result[PLAN_RETURNS]; /* what they will be; 0: not set yet */
};

enum slot_state { SLOT_ABSENT, SLOT_HELD, SLOT_GONE };

struct slot {
    int owner, next;
    int expect;
    /* the model's: how things stand at the operation that it is at */
    uint8_t state;
    uint8_t depth;      /* of the scope that holds it */
    uint8_t view_depth; /* of the scope that holds its view, counted from 1; 0: no view */
    bool kept, looked;
    /* the generator's */
    bool unsealed; /* waits for an object that this script has yet to seal */
    bool loose;    /* may wait for what waits for us: it is never waited for here */
    bool argument;
};

enum expect_kind { EXPECT_NONE, EXPECT_VALUE, EXPECT_ERROR, EXPECT_ACTOR };

/** What an object will be. */
struct expect {
    uint8_t kind;
    bool maybe; /* or RAYMPI_ERR_ACTOR_DEAD: its actor is killed at some time */
    uint8_t members;
    int member[PLAN_MEMBERS]; /* what they will be */
    int code;
    int culprit; /* the script that failed, for the message; PLAN_NONE: some other message */
    int actor;
    uint32_t length;
    uint64_t number;
};

enum actor_class { ACTOR_BAG, ACTOR_CHAIN, ACTOR_VICTIM, ACTOR_CLASSES };

/** BAG: many callers, its state is a sum. CHAIN: one caller, its state depends on the order. VICTIM: one
 * caller, who kills it. */
struct actor_plan {
    uint8_t klass;
    bool fails;     /* its constructor does */
    bool dead;      /* the model's, from here on */
    int creator;    /* the operation */
    int node;       /* or PLAN_NONE */
    uint64_t state; /* at the end */
    uint32_t calls;
};

struct plan {
    uint64_t seed;
    int ranks, threads, wanted;
    struct op *ops;
    struct script *scripts;
    struct slot *slots;
    struct expect *expects;
    struct actor_plan *actors;
    int op_count, script_count, slot_count, expect_count, actor_count;
    int op_room, script_room, slot_room, expect_room, actor_room;
    int drivers;     /* the first scripts */
    uint64_t random; /* the generator's state */
    int counts[OP_KINDS];
    /* what all ranks together must have seen */
    uint64_t runs, runs_sum; /* scripts that ran for certain, sum of plan_stamp() over them */
};

/** Of all programs of this process: one in ten values is of up to a megabyte, containers too. */
extern bool plan_large;

static inline uint64_t plan_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}
static inline uint64_t plan_join(uint64_t a, uint64_t b)
{
    return plan_mix(a * UINT64_C(0x9e3779b97f4a7c15) + b + 1);
}
/** Stands for a script that has run. */
static inline uint64_t plan_stamp(int script)
{
    return plan_mix((uint64_t)script + 77);
}

/** Threads of the user's, beside main, and workers of each rank, for a seed: half of the seeds have more than
 * one worker and two threads. */
int plan_threads(uint64_t seed);
int plan_workers(uint64_t seed);

/** Makes the plan of a seed with about `ops` operations. `skip` (may be NULL): operations that are left out,
 * by number. */
struct plan *plan_make(uint64_t seed, int ranks, int ops, const bool *skip, int skip_count);
void plan_free(struct plan *plan);
const char *plan_op_name(enum op_kind kind);

/* plan_print.c */
/** Prints what is done and what comes of it. */
void plan_print(const struct plan *plan);

/* model.c */
int plan_expect_new(struct plan *plan);
/** Works out one operation: sets live, what comes of it, and how the slots stand then. True when it is a call
 * whose script runs: then the script's operations come next, and then model_call_end(). */
bool model_op(struct plan *plan, int op);
/** The end of a call's script: what its results are. */
void model_call_end(struct plan *plan, int op);
/** All of the plan, without the operations of `skip` (may be NULL). */
void model_run(struct plan *plan, const bool *skip, int skip_count);

static inline bool plan_is_call(const struct op *op)
{
    return (op->kind >= OP_CALL && op->kind <= OP_CALL_MANY) || op->kind == OP_METHOD;
}
static inline struct expect *plan_expect(const struct plan *plan, int slot)
{
    return &plan->expects[plan->slots[slot].expect];
}

#endif
