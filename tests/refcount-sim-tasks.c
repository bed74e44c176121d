/* What tasks of the simulated ranks do with refs. */
#include "refcount-sim.h"

static void submit_result(struct task *task)
{
    if (world.object_count == MAX_OBJECTS)
        return;
    task->result_kind = sim_one_in(2) ? RESULT_LATE : (enum result_kind)sim_below(RESULT_KINDS);
    if (task->result_kind == RESULT_NONE)
        return;
    task->result = sim_object_create(task->submitter);
    if (task->result_kind == RESULT_LATE)
        return; /* the hold is the task's until it is done */
    sim_user_ref_add(task->submitter, task->result);
    if (task->result_kind == RESULT_EARLY_HELD)
        sim_hold(task->submitter, task->result);
}

struct task *sim_submit(int rank, int executor, const int *arguments, int argument_count)
{
    int index = 0;
    struct task *task;

    while (world.tasks[index].state != TASK_UNUSED)
        index++;
    task = &world.tasks[index];
    *task = (struct task){
        .state = TASK_SENT,
        .submitter = rank,
        .executor = executor,
        .known_runner = executor,
        .known_giver = executor,
        .argument_count = argument_count,
        .serial = ++world.task_serial,
        .rooted = true,
    };
    world.task_count++;
    sim_trace("rank %d sends task %d to rank %d", rank, index, executor);
    for (int i = 0; i < argument_count; i++) {
        sim_trace("  argument object %d", arguments[i]);
        task->arguments[i] = arguments[i];
        sim_cover_hold(rank, arguments[i], executor);
        sim_truth_add(arguments[i]);
    }
    submit_result(task);
    sim_send_task(rank, executor, LETTER_TASK, index);
    for (int i = 0; i < argument_count && sim_broken(RULE_ARGUMENT_HOLD); i++)
        sim_drop_cover_early(rank, arguments[i]);
    return task;
}

/* Mostly another rank. */
int sim_pick_executor(int rank)
{
    int executor = (int)sim_below((unsigned)world.ranks);

    if (executor == rank)
        executor = (int)sim_below((unsigned)world.ranks);
    return sim_knows_dead(rank, executor) ? rank : executor;
}

void sim_submit_user_refs(int rank)
{
    int arguments[MAX_REFS] = {0};
    int argument_count = world.user_ref_count[rank] ? 1 + (int)sim_below(MAX_REFS) : 0;

    if (world.task_count == MAX_TASKS)
        return;
    for (int i = 0; i < argument_count; i++)
        arguments[i] = sim_one_in(2) ? sim_user_ref_pick(rank) : sim_user_ref_pick_container(rank);
    sim_submit(rank, sim_pick_executor(rank), arguments, argument_count);
    for (int i = 0; i < argument_count; i++)
        sim_user_ref_move(rank, arguments[i]);
}

/* After this the executor has a hold on the argument, which is the task's. */
void sim_task_accept(struct task *task, int i)
{
    if (!task->accepted[i])
        sim_accept(task->executor, task->arguments[i], task->submitter, task->arguments[i]);
    task->accepted[i] = true;
}

static void task_finish_nest(struct task *task, int object)
{
    unsigned limit = world.objects[task->result].stamp;

    if (task->nested_count == MAX_REFS || world.objects[object].stamp >= limit ||
        sim_is_orphan(task->executor, object))
        return;
    sim_trace("  returning object %d", object);
    sim_cover_hold(task->executor, object, task->submitter);
    sim_truth_add(object);
    task->nested[task->nested_count++] = object;
}

/* An object that the task made: from now on only its result refers to it. */
static void task_finish_nest_new(struct task *task)
{
    int object = sim_object_create(task->executor);

    sim_trace("  returning new object %d", object);
    world.covers[task->executor][object][task->submitter]++;
    sim_truth_add(object);
    task->nested[task->nested_count++] = object;
}

