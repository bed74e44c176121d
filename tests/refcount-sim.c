/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * refcount-sim: runs the reference counting of lib/task/task_refcount.c in seeded schedules on 2 to 5 ranks.
 *
 * The ranks, their tables and the channels are here; every decision is taken by the library's own functions.
 * Beside them the simulator keeps the truth, which is who can still reach what: user refs, arguments of live
 * tasks, refs in messages, and what reachable containers nest. After every step no reachable object may be
 * freed; when all is quiet every count must equal its holds; when all user refs are gone everything must be
 * freed.
 *
 * A broken rule changes the wiring around the library (an ACK that is not awaited, a hold that is not taken),
 * not the library: it shows that the checks see such a fault.
 */
#include "task/task_refcount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static const struct {
    const char *name;
    const char *broken;
} rules[RULE_COUNT] = {
    [RULE_NONE] = {"none", "nothing"},
    [RULE_ARGUMENT_HOLD] = {"argument-hold",
                            "the hold on a task's argument is dropped when the task is sent"},
    [RULE_RESULT_HOLD] = {"result-hold", "the hold on a ref in a result is dropped when the result is sent"},
    [RULE_GUARD] = {"guard", "a container is let go before the ref taken from it is acknowledged"},
    [RULE_REGISTER] = {"register", "a new holder acknowledges itself and does not register"},
    [RULE_EARLY_ACK] = {"early-ack", "a new holder registers, but acknowledges before the owner knows it"},
    [RULE_ACK] = {"ack", "forwarders ignore acknowledgements"},
    [RULE_KNOWN_ACK] = {"known-ack", "a borrower that has a record does not acknowledge another ref"},
    [RULE_DECLINE_ACK] = {"decline-ack", "a ref that nobody wants is not acknowledged"},
    [RULE_DONE_DROP] = {"done-drop", "a finished task's arguments stay held by the submitter"},
    [RULE_DONE_ACCEPTED] = {"done-accepted",
                            "a finished task's accepted arguments are dropped by the submitter too"},
    [RULE_TASK_HOLD] = {"task-hold", "a task lets go of an accepted argument before it ends"},
    [RULE_OWNER_COUNT] = {"owner-count", "an owner does not count its own ref that comes back"},
    [RULE_HOLDERS] = {"holders", "an owner acknowledges holders and does not count them"},
    [RULE_NESTED_HOLD] = {"nested-hold", "a container holds nothing on the refs put into it"},
    [RULE_NESTED_DROP] = {"nested-drop", "a freed container keeps its holds"},
    [RULE_RECHECK] = {"recheck", "a count that reached zero is not read again under the lock"},
    [RULE_RELEASE] = {"release", "a borrower erases its record without a release"},
    [RULE_RELEASE_ONCE] = {"release-once", "a borrower sends its release twice"},
    [RULE_RELEASE_KEPT] = {"release-kept",
                           "a new registration swallows the release that is still on its way"},
    [RULE_FIFO] = {"fifo", "messages between two ranks overtake each other"},
    [RULE_EXACTLY_ONCE] = {"exactly-once", "counting messages are delivered twice now and then"},
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

static const char *const check_names[CHECK_KINDS] = {
    [CHECK_REACHABLE] = "reachable-freed", /* an object is freed that something still reaches */
    [CHECK_ACCESS] = "dead-access",        /* a rank uses an object that is freed */
    [CHECK_RECORD] = "missing-record",     /* a rank that has a hold has no record, or a count of 0 */
    [CHECK_STATUS] = "library-status",     /* a library function returned an error */
    [CHECK_COUNT] = "quiet-count",         /* nothing moves, and a count is not the number of holds */
    [CHECK_HOLDER] = "quiet-holder",   /* nothing moves, and the owner's set is not the ranks with records */
    [CHECK_GARBAGE] = "quiet-garbage", /* nothing moves, and an object lives that nothing reaches */
    [CHECK_LEAK] = "leak",             /* all refs are gone, and an object or a record is left */
    [CHECK_LIMIT] = "limit",           /* the schedule does not end, or outgrows the simulator */
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

static const char *const branch_names[BRANCH_KINDS] = {
    [BRANCH_TASK] = "message TASK",
    [BRANCH_DONE] = "message DONE",
    [BRANCH_REGISTER] = "message REGISTER",
    [BRANCH_RELEASE] = "message RELEASE",
    [BRANCH_ACK] = "message ACK",
    [BRANCH_ACCEPT_OWNER] = "accept at the owner",
    [BRANCH_ACCEPT_OWNER_SELF] = "accept at the owner, from itself",
    [BRANCH_ACCEPT_KNOWN] = "accept by a borrower",
    [BRANCH_ACCEPT_KNOWN_SELF] = "accept by a borrower, from itself",
    [BRANCH_ACCEPT_REVIVED] = "accept by a borrower at count 0",
    [BRANCH_ACCEPT_NEW] = "accept by a new holder",
    [BRANCH_ACCEPT_NEW_SELF] = "accept by a new holder, from itself",
    [BRANCH_ACCEPT_AGAIN] = "accept by a former holder",
    [BRANCH_REGISTER_OWNER] = "register, forwarded by the owner",
    [BRANCH_REGISTER_THIRD] = "register, forwarded by a third rank",
    [BRANCH_DECLINE] = "decline",
    [BRANCH_DECLINE_SELF] = "decline, from itself",
    [BRANCH_ZERO_KEPT] = "zero seen, kept",
    [BRANCH_ZERO_GONE] = "zero seen, record gone",
    [BRANCH_ERASED] = "record erased",
    [BRANCH_FREED] = "object freed",
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

/* How the submitter's ref to the result begins: with the task's end, or at once, with or without a task's
 * hold. */
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

static struct world world;
static struct letter letters[MAX_LETTERS];

static struct {
    uint64_t first, last;
    enum rule broken;
    int ranks, operations;
    bool trace;
} options = {.first = 1, .last = 1000};

static struct {
    uint64_t schedules, operations, messages, violations;
    uint64_t checks[CHECK_KINDS];
    uint64_t branches[BRANCH_KINDS];
} totals;

static jmp_buf schedule_end;

static bool broken(enum rule rule)
{
    return options.broken == rule;
}
static void cover(enum branch branch)
{
    totals.branches[branch]++;
}

__attribute__((format(printf, 1, 2))) static void trace(const char *format, ...)
{
    va_list arguments;

    if (!options.trace)
        return;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* Ends the schedule: after a fault the state means nothing more, and nobody has to carry a status up. */
__attribute__((noreturn, format(printf, 2, 3))) static void violation(enum check check, const char *format,
                                                                      ...)
{
    va_list arguments;

    totals.checks[check]++;
    if (totals.violations++ == 0 || options.trace) {
        printf("seed %llu: check %s: ", (unsigned long long)world.seed, check_names[check]);
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        putchar('\n');
    }
    longjmp(schedule_end, 1);
}

static uint64_t mix(uint64_t value) /* splitmix64 */
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

static unsigned below(unsigned limit) /* xorshift64* */
{
    world.random ^= world.random >> 12;
    world.random ^= world.random << 25;
    world.random ^= world.random >> 27;
    return (unsigned)((world.random * 0x2545f4914f6cdd1du) >> 33) % limit;
}

static bool one_in(unsigned n)
{
    return below(n) == 0;
}

static unsigned pick_weighted(const unsigned *weights, unsigned kinds)
{
    unsigned sum = 0, kind = 0, choice;

    for (unsigned i = 0; i < kinds; i++)
        sum += weights[i];
    for (choice = below(sum); choice >= weights[kind]; kind++)
        choice -= weights[kind];
    return kind;
}

/* ---- the truth ---- */

static void truth_add(int object)
{
    if (world.roots[object]++ == 0)
        world.root_mask |= 1ull << object;
}

static void truth_remove(int object)
{
    if (--world.roots[object] == 0)
        world.root_mask &= ~(1ull << object);
}

static void truth_nest(int container, int object)
{
    world.container_mask |= 1ull << container;
    world.nested_masks[container] |= 1ull << object;
}

static uint64_t truth_reachable(void)
{
    uint64_t reachable = world.root_mask;
    uint64_t todo = reachable & world.container_mask;

    while (todo) {
        uint64_t new = world.nested_masks[__builtin_ctzll(todo)] & ~reachable;

        reachable |= new;
        todo = (todo & (todo - 1)) | (new &world.container_mask);
    }
    return reachable;
}

static void check_reachable(void)
{
    uint64_t wrong = truth_reachable() & world.freed_mask;

    if (wrong)
        violation(CHECK_REACHABLE, "object %d is freed and still reachable", __builtin_ctzll(wrong));
}

static void check_access(int rank, int object)
{
    if (world.freed_mask & (1ull << object))
        violation(CHECK_ACCESS, "rank %d uses object %d, which is freed", rank, object);
}

/* ---- tables ---- */

static int object_of(uint64_t handle)
{
    return (int)(handle & ((1ull << REFCOUNT_SEQUENCE_BITS) - 1)) - 1;
}

static struct refcount *record_find(int rank, int object)
{
    return world.present[rank][object] ? &world.records[rank][object] : NULL;
}

static unsigned record_count(const struct refcount *record)
{
    return atomic_load_explicit(&record->count, memory_order_relaxed); /* one thread */
}

static void record_create(int rank, int object)
{
    world.present[rank][object] = true;
    refcount_init(&world.records[rank][object], world.objects[object].handle, 1);
}

static void record_erase(int rank, int object)
{
    refcount_fini(&world.records[rank][object]);
    world.present[rank][object] = false;
}

static void expect_ok(int status, const char *call, int rank, int object)
{
    if (status < 0)
        violation(CHECK_STATUS, "%s of object %d at rank %d: %s", call, object, rank,
                  refcount_status_name(status));
}

/* ---- channels ---- */

static int letter_new(void)
{
    int letter = world.free_letter;

    if (letter >= 0)
        world.free_letter = letters[letter].next;
    else if (world.letter_count < MAX_LETTERS)
        letter = world.letter_count++;
    else
        violation(CHECK_LIMIT, "more than %d messages under way", MAX_LETTERS);
    return letter;
}

static void letter_post(int from, int to, int letter)
{
    struct queue *queue = &world.queues[from * MAX_RANKS + to];

    letters[letter].next = -1;
    if (queue->length++ == 0)
        queue->head = letter;
    else
        letters[queue->tail].next = letter;
    queue->tail = letter;
    world.busy_queues |= 1u << (from * MAX_RANKS + to);
}

/* Takes the letter at `position` out of a queue; 0 is the oldest. */
static struct letter letter_take(int from, int to, int position)
{
    struct queue *queue = &world.queues[from * MAX_RANKS + to];
    int previous = -1, letter = queue->head;

    for (; position > 0; position--) {
        previous = letter;
        letter = letters[letter].next;
    }
    if (previous < 0)
        queue->head = letters[letter].next;
    else
        letters[previous].next = letters[letter].next;
    if (queue->tail == letter)
        queue->tail = previous;
    if (--queue->length == 0)
        world.busy_queues &= ~(1u << (from * MAX_RANKS + to));
    letters[letter].next = world.free_letter;
    world.free_letter = letter;
    return letters[letter];
}

static void send_task(int from, int to, enum letter_kind kind, int task)
{
    int letter = letter_new();

    letters[letter].kind = kind;
    letters[letter].task = task;
    letter_post(from, to, letter);
}

static void send_counting(int from, const struct refcount_message *message)
{
    int letter = letter_new();

    trace("  %d -> %d %s object %d", from, message->to, refcount_kind_name(message->kind),
          object_of(message->handle));
    letters[letter].kind = LETTER_COUNTING;
    expect_ok(refcount_encode(message, letters[letter].bytes, sizeof letters[letter].bytes), "encode", from,
              object_of(message->handle));
    letter_post(from, message->to, letter);
}

/* Broken rule: the REGISTER that follows takes an earlier RELEASE of the same object out of the channel. */
static void swallow_release(int from, const struct refcount_message *message)
{
    struct queue *queue = &world.queues[from * MAX_RANKS + message->to];
    int letter = queue->head;

    for (int position = 0; position < queue->length; position++, letter = letters[letter].next) {
        struct refcount_message earlier;

        if (letters[letter].kind != LETTER_COUNTING)
            continue;
        expect_ok(
            refcount_decode(letters[letter].bytes, REFCOUNT_WIRE_SIZE, world.ranks, message->to, &earlier),
            "decode", from, object_of(message->handle));
        if (earlier.kind == REFCOUNT_RELEASE && earlier.handle == message->handle) {
            letter_take(from, message->to, position);
            return;
        }
    }
}

/* ---- holds ---- */

static void zero_check(int rank, int object);

static void hold(int rank, int object)
{
    struct refcount *record = record_find(rank, object);

    check_access(rank, object);
    if (!record || record_count(record) == 0)
        violation(CHECK_RECORD, "rank %d retains object %d without a hold", rank, object);
    refcount_retain(record);
}

static void drop(int rank, int object)
{
    struct refcount *record = record_find(rank, object);
    int status;

    if (!record)
        violation(CHECK_RECORD, "rank %d drops a hold on object %d and has no record", rank, object);
    status = refcount_drop(record);
    expect_ok(status, "drop", rank, object);
    if (status == 0)
        return;
    if (one_in(2) && world.zero_count < MAX_ZEROS)
        world.zeros[world.zero_count++] = (struct zero){rank, object};
    else
        zero_check(rank, object);
}

/* Ends a hold that covered a ref on its way. */
static void drop_cover(int rank, int object)
{
    if (world.ended_early[rank][object] > 0)
        world.ended_early[rank][object]--;
    else
        drop(rank, object);
}

/* Broken rules: such a hold ends now, and not when it should. */
static void drop_cover_early(int rank, int object)
{
    world.ended_early[rank][object]++;
    drop(rank, object);
}

static void object_free(int object)
{
    struct object *freed = &world.objects[object];

    trace("  object %d is freed", object);
    cover(BRANCH_FREED);
    world.freed_mask |= 1ull << object;
    record_erase(freed->owner, object);
    if (broken(RULE_NESTED_DROP) || !freed->holds_nested)
        return;
    for (int i = 0; i < freed->nested_count; i++)
        drop(freed->owner, freed->nested[i]);
}

static void apply_message(int rank, const struct refcount_message *message)
{
    if (message->kind == REFCOUNT_RELEASE && broken(RULE_RELEASE))
        return;
    if (message->kind == REFCOUNT_RELEASE && broken(RULE_RELEASE_ONCE))
        send_counting(rank, message);
    if (message->kind == REFCOUNT_REGISTER && broken(RULE_RELEASE_KEPT))
        swallow_release(rank, message);
    send_counting(rank, message);
}

static void apply(int rank, int object, const struct refcount_output *output)
{
    switch (output->verdict) {
    case REFCOUNT_KEEP:
        break;
    case REFCOUNT_CREATE:
        record_create(rank, object);
        break;
    case REFCOUNT_ERASE:
        cover(BRANCH_ERASED);
        world.was_holder[rank][object] = true;
        record_erase(rank, object);
        break;
    case REFCOUNT_FREE:
        object_free(object);
        break;
    }
    if (output->has_message)
        apply_message(rank, &output->message);
    if (output->drop)
        drop_cover(rank, object_of(output->drop));
}

static void zero_check(int rank, int object)
{
    struct refcount *record = record_find(rank, object);
    struct refcount_output output;

    if (!record)
        cover(BRANCH_ZERO_GONE);
    else if (record_count(record) > 0)
        cover(BRANCH_ZERO_KEPT);
    if (record && broken(RULE_RECHECK))
        atomic_store_explicit(&record->count, 0, memory_order_relaxed); /* one thread */
    expect_ok(refcount_reached_zero(record, rank, &output), "reached zero", rank, object);
    apply(rank, object, &output);
}

/* ---- refs that arrive ---- */

static void cover_accept(const struct refcount *record, int rank, int object, int forwarder)
{
    bool self = forwarder == rank;

    if (world.objects[object].owner == rank) {
        cover(self ? BRANCH_ACCEPT_OWNER_SELF : BRANCH_ACCEPT_OWNER);
    } else if (record) {
        cover(self ? BRANCH_ACCEPT_KNOWN_SELF : BRANCH_ACCEPT_KNOWN);
        if (record_count(record) == 0)
            cover(BRANCH_ACCEPT_REVIVED);
    } else {
        cover(self ? BRANCH_ACCEPT_NEW_SELF : BRANCH_ACCEPT_NEW);
        if (world.was_holder[rank][object])
            cover(BRANCH_ACCEPT_AGAIN);
    }
}

/* Ends the forwarder's hold from here. */
static void acknowledge(int rank, int forwarder, int token)
{
    struct refcount_output output;

    expect_ok(refcount_decline(rank, forwarder, world.objects[token].handle, &output), "decline", rank,
              token);
    apply(rank, token, &output);
}

/* Gives `rank` one hold on the object; true if it is a new holder, which its owner has yet to hear of. */
static bool accept(int rank, int object, int forwarder, int token)
{
    struct refcount *record = record_find(rank, object);
    struct refcount_output output;
    bool is_new;

    trace("  rank %d accepts object %d from %d, token %d", rank, object, forwarder, token);
    check_access(rank, object);
    cover_accept(record, rank, object, forwarder);
    if (broken(RULE_OWNER_COUNT) && world.objects[object].owner == rank) {
        acknowledge(rank, forwarder, token);
        return false;
    }
    expect_ok(refcount_accept(record, rank, world.objects[object].handle, forwarder,
                              world.objects[token].handle, &output),
              "accept", rank, object);
    is_new = output.verdict == REFCOUNT_CREATE;
    if (broken(RULE_KNOWN_ACK) && world.objects[object].owner != rank && !is_new) {
        output.has_message = false;
        output.drop = 0;
    }
    if (broken(RULE_REGISTER) && is_new)
        output.has_message = false;
    apply(rank, object, &output);
    if (is_new && (broken(RULE_REGISTER) || broken(RULE_EARLY_ACK)))
        acknowledge(rank, forwarder, token);
    return is_new;
}

static void receive_counting(int rank, int from, const struct refcount_message *message)
{
    int object = object_of(message->handle);
    struct refcount *record = record_find(rank, object);
    struct refcount_output output;
    struct refcount scratch;

    if (broken(RULE_ACK) && message->kind == REFCOUNT_ACK)
        return;
    if (message->kind == REFCOUNT_ACK && world.ended_early[rank][object] > 0) {
        world.ended_early[rank][object]--;
        return;
    }
    if (broken(RULE_HOLDERS) && message->kind == REFCOUNT_RELEASE)
        return;
    if (broken(RULE_HOLDERS) && message->kind == REFCOUNT_REGISTER) {
        refcount_init(&scratch, message->handle, 1);
        expect_ok(refcount_receive(&scratch, rank, from, message, &output), "receive", rank, object);
        refcount_fini(&scratch);
    } else {
        expect_ok(refcount_receive(record, rank, from, message, &output), refcount_kind_name(message->kind),
                  rank, object);
    }
    if (broken(RULE_EARLY_ACK) && message->kind == REFCOUNT_REGISTER)
        return; /* the new holder has told the forwarder */
    apply(rank, object, &output);
}

static void deliver_counting(int from, int to, const struct letter *letter)
{
    struct refcount_message message;

    expect_ok(refcount_decode(letter->bytes, REFCOUNT_WIRE_SIZE, world.ranks, to, &message), "decode", to,
              -1);
    trace("%d -> %d %s of object %d arrives", from, to, refcount_kind_name(message.kind),
          object_of(message.handle));
    cover(message.kind == REFCOUNT_REGISTER  ? BRANCH_REGISTER
          : message.kind == REFCOUNT_RELEASE ? BRANCH_RELEASE
                                             : BRANCH_ACK);
    if (message.kind == REFCOUNT_REGISTER && message.forwarder != from)
        cover(message.forwarder == to ? BRANCH_REGISTER_OWNER : BRANCH_REGISTER_THIRD);
    receive_counting(to, from, &message);
    if (broken(RULE_EXACTLY_ONCE) && one_in(8))
        receive_counting(to, from, &message);
}

/* ---- user refs and objects ---- */

static void user_ref_add(int rank, int object)
{
    if (world.user_ref_count[rank] == MAX_USER_REFS)
        violation(CHECK_LIMIT, "more than %d user refs at rank %d", MAX_USER_REFS, rank);
    world.user_refs[rank][world.user_ref_count[rank]++] = object;
    truth_add(object);
}

static int user_ref_pick(int rank)
{
    return world.user_refs[rank][below((unsigned)world.user_ref_count[rank])];
}

static bool is_foreign_container(int rank, int object)
{
    return world.objects[object].owner != rank && world.objects[object].nested_count > 0;
}

/* Prefers another rank's container: what is in its own a rank knows already. */
static int user_ref_pick_container(int rank)
{
    int object = user_ref_pick(rank);

    for (int tries = 8; tries > 0 && !is_foreign_container(rank, object); tries--)
        object = user_ref_pick(rank);
    return object;
}

static void user_ref_copy(int rank)
{
    int object = user_ref_pick(rank);

    trace("rank %d retains object %d", rank, object);
    hold(rank, object);
    user_ref_add(rank, object);
}

static void user_ref_release_at(int rank, int position)
{
    int object = world.user_refs[rank][position];

    trace("rank %d releases object %d", rank, object);
    check_access(rank, object);
    world.user_refs[rank][position] = world.user_refs[rank][--world.user_ref_count[rank]];
    truth_remove(object);
    drop(rank, object);
}

static void user_ref_release(int rank)
{
    user_ref_release_at(rank, (int)below((unsigned)world.user_ref_count[rank]));
}

/* A ref was handed on; often that is all that was wanted of it. */
static void user_ref_move(int rank, int object)
{
    if (!one_in(world.moves))
        return;
    for (int position = world.user_ref_count[rank] - 1; position >= 0; position--)
        if (world.user_refs[rank][position] == object)
            user_ref_release_at(rank, position);
}

/* A new object with one hold of its owner. */
static int object_create(int rank)
{
    int object = world.object_count++;

    world.objects[object] = (struct object){
        .owner = rank,
        .handle = (uint64_t)rank << REFCOUNT_SEQUENCE_BITS | (uint64_t)(object + 1),
        .stamp = ++world.clock,
        .holds_nested = true,
    };
    record_create(rank, object);
    return object;
}

static void object_nest(int container, int object)
{
    struct object *y = &world.objects[container];

    y->nested[y->nested_count++] = object;
    truth_nest(container, object);
}

static void put(int rank)
{
    int nested_count = world.user_ref_count[rank] ? (int)below(MAX_REFS + 1) : 0;
    int object;

    if (world.object_count == MAX_OBJECTS)
        return;
    object = object_create(rank);
    trace("rank %d puts object %d", rank, object);
    world.objects[object].holds_nested = !broken(RULE_NESTED_HOLD);
    for (int i = 0; i < nested_count; i++) {
        int nested = user_ref_pick(rank);

        trace("  nesting object %d", nested);
        if (world.objects[object].holds_nested)
            hold(rank, nested);
        object_nest(object, nested);
    }
    for (int i = 0; i < nested_count; i++)
        user_ref_move(rank, world.objects[object].nested[i]);
    user_ref_add(rank, object);
}

/* Takes a ref out of a container on which `rank` has a hold. */
static void extract(int rank, int container)
{
    struct object *y = &world.objects[container];
    int object;

    check_access(rank, container);
    if (y->nested_count == 0)
        return;
    object = y->nested[below((unsigned)y->nested_count)];
    trace("rank %d takes object %d out of %d", rank, object, container);
    hold(rank, container);
    if (accept(rank, object, rank, container) && broken(RULE_GUARD))
        drop_cover_early(rank, container);
    user_ref_add(rank, object);
}

/* ---- tasks ---- */

static void submit_result(struct task *task)
{
    if (world.object_count == MAX_OBJECTS)
        return;
    task->result_kind = one_in(2) ? RESULT_LATE : (enum result_kind)below(RESULT_KINDS);
    if (task->result_kind == RESULT_NONE)
        return;
    task->result = object_create(task->submitter);
    if (task->result_kind == RESULT_LATE)
        return; /* the hold is the task's until it is done */
    user_ref_add(task->submitter, task->result);
    if (task->result_kind == RESULT_EARLY_HELD)
        hold(task->submitter, task->result);
}

static struct task *submit(int rank, int executor, const int *arguments, int argument_count)
{
    int index = 0;
    struct task *task;

    while (world.tasks[index].state != TASK_UNUSED)
        index++;
    task = &world.tasks[index];
    *task = (struct task){
        .state = TASK_SENT, .submitter = rank, .executor = executor, .argument_count = argument_count};
    world.task_count++;
    trace("rank %d sends task %d to rank %d", rank, index, executor);
    for (int i = 0; i < argument_count; i++) {
        trace("  argument object %d", arguments[i]);
        task->arguments[i] = arguments[i];
        hold(rank, arguments[i]);
        truth_add(arguments[i]);
    }
    submit_result(task);
    send_task(rank, executor, LETTER_TASK, index);
    for (int i = 0; i < argument_count && broken(RULE_ARGUMENT_HOLD); i++)
        drop_cover_early(rank, arguments[i]);
    return task;
}

/* Mostly another rank. */
static int pick_executor(int rank)
{
    int executor = (int)below((unsigned)world.ranks);

    return executor == rank ? (int)below((unsigned)world.ranks) : executor;
}

static void submit_user_refs(int rank)
{
    int arguments[MAX_REFS];
    int argument_count = world.user_ref_count[rank] ? 1 + (int)below(MAX_REFS) : 0;

    if (world.task_count == MAX_TASKS)
        return;
    for (int i = 0; i < argument_count; i++)
        arguments[i] = one_in(2) ? user_ref_pick(rank) : user_ref_pick_container(rank);
    submit(rank, pick_executor(rank), arguments, argument_count);
    for (int i = 0; i < argument_count; i++)
        user_ref_move(rank, arguments[i]);
}

/* After this the executor has a hold on the argument, which is the task's. */
static void task_accept(struct task *task, int i)
{
    if (!task->accepted[i])
        accept(task->executor, task->arguments[i], task->submitter, task->arguments[i]);
    task->accepted[i] = true;
}

static void task_finish_nest(struct task *task, int object)
{
    unsigned limit = world.objects[task->result].stamp;

    if (task->nested_count == MAX_REFS || world.objects[object].stamp >= limit)
        return;
    trace("  returning object %d", object);
    hold(task->executor, object);
    truth_add(object);
    task->nested[task->nested_count++] = object;
}

/* An object that the task made: from now on only its result refers to it. */
static void task_finish_nest_new(struct task *task)
{
    int object = object_create(task->executor);

    trace("  returning new object %d", object);
    truth_add(object);
    task->nested[task->nested_count++] = object;
}

static void task_finish_result(struct task *task)
{
    int rank = task->executor;

    if (task->result_kind == RESULT_LATE) {
        if (one_in(2) && world.object_count < MAX_OBJECTS)
            task_finish_nest_new(task);
        world.objects[task->result].stamp = ++world.clock;
    }
    for (int i = 0; i < task->argument_count; i++) {
        if (one_in(2) || task->let_go[i])
            continue;
        task_accept(task, i);
        task_finish_nest(task, task->arguments[i]);
    }
    for (int i = (int)below(MAX_REFS); i > 0 && world.user_ref_count[rank] > 0; i--)
        task_finish_nest(task, user_ref_pick(rank));
}

static void task_finish(struct task *task)
{
    int rank = task->executor;

    trace("rank %d finishes task %d", rank, (int)(task - world.tasks));
    if (task->result_kind != RESULT_NONE)
        task_finish_result(task);
    for (int i = 0; i < task->argument_count; i++) {
        check_access(rank, task->arguments[i]);
        truth_remove(task->arguments[i]);
        if (task->accepted[i] && !task->let_go[i])
            drop(rank, task->arguments[i]);
    }
    task->state = TASK_DONE;
    send_task(rank, task->submitter, LETTER_DONE, (int)(task - world.tasks));
    for (int i = 0; i < task->nested_count && broken(RULE_RESULT_HOLD); i++)
        drop_cover_early(rank, task->nested[i]);
}

static void task_forward(struct task *task, int i)
{
    if (world.task_count == MAX_TASKS)
        return;
    task_accept(task, i);
    submit(task->executor, pick_executor(task->executor), &task->arguments[i], 1);
}

/* Sends the one object of which this is the rank's only ref, and lets go of it. */
static void relay(int rank, int object, enum task_plan plan)
{
    submit(rank, pick_executor(rank), &object, 1)->plan = plan;
    user_ref_release_at(rank, world.user_ref_count[rank] - 1);
}

static void relay_start(int rank)
{
    if (world.object_count == MAX_OBJECTS || world.task_count == MAX_TASKS)
        return;
    user_ref_add(rank, object_create(rank));
    relay(rank, world.object_count - 1, PLAN_WRAP);
}

static void relay_wrap(struct task *task)
{
    int rank = task->executor, object = task->arguments[0];
    int container;

    if (world.object_count == MAX_OBJECTS || world.task_count == MAX_TASKS)
        return;
    task_accept(task, 0);
    hold(rank, object);
    container = object_create(rank);
    trace("rank %d puts argument %d into object %d", rank, object, container);
    object_nest(container, object);
    user_ref_add(rank, container);
    relay(rank, container, PLAN_UNWRAP);
}

static void relay_unwrap(struct task *task)
{
    task_accept(task, 0);
    extract(task->executor, task->arguments[0]);
}

static void task_use_argument(struct task *task, int i, enum use use)
{
    int rank = task->executor;

    check_access(rank, task->arguments[i]);
    if (use == USE_FORWARD) {
        task_forward(task, i);
        return;
    }
    task_accept(task, i);
    if (use == USE_EXTRACT) {
        extract(rank, task->arguments[i]);
        return;
    }
    trace("rank %d keeps argument %d", rank, task->arguments[i]);
    hold(rank, task->arguments[i]);
    user_ref_add(rank, task->arguments[i]);
}

static int task_pick_argument(const struct task *task, enum use use)
{
    int i = (int)below((unsigned)task->argument_count);

    for (int tries = 4; use == USE_EXTRACT && tries > 0; tries--)
        if (!is_foreign_container(task->executor, task->arguments[i]))
            i = (int)below((unsigned)task->argument_count);
    return i;
}

static void task_step(struct task *task)
{
    enum use use = (enum use)pick_weighted(world.use_weights, USE_KINDS);
    int i;

    if (task->plan == PLAN_WRAP)
        relay_wrap(task);
    else if (task->plan == PLAN_UNWRAP)
        relay_unwrap(task);
    if (task->plan != PLAN_CHANCE || use == USE_FINISH || task->argument_count == 0 ||
        world.user_ref_count[task->executor] >= MANY_USER_REFS) {
        task_finish(task);
        return;
    }
    i = task_pick_argument(task, use);
    if (task->let_go[i])
        return;
    task_use_argument(task, i, use);
    if (broken(RULE_TASK_HOLD) && task->accepted[i]) {
        task->let_go[i] = true;
        drop(task->executor, task->arguments[i]);
    }
}

static void done_arguments(const struct task *task)
{
    for (int i = 0; i < task->argument_count; i++) {
        if (task->accepted[i] && !broken(RULE_DONE_ACCEPTED))
            continue;
        if (!task->accepted[i] && broken(RULE_DONE_DROP))
            continue;
        drop_cover(task->submitter, task->arguments[i]);
    }
}

static void done_nested(const struct task *task, int object)
{
    int rank = task->submitter;

    if (record_find(rank, task->result)) {
        accept(rank, object, task->executor, object);
        object_nest(task->result, object);
    } else if (!broken(RULE_DECLINE_ACK)) {
        cover(task->executor == rank ? BRANCH_DECLINE_SELF : BRANCH_DECLINE);
        acknowledge(rank, task->executor, object);
    }
    truth_remove(object);
}

static void deliver_done(struct task *task)
{
    trace("task %d is done at rank %d", (int)(task - world.tasks), task->submitter);
    done_arguments(task);
    for (int i = 0; i < task->nested_count; i++)
        done_nested(task, task->nested[i]);
    if (task->result_kind == RESULT_LATE)
        user_ref_add(task->submitter, task->result);
    else if (task->result_kind == RESULT_EARLY_HELD)
        drop(task->submitter, task->result);
    task->state = TASK_UNUSED;
    world.task_count--;
}

/* ---- steps ---- */

static void deliver(void)
{
    uint32_t busy = world.busy_queues;
    struct letter letter;
    int queue, position = 0;

    if (!one_in(world.slowness))
        busy &= ~world.slow_queues;
    if (!busy)
        return;
    for (unsigned skip = below((unsigned)__builtin_popcount(busy)); skip > 0; skip--)
        busy &= busy - 1;
    queue = __builtin_ctz(busy);
    if (broken(RULE_FIFO))
        position = (int)below((unsigned)world.queues[queue].length);
    letter = letter_take(queue / MAX_RANKS, queue % MAX_RANKS, position);
    totals.messages++;
    switch (letter.kind) {
    case LETTER_TASK:
        cover(BRANCH_TASK);
        trace("task %d starts at rank %d", letter.task, queue % MAX_RANKS);
        world.tasks[letter.task].state = TASK_RUNNING;
        break;
    case LETTER_DONE:
        cover(BRANCH_DONE);
        deliver_done(&world.tasks[letter.task]);
        break;
    case LETTER_COUNTING:
        deliver_counting(queue / MAX_RANKS, queue % MAX_RANKS, &letter);
        break;
    }
}

static void look_at_zero(void)
{
    int position = (int)below((unsigned)world.zero_count);
    struct zero zero = world.zeros[position];

    trace("rank %d looks at the zero of object %d", zero.rank, zero.object);
    world.zeros[position] = world.zeros[--world.zero_count];
    zero_check(zero.rank, zero.object);
}

static struct task *pick_running(void)
{
    int start = (int)below(MAX_TASKS);

    for (int i = 0; i < MAX_TASKS && world.task_count > 0; i++) {
        struct task *task = &world.tasks[(start + i) % MAX_TASKS];

        if (task->state == TASK_RUNNING)
            return task;
    }
    return NULL;
}

static void release_some(int rank)
{
    do
        user_ref_release(rank);
    while (world.user_ref_count[rank] > 0 && !one_in(3));
}

static void operate(void)
{
    int rank = (int)below((unsigned)world.ranks);
    enum operation operation = (enum operation)pick_weighted(world.operation_weights, OPERATION_KINDS);
    int container;

    totals.operations++;
    if (world.user_ref_count[rank] >= MANY_USER_REFS)
        operation = OPERATION_RELEASE;
    else if (world.user_ref_count[rank] == 0 && operation < OPERATION_RELAY && operation != OPERATION_SUBMIT)
        operation = OPERATION_PUT;
    switch (operation) {
    case OPERATION_PUT:
        put(rank);
        break;
    case OPERATION_SUBMIT:
        submit_user_refs(rank);
        break;
    case OPERATION_RELEASE:
        release_some(rank);
        break;
    case OPERATION_COPY:
        user_ref_copy(rank);
        break;
    case OPERATION_RELAY:
        relay_start(rank);
        break;
    default:
        container = user_ref_pick_container(rank);
        extract(rank, container);
        user_ref_move(rank, container);
    }
}

/* One step of what goes on without the user; false if all is quiet. */
static bool work(bool finish_tasks)
{
    struct task *task = pick_running();
    int zero_weight = world.zero_count ? 2 : 0;
    int deliver_weight = world.busy_queues ? world.deliver_weight : 0;
    int task_weight = task ? 3 : 0;
    int choice;

    if (zero_weight + deliver_weight + task_weight == 0)
        return false;
    choice = (int)below((unsigned)(zero_weight + deliver_weight + task_weight));
    if (choice < zero_weight) {
        look_at_zero();
    } else if (choice < zero_weight + deliver_weight) {
        deliver();
    } else if (finish_tasks) {
        task_finish(task);
    } else {
        totals.operations++;
        task_step(task);
    }
    return true;
}

static void work_until_quiet(void)
{
    for (int steps = 0; work(true); steps++) {
        check_reachable();
        if (steps > MAX_STEPS)
            violation(CHECK_LIMIT, "not quiet after %d steps", MAX_STEPS);
    }
}

static unsigned expected_count(int rank, int object)
{
    unsigned count = 0;

    for (int i = 0; i < world.user_ref_count[rank]; i++)
        count += world.user_refs[rank][i] == object;
    for (int y = 0; y < world.object_count; y++) {
        const struct object *container = &world.objects[y];

        if (container->owner != rank || (world.freed_mask & (1ull << y)))
            continue;
        for (int i = 0; i < container->nested_count; i++)
            count += container->nested[i] == object;
    }
    if (world.objects[object].owner == rank && record_find(rank, object))
        count += record_find(rank, object)->holder_count;
    return count;
}

static void check_quiet_record(int rank, int object)
{
    int owner = world.objects[object].owner;
    const struct refcount *record = record_find(rank, object);
    const struct refcount *owned = record_find(owner, object);
    unsigned expected = expected_count(rank, object);

    if (expected != (record ? record_count(record) : 0))
        violation(CHECK_COUNT, "rank %d counts %u holds on object %d and has %u", rank,
                  record ? record_count(record) : 0, object, expected);
    if (rank != owner && (record != NULL) != (owned && refcount_is_holder(owned, rank)))
        violation(CHECK_HOLDER, "rank %d %s a record of object %d, its owner knows otherwise", rank,
                  record ? "has" : "has not", object);
}

static void check_quiet(void)
{
    uint64_t made = world.object_count == 64 ? ~0ull : (1ull << world.object_count) - 1;
    uint64_t garbage = made & ~world.freed_mask & ~truth_reachable();

    for (int object = 0; object < world.object_count; object++)
        for (int rank = 0; rank < world.ranks; rank++)
            check_quiet_record(rank, object);
    if (garbage)
        violation(CHECK_GARBAGE, "nothing reaches object %d and it lives", __builtin_ctzll(garbage));
}

static void check_empty(void)
{
    if (world.root_mask)
        violation(CHECK_LEAK, "the truth still has a ref to object %d", __builtin_ctzll(world.root_mask));
    for (int object = 0; object < world.object_count; object++)
        for (int rank = 0; rank < world.ranks; rank++)
            if (record_find(rank, object))
                violation(CHECK_LEAK, "rank %d still has a record of object %d", rank, object);
}

static void release_all(void)
{
    for (int rank = 0; rank < world.ranks; rank++)
        while (world.user_ref_count[rank] > 0) {
            user_ref_release(rank);
            check_reachable();
            if (one_in(2) && work(true))
                check_reachable();
        }
}

static void world_clear(void)
{
    for (int object = 0; object < world.object_count; object++)
        for (int rank = 0; rank < world.ranks; rank++)
            if (world.present[rank][object])
                record_erase(rank, object);
    memset(&world, 0, sizeof world);
    world.free_letter = -1;
}

static void run_schedule(uint64_t seed)
{
    uint64_t last;

    world_clear();
    totals.schedules++;
    world.seed = seed;
    world.random = mix(seed) | 1;
    world.ranks = MIN_RANKS + (int)below(MAX_RANKS - MIN_RANKS + 1);
    world.deliver_weight = 1 + (int)below(12);
    for (int i = 0; i < OPERATION_KINDS; i++)
        world.operation_weights[i] = below(8) + (i <= OPERATION_RELEASE);
    for (int i = 0; i < USE_KINDS; i++)
        world.use_weights[i] = i == USE_FINISH ? 1 + below(3) : below(8);
    world.moves = 1 + below(4);
    world.slowness = 2u << below(9);
    world.slow_queues = (uint32_t)mix(~seed);
    if (one_in(2)) {
        /* the other half: refs move rather than spread, and a few late messages race with many quick ones */
        world.slow_queues &= (uint32_t)mix(seed ^ 1);
        world.slowness = 1024;
        world.deliver_weight = 24;
        world.moves = 1;
    }
    last = totals.operations + MIN_OPERATIONS + below(MIN_OPERATIONS);
    if (options.ranks)
        world.ranks = options.ranks;
    if (options.operations)
        last = totals.operations + (uint64_t)options.operations;
    if (setjmp(schedule_end) != 0)
        return;
    while (totals.operations < last) {
        if (one_in(3) || !work(false))
            operate();
        check_reachable();
    }
    trace("no more operations");
    world.slowness = 4;
    work_until_quiet();
    check_quiet();
    trace("all user refs are released");
    release_all();
    work_until_quiet();
    check_empty();
}

/* ---- the program ---- */

static void usage(FILE *stream)
{
    fputs("usage: refcount-sim [--seeds A[..B]] [--break RULE] [--ranks 2..5] [--ops 1..1000] [--trace]\n"
          "       refcount-sim --list-rules\n"
          "Runs one schedule per seed; exits with 1 if a check fires or a branch stays uncovered.\n",
          stream);
}

static bool parse_number(const char *text, const char *end, uint64_t low, uint64_t high, uint64_t *value)
{
    char *stop;

    if (*text < '0' || *text > '9')
        return false;
    *value = strtoull(text, &stop, 10);
    return stop == end && *value >= low && *value <= high;
}

static bool parse_int(const char *text, int low, int high, int *value)
{
    uint64_t number;

    if (!parse_number(text, text + strlen(text), (uint64_t)low, (uint64_t)high, &number))
        return false;
    *value = (int)number;
    return true;
}

static bool parse_seeds(const char *text)
{
    const char *dots = strstr(text, "..");
    const char *end = text + strlen(text);
    uint64_t most = UINT64_MAX - 1;

    if (!dots)
        return parse_number(text, end, 0, most, &options.first) &&
               parse_number(text, end, 0, most, &options.last);
    return parse_number(text, dots, 0, most, &options.first) &&
           parse_number(dots + 2, end, options.first, most, &options.last);
}

static bool parse_rule(const char *text)
{
    for (int rule = 1; rule < RULE_COUNT; rule++)
        if (strcmp(rules[rule].name, text) == 0) {
            options.broken = (enum rule)rule;
            return true;
        }
    return false;
}

static bool parse_option(const char *name, const char *value)
{
    if (strcmp(name, "--seeds") == 0)
        return parse_seeds(value);
    if (strcmp(name, "--break") == 0)
        return parse_rule(value);
    if (strcmp(name, "--ranks") == 0)
        return parse_int(value, MIN_RANKS, MAX_RANKS, &options.ranks);
    if (strcmp(name, "--ops") == 0)
        return parse_int(value, 1, MAX_OPERATIONS, &options.operations);
    return false;
}

static int list_rules(void)
{
    for (int rule = 1; rule < RULE_COUNT; rule++)
        printf("%s  %s\n", rules[rule].name, rules[rule].broken);
    return 0;
}

/* False if a branch was never taken in a run that is long enough to take them all. */
static bool report(void)
{
    bool covered = true;

    for (int branch = 0; branch < BRANCH_KINDS; branch++) {
        printf("%12llu  %s\n", (unsigned long long)totals.branches[branch], branch_names[branch]);
        covered = covered && totals.branches[branch] > 0;
    }
    for (int check = 0; check < CHECK_KINDS; check++)
        if (totals.checks[check] > 0)
            printf("check %s fired in %llu schedules\n", check_names[check],
                   (unsigned long long)totals.checks[check]);
    if (options.broken != RULE_NONE)
        printf("broken rule %s: %s\n", rules[options.broken].name, rules[options.broken].broken);
    printf("%llu schedules, %llu operations, %llu messages, %llu violations\n",
           (unsigned long long)totals.schedules, (unsigned long long)totals.operations,
           (unsigned long long)totals.messages, (unsigned long long)totals.violations);
    return covered || totals.schedules < 1000 || options.ranks || options.operations;
}

int main(int argc, char **argv)
{
    bool covered;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list-rules") == 0)
            return list_rules();
        if (strcmp(argv[i], "--trace") == 0) {
            options.trace = true;
            continue;
        }
        if (i + 1 == argc || !parse_option(argv[i], argv[i + 1])) {
            fprintf(stderr, "refcount-sim: bad option or value: %s %s\n", argv[i],
                    i + 1 < argc ? argv[i + 1] : "");
            usage(stderr);
            return 2;
        }
        i++;
    }
    for (uint64_t seed = options.first; seed <= options.last; seed++)
        run_schedule(seed);
    world_clear();
    covered = report();
    return totals.violations == 0 && covered ? 0 : 1;
}
