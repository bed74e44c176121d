/*
 * The simulated ranks of refcount-sim, shared by its files: the program (refcount-sim.c), its names
 * (refcount-sim-names.c), schedules and their steps (refcount-sim-schedule.c), what ranks do with counts,
 * channels and the truth (refcount-sim-ranks.c, refcount-sim-letters.c), what users and tasks do
 * (refcount-sim-tasks.c, refcount-sim-refs.c), where values are (refcount-sim-blocks.c,
 * refcount-sim-leases.c, refcount-sim-copies.c, refcount-sim-reads.c), and deaths (refcount-sim-deaths.c).
 */
#ifndef RAYMPI_TESTS_REFCOUNT_SIM_H
#define RAYMPI_TESTS_REFCOUNT_SIM_H

#include "refcount-sim-kinds.h"
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
    MAX_BLOCKS = 128,
    MAX_RANGES = 3, /* that a block is fetched in */
    MAX_COPIES = 32,
    MAX_READS = 24,
    MAX_RESTORES = 32,
    MAX_LEASES = 48,
    MAX_GIFTS = 64,
};

/* ---- the world ---- */

struct object {
    int owner;
    uint64_t handle;
    unsigned stamp;    /* a container nests only objects with a lower stamp: cycles leak by design */
    bool holds_nested; /* false only under a broken rule */
    int nested_count;
    int nested[MAX_REFS];
    int place; /* of its value's block, 0: it is short, or not there yet */
};

/* LOST: with a rank that ran it or was to, which the submitter has yet to find out. */
enum task_state { TASK_UNUSED, TASK_SENT, TASK_RUNNING, TASK_DONE, TASK_LOST };

/*
 * Most tasks do what chance says. A relay is a chain that chance hardly makes: a rank moves an object to a
 * second one, which moves it in a container to a third one, which takes it out; or it goes from rank to rank
 * as it is. Another one is a value that several ranks fetch and nobody keeps.
 */
enum task_plan { PLAN_CHANCE, PLAN_WRAP, PLAN_UNWRAP, PLAN_PASS, PLAN_FETCH };

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
    int serial;
    int hop; /* how often it was handed on */
    int known_hop, known_runner,
        known_giver; /* to the submitter; the giver is the runner where that has told */
    int reads;
    int result_place;
    int private_places[MAX_REFS]; /* blocks that are its arguments' alone */
    bool rooted;                  /* the truth counts its arguments */
};

enum letter_kind {
    LETTER_TASK,
    LETTER_DONE,
    LETTER_COUNTING,
    LETTER_MOVED, /* to the submitter: another rank has the task */
    LETTER_FREE,
    LETTER_STALE,
    LETTER_BRING,
    LETTER_BROUGHT,
    LETTER_PULL,
    LETTER_CHUNK,
    LETTER_READ,
    LETTER_EPOCH,   /* acknowledged */
    LETTER_SETTLED, /* the second round */
    LETTER_DEATH,   /* the last of a rank: everything that came from it is there */
};

enum operation {
    OPERATION_PUT,
    OPERATION_SUBMIT,
    OPERATION_RELEASE,
    OPERATION_COPY,
    OPERATION_EXTRACT,
    OPERATION_RELAY,
    OPERATION_READ,
    OPERATION_FETCH,
    OPERATION_KINDS
};

/* What a running task does next. */
enum use { USE_FINISH, USE_KEEP, USE_EXTRACT, USE_FORWARD, USE_READ, USE_HAND_ON, USE_KINDS };

