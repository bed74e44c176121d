/* Running a task: its body, its results, its end. */
#include "task/task_internal.h"

#include <stdlib.h>

static void dispatch_to(struct task *task, int node)
{
    struct task_room *room = task->room;
    if (task->node >= 0 && base_defect(DEFECT_WRONG_PLACE))
        task->node = node = room->config.rank;
    const struct task_function *function = task_function_of(task);
    if (node >= 0 && node != room->config.rank && task->node < 0 && function->body &&
        base_unlikely(net_reach(room->net, node) != RAYMPI_OK))
        node = room->config.rank; /* no memory to reach it just now: here is better than not at all */
    if (node < 0)
        task_fail(task, RAYMPI_ERR_INFEASIBLE, "it is registered on no rank of the job");
    else if (node != room->config.rank)
        task_send(room, task, node);
    else if (base_unlikely(!function->body))
        task_fail(task, RAYMPI_ERR_UNKNOWN, "it is not registered on this rank");
    else if (task->node >= 0)
        sched_push_pinned(room->sched, &task->item);
    else
        sched_push(room->sched, &task->item);
}

void task_dispatch(struct task *task)
{
    struct task_room *room = task->room;
    const struct value *error = task->arg_count ? task_failed_argument(task) : NULL;
    if (task->flags & TASK_CALL)
        room->actor.send(room->actor.arg, task); /* in the caller's order, failed or not */
    else if (base_unlikely(error != NULL))
        task_propagate(task, error);
    else if (base_likely(room->config.size == 1 && task->node < 0 && task_function_of(task)->body))
        sched_push(room->sched, &task->item);
    else
        dispatch_to(task, task->node >= 0 ? task->node : task_choose(room, task));
}

/* ---- results */

struct alias_waiter {
    struct waiter waiter;
    struct task_room *room;
    struct object *object; /* takes the value; one hold */
};

/* The hold on the target is taken over. An alias of an alias goes straight to the value, so that a long chain
 * of tasks that return each other's refs is neither kept nor walked. */
