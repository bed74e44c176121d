/* Running a task: its body, its results, its end. */
#include "task/task_internal.h"

#include <stdlib.h>

void task_dispatch(struct task *task)
{
    struct task_room *room = task->room;
    const struct value *error = task_failed_argument(task);
    if (task->actor) {
        room->actor.send(room->actor.arg, task); /* in the caller's order, failed or not */
        return;
    }
    if (error) {
        task_propagate(task, error);
        return;
    }
    int node = task->node >= 0 ? task->node : task_choose(room, task);
    if (node >= 0 && node != room->config.rank && task->node < 0 && task->function->body &&
        base_unlikely(net_reach(room->net, node) != RAYMPI_OK))
        node = room->config.rank; /* no memory to reach it just now: here is better than not at all */
    if (node < 0)
        task_fail(task, RAYMPI_ERR_INFEASIBLE, "it is registered on no rank of the job");
    else if (node != room->config.rank)
        task_send(room, task, node);
    else if (task->node >= 0)
        sched_push_pinned(room->sched, &task->item);
    else
        sched_push(room->sched, &task->item);
}

void task_item_run(struct sched_item *item)
{
    task_run(base_container(item, struct task, item), NULL, NULL, NULL, NULL);
}

/* ---- results */

static void count_ended(struct task_room *room)
{
    struct task_thread *thread = task_self;
    if (thread) /* written by this thread only */
        atomic_store_explicit(&thread->ended, atomic_load_explicit(&thread->ended, memory_order_relaxed) + 1,
                              memory_order_relaxed);
    else
        __atomic_fetch_add(&room->ended_threads_ended, 1, __ATOMIC_RELAXED);
}

struct alias_waiter {
    struct waiter waiter;
    struct task_room *room;
    struct object *object; /* takes the value; one hold */
};

/* The hold on the target is taken over. An alias of an alias goes straight to the value, so that a long chain
 * of tasks that return each other's refs is neither kept nor walked. */
static void alias_take(struct task_room *room, struct object *object, struct object *target)
{
    atomic_store_explicit(&target->seen, 1, memory_order_relaxed);
    while (target->value.kind == VALUE_ALIAS) {
        struct object *behind = target->value.u.alias;
        object_retain(behind);
        object_drop(room, target);
        target = behind;
    }
    object->status = target->status;
    object->value = (struct value){.kind = VALUE_ALIAS, .u.alias = target};
    object_complete(room, object);
}

static void alias_fire(struct waiter *waiter, struct object *target)
{
    struct alias_waiter *alias = base_container(waiter, struct alias_waiter, waiter);
    struct task_room *room = alias->room;
    struct object *object = alias->object;
    free(alias);
    alias_take(room, object, target);
    object_drop(room, object);
}

/* Object becomes whatever target is or will be; takes over one hold on target. */
void object_set_alias(struct task_room *room, struct object *object, struct object *target)
{
    if (target == object) {
        object_drop(room, target);
        object_fail(room, object, RAYMPI_ERR_DEADLOCK, object->label,
                    "the task returned the ref of its own result");
        return;
    }
    struct alias_waiter *alias = object_ready(target) ? NULL : malloc(sizeof *alias);
    if (!alias && !object_ready(target)) {
        object_drop(room, target);
        object_fail(room, object, RAYMPI_ERR_MEMORY, object->label,
                    "no memory to wait for the ref it returned");
        return;
    }
    if (alias) {
        object_retain(object);
        *alias = (struct alias_waiter){{NULL, alias_fire}, room, object};
        if (object_wait_add(target, &alias->waiter)) {
            object_want(room, target);
            return;
        }
        object_drop(room, object);
        free(alias);
    }
    alias_take(room, object, target);
}

static void return_complete(struct task *task, struct object *object, struct result *result,
                            const struct value *error)
{
    struct task_room *room = task->room;
    object->producer = NULL;
    if (error) {
        object->status = value_error_code(error);
        value_error_copy(&object->value, error);
        object_complete(room, object);
    } else if (result && result->alias) {
        object_set_alias(room, object, object_find(room, result->alias));
    } else {
        if (result) {
            value_seal(room, &result->value);
            object->value = result->value;
            object->nested_held = result->value.nested > 0;
            result->value.kind = VALUE_NONE;
        }
        object_complete(room, object);
    }
    object_drop(room, object);
}

/* The owner's side of a task's end: every result gets its value, or all get the error. */
void task_complete_returns(struct task *task, struct result *results, const struct value *error)
{
    struct task_room *room = task->room;
    task_actor_drop(task);
    for (int i = 0; i < task->returns; i++) {
        struct object *object = object_by_slot(room, task_returns(task)[i]);
        return_complete(task, object, task->flags & TASK_VOID ? NULL : &results[i], error);
    }
    count_ended(room);
}

static void end_with_error(struct task *task, struct value *error)
{
    atomic_fetch_add_explicit(&task->room->failed, 1, memory_order_relaxed);
    if (task->flags & TASK_FOREIGN)
        task_send_failed(task, error);
    else
        task_complete_returns(task, NULL, error);
    task_free(task);
    value_drop(NULL, error, false);
}

