/*
 * Schedules of refcount-sim and their steps. Every decision about counts is taken by the library's own
 * functions. Beside them the simulator keeps the truth, which is who can still reach what: user refs,
 * arguments of live tasks, refs in messages, reads, and what reachable containers nest. After every step no
 * reachable object may be freed; when all is quiet every count must equal its holds, and nobody may wait;
 * when all user refs are gone everything must be freed, copies and what is on disk included. A value that can
 * not be read must be one that a death or a disk has taken.
 */
#include "refcount-sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world world;
struct sim_options options = {.first = 1, .last = 100000};
struct sim_totals totals;

static jmp_buf schedule_end;

void sim_trace_print(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void sim_violation(enum check check, const char *format, ...)
{
    va_list arguments;

    totals.checks[check]++;
    if ((totals.violations++ == 0 && !options.break_all) || options.trace) {
        printf("seed %llu: check %s: ", (unsigned long long)world.seed, sim_check_names[check]);
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

static struct task *task_by_serial(int serial)
{
    for (int i = 0; i < MAX_TASKS; i++)
        if (world.tasks[i].state != TASK_UNUSED && world.tasks[i].serial == serial)
            return &world.tasks[i];
    return NULL;
}

static void deliver_value_letter(int from, int to, const struct letter *letter)
{
    static const char *const names[] = {
        [LETTER_FREE] = "FREE",       [LETTER_STALE] = "STALE", [LETTER_BRING] = "BRING",
        [LETTER_BROUGHT] = "BROUGHT", [LETTER_PULL] = "PULL",   [LETTER_CHUNK] = "CHUNK",
        [LETTER_READ] = "READ",
    };

    sim_trace("%d -> %d %s of block %d arrives: range %d, %s", from, to, names[letter->kind], letter->place,
              letter->value, letter->ok ? "good" : "bad");
    switch (letter->kind) {
    case LETTER_FREE:
        sim_block_free(to, letter->place);
        break;
    case LETTER_STALE:
        sim_deliver_stale(to, letter->place);
        break;
    case LETTER_BRING:
        sim_deliver_bring(to, from, letter->place);
        break;
    case LETTER_BROUGHT:
        sim_brought(to, letter->place, letter->local, letter->ok);
        break;
    case LETTER_PULL:
        sim_deliver_pull(to, from, letter);
        break;
    case LETTER_CHUNK:
        sim_deliver_chunk(to, letter);
        break;
    default:
        sim_deliver_read(to, from, letter->place);
    }
}

static void deliver_letter(int from, int to, const struct letter *letter)
{
    switch (letter->kind) {
    case LETTER_TASK:
        sim_cover(BRANCH_TASK);
        sim_deliver_task(to, &world.tasks[letter->task]);
        break;
    case LETTER_DONE:
        sim_cover(BRANCH_DONE);
        sim_deliver_done(&world.tasks[letter->task]);
        break;
    case LETTER_COUNTING:
        sim_deliver_counting(from, to, letter);
        break;
    case LETTER_MOVED:
        sim_deliver_moved(to, from, task_by_serial(letter->place), letter);
        break;
    case LETTER_EPOCH:
        sim_deliver_epoch(to, from, letter->value);
        break;
    case LETTER_SETTLED:
        sim_deliver_settled(to, from, letter->value);
        break;
    case LETTER_DEATH:
        sim_deliver_death(to, letter->value);
        break;
    default:
        deliver_value_letter(from, to, letter);
    }
}

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
    if (!sim_death_ready(queue % MAX_RANKS, sim_letter_first(queue / MAX_RANKS, queue % MAX_RANKS)))
        return;
    if (sim_broken(RULE_FIFO))
        position = (int)sim_below((unsigned)world.queues[queue].length);
    letter = sim_letter_take(queue / MAX_RANKS, queue % MAX_RANKS, position);
    totals.messages++;
    deliver_letter(queue / MAX_RANKS, queue % MAX_RANKS, &letter);
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

        if (task->state == TASK_RUNNING && task->reads == 0)
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

static void read_some(int rank)
{
    int object = sim_user_ref_pick(rank);

    for (int tries = 4; tries > 0 && !sim_is_far(rank, object); tries--)
        object = sim_user_ref_pick(rank);
    if (sim_one_in(3))
        sim_prefetch(rank, object);
    else
        sim_reads_start(object);
    sim_user_ref_move(rank, object);
}

static void operate(void)
{
    int rank = (int)sim_below((unsigned)world.ranks);
    enum operation operation = (enum operation)sim_pick_weighted(world.operation_weights, OPERATION_KINDS);
    int container;

    totals.operations++;
    if (sim_is_dead(rank))
        return;
    if (world.user_ref_count[rank] >= MANY_USER_REFS)
        operation = OPERATION_RELEASE;
    else if (world.user_ref_count[rank] == 0 && operation != OPERATION_RELAY &&
             operation != OPERATION_SUBMIT && operation != OPERATION_FETCH)
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
    case OPERATION_FETCH:
        sim_fetch_start(rank);
        break;
    case OPERATION_READ:
        read_some(rank);
        break;
    default:
        container = sim_user_ref_pick_container(rank);
        sim_extract(rank, container);
        sim_user_ref_move(rank, container);
    }
}

/* What may happen at any moment. */
static void chance(void)
{
    if (sim_one_in(world.spills))
        sim_spill();
    if (sim_one_in(world.evictions))
        sim_evict();
}

enum work { WORK_ZERO, WORK_DELIVER, WORK_TASK, WORK_READ, WORK_DISK, WORK_SERVE, WORK_PLAN, WORK_KINDS };

static bool task_work(bool finish_tasks)
{
    struct task *task = pick_running();

    if (!task)
        return false;
    if (finish_tasks) {
        sim_task_finish(task);
    } else {
        totals.operations++;
        sim_task_step(task);
    }
    return true;
}

static bool work_kind(enum work kind, bool finish_tasks)
{
    switch (kind) {
    case WORK_ZERO:
        if (world.zero_count == 0)
            return false;
        look_at_zero();
        return true;
    case WORK_DELIVER:
        if (!world.busy_queues)
            return false;
        deliver();
        return true;
    case WORK_TASK:
        return task_work(finish_tasks);
    case WORK_READ:
        return sim_read_step();
    case WORK_DISK:
        if (world.restore_count == 0)
            return false;
        sim_disk_step();
        return true;
    case WORK_SERVE:
        return sim_serve_step();
    default:
        return sim_plan_step();
    }
}

/* One step of what goes on without the user; false if all is quiet. */
static bool work(bool finish_tasks)
{
    unsigned weights[WORK_KINDS] = {
        [WORK_ZERO] = world.zero_count ? 2 : 0,
        [WORK_DELIVER] = world.busy_queues ? (unsigned)world.deliver_weight : 0,
        [WORK_TASK] = world.task_count ? 3 : 0,
        [WORK_READ] = world.reads_used ? world.read_weight : 0,
        [WORK_DISK] = world.restore_count ? 1 : 0,
        [WORK_SERVE] = world.lease_count ? 2 : 0,
        [WORK_PLAN] = sim_copies() ? world.plan_weight : 0,
    };
    unsigned sum = 0;

    chance();
    for (int i = 0; i < WORK_KINDS; i++)
        sum += weights[i];
    if (sum == 0)
        return false;
    if (work_kind((enum work)sim_pick_weighted(weights, WORK_KINDS), finish_tasks))
        return true;
    /* What was drawn has nothing to do: is there anything else? */
    for (int i = 0; i < WORK_KINDS; i++)
        if (weights[i] > 0 && work_kind((enum work)i, finish_tasks))
            return true;
    return false;
}

static void work_until_quiet(void)
{
    for (int steps = 0; work(true); steps++) {
        sim_check_reachable();
        if (steps > MAX_STEPS)
            sim_violation(CHECK_LIMIT, "not quiet after %d steps", MAX_STEPS);
    }
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

void sim_world_clear(void)
{
    for (int object = 0; object < world.object_count; object++)
        for (int rank = 0; rank < world.ranks; rank++)
            if (world.present[rank][object])
                sim_record_erase(rank, object);
    memset(&world, 0, sizeof world);
    world.free_letter = -1;
}

static void begin_hosts(void)
{
    int hosts = sim_one_in(6) ? 1 : 2 + (int)sim_below(2);

    for (int rank = 0; rank < world.ranks; rank++)
        world.host[rank] = (int)sim_below((unsigned)hosts);
    world.disk_fails = sim_one_in(4) ? 8 : 1u << 20;
    world.deaths_left = sim_one_in(2) ? 0 : 1 + (int)sim_below(3);
    world.spills = 8u << sim_below(4);
    world.evictions = 8u << sim_below(5);
    world.memory_waits = 1u << sim_below(6);
    world.views = 2 + sim_below(16);
    world.plan_weight = 1 + sim_below(4);
    world.read_weight = 1 + sim_below(4);
    world.death_weight = 8 << sim_below(5);
    sim_deaths_begin();
}

void sim_schedule(uint64_t seed)
{
    uint64_t last;

    sim_world_clear();
    totals.schedules++;
    world.seed = seed;
    world.random = mix(seed) | 1;
    world.ranks = MIN_RANKS + (int)sim_below(MAX_RANKS - MIN_RANKS + 1);
    if (options.ranks)
        world.ranks = options.ranks;
    world.deliver_weight = 1 + (int)sim_below(12);
    for (int i = 0; i < OPERATION_KINDS; i++)
        world.operation_weights[i] = sim_below(8) + (i <= OPERATION_RELEASE);
    world.operation_weights[OPERATION_READ] += 4;
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
    begin_hosts();
    last = totals.operations + MIN_OPERATIONS + sim_below(MIN_OPERATIONS);
    if (options.operations)
        last = totals.operations + (uint64_t)options.operations;
    if (setjmp(schedule_end) != 0)
        return;
    while (totals.operations < last) {
        if (sim_one_in(3) || !work(false))
            operate();
        if (world.deaths_left > 0)
            sim_death_step();
        sim_check_reachable();
    }
    world.deaths_left = 0;
    sim_trace("no more operations");
    world.slowness = 4;
    work_until_quiet();
    sim_check_quiet();
    sim_trace("all user refs are released");
    release_all();
    work_until_quiet();
    sim_check_hang();
    sim_check_empty();
}
