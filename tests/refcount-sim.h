/*
 * The simulated ranks of refcount-sim, shared by its three files: the program and its steps (refcount-sim.c),
 * what ranks do with counts, channels and the truth (refcount-sim-ranks.c), what users and tasks do
 * (refcount-sim-tasks.c).
 */
#ifndef RAYMPI_TESTS_REFCOUNT_SIM_H
#define RAYMPI_TESTS_REFCOUNT_SIM_H

#include "task/task_refcount.h"

enum {
    MIN_RANKS = 2,
    MAX_RANKS = 5,
    MAX_OBJECTS = 64, /* the truth is a mask of 64 bits; a schedule that made them all makes no more */
    MAX_USER_REFS = 256,
    MANY_USER_REFS = 64, /* from here on a rank only releases */
    MAX_TASKS = 64,
    MAX_REFS = 3, /* arguments of a task, and refs in a container */
    MAX_ZEROS = 256,
    MAX_LETTERS = 8192,
    MIN_OPERATIONS = 60,
    MAX_OPERATIONS = 1000,
    MAX_STEPS = 100000,
};

/* ---- rules that can be broken ---- */

enum rule {
    RULE_NONE,
    RULE_ARGUMENT_HOLD,
    RULE_RESULT_HOLD,
    RULE_GUARD,
    RULE_REGISTER,
    RULE_EARLY_ACK,
    RULE_ACK,
    RULE_KNOWN_ACK,
    RULE_DECLINE_ACK,
    RULE_DONE_DROP,
    RULE_DONE_ACCEPTED,
    RULE_TASK_HOLD,
    RULE_OWNER_COUNT,
    RULE_HOLDERS,
    RULE_NESTED_HOLD,
    RULE_NESTED_DROP,
    RULE_RECHECK,
    RULE_RELEASE,
    RULE_RELEASE_ONCE,
    RULE_RELEASE_KEPT,
    RULE_FIFO,
    RULE_EXACTLY_ONCE,
    RULE_COUNT,
};

/* ---- checks that can fire ---- */

enum check {
    CHECK_REACHABLE,
    CHECK_ACCESS,
    CHECK_RECORD,
    CHECK_STATUS,
    CHECK_COUNT,
    CHECK_HOLDER,
    CHECK_GARBAGE,
    CHECK_LEAK,
    CHECK_LIMIT,
    CHECK_KINDS,
};

/* ---- branches that a run must cover ---- */

enum branch {
    BRANCH_TASK,
    BRANCH_DONE,
    BRANCH_REGISTER,
    BRANCH_RELEASE,
    BRANCH_ACK,
    BRANCH_ACCEPT_OWNER,
    BRANCH_ACCEPT_OWNER_SELF,
    BRANCH_ACCEPT_KNOWN,
    BRANCH_ACCEPT_KNOWN_SELF,
    BRANCH_ACCEPT_REVIVED,
    BRANCH_ACCEPT_NEW,
    BRANCH_ACCEPT_NEW_SELF,
    BRANCH_ACCEPT_AGAIN,
    BRANCH_REGISTER_OWNER,
    BRANCH_REGISTER_THIRD,
    BRANCH_DECLINE,
    BRANCH_DECLINE_SELF,
    BRANCH_ZERO_KEPT,
    BRANCH_ZERO_GONE,
    BRANCH_ERASED,
    BRANCH_FREED,
    BRANCH_KINDS,
};

/* ---- the world ---- */

struct object {
    int owner;
    uint64_t handle;
    unsigned stamp;    /* a container nests only objects with a lower stamp: cycles leak by design */
    bool holds_nested; /* false only under a broken rule */
    int nested_count;
    int nested[MAX_REFS];
};

enum task_state { TASK_UNUSED, TASK_SENT, TASK_RUNNING, TASK_DONE };

/*
 * Most tasks do what chance says. A relay is a chain that chance hardly makes: a rank moves an object to a
 * second one, which moves it in a container to a third one, which takes it out.
 */
enum task_plan { PLAN_CHANCE, PLAN_WRAP, PLAN_UNWRAP };

/* The submitter's ref to the result begins at the task's end, or at once, with or without a hold of the task.
 */
enum result_kind { RESULT_NONE, RESULT_LATE, RESULT_EARLY_HELD, RESULT_EARLY, RESULT_KINDS };

struct task {
    enum task_state state;
    enum task_plan plan;
    int submitter, executor;
    int argument_count;
    int arguments[MAX_REFS];
    bool accepted[MAX_REFS];
    bool let_go[MAX_REFS]; /* only under a broken rule */
    enum result_kind result_kind;
    int result;
    int nested_count; /* refs in the result, on their way to the submitter */
    int nested[MAX_REFS];
};

enum letter_kind { LETTER_TASK, LETTER_DONE, LETTER_COUNTING };

enum operation {
    OPERATION_PUT,
    OPERATION_SUBMIT,
    OPERATION_RELEASE,
    OPERATION_COPY,
    OPERATION_EXTRACT,
    OPERATION_RELAY,
    OPERATION_KINDS
};

