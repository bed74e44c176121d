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
#include "refcount-sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct world world;
struct sim_options options = {.first = 1, .last = 1000};
struct sim_totals totals;

static jmp_buf schedule_end;

bool sim_broken(enum rule rule)
{
    return options.broken == rule;
}

void sim_cover(enum branch branch)
{
    totals.branches[branch]++;
}

void sim_trace(const char *format, ...)
{
    va_list arguments;

    if (!options.trace)
        return;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void sim_violation(enum check check, const char *format, ...)
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

unsigned sim_below(unsigned limit) /* xorshift64* */
{
    world.random ^= world.random >> 12;
    world.random ^= world.random << 25;
    world.random ^= world.random >> 27;
    return (unsigned)((world.random * 0x2545f4914f6cdd1du) >> 33) % limit;
}

bool sim_one_in(unsigned n)
{
    return sim_below(n) == 0;
}

unsigned sim_pick_weighted(const unsigned *weights, unsigned kinds)
{
    unsigned sum = 0, kind = 0, choice;

    for (unsigned i = 0; i < kinds; i++)
        sum += weights[i];
    for (choice = sim_below(sum); choice >= weights[kind]; kind++)
        choice -= weights[kind];
    return kind;
}

/* ---- steps ---- */

static void deliver(void)
{
    uint32_t busy = world.busy_queues;
    struct letter letter;
    int queue, position = 0;

    if (!sim_one_in(world.slowness))
        busy &= ~world.slow_queues;
    if (!busy)
        return;
    for (unsigned skip = sim_below((unsigned)__builtin_popcount(busy)); skip > 0; skip--)
        busy &= busy - 1;
    queue = __builtin_ctz(busy);
    if (sim_broken(RULE_FIFO))
        position = (int)sim_below((unsigned)world.queues[queue].length);
    letter = sim_letter_take(queue / MAX_RANKS, queue % MAX_RANKS, position);
    totals.messages++;
    switch (letter.kind) {
    case LETTER_TASK:
        sim_cover(BRANCH_TASK);
        sim_trace("task %d starts at rank %d", letter.task, queue % MAX_RANKS);
        world.tasks[letter.task].state = TASK_RUNNING;
        break;
    case LETTER_DONE:
        sim_cover(BRANCH_DONE);
        sim_deliver_done(&world.tasks[letter.task]);
        break;
    case LETTER_COUNTING:
        sim_deliver_counting(queue / MAX_RANKS, queue % MAX_RANKS, &letter);
        break;
    }
}

static void look_at_zero(void)
{
    int position = (int)sim_below((unsigned)world.zero_count);
    struct zero zero = world.zeros[position];

    sim_trace("rank %d looks at the zero of object %d", zero.rank, zero.object);
    world.zeros[position] = world.zeros[--world.zero_count];
    sim_zero_check(zero.rank, zero.object);
}

static struct task *pick_running(void)
{
    int start = (int)sim_below(MAX_TASKS);

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
        sim_user_ref_release(rank);
    while (world.user_ref_count[rank] > 0 && !sim_one_in(3));
}

static void operate(void)
{
    int rank = (int)sim_below((unsigned)world.ranks);
    enum operation operation = (enum operation)sim_pick_weighted(world.operation_weights, OPERATION_KINDS);
    int container;

    totals.operations++;
    if (world.user_ref_count[rank] >= MANY_USER_REFS)
        operation = OPERATION_RELEASE;
    else if (world.user_ref_count[rank] == 0 && operation < OPERATION_RELAY && operation != OPERATION_SUBMIT)
        operation = OPERATION_PUT;
    switch (operation) {
    case OPERATION_PUT:
        sim_put(rank);
        break;
    case OPERATION_SUBMIT:
        sim_submit_user_refs(rank);
        break;
    case OPERATION_RELEASE:
        release_some(rank);
        break;
    case OPERATION_COPY:
        sim_user_ref_copy(rank);
        break;
    case OPERATION_RELAY:
        sim_relay_start(rank);
        break;
    default:
        container = sim_user_ref_pick_container(rank);
        sim_extract(rank, container);
        sim_user_ref_move(rank, container);
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
    choice = (int)sim_below((unsigned)(zero_weight + deliver_weight + task_weight));
    if (choice < zero_weight) {
        look_at_zero();
    } else if (choice < zero_weight + deliver_weight) {
        deliver();
    } else if (finish_tasks) {
        sim_task_finish(task);
    } else {
        totals.operations++;
        sim_task_step(task);
    }
    return true;
}

static void work_until_quiet(void)
{
    for (int steps = 0; work(true); steps++) {
        sim_check_reachable();
        if (steps > MAX_STEPS)
            sim_violation(CHECK_LIMIT, "not quiet after %d steps", MAX_STEPS);
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
    if (world.objects[object].owner == rank && sim_record_find(rank, object))
        count += sim_record_find(rank, object)->holder_count;
    return count;
}

static void check_quiet_record(int rank, int object)
{
    int owner = world.objects[object].owner;
    const struct refcount *record = sim_record_find(rank, object);
    const struct refcount *owned = sim_record_find(owner, object);
    unsigned expected = expected_count(rank, object);

    if (expected != (record ? sim_record_count(record) : 0))
        sim_violation(CHECK_COUNT, "rank %d counts %u holds on object %d and has %u", rank,
                      record ? sim_record_count(record) : 0, object, expected);
    if (rank != owner && (record != NULL) != (owned && refcount_is_holder(owned, rank)))
        sim_violation(CHECK_HOLDER, "rank %d %s a record of object %d, its owner knows otherwise", rank,
                      record ? "has" : "has not", object);
}

static void check_quiet(void)
{
    uint64_t made = world.object_count == 64 ? ~0ull : (1ull << world.object_count) - 1;
    uint64_t garbage = made & ~world.freed_mask & ~sim_truth_reachable();

    if (garbage)
        sim_violation(CHECK_GARBAGE, "nothing reaches object %d and it lives", __builtin_ctzll(garbage));
    for (int object = 0; object < world.object_count; object++)
        for (int rank = 0; rank < world.ranks; rank++)
            check_quiet_record(rank, object);
}

static void check_empty(void)
{
    if (world.root_mask)
        sim_violation(CHECK_LEAK, "the truth still has a ref to object %d", __builtin_ctzll(world.root_mask));
    for (int object = 0; object < world.object_count; object++)
        for (int rank = 0; rank < world.ranks; rank++)
            if (sim_record_find(rank, object))
                sim_violation(CHECK_LEAK, "rank %d still has a record of object %d", rank, object);
}

static void release_all(void)
{
    for (int rank = 0; rank < world.ranks; rank++)
        while (world.user_ref_count[rank] > 0) {
            sim_user_ref_release(rank);
            sim_check_reachable();
            if (sim_one_in(2) && work(true))
                sim_check_reachable();
        }
}

static void world_clear(void)
{
    for (int object = 0; object < world.object_count; object++)
        for (int rank = 0; rank < world.ranks; rank++)
            if (world.present[rank][object])
                sim_record_erase(rank, object);
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
    world.ranks = MIN_RANKS + (int)sim_below(MAX_RANKS - MIN_RANKS + 1);
    world.deliver_weight = 1 + (int)sim_below(12);
    for (int i = 0; i < OPERATION_KINDS; i++)
        world.operation_weights[i] = sim_below(8) + (i <= OPERATION_RELEASE);
    for (int i = 0; i < USE_KINDS; i++)
        world.use_weights[i] = i == USE_FINISH ? 1 + sim_below(3) : sim_below(8);
    world.moves = 1 + sim_below(4);
    world.slowness = 2u << sim_below(9);
    world.slow_queues = (uint32_t)mix(~seed);
    if (sim_one_in(2)) {
        /* the other half: refs move rather than spread, and a few late messages race with many quick ones */
        world.slow_queues &= (uint32_t)mix(seed ^ 1);
        world.slowness = 1024;
        world.deliver_weight = 24;
        world.moves = 1;
    }
    last = totals.operations + MIN_OPERATIONS + sim_below(MIN_OPERATIONS);
    if (options.ranks)
        world.ranks = options.ranks;
    if (options.operations)
        last = totals.operations + (uint64_t)options.operations;
    if (setjmp(schedule_end) != 0)
        return;
    while (totals.operations < last) {
        if (sim_one_in(3) || !work(false))
            operate();
        sim_check_reachable();
    }
    sim_trace("no more operations");
    world.slowness = 4;
    work_until_quiet();
    check_quiet();
    sim_trace("all user refs are released");
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
static bool report_branches(void)
{
    bool must_cover = totals.schedules >= 1000 && !options.ranks && !options.operations;
    bool covered = true;

    for (int branch = 0; branch < BRANCH_KINDS; branch++) {
        bool missed = must_cover && totals.branches[branch] == 0;

        printf("%12llu  %s%s\n", (unsigned long long)totals.branches[branch], branch_names[branch],
               missed ? ": not covered" : "");
        covered = covered && !missed;
    }
    return covered;
}

static void report_checks(void)
{
    for (int check = 0; check < CHECK_KINDS; check++)
        if (totals.checks[check] > 0)
            printf("check %s fired in %llu schedules\n", check_names[check],
                   (unsigned long long)totals.checks[check]);
    if (options.broken != RULE_NONE)
        printf("broken rule %s: %s\n", rules[options.broken].name, rules[options.broken].broken);
    printf("%llu schedules, %llu operations, %llu messages, %llu violations\n",
           (unsigned long long)totals.schedules, (unsigned long long)totals.operations,
           (unsigned long long)totals.messages, (unsigned long long)totals.violations);
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
    covered = report_branches();
    report_checks();
    return totals.violations == 0 && covered ? 0 : 1;
}
