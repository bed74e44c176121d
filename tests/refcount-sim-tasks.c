/* What users and tasks of the simulated ranks do with refs. */
#include "refcount-sim.h"

/* ---- user refs and objects ---- */

static void user_ref_add(int rank, int object)
{
    if (world.user_ref_count[rank] == MAX_USER_REFS)
        sim_violation(CHECK_LIMIT, "more than %d user refs at rank %d", MAX_USER_REFS, rank);
    world.user_refs[rank][world.user_ref_count[rank]++] = object;
    sim_truth_add(object);
}

static int user_ref_pick(int rank)
{
    return world.user_refs[rank][sim_below((unsigned)world.user_ref_count[rank])];
}

static bool is_foreign_container(int rank, int object)
{
    return world.objects[object].owner != rank && world.objects[object].nested_count > 0;
}

int sim_user_ref_pick_container(int rank)
{
    int object = user_ref_pick(rank);

    for (int tries = 8; tries > 0 && !is_foreign_container(rank, object); tries--)
        object = user_ref_pick(rank);
    return object;
}

void sim_user_ref_copy(int rank)
{
    int object = user_ref_pick(rank);

    sim_trace("rank %d retains object %d", rank, object);
    sim_hold(rank, object);
    user_ref_add(rank, object);
}

static void user_ref_release_at(int rank, int position)
{
    int object = world.user_refs[rank][position];

    sim_trace("rank %d releases object %d", rank, object);
    sim_check_access(rank, object);
    world.user_refs[rank][position] = world.user_refs[rank][--world.user_ref_count[rank]];
    sim_truth_remove(object);
    sim_drop(rank, object);
}

void sim_user_ref_release(int rank)
{
    user_ref_release_at(rank, (int)sim_below((unsigned)world.user_ref_count[rank]));
}

void sim_user_ref_move(int rank, int object)
{
    if (!sim_one_in(world.moves))
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
    sim_record_create(rank, object);
    return object;
}

static void object_nest(int container, int object)
{
    struct object *y = &world.objects[container];

    y->nested[y->nested_count++] = object;
    sim_truth_nest(container, object);
}

void sim_put(int rank)
{
    int nested_count = world.user_ref_count[rank] ? (int)sim_below(MAX_REFS + 1) : 0;
    int object;

    if (world.object_count == MAX_OBJECTS)
        return;
    object = object_create(rank);
    sim_trace("rank %d puts object %d", rank, object);
    world.objects[object].holds_nested = !sim_broken(RULE_NESTED_HOLD);
    for (int i = 0; i < nested_count; i++) {
        int nested = user_ref_pick(rank);

        sim_trace("  nesting object %d", nested);
        if (world.objects[object].holds_nested)
            sim_hold(rank, nested);
        object_nest(object, nested);
    }
    for (int i = 0; i < nested_count; i++)
        sim_user_ref_move(rank, world.objects[object].nested[i]);
    user_ref_add(rank, object);
}

void sim_extract(int rank, int container)
{
    struct object *y = &world.objects[container];
    int object;

    sim_check_access(rank, container);
    if (y->nested_count == 0)
        return;
    object = y->nested[sim_below((unsigned)y->nested_count)];
    sim_trace("rank %d takes object %d out of %d", rank, object, container);
    sim_hold(rank, container);
    if (sim_accept(rank, object, rank, container) && sim_broken(RULE_GUARD))
        sim_drop_cover_early(rank, container);
    user_ref_add(rank, object);
}

/* ---- tasks ---- */

static void submit_result(struct task *task)
{
    if (world.object_count == MAX_OBJECTS)
        return;
    task->result_kind = sim_one_in(2) ? RESULT_LATE : (enum result_kind)sim_below(RESULT_KINDS);
    if (task->result_kind == RESULT_NONE)
        return;
    task->result = object_create(task->submitter);
    if (task->result_kind == RESULT_LATE)
        return; /* the hold is the task's until it is done */
    user_ref_add(task->submitter, task->result);
    if (task->result_kind == RESULT_EARLY_HELD)
        sim_hold(task->submitter, task->result);
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
    sim_trace("rank %d sends task %d to rank %d", rank, index, executor);
    for (int i = 0; i < argument_count; i++) {
        sim_trace("  argument object %d", arguments[i]);
        task->arguments[i] = arguments[i];
        sim_hold(rank, arguments[i]);
        sim_truth_add(arguments[i]);
    }
    submit_result(task);
    sim_send_task(rank, executor, LETTER_TASK, index);
    for (int i = 0; i < argument_count && sim_broken(RULE_ARGUMENT_HOLD); i++)
        sim_drop_cover_early(rank, arguments[i]);
    return task;
}

/* Mostly another rank. */
static int pick_executor(int rank)
{
    int executor = (int)sim_below((unsigned)world.ranks);

    return executor == rank ? (int)sim_below((unsigned)world.ranks) : executor;
}

void sim_submit_user_refs(int rank)
{
    int arguments[MAX_REFS] = {0};
    int argument_count = world.user_ref_count[rank] ? 1 + (int)sim_below(MAX_REFS) : 0;

    if (world.task_count == MAX_TASKS)
        return;
    for (int i = 0; i < argument_count; i++)
        arguments[i] = sim_one_in(2) ? user_ref_pick(rank) : sim_user_ref_pick_container(rank);
    submit(rank, pick_executor(rank), arguments, argument_count);
    for (int i = 0; i < argument_count; i++)
        sim_user_ref_move(rank, arguments[i]);
}

/* After this the executor has a hold on the argument, which is the task's. */
static void task_accept(struct task *task, int i)
{
    if (!task->accepted[i])
        sim_accept(task->executor, task->arguments[i], task->submitter, task->arguments[i]);
    task->accepted[i] = true;
}