static void task_finish_result(struct task *task)
{
    int rank = task->executor;

    if (sim_one_in(2))
        task->result_place = sim_block_make(rank, task->submitter, task->result, false);
    if (task->result_kind == RESULT_LATE) {
        if (sim_one_in(2) && world.object_count < MAX_OBJECTS)
            task_finish_nest_new(task);
        world.objects[task->result].stamp = ++world.clock;
    }
    for (int i = 0; i < task->argument_count; i++) {
        if (sim_one_in(2) || task->let_go[i])
            continue;
        sim_task_accept(task, i);
        task_finish_nest(task, task->arguments[i]);
    }
    for (int i = (int)sim_below(MAX_REFS); i > 0 && world.user_ref_count[rank] > 0; i--)
        task_finish_nest(task, sim_user_ref_pick(rank));
}

void sim_task_finish(struct task *task)
{
    int rank = task->executor;
    bool told = !sim_knows_dead(rank, task->submitter);

    sim_trace("rank %d finishes task %d", rank, (int)(task - world.tasks));
    if (task->result_kind != RESULT_NONE && told)
        task_finish_result(task);
    sim_task_unroot(task);
    for (int i = 0; i < task->argument_count; i++) {
        sim_check_access(rank, task->arguments[i]);
        if (task->accepted[i] && !task->let_go[i])
            sim_drop(rank, task->arguments[i]);
    }
    if (!sim_broken(RULE_MOVED_END))
        sim_task_private_free(task);
    if (!told) {
        task->state = TASK_UNUSED;
        world.task_count--;
        return;
    }
    task->state = TASK_DONE;
    if (task->result_place && sim_broken(RULE_RESULT_BLOCK))
        sim_block_free(rank, task->result_place);
    for (int i = 0; i < task->nested_count && sim_broken(RULE_RESULT_HOLD); i++)
        sim_drop_cover_early(rank, task->nested[i]);
    sim_send_task(rank, task->submitter, LETTER_DONE, (int)(task - world.tasks));
}

static void task_forward(struct task *task, int i)
{
    if (world.task_count == MAX_TASKS)
        return;
    sim_task_accept(task, i);
    sim_submit(task->executor, sim_pick_executor(task->executor), &task->arguments[i], 1);
}

static void task_use_argument(struct task *task, int i, enum use use)
{
    int rank = task->executor;

    sim_check_access(rank, task->arguments[i]);
    if (use == USE_READ) {
        sim_read_start(rank, task->arguments[i],
                       task->private_places[i] ? task->private_places[i]
                                               : world.objects[task->arguments[i]].place,
                       (int)(task - world.tasks));
        return;
    }
    if (use == USE_FORWARD) {
        task_forward(task, i);
        return;
    }
    sim_task_accept(task, i);
    if (use == USE_EXTRACT) {
        sim_extract(rank, task->arguments[i]);
        return;
    }
    sim_trace("rank %d keeps argument %d", rank, task->arguments[i]);
    sim_hold(rank, task->arguments[i]);
    sim_user_ref_add(rank, task->arguments[i]);
}

static int task_pick_argument(const struct task *task, enum use use)
{
    int i = (int)sim_below((unsigned)task->argument_count);

    for (int tries = 4; use == USE_EXTRACT && tries > 0; tries--)
        if (!sim_is_foreign_container(task->executor, task->arguments[i]))
            i = (int)sim_below((unsigned)task->argument_count);
    return i;
}

void sim_task_step(struct task *task)
{
    enum use use = (enum use)sim_pick_weighted(world.use_weights, USE_KINDS);
    int i;

    if (task->plan != PLAN_CHANCE && sim_one_in(6))
        use = USE_HAND_ON;
    if (use == USE_HAND_ON) {
        sim_task_hand_on(task);
        return;
    }
    if (task->plan == PLAN_FETCH && !sim_fetch_step(task))
        return;
    if (task->plan != PLAN_CHANCE && task->plan != PLAN_FETCH)
        sim_relay_step(task);
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