/* What a running task does next. */
enum use { USE_FINISH, USE_KEEP, USE_EXTRACT, USE_FORWARD, USE_KINDS };

struct letter {
    enum letter_kind kind;
    int task;
    unsigned char bytes[REFCOUNT_WIRE_SIZE];
    int next;
};

struct queue {
    int head, tail, length;
};

/* A drop reached zero, the lock is not yet taken: other steps come in between. */
struct zero {
    int rank, object;
};

struct world {
    uint64_t seed, random;
    int ranks;
    int deliver_weight;
    unsigned operation_weights[OPERATION_KINDS], use_weights[USE_KINDS];
    unsigned moves;       /* one ref of so many is released when it has been handed on */
    unsigned slowness;    /* how seldom a slow channel delivers */
    uint32_t slow_queues; /* bit from * MAX_RANKS + to */

    int object_count;
    unsigned clock;
    struct object objects[MAX_OBJECTS];

    bool present[MAX_RANKS][MAX_OBJECTS];
    bool was_holder[MAX_RANKS][MAX_OBJECTS];
    unsigned short ended_early[MAX_RANKS][MAX_OBJECTS]; /* only under a broken rule: drops already made */
    struct refcount records[MAX_RANKS][MAX_OBJECTS];

    int user_ref_count[MAX_RANKS];
    int user_refs[MAX_RANKS][MAX_USER_REFS];

    int task_count;
    struct task tasks[MAX_TASKS];

    int zero_count;
    struct zero zeros[MAX_ZEROS];

    uint32_t busy_queues; /* bit from * MAX_RANKS + to */
    struct queue queues[MAX_RANKS * MAX_RANKS];
    int letter_count, free_letter;

    /* the truth */
    uint64_t root_mask, container_mask, freed_mask;
    unsigned roots[MAX_OBJECTS];
    uint64_t nested_masks[MAX_OBJECTS];
};

struct sim_options {
    uint64_t first, last;
    enum rule broken;
    int ranks, operations;
    bool trace;
};

struct sim_totals {
    uint64_t schedules, operations, messages, violations;
    uint64_t checks[CHECK_KINDS];
    uint64_t branches[BRANCH_KINDS];
};

extern struct world world;
extern struct sim_options options;
extern struct sim_totals totals;

/* ---- refcount-sim.c ---- */

unsigned sim_below(unsigned limit);
bool sim_one_in(unsigned n);
unsigned sim_pick_weighted(const unsigned *weights, unsigned kinds);
bool sim_broken(enum rule rule);
void sim_cover(enum branch branch);
__attribute__((format(printf, 1, 2))) void sim_trace(const char *format, ...);

/* Ends the schedule: after a fault the state means nothing more, and nobody has to carry a status up. */
__attribute__((noreturn, format(printf, 2, 3))) void sim_violation(enum check check, const char *format, ...);

/* ---- refcount-sim-ranks.c: the truth ---- */

void sim_truth_add(int object);
void sim_truth_remove(int object);
void sim_truth_nest(int container, int object);
uint64_t sim_truth_reachable(void);
void sim_check_reachable(void);
void sim_check_access(int rank, int object);

/* ---- refcount-sim-ranks.c: tables, channels, holds ---- */

struct refcount *sim_record_find(int rank, int object);
unsigned sim_record_count(const struct refcount *record);
void sim_record_create(int rank, int object);
void sim_record_erase(int rank, int object);

void sim_send_task(int from, int to, enum letter_kind kind, int task);
/* Takes the letter at `position` out of a queue; 0 is the oldest. */
struct letter sim_letter_take(int from, int to, int position);
void sim_deliver_counting(int from, int to, const struct letter *letter);

void sim_hold(int rank, int object);
void sim_drop(int rank, int object);
/* Ends a hold that covered a ref on its way. */
void sim_drop_cover(int rank, int object);
/* Broken rules: such a hold ends now, and not when it should. */
void sim_drop_cover_early(int rank, int object);
void sim_zero_check(int rank, int object);

/* Gives `rank` one hold on the object; true if it is a new holder, which its owner has yet to hear of. */
bool sim_accept(int rank, int object, int forwarder, int token);
/* Ends the forwarder's hold from here. */
void sim_acknowledge(int rank, int forwarder, int token);

/* ---- refcount-sim-tasks.c ---- */

void sim_put(int rank);
/* Takes a ref out of a container on which `rank` has a hold. */
void sim_extract(int rank, int container);
void sim_user_ref_copy(int rank);
void sim_user_ref_release(int rank);
/* A ref was handed on; often that is all that was wanted of it. */
void sim_user_ref_move(int rank, int object);
/* Prefers another rank's container: what is in its own a rank knows already. */
int sim_user_ref_pick_container(int rank);

void sim_submit_user_refs(int rank);
void sim_relay_start(int rank);
void sim_task_step(struct task *task);
void sim_task_finish(struct task *task);
void sim_deliver_done(struct task *task);

#endif