static void task_finish_nest(struct task *task, int object)
{
    unsigned limit = world.objects[task->result].stamp;

    if (task->nested_count == MAX_REFS || world.objects[object].stamp >= limit)
        return;
    sim_trace("  returning object %d", object);
    sim_hold(task->executor, object);
    sim_truth_add(object);
    task->nested[task->nested_count++] = object;
}

/* An object that the task made: from now on only its result refers to it. */
static void task_finish_nest_new(struct task *task)
{
    int object = object_create(task->executor);

    sim_trace("  returning new object %d", object);
    sim_truth_add(object);
    task->nested[task->nested_count++] = object;
}

static void task_finish_result(struct task *task)
{
    int rank = task->executor;

    if (task->result_kind == RESULT_LATE) {
        if (sim_one_in(2) && world.object_count < MAX_OBJECTS)
            task_finish_nest_new(task);
        world.objects[task->result].stamp = ++world.clock;
    }
    for (int i = 0; i < task->argument_count; i++) {
        if (sim_one_in(2) || task->let_go[i])
            continue;
        task_accept(task, i);
        task_finish_nest(task, task->arguments[i]);
    }
    for (int i = (int)sim_below(MAX_REFS); i > 0 && world.user_ref_count[rank] > 0; i--)
        task_finish_nest(task, user_ref_pick(rank));
}

void sim_task_finish(struct task *task)
{
    int rank = task->executor;

    sim_trace("rank %d finishes task %d", rank, (int)(task - world.tasks));
    if (task->result_kind != RESULT_NONE)
        task_finish_result(task);
    for (int i = 0; i < task->argument_count; i++) {
        sim_check_access(rank, task->arguments[i]);
        sim_truth_remove(task->arguments[i]);
        if (task->accepted[i] && !task->let_go[i])
            sim_drop(rank, task->arguments[i]);
    }
    task->state = TASK_DONE;
    sim_send_task(rank, task->submitter, LETTER_DONE, (int)(task - world.tasks));
    for (int i = 0; i < task->nested_count && sim_broken(RULE_RESULT_HOLD); i++)
        sim_drop_cover_early(rank, task->nested[i]);
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

void sim_relay_start(int rank)
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
    sim_hold(rank, object);
    container = object_create(rank);
    sim_trace("rank %d puts argument %d into object %d", rank, object, container);
    object_nest(container, object);
    user_ref_add(rank, container);
    relay(rank, container, PLAN_UNWRAP);
}

static void relay_unwrap(struct task *task)
{
    task_accept(task, 0);
    sim_extract(task->executor, task->arguments[0]);
}

static void task_use_argument(struct task *task, int i, enum use use)
{
    int rank = task->executor;

    sim_check_access(rank, task->arguments[i]);
    if (use == USE_FORWARD) {
        task_forward(task, i);
        return;
    }
    task_accept(task, i);
    if (use == USE_EXTRACT) {
        sim_extract(rank, task->arguments[i]);
        return;
    }
    sim_trace("rank %d keeps argument %d", rank, task->arguments[i]);
    sim_hold(rank, task->arguments[i]);
    user_ref_add(rank, task->arguments[i]);
}

static int task_pick_argument(const struct task *task, enum use use)
{
    int i = (int)sim_below((unsigned)task->argument_count);

    for (int tries = 4; use == USE_EXTRACT && tries > 0; tries--)
        if (!is_foreign_container(task->executor, task->arguments[i]))
            i = (int)sim_below((unsigned)task->argument_count);
    return i;
}

void sim_task_step(struct task *task)
{
    enum use use = (enum use)sim_pick_weighted(world.use_weights, USE_KINDS);
    int i;

    if (task->plan == PLAN_WRAP)
        relay_wrap(task);
    else if (task->plan == PLAN_UNWRAP)
        relay_unwrap(task);
    if (task->plan != PLAN_CHANCE || use == USE_FINISH || task->argument_count == 0 ||
        world.user_ref_count[task->executor] >= MANY_USER_REFS) {
        sim_task_finish(task);
        return;
    }
    i = task_pick_argument(task, use);
    if (task->let_go[i])
        return;
    task_use_argument(task, i, use);
    if (sim_broken(RULE_TASK_HOLD) && task->accepted[i]) {
        task->let_go[i] = true;
        sim_drop(task->executor, task->arguments[i]);
    }
}

static void done_arguments(const struct task *task)
{
    for (int i = 0; i < task->argument_count; i++) {
        if (task->accepted[i] && !sim_broken(RULE_DONE_ACCEPTED))
            continue;
        if (!task->accepted[i] && sim_broken(RULE_DONE_DROP))
            continue;
        sim_drop_cover(task->submitter, task->arguments[i]);
    }
}

static void done_nested(const struct task *task, int object)
{
    int rank = task->submitter;

    if (sim_record_find(rank, task->result)) {
        sim_accept(rank, object, task->executor, object);
        object_nest(task->result, object);
    } else if (!sim_broken(RULE_DECLINE_ACK)) {
        sim_cover(task->executor == rank ? BRANCH_DECLINE_SELF : BRANCH_DECLINE);
        sim_acknowledge(rank, task->executor, object);
    }
    sim_truth_remove(object);
}

void sim_deliver_done(struct task *task)
{
    sim_trace("task %d is done at rank %d", (int)(task - world.tasks), task->submitter);
    done_arguments(task);
    for (int i = 0; i < task->nested_count; i++)
        done_nested(task, task->nested[i]);
    if (task->result_kind == RESULT_LATE)
        user_ref_add(task->submitter, task->result);
    else if (task->result_kind == RESULT_EARLY_HELD)
        sim_drop(task->submitter, task->result);
    task->state = TASK_UNUSED;
    world.task_count--;
}