struct letter {
    enum letter_kind kind;
    int task;
    int place, local; /* a block, and a copy of it */
    int value;        /* range, rank, epoch */
    bool ok;
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

/* ---- where values are: named as in lib/task/task_present.h, task_copy.c and task_lease.c ---- */

enum block_state { BLOCK_GONE, BLOCK_MEMORY, BLOCK_DISK, BLOCK_FREEING };

struct block {
    enum block_state state;
    int place;
    int object; /* its content */
    signed char holder;
    signed char owner;  /* the rank that frees it; -1: the holder, whose copy it is */
    unsigned char told; /* ranks that have read it from another host */
    bool sealed, reading, copy_on_disk, container;
    unsigned char pins[MAX_RANKS];
};

/* The name of a block: which one of those that used a slot, with what in it, whose. No place is 0. */
static inline int sim_place(int generation, int slot, int object, int holder)
{
    return ((generation * MAX_BLOCKS + slot) * MAX_OBJECTS + object) * 8 + holder;
}
static inline int sim_place_holder(int place)
{
    return place % 8;
}
static inline int sim_place_object(int place)
{
    return place / 8 % MAX_OBJECTS;
}
static inline int sim_place_slot(int place)
{
    return place / 8 / MAX_OBJECTS % MAX_BLOCKS;
}
static inline int sim_place_ranges(int place)
{
    return 1 + place / 8 / MAX_OBJECTS / MAX_BLOCKS % MAX_RANGES;
}

enum pinned { PIN_OK, PIN_ON_DISK, PIN_LOST };

enum copy_state { COPY_KNOWN, COPY_PLANNED, COPY_COMING, COPY_HERE };

struct copy {
    int at, local;
    enum copy_state state;
    bool stale;
    unsigned char wants; /* ranks */
    int users, ranges, asked, got;
    int old_local, old_users; /* of the copy that another rank kept before */
};

struct restore {
    int rank, place;
    unsigned char wants;
    bool reading;
};

struct lease {
    int place;
    signed char holder, reader;
    bool pinned, freed;
    unsigned char wish_count, wishes[8];
};

enum read_state { READ_UNUSED, READ_TRY, READ_AWAIT, READ_PINNED };

struct read {
    enum read_state state;
    int rank, object, place, task; /* task -1: the read has a hold of its own */
    int asked, local;
    bool far;
};

/* A block that a rank gave away with a task. */
struct gift {
    int giver, to, place;
};

struct world {
    uint64_t seed, random;
    int ranks;
    int host[MAX_RANKS];
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

    struct block blocks[MAX_BLOCKS];
    int blocks_used, generation, disk_leaks;
    unsigned disk_fails; /* one in so many */
    unsigned plan_weight, memory_waits, read_weight, views, spills, evictions;
    int copy_count[MAX_RANKS];
    struct copy copies[MAX_RANKS][MAX_COPIES];
    int restore_count, lease_count, gift_count;
    struct restore restores[MAX_RESTORES];
    struct lease leases[MAX_LEASES];
    struct gift gifts[MAX_GIFTS];
    struct read reads[MAX_READS];
    int reads_used;
    bool private_lost;

    unsigned dead; /* ranks, in truth */
    int deaths_left, death_weight;
    int ripe; /* the number of a rank, + 1, whose death now would be worth a look */
    int epoch_count;
    int epoch_ranks[MAX_RANKS + 1]; /* who died with it */
    struct refcount_members members[MAX_RANKS];
    struct refcount_member member[MAX_RANKS][MAX_RANKS];
    /* Holds of a rank's on refs on their way, by whom they went to, and on containers, by the owner that is
     * to acknowledge what was taken out. */
    signed char covers[MAX_RANKS][MAX_OBJECTS][MAX_RANKS];
    signed char guards[MAX_RANKS][MAX_OBJECTS][MAX_RANKS];

    int task_count, task_serial;
    struct task tasks[MAX_TASKS];

    int zero_count;
    struct zero zeros[MAX_ZEROS];

    uint32_t busy_queues; /* bit from * MAX_RANKS + to */
    struct queue queues[MAX_RANKS * MAX_RANKS];
    int letter_count, free_letter;

