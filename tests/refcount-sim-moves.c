/* How tasks come, are handed on, end and are lost; and relays, which are chains of them. */
#include "refcount-sim.h"

static void done_arguments(const struct task *task)
{
    for (int i = 0; i < task->argument_count; i++) {
        if (task->accepted[i] && !sim_broken(RULE_DONE_ACCEPTED))
            continue;
        if (!task->accepted[i] && sim_broken(RULE_DONE_DROP))
            continue;
        sim_cover_drop(task->submitter, task->arguments[i], task->executor);
    }
}

static void done_nested(const struct task *task, int object)
{
    int rank = task->submitter;

    sim_truth_remove(object);
    if (sim_is_orphan(rank, object))
        return;
    if (sim_record_find(rank, task->result)) {
        sim_accept(rank, object, task->executor, object);
        sim_object_nest(task->result, object);
    } else if (!sim_broken(RULE_DECLINE_ACK)) {
        sim_cover(task->executor == rank ? BRANCH_DECLINE_SELF : BRANCH_DECLINE);
        sim_acknowledge(rank, task->executor, object);
    }
}

static void result_arrives(struct task *task)
{
    if (task->result_kind == RESULT_NONE)
        return;
    if (sim_record_find(task->submitter, task->result))
        world.objects[task->result].place = task->result_place;
    else if (task->result_place)
        sim_block_release(task->submitter, task->result_place);
}

static void result_hold_ends(const struct task *task)
{
    if (task->result_kind == RESULT_LATE)
        sim_user_ref_add(task->submitter, task->result);
    else if (task->result_kind == RESULT_EARLY_HELD)
        sim_drop(task->submitter, task->result);
}

static void task_unused(struct task *task)
{
    task->state = TASK_UNUSED;
    world.task_count--;
}

void sim_deliver_done(struct task *task)
{
    sim_trace("task %d is done at rank %d", (int)(task - world.tasks), task->submitter);
    done_arguments(task);
    result_arrives(task);
    for (int i = 0; i < task->nested_count; i++)
        done_nested(task, task->nested[i]);
    result_hold_ends(task);
    task_unused(task);
}

/* ---- what is lost ---- */

void sim_task_unroot(struct task *task)
{
    for (int i = 0; i < task->argument_count && task->rooted; i++)
        sim_truth_remove(task->arguments[i]);
    task->rooted = false;
}

/* The submitter has yet to find out, if there is one. */
static void task_gone(struct task *task)
{
    if (sim_is_dead(task->submitter))
        task_unused(task);
    else
        task->state = TASK_LOST;
}

void sim_task_lost(struct task *task)
{
    sim_trace("  task %d is lost", (int)(task - world.tasks));
    sim_task_unroot(task);
    task_gone(task);
}

void sim_done_lost(struct task *task)
{
    sim_trace("  the end of task %d is lost", (int)(task - world.tasks));
    for (int i = 0; i < task->nested_count; i++)
        sim_truth_remove(task->nested[i]);
    task->nested_count = 0;
    task_gone(task);
}

void sim_task_end_lost(struct task *task)
{
    if (task->state != TASK_LOST)
        sim_violation(CHECK_LOST, "rank %d takes task %d for lost, and it runs at rank %d", task->submitter,
                      (int)(task - world.tasks), task->executor);
    sim_trace("rank %d: task %d is lost", task->submitter, (int)(task - world.tasks));
    /* It never came to a runner that lives: what covers its arguments ends here. That of a dead one's ends
     * with all that went to it. */
    for (int i = 0; i < task->argument_count && !sim_knows_dead(task->submitter, task->known_runner); i++)
        sim_cover_drop(task->submitter, task->arguments[i], task->known_runner);
    result_hold_ends(task);
    task_unused(task);
}

/* ---- tasks that come, and are handed on ---- */

void sim_task_private_free(struct task *task)
{
    for (int i = 0; i < task->argument_count; i++)
        if (task->private_places[i])
            sim_block_release(task->executor, task->private_places[i]);
}

/* Short stored values go to another host as bytes, and become blocks that are the task's alone. */
static void private_make(struct task *task, int i)
{
    const struct block *block = sim_block_at(world.objects[task->arguments[i]].place);

    if (!block || block->object != task->arguments[i] || sim_one_in(2) ||
        world.host[task->submitter] == world.host[task->executor])
        return;
    task->private_places[i] = sim_block_make(task->executor, task->submitter, task->arguments[i], false);
}

/* The submitter hears who has the task now, by who gave it and by who got it: one of them may die. */
static void tell_moved(int rank, struct task *task)
{
    struct letter letter = {
        .place = task->serial, .local = task->hop, .value = task->executor, .ok = rank == task->executor};

    if (sim_broken(RULE_MOVED_TOLD) && letter.ok)
        return;
    if (rank == task->submitter) {
        sim_deliver_moved(rank, rank, task, &letter);
        return;
    }
    sim_send(rank, task->submitter, LETTER_MOVED, letter.place, letter.local, letter.value, letter.ok);
}

/* Known from the giver alone, the task may be lost with him. */
static void moved_note(struct task *task, int giver, const struct letter *letter)
{
    task->known_giver = letter->ok || sim_broken(RULE_MOVED_UNSURE) ? letter->value : giver;
    task->known_hop = letter->local;
    task->known_runner = letter->value;
}