static void alias_take(struct task_room *room, struct object *object, struct object *target)
{
    object_see(target);
    while (target->value.kind == VALUE_ALIAS) {
        struct object *behind = target->value.u.alias;
        object_retain(behind);
        object_drop(room, target);
        target = behind;
    }
    struct value value = {.kind = VALUE_ALIAS, .u.alias = target};
    if (base_defect(DEFECT_LOST_ALIAS))
        value.kind = VALUE_NONE;
    object->status = target->status;
    value_move(&object->value, &value);
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

bool waiter_is_alias(const struct waiter *waiter)
{
    return waiter->fire == alias_fire;
}

/* Object becomes whatever target is or will be; takes over one hold on target. */
void object_set_alias(struct task_room *room, struct object *object, struct object *target)
{
    if (target == object) {
        object_drop(room, target);
        object_fail(room, object, RAYMPI_ERR_DEADLOCK, object_label(object),
                    "the task returned the ref of its own result");
        return;
    }
    struct alias_waiter *alias = object_ready(target) ? NULL : malloc(sizeof *alias);
    if (!alias && !object_ready(target)) {
        object_drop(room, target);
        object_fail(room, object, RAYMPI_ERR_MEMORY, object_label(object),
                    "no memory to wait for the ref it returned");
        return;
    }
    if (alias) {
        object_retain(object);
        *alias = (struct alias_waiter){{.fire = alias_fire}, room, object};
        object_want(room, target); /* before: the waiter's call takes our hold, at any moment */
        if (object_wait_add(target, &alias->waiter))
            return;
        object_drop(room, object);
        free(alias);
    }
    alias_take(room, object, target);
}

static inline void return_complete(struct task_room *room, struct object *object, struct result *result,
                                   const struct value *error)
{
    if (base_likely(result && !result->alias)) {
        value_seal(room, &result->value);
        value_move(&object->value, &result->value);
        if (base_unlikely(result->value.nested > 0))
            object->nested_held = 1;
        result->value.kind = VALUE_NONE;
    } else if (error) {
        struct value copy;
        value_error_copy(&copy, error);
        object->status = value_error_code(error);
        value_move(&object->value, &copy);
    } else if (result) {
        value_init(&object->value);
        object_set_alias(room, object, object_find(room, result->alias));
        object_drop(room, object);
        return;
    } else {
        value_init(&object->value);
    }
    object_complete_drop(room, object);
}

/* The owner's side of a task's end: every result gets its value, or all get the error. The task's record is
 * the first result's, so that one comes last. */
void task_complete_returns(struct task *task, struct result *results, const struct value *error)
{
    struct task_room *room = task->room;
    struct object *first = base_likely(task->returns > 0) ? task_object(task) : NULL;
    if (error || task->flags & TASK_VOID)
        results = NULL;
    task_actor_drop(task);
    for (int i = 1; i < task->returns; i++) {
        struct object *object = object_by_slot(room, task->rest->more[i - 1]);
        atomic_store_explicit(&object->first, 0, memory_order_relaxed);
        return_complete(room, object, results ? &results[i] : NULL, error);
    }
    task_free(task);
    if (base_likely(first != NULL))
        return_complete(room, first, results, error);
    task_count_ended(room);
}

static void end_with_error(struct task *task, struct value *error)
{
    atomic_fetch_add_explicit(&task->room->failed, 1, memory_order_relaxed);
    if (task->flags & TASK_FOREIGN) {
        task_send_failed(task, error);
        task_free(task);
    } else {
        task_complete_returns(task, NULL, error);
    }
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

static inline void result_init(struct result *result)
{
    result->set = false;
    result->alias = 0;
    value_init(&result->value);
}

void run_clear(struct raympi_ctx *run, struct task_room *room)
{
    context_init(&run->context, room, NULL);
    run->context.run = run;
    run->self = NULL;
    run->actor = NULL;
    run->kept = NULL;
    run->admitted = 0;
    run->pinned = 0;
    run->failed = RAYMPI_OK;
    run->message[0] = 0;
    run->exit_actor = false;
    run->results = run->results_inline;
    result_init(&run->results_inline[0]);
}

/* For more than one. False: out of memory. */
static __attribute__((noinline)) bool results_make(struct raympi_ctx *run, const struct task *task)
{
    if (task->returns > TASK_RETURNS_INLINE)
        run->results = malloc(task->returns * sizeof *run->results);
    for (int i = 0; run->results && i < task->returns; i++)
        result_init(&run->results[i]);
    return run->results != NULL;
}

/* The thread's own context for the first task, `local` for those that run while that waits. */
static inline struct raympi_ctx *run_begin(struct task_thread *thread, struct task *task,
                                           struct raympi_ctx *local)
{
    struct raympi_ctx *run = thread->free_run;
    if (base_unlikely(!run)) {
        run = local;
        run_clear(run, thread->room);
    }
    thread->free_run = NULL;
    run->context.name = task_function_of(task)->full_name;
    run->task = task;
    run->message[0] = 0;
    return run;
}

/* `clean`: it is as it began, but for a number as its result and what it has submitted. */
static inline void run_over(struct task_thread *thread, struct raympi_ctx *run, bool clean)
{
    struct context *context = &run->context;
    /* The lanes are others' to change. */
    if (base_unlikely(!clean || context->used || context->grown ||
                      __atomic_load_n(&context->lanes, __ATOMIC_RELAXED) != NULL)) {
        context_fini(context);
        if (run->results != run->results_inline)
            free(run->results);
        if (run == &thread->own_run)
            run_clear(run, thread->room);
    } else {
        context->children = 0;
        context->id_known = false;
        run->results_inline[0].set = false;
        value_init(&run->results_inline[0].value);
    }
    if (base_likely(run == &thread->own_run))
        thread->free_run = run;
}

static void results_discard(struct raympi_ctx *run)
{
    struct task_room *room = run->context.room;
    for (int i = 0; i < run->task->returns; i++) {
        struct result *result = &run->results[i];
        if (result->alias)
            object_drop_handle(room, result->alias);
        if (result->value.kind != VALUE_NONE) {
            uint32_t nested = result->value.nested;
            const char *end =
                nested > 0 ? (const char *)result->data + base_align_up(result->value.length, 8) : NULL;
            const raympi_wire_ref *wires = (const raympi_wire_ref *)end;
            for (uint32_t j = 0; j < nested; j++)
                object_drop_handle(room, wires[j].handle);
            value_drop(room, &result->value, true);
        }
    }
}

/* The first result that the body has forgotten, -1: none. A method may return nothing: an empty result. */
static int result_missing(const struct raympi_ctx *run, const struct task *task)
{
    if (task->flags & (TASK_VOID | TASK_CALL))
        return -1;
    for (int i = 0; i < task->returns; i++)
        if (base_unlikely(!run->results[i].set))
            return i;
    return -1;
}

/* What the task has to answer for: its own code, a call in its body that failed, or a result it forgot. */
static int run_status(struct raympi_ctx *run, const struct task *task, int code)
{
    if (code != RAYMPI_OK || run->failed != RAYMPI_OK)
        return code != RAYMPI_OK ? code : run->failed;
    int missing = result_missing(run, task);
    if (base_likely(missing < 0))
        return RAYMPI_OK;
    snprintf(run->message, sizeof run->message,
             "it returned without setting result %d (raympi_return*), or it wants .num_returns = RAYMPI_NONE",
             missing);
    return RAYMPI_ERR_NO_RESULT;
}

static void outcome_fill(struct task_outcome *outcome, const struct raympi_ctx *run, int status)
{
    outcome->status = status;
    outcome->exit_actor = run->exit_actor;
    if (status != RAYMPI_OK)
        snprintf(outcome->text, sizeof outcome->text, "%.200s (%d)", run->message, status);
}

static void run_failed(struct raympi_ctx *run, int status)
{
    struct value error;
    value_error(&error, status, run->task->room->config.rank, task_name(run->task), run->message);
    results_discard(run);
    end_with_error(run->task, &error);
}

/* Of another rank's, with nothing or numbers as its arguments and one result. */
static inline bool is_brief_foreign(const struct task *task)
{
    uint8_t flags = task->flags & (uint8_t) ~(TASK_CALL | TASK_NUMBERS);
    return flags == (TASK_POOLED | TASK_FOREIGN) && task->returns == 1 &&
           (task->arg_count == 0 || task->flags & TASK_NUMBERS);
}

/* The commonest end: with a number as its result, of one here without arguments, or of one of another rank. A
 * method of the latter may have no result either. False: it is none. */
static inline __attribute__((always_inline)) bool
run_end_short(struct task_thread *thread, struct raympi_ctx *run, struct task *task, int code)
{
    /* A result that is a ref is no number. */
    const struct result *result = &run->results_inline[0];
    const struct value *value = &result->value;
    uint64_t head = __atomic_load_n(&value->head, __ATOMIC_RELAXED);
    bool number = base_likely(head == value_head(VALUE_INLINE, value->type)) && value->length == 8;
    if (base_unlikely((code | run->failed) != RAYMPI_OK))
        return false;
    if (number && task_has_shape(task, 1, 0)) {
        struct task_room *room = task->room;
        struct object *object = task_object(task);
        __atomic_store_n(&object->value.head, head, __ATOMIC_RELAXED);
        object->value.length = 8;
        value_bytes_copy(object->value.u.bytes, value->u.bytes, 8);
        object_complete_drop(room, object);
        task_count_end(thread);
        return true;
    }
    if (base_unlikely(!is_brief_foreign(task) || (!number && (result->set || !(task->flags & TASK_CALL)))))
        return false;
    bool more = thread->unlooked > 0 && (thread->follows || thread->front->mine);
    if (number && (more || thread->front->owed))
        task_end_later(thread, task, value, more);
    else if (base_unlikely(!task_put_done(task, number ? value : NULL)))
        return false;
    if (task->arg_count > 0)
        base_pool_give(&task->room->args, &thread->args, task->rest);
    base_pool_give(&task->room->tasks, &thread->tasks, task_object(task));
    return true;
}

static __attribute__((noinline)) void run_end(struct raympi_ctx *run, struct task *task, int status,
                                              struct task_outcome *outcome)
{
    if (outcome)
        outcome_fill(outcome, run, status);
    if (base_unlikely(status != RAYMPI_OK)) {
        run_failed(run, status);
    } else if (task->flags & TASK_FOREIGN) {
        task_send_done(run);
        task_free(task);
    } else {
        task_complete_returns(task, run->results, NULL);
    }
}

void task_succeed(struct task *task)
{
    struct raympi_ctx run;
    run_clear(&run, task->room);
    run.task = task;
    if (task->returns > 1 && !results_make(&run, task)) {
        task_fail(task, RAYMPI_ERR_MEMORY, "no memory for its results");
        return;
    }
    run_end(&run, task, RAYMPI_OK, NULL);
    context_fini(&run.context);
    if (run.results != run.results_inline)
        free(run.results);
}

/* What this rank shows as running, so that survivors can name it if we die. */
static void show_running(const struct task_thread *thread, uint64_t hash)
{
    atomic_store_explicit(thread->shown, hash, memory_order_relaxed);
}

void task_resumed(struct task_thread *thread, struct context *context)
{
    thread->context = context;
    thread->looks++;
    show_running(thread, context->run ? task_function_of(context->run->task)->full_hash : 0);
}

void task_covered(struct task_thread *thread, struct raympi_ctx *run)
{
    run_show_begin(thread, run);
    if (base_unlikely(run->admitted > 0))
        task_args_blocked(run); /* that one may have to be admitted too */
}

void task_uncovered(struct task_thread *thread, struct raympi_ctx *run)
{
    if (base_unlikely(run->admitted > 0))
        task_args_resumed(run);
    task_resumed(thread, thread->context); /* it is the one to be shown again */
}

/* A look at the clock takes as long as a hundred instructions, and tasks may take less. So after a task that
 * was brief the next few of the same function go without, and share its stamp: unless the scheduler has
 * ticked, a task has waited, or others were looked at meanwhile. What a timeline shows is off by some such
 * tasks, or by a tick at most. They are one event, at their end, unless they turn out to be more than brief.
 */
#define UNLOOKED 15

static inline uint32_t tick_of(const struct task_thread *thread)
{
    return atomic_load_explicit(thread->ticks, memory_order_relaxed);
}

static inline bool clock_due(struct task_thread *thread, uint64_t hash)
{
    if (thread->unlooked == 0 || thread->brief != hash || thread->tick != tick_of(thread))
        return true;
    thread->unlooked--;
    return false;
}

static inline void event_at(struct task_thread *thread, const struct raympi_ctx *run, enum trace_kind kind,
                            uint64_t ticks)
{
    const struct object *record = task_object(run->task);
    trace_event_at(thread->trace, kind, record->function->full_hash, record->child, ticks);
}

void run_show_begin(struct task_thread *thread, struct raympi_ctx *run)
{
    if (run->begun)
        return;
    run->begun = true;
    event_at(thread, run, TRACE_TASK_BEGIN, run->begin);
}

/* One that follows directly on another begins when that has ended. */
static inline void look_begin(struct task_thread *thread, struct raympi_ctx *run)
{
    task_settle(thread);
    run->begin = sched_chained && thread->last_exact ? thread->last_end : trace_now(thread->trace);
    run_show_begin(thread, run);
}

static inline void look_end(struct task_thread *thread, struct raympi_ctx *run, bool exact, uint64_t hash)
{
    uint64_t end = trace_now(thread->trace);
    run_show_begin(thread, run);
    event_at(thread, run, TRACE_TASK_END, end);
    thread->looks++;
    thread->last_end = end;
    thread->last_exact = true;
    thread->unlooked = 0;
    if (exact && thread->ticks && end - run->begin < TRACE_BRIEF) {
        thread->unlooked = UNLOOKED;
        thread->brief = hash;
        thread->tick = tick_of(thread);
    }
}

/* The body, as the timeline and others of the job see it. */
static inline __attribute__((always_inline)) int run_body(struct task_thread *thread, struct raympi_ctx *run,
                                                          struct task *task)
{
    const struct task_function *function = task_function_of(task);
    uint64_t hash = function->full_hash;
    show_running(thread, hash);
    run->begun = false;
    run->begin = thread->last_end;
    bool exact = clock_due(thread, hash);
    if (base_unlikely(exact))
        look_begin(thread, run);
    uint32_t looks = thread->looks;
    thread->in_call = 0; /* the body is the user's */
    int code = function->body(run);
    thread->in_call = 1;
    show_running(thread, 0);
    if (base_unlikely(exact || run->begun || looks != thread->looks || thread->tick != tick_of(thread))) {
        look_end(thread, run, exact, hash);
    } else {
        event_at(thread, run, TRACE_TASK, run->begin);
        thread->last_exact = false;
    }
    return code;
}

static __attribute__((noinline)) void refuse(struct task *task, struct task_outcome *outcome)
{
    if (outcome) {
        outcome->status = RAYMPI_ERR_MEMORY;
        outcome->exit_actor = false;
    }
    task_fail(task, RAYMPI_ERR_MEMORY, "no memory for its results");
}

static __attribute__((noinline)) int args_missing(struct raympi_ctx *run, int status)
{
    run->failed = status;
    snprintf(run->message, sizeof run->message, "%s", base_detail());
    return status;
}

/* Inlined twice: for tasks, where most of the arguments are known, and for methods. */
static inline __attribute__((always_inline)) void run(struct task *task, void *self, void *actor,
                                                      struct kept_set *kept, struct task_outcome *outcome)
{
    struct task_thread *thread = task_self;
    struct context *outer = thread->context;
    struct raympi_ctx local;
    if (outcome)
        *outcome->text = 0;
    struct raympi_ctx *ctx = run_begin(thread, task, &local);
    if (base_unlikely(task->returns > 1) && !results_make(ctx, task)) {
        run_over(thread, ctx, false);
        refuse(task, outcome);
        return;
    }
    if (outcome) {
        ctx->self = self;
        ctx->actor = actor;
        ctx->kept = kept;
    }
    int there = base_unlikely(task->arg_count > 0) ? task_args_bring(ctx) : RAYMPI_OK;
    thread->context = &ctx->context;
    int code = base_likely(there == RAYMPI_OK) ? run_body(thread, ctx, task) : args_missing(ctx, there);
    if (base_unlikely(ctx->admitted > 0))
        task_args_let_go(ctx);
    if (outcome)
        outcome_fill(outcome, ctx, RAYMPI_OK);
    bool clean = run_end_short(thread, ctx, task, code);
    if (base_unlikely(!clean))
        run_end(ctx, task, run_status(ctx, task, code), outcome);
    if (outcome) {
        ctx->self = ctx->actor = NULL;
        ctx->kept = NULL;
        ctx->exit_actor = false;
    }
    run_over(thread, ctx, clean);
    thread->context = outer;
}

void task_item_refuse(struct sched_item *item)
{
    task_fail(base_container(item, struct task, item), RAYMPI_ERR_UNKNOWN,
              "it is not registered on this rank");
}

void task_item_run(struct sched_item *item)
{
    struct task *task = base_container(item, struct task, item);
    bool crowded = atomic_load_explicit(&task->room->create.crowded, memory_order_relaxed);
    if (base_likely(!crowded || !task_put_aside(task)))
        run(task, NULL, NULL, NULL, NULL);
}

void task_run(struct task *task, void *self, void *actor, struct kept_set *kept, struct task_outcome *outcome)
{
    run(task, self, actor, kept, outcome);
}