    /* the truth */
    uint64_t root_mask, container_mask, freed_mask, lost_mask;
    unsigned roots[MAX_OBJECTS];
    uint64_t nested_masks[MAX_OBJECTS];
};

struct sim_options {
    uint64_t first, last;
    enum rule broken;
    int ranks, operations;
    bool trace, break_all, seeds_given;
};

struct sim_totals {
    uint64_t schedules, operations, messages, violations;
    uint64_t checks[CHECK_KINDS];
    uint64_t branches[BRANCH_KINDS], faults[FAULT_KINDS];
};

extern struct world world;
extern struct sim_options options;
extern struct sim_totals totals;

/* ---- refcount-sim-names.c ---- */

struct rule_name {
    const char *name, *broken;
    int seeds; /* caught in so many, from 1 on */
};
extern const struct rule_name sim_rules[RULE_COUNT];
extern const char *const sim_check_names[CHECK_KINDS];
extern const char *const sim_branch_names[BRANCH_KINDS];
extern const char *const sim_fault_names[FAULT_KINDS];

/* ---- refcount-sim-schedule.c ---- */

unsigned sim_below(unsigned limit);
bool sim_one_in(unsigned n);
unsigned sim_pick_weighted(const unsigned *weights, unsigned kinds);
static inline bool sim_broken(enum rule rule)
{
    return options.broken == rule;
}
static inline void sim_cover(enum branch branch)
{
    totals.branches[branch]++;
}
static inline void sim_fault(enum fault fault)
{
    totals.faults[fault]++;
}
__attribute__((format(printf, 1, 2))) void sim_trace_print(const char *format, ...);
#define sim_trace(...) (options.trace ? sim_trace_print(__VA_ARGS__) : (void)0)

/* Ends the schedule: after a fault the state means nothing more, and nobody has to carry a status up. */
__attribute__((noreturn, format(printf, 2, 3))) void sim_violation(enum check check, const char *format, ...);

void sim_schedule(uint64_t seed);
void sim_world_clear(void);

/* ---- refcount-sim-checks.c ---- */

/* Nothing can happen any more. */
void sim_check_hang(void);
void sim_check_quiet(void);
void sim_check_empty(void);

/* ---- refcount-sim-ranks.c: the truth ---- */

void sim_truth_add(int object);
void sim_truth_remove(int object);
void sim_truth_nest(int container, int object);
uint64_t sim_truth_reachable(void);
void sim_check_reachable(void);
void sim_check_access(int rank, int object);

/* ---- refcount-sim-ranks.c: tables, holds ---- */

static inline struct refcount *sim_record_find(int rank, int object)
{
    return world.present[rank][object] ? &world.records[rank][object] : NULL;
}
static inline unsigned sim_record_count(const struct refcount *record)
{
    return (unsigned)atomic_load_explicit(&record->count, memory_order_relaxed); /* one thread */
}
void sim_record_create(int rank, int object);
void sim_record_erase(int rank, int object);
void sim_expect_ok(int status, const char *call, int rank, int object);
int sim_object_of(uint64_t handle);

void sim_hold(int rank, int object);
void sim_drop(int rank, int object);
/* A hold that covers a ref on its way to `to`, and its end. */
void sim_cover_hold(int rank, int object, int to);
void sim_cover_drop(int rank, int object, int to);
/* Broken rules: such a hold ends now, and not when it should. */
void sim_drop_cover_early(int rank, int object);
void sim_zero_check(int rank, int object);
void sim_apply(int rank, int object, int accepter, const struct refcount_output *output);

/* Gives `rank` one hold on the object; true if it is a new holder, which its owner has yet to hear of. */
bool sim_accept(int rank, int object, int forwarder, int token);
/* Ends the forwarder's hold from here. */
void sim_acknowledge(int rank, int forwarder, int token);
void sim_deliver_counting(int from, int to, const struct letter *letter);

/* ---- refcount-sim-letters.c ---- */

void sim_send_task(int from, int to, enum letter_kind kind, int task);
void sim_send(int from, int to, enum letter_kind kind, int place, int local, int value, bool ok);
void sim_send_counting(int from, const struct refcount_message *message);
void sim_swallow_release(int from, const struct refcount_message *message);
/* Takes the letter at `position` out of a queue; 0 is the oldest. */
struct letter sim_letter_take(int from, int to, int position);
const struct letter *sim_letter_first(int from, int to);
/* All letters behind the first `keep` are lost. */
void sim_letters_cut(int from, int to, int keep);

/* ---- refcount-sim-refs.c ---- */

void sim_user_ref_add(int rank, int object);
int sim_user_ref_pick(int rank);
void sim_user_ref_release_at(int rank, int position);
bool sim_is_foreign_container(int rank, int object);
int sim_object_create(int rank);
void sim_object_nest(int container, int object);
void sim_put(int rank);
/* Takes a ref out of a container on which `rank` has a hold. */
void sim_extract(int rank, int container);
void sim_user_ref_copy(int rank);
void sim_user_ref_release(int rank);
/* A ref was handed on; often that is all that was wanted of it. */
void sim_user_ref_move(int rank, int object);
/* Prefers another rank's container: what is in its own a rank knows already. */
int sim_user_ref_pick_container(int rank);

/* ---- refcount-sim-tasks.c ---- */

struct task *sim_submit(int rank, int executor, const int *arguments, int argument_count);
int sim_pick_executor(int rank);
void sim_task_accept(struct task *task, int i);
void sim_submit_user_refs(int rank);
void sim_task_step(struct task *task);
void sim_task_finish(struct task *task);
/* ---- refcount-sim-moves.c: tasks that arrive, move, end */
void sim_task_hand_on(struct task *task);
void sim_deliver_task(int to, struct task *task);
void sim_deliver_moved(int rank, int from, struct task *task, const struct letter *letter);
void sim_deliver_done(struct task *task);
/* It was on its way, or ran, and is no more. */
void sim_task_lost(struct task *task);
void sim_task_unroot(struct task *task);
void sim_task_private_free(struct task *task);
/* The submitter finds out. */
void sim_task_end_lost(struct task *task);
void sim_done_lost(struct task *task);
void sim_relay_start(int rank);
void sim_relay_step(struct task *task);
void sim_fetch_start(int rank);
/* True: that was all. */
bool sim_fetch_step(struct task *task);

/* ---- refcount-sim-blocks.c ---- */

int sim_block_make(int holder, int owner, int object, bool copy);
struct block *sim_block_at(int place);
enum pinned sim_block_pin(int rank, int place);
void sim_block_unpin(int rank, int place);
/* The holder frees it. */
void sim_block_free(int rank, int place);
/* Whoever owns it does. */
void sim_block_release(int rank, int place);
void sim_block_restore(int rank, int place, int want);
void sim_disk_step(void);
void sim_spill(void);
void sim_block_settle(struct block *block);
bool sim_block_pinned(const struct block *block);

/* ---- refcount-sim-leases.c ---- */

void sim_deliver_pull(int rank, int reader, const struct letter *letter);
void sim_deliver_read(int rank, int reader, int place);
void sim_leases_restored(int rank, int place, bool ok);
void sim_leases_freed(int place);
bool sim_serve_step(void);
void sim_leases_end(int holder, int reader);
bool sim_is_leased(int place);

/* ---- refcount-sim-copies.c ---- */

enum pinned sim_copy_pin(int rank, int place);
void sim_copy_unpin(int rank, int place, int local);
int sim_copy_local(int rank, int place);
void sim_copy_learn(int rank, int place, int local);
void sim_copy_bring(int rank, int place, int want);
void sim_deliver_chunk(int rank, const struct letter *letter);
void sim_deliver_stale(int rank, int place);
bool sim_plan_step(void);
void sim_evict(void);
void sim_copies_lost(int rank, int dead);
static inline int sim_copies(void)
{
    int count = 0;

    for (int rank = 0; rank < world.ranks; rank++)
        count += world.copy_count[rank];
    return count;
}
struct copy *sim_copy_find(int rank, int place);

/* ---- refcount-sim-reads.c ---- */

/* Of a user's ref (task -1) or a task's argument. */
void sim_read_start(int rank, int object, int place, int task);
bool sim_read_step(void);
void sim_reads_drop(int rank);
void sim_reads_ask_again(int rank, int dead);
/* All ranks that have a ref, or most of them. */
void sim_reads_start(int object);
/* Its value is stored on another host. */
bool sim_is_far(int rank, int object);
void sim_prefetch(int rank, int object);
void sim_tell_brought(int rank, unsigned wants, int place, int local, bool ok);
void sim_brought(int rank, int place, int local, bool ok);
void sim_deliver_bring(int rank, int from, int place);
void sim_check_lost(int rank, int object, int place);

/* ---- refcount-sim-deaths.c ---- */

static inline bool sim_is_dead(int rank)
{
    return world.dead >> rank & 1;
}
static inline bool sim_knows_dead(int rank, int other)
{
    return world.member[rank][other].dead;
}
static inline bool sim_is_orphan(int rank, int object)
{
    return world.member[rank][world.objects[object].owner].dead;
}
void sim_deaths_begin(void);
/* Now and then this rank dies at once. */
void sim_death_ripe(int rank, unsigned one_in);
/* Somebody dies now and then, if the schedule has deaths left. */
void sim_death_step(void);
/* False: an earlier epoch has to come first. */
bool sim_death_ready(int rank, const struct letter *letter);
void sim_deliver_death(int rank, int epoch);
void sim_deliver_epoch(int rank, int from, int epoch);
void sim_deliver_settled(int rank, int from, int epoch);
void sim_gift_add(int giver, int to, int place);
/* refcount-sim-struck.c: counts the states that the death of this rank strikes in. */
void sim_death_count(int rank);

#endif