void sim_deliver_moved(int rank, int from, struct task *task, const struct letter *letter)
{
    int to = letter->value;

    if (!task || task->state == TASK_UNUSED || task->serial != letter->place ||
        letter->local < task->known_hop || (letter->local == task->known_hop && !letter->ok)) {
        sim_fault(FAULT_RACE_MOVED_LATE);
        return;
    }
    for (int i = 0; i < task->argument_count; i++)
        if (!sim_is_orphan(rank, task->arguments[i])) {
            world.covers[rank][task->arguments[i]][task->known_runner]--;
            world.covers[rank][task->arguments[i]][to]++;
        }
    moved_note(task, from, letter);
}

static bool may_hand_on(const struct task *task)
{
    if (task->reads > 0 || sim_knows_dead(task->executor, task->submitter))
        return false;
    for (int i = 0; i < task->argument_count; i++)
        if (task->accepted[i])
            return false;
    return true;
}

void sim_task_hand_on(struct task *task)
{
    int from = task->executor, to = sim_pick_executor(from);

    if (to == from || !may_hand_on(task))
        return;
    sim_trace("rank %d hands task %d on to rank %d", from, (int)(task - world.tasks), to);
    task->executor = to;
    task->state = TASK_SENT;
    task->hop++;
    for (int i = 0; i < task->argument_count; i++)
        if (task->private_places[i]) {
            sim_gift_add(from, to, task->private_places[i]);
            if (sim_broken(RULE_MOVED_BLOCK))
                sim_block_release(from, task->private_places[i]);
        }
    if (sim_knows_dead(to, task->submitter))
        sim_task_unroot(task); /* it is not taken there */
    tell_moved(from, task);
    sim_send_task(from, to, LETTER_TASK, (int)(task - world.tasks));
    sim_death_ripe(sim_one_in(2) ? task->submitter : from, 16);
}

void sim_deliver_task(int to, struct task *task)
{
    sim_trace("task %d starts at rank %d", (int)(task - world.tasks), to);
    if (sim_knows_dead(to, task->submitter) && !sim_broken(RULE_DEAD_TASK)) {
        sim_fault(FAULT_RACE_DEAD_TASK);
        sim_task_private_free(task);
        task_unused(task);
        return;
    }
    task->state = TASK_RUNNING;
    if (task->hop > 0)
        tell_moved(to, task);
    else
        for (int i = 0; i < task->argument_count; i++)
            private_make(task, i);
}

/* ---- relays ---- */

/* Sends the one object of which this is the rank's only ref, and lets go of it. */
static void relay(int rank, int object, enum task_plan plan)
{
    sim_submit(rank, sim_pick_executor(rank), &object, 1)->plan = plan;
    sim_user_ref_release_at(rank, world.user_ref_count[rank] - 1);
}

void sim_relay_start(int rank)
{
    if (world.object_count == MAX_OBJECTS || world.task_count == MAX_TASKS)
        return;
    sim_user_ref_add(rank, sim_object_create(rank));
    relay(rank, world.object_count - 1, sim_one_in(2) ? PLAN_WRAP : PLAN_PASS);
}

static void relay_wrap(struct task *task)
{
    int rank = task->executor, object = task->arguments[0];
    int container;

    if (world.object_count == MAX_OBJECTS || world.task_count == MAX_TASKS)
        return;
    sim_task_accept(task, 0);
    sim_hold(rank, object);
    container = sim_object_create(rank);
    sim_trace("rank %d puts argument %d into object %d", rank, object, container);
    sim_object_nest(container, object);
    sim_user_ref_add(rank, container);
    relay(rank, container, PLAN_UNWRAP);
}

/* The last one keeps it for a while. */
static void relay_pass(struct task *task)
{
    int object = task->arguments[0];

    sim_task_accept(task, 0);
    sim_hold(task->executor, object);
    sim_user_ref_add(task->executor, object);
    if (!sim_one_in(4) && world.task_count < MAX_TASKS)
        relay(task->executor, object, PLAN_PASS);
    sim_death_ripe(task->executor, 8);
}

static void relay_unwrap(struct task *task)
{
    sim_task_accept(task, 0);
    sim_extract(task->executor, task->arguments[0]);
}

void sim_relay_step(struct task *task)
{
    if (task->plan == PLAN_WRAP)
        relay_wrap(task);
    else if (task->plan == PLAN_UNWRAP)
        relay_unwrap(task);
    else
        relay_pass(task);
}

void sim_fetch_start(int rank)
{
    int object;

    if (world.object_count == MAX_OBJECTS)
        return;
    object = sim_object_create(rank);
    world.objects[object].place = sim_block_make(rank, rank, object, false);
    sim_user_ref_add(rank, object);
    for (int i = 1 + (int)sim_below(3); i > 0 && world.task_count < MAX_TASKS; i--)
        sim_submit(rank, sim_pick_executor(rank), &object, 1)->plan = PLAN_FETCH;
    sim_user_ref_release_at(rank, world.user_ref_count[rank] - 1);
}

bool sim_fetch_step(struct task *task)
{
    int object = task->arguments[0];

    if (sim_one_in(3))
        return true;
    if (object % 2 || sim_one_in(2)) /* of some nobody waits for what comes */
        sim_prefetch(task->executor, object);
    else
        sim_read_start(task->executor, object, world.objects[object].place, (int)(task - world.tasks));
    return false;
}