void task_fail(struct task *task, int code, const char *message)
{
    struct value error;
    value_error(&error, code, task->room->config.rank, task_name(task), message);
    end_with_error(task, &error);
}

void task_propagate(struct task *task, const struct value *cause)
{
    struct value error;
    value_error_chain(&error, cause, task_name(task));
    end_with_error(task, &error);
}

/* ---- the body */

static void run_init(struct raympi_ctx *run, struct task *task, void *self, void *actor,
                     struct kept_set *kept)
{
    context_init(&run->context, task->room, task_name(task));
    run->context.parent = task->parent;
    run->context.index = task->index;
    run->context.run = run;
    run->task = task;
    run->self = self;
    run->actor = actor;
    run->kept = kept;
    run->failed = RAYMPI_OK;
    run->message[0] = 0;
    run->exit_actor = false;
    run->results = run->results_inline;
    if (task->returns > TASK_RETURNS_INLINE)
        run->results = calloc(task->returns, sizeof *run->results);
    for (int i = 0; run->results && i < task->returns; i++) {
        run->results[i].value = (struct value){.kind = VALUE_NONE};
        run->results[i].alias = 0;
        run->results[i].set = false;
    }
}

static void results_discard(struct raympi_ctx *run)
{
    struct task_room *room = run->context.room;
    for (int i = 0; i < run->task->returns; i++) {
        struct result *result = &run->results[i];
        if (result->alias)
            object_drop_handle(room, result->alias);
        const char *data = result->data;
        if (result->value.kind != VALUE_NONE) {
            const raympi_wire_ref *wires =
                (const raympi_wire_ref *)(data + base_align_up(result->value.length, 8));
            for (uint32_t j = 0; j < result->value.nested; j++)
                object_drop_handle(room, wires[j].handle);
            value_drop(room, &result->value, true);
        }
    }
}

/* What the task has to answer for: its own code, a call in its body that failed, or a result it forgot. */
static int run_status(struct raympi_ctx *run, int code)
{
    if (code != RAYMPI_OK)
        return code;
    if (run->failed != RAYMPI_OK)
        return run->failed;
    for (int i = 0; i < run->task->returns && !(run->task->flags & TASK_VOID); i++)
        if (!run->results[i].set && !run->task->actor) { /* a method may return nothing: an empty result */
            snprintf(run->message, sizeof run->message,
                     "it returned without setting result %d (raympi_return*), or it wants .num_returns = "
                     "RAYMPI_NONE",
                     i);
            return RAYMPI_ERR_NO_RESULT;
        }
    return RAYMPI_OK;
}

static void run_end(struct raympi_ctx *run, int status)
{
    struct task *task = run->task;
    if (status != RAYMPI_OK) {
        struct value error;
        value_error(&error, status, task->room->config.rank, task_name(task), run->message);
        results_discard(run);
        end_with_error(task, &error);
        return;
    }
    if (task->flags & TASK_FOREIGN)
        task_send_done(run);
    else
        task_complete_returns(task, run->results, NULL);
    task_free(task);
}

void task_succeed(struct task *task)
{
    struct raympi_ctx run;
    run_init(&run, task, NULL, NULL, NULL);
    run_end(&run, RAYMPI_OK);
    context_fini(&run.context);
}

/* What this rank shows as running, so that survivors can name it if we die. */
static void show_running(struct task_room *room, const struct task_thread *thread, uint64_t hash)
{
    int index = thread->worker ? sched_worker_index(thread->worker) : 0;
    if (index < 4)
        atomic_store_explicit(&net_board(room->net, room->config.rank)->task[index], hash,
                              memory_order_relaxed);
}

void task_resumed(struct task_thread *thread, struct context *context)
{
    thread->context = context;
    show_running(context->room, thread, context->run ? context->run->task->function->full_hash : 0);
}

void task_run(struct task *task, void *self, void *actor, struct kept_set *kept, struct task_outcome *outcome)
{
    struct task_room *room = task->room;
    struct task_thread *thread = task_self;
    struct context *outer = thread->context;
    if (!task->function || !task->function->body) {
        task_fail(task, RAYMPI_ERR_UNKNOWN, "it is not registered on this rank");
        return;
    }
    struct raympi_ctx run;
    run_init(&run, task, self, actor, kept);
    if (!run.results) {
        task_fail(task, RAYMPI_ERR_MEMORY, "no memory for its results");
        return;
    }
    thread->context = &run.context;
    show_running(room, thread, task->function->full_hash);
    trace_event(thread->trace, TRACE_TASK_BEGIN, task->function->full_hash, task->index);
    thread->in_call = 0; /* the body is the user's */
    int code = task->function->body(&run);
    thread = task_self;
    thread->in_call = 1;
    trace_event(thread->trace, TRACE_TASK_END, task->function->full_hash, task->index);
    show_running(room, thread, 0);
    int status = run_status(&run, code);
    if (outcome) {
        outcome->status = status;
        outcome->exit_actor = run.exit_actor;
        snprintf(outcome->text, sizeof outcome->text, "%.200s (%d)", run.message, status);
    }
    run_end(&run, status);
    context_fini(&run.context);
    if (run.results != run.results_inline)
        free(run.results);
    thread->context = outer;
}
