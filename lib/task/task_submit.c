/* Submitting: records, arguments, dependencies. */
#include "task/task_internal.h"

#include <stdlib.h>

/* ---- tasks */

struct task *task_new(struct task_room *room)
{
    struct task_thread *thread = task_self;
    struct task_record *record = base_pool_take(&room->tasks, thread ? &thread->tasks : NULL);
    if (base_unlikely(!record)) {
        base_fail(RAYMPI_ERR_MEMORY, "no memory for another task");
        return NULL;
    }
    struct object *object = &record->object;
    object->count.handle = (uint64_t)room->config.rank << REFCOUNT_SEQUENCE_BITS;
    object->function = NULL;
    task_init(&object->task, room, 0, TASK_POOLED);
    return &object->task;
}

static struct task_rest *rest_take(struct task *task, uint32_t args)
{
    struct task_thread *thread = task_self;
    struct task_room *room = task->room;
    if (args == 0)
        return task->flags & TASK_POOLED ? task_rest_own(task) : task_line_take(room);
    if (args <= TASK_ARGS_INLINE)
        return base_pool_take(&room->args, thread ? &thread->args : NULL);
    return malloc(sizeof(struct task_rest) + args * sizeof(struct arg));
}

int task_rest_new(struct task *task, uint32_t args)
{
    task->rest = rest_take(task, args);
    if (base_unlikely(!task->rest))
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a task with %u arguments", args);
    task_rest_init(task->rest, args);
    return RAYMPI_OK;
}

static void rest_free(struct task *task)
{
    struct task_thread *thread = task_self;
    struct task_rest *rest = task->rest;
    if (rest->places > TASK_ARGS_INLINE)
        free(rest);
    else if (rest->places > 0)
        base_pool_give(&task->room->args, thread ? &thread->args : NULL, rest);
    else if (!(task->flags & TASK_POOLED))
        task_line_give(task->room, rest);
}

const char *task_name(const struct task *task)
{
    const struct task_function *function = task_function_of(task);
    return function ? function->full_name : "?";
}

static void arg_free(struct task_room *room, struct arg *arg, bool submitter)
{
    for (uint32_t i = 0; arg->list && i < arg->count; i++)
        arg_free(room, &arg->list[i], submitter);
    free(arg->list);
    value_drop(room, &arg->value, false);
    /* The submitter's hold goes on to the runner where that has accepted the ref; the runner's own hold,
     * which the acceptance gave, ends with the task. */
    if (arg->object && !(submitter && arg->accepted) && !base_defect(DEFECT_LEAKED_HOLD))
        object_drop(room, arg->object);
}

void task_actor_let_go(struct task *task)
{
    struct object **held = task->flags & TASK_NO_REST ? &task->called : &task->rest->actor_object;
    if (*held)
        object_drop(task->room, *held);
    *held = NULL;
}

/* Arguments of which as many are initialised as the task counts. */
static void args_free(struct task *task)
{
    bool submitter = !(task->flags & TASK_FOREIGN);
    for (int i = 0; i < task->arg_count; i++) {
        struct arg *arg = &task->rest->args[i];
        if (arg->list || arg->object || arg->value.kind > VALUE_INLINE)
            arg_free(task->room, arg, submitter);
    }
}

void task_free_more(struct task *task)
{
    struct task_thread *thread = task_self;
    args_free(task);
    task_actor_drop(task);
    if (task->returns > 1)
        free(task->rest->more);
    if (task->rest)
        rest_free(task);
    if (task->flags & TASK_POOLED)
        base_pool_give(&task->room->tasks, thread ? &thread->tasks : NULL, task_object(task));
}

/* ---- arguments */

static int arg_set_bytes(struct task_room *room, struct arg *arg, const void *data, size_t length)
{
    void *to;
    if (length && !data)
        return base_fail(RAYMPI_ERR_ARGUMENT, "an argument of %zu bytes has a null pointer", length);
    if (length <= room->config.inline_bytes || length <= VALUE_SHORT_MAX) {
        int status = value_create(room, &arg->value, length, 0, &to);
        if (status == RAYMPI_OK && length)
            memcpy(to, data, length);
        return status;
    }
    /* Long bytes go through the store: an object that only this task holds. */
    static const char *const label = "bytes argument";
    struct object *object = object_new(room, 1, &label);
    if (!object)
        return RAYMPI_ERR_MEMORY;
    int status = value_create(room, &object->value, length, 0, &to);
    if (status == RAYMPI_OK) {
        store_copy(to, data, length);
        value_seal(room, &object->value);
    }
    object->status = status;
    object_see(object);
    object_complete(room, object);
    if (status != RAYMPI_OK) {
        object_drop(room, object);
        return status;
    }
    arg->object = object;
    arg->handle = object_handle(object);
    return RAYMPI_OK;
}

/* A ref or an actor handle: the task holds what it names. */
static int arg_set_handle(struct arg *arg, uint64_t handle)
{
    struct object *object;
    if (arg->kind == RAYMPI_KIND_REF && base_unlikely(task_handle_is_actor(handle)))
        return base_fail(RAYMPI_ERR_TYPE, "an actor handle was passed as a ref");
    if (arg->kind == RAYMPI_KIND_ACTOR && base_unlikely(!task_handle_is_actor(handle)))
        return base_fail(RAYMPI_ERR_ARGUMENT, "an actor argument is null or no actor handle");
    int status = object_hold(task_self, handle, &object);
    if (base_unlikely(status != RAYMPI_OK))
        return status;
    arg->object = object;
    arg->handle = handle;
    return RAYMPI_OK;
}

static int arg_set_list(struct arg *arg, const raympi_ref *refs, size_t count)
{
    if ((count && !refs) || count > UINT32_MAX / 2)
        return base_fail(RAYMPI_ERR_ARGUMENT, "a list of %zu refs with %s array", count,
                         refs ? "an" : "a null");
    if (count > TASK_LIST_MAX)
        return base_fail(RAYMPI_ERR_TOO_LARGE,
                         "a list of %zu refs: at most %u in one argument; pass several lists, or the ref of "
                         "an object that declares them (raympi_put_nested)",
                         count, TASK_LIST_MAX);
    arg->list = malloc((count ? count : 1) * sizeof *arg->list);
    if (!arg->list)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a list of %zu refs", count);
    for (size_t i = 0; i < count; i++) {
        task_arg_init(&arg->list[i], arg->task, RAYMPI_KIND_REF);
        arg->count++;
        int status = arg_set_handle(&arg->list[i], refs[i].handle);
        if (status != RAYMPI_OK)
            return status;
    }
    return RAYMPI_OK;
}

static int arg_set(struct task_room *room, struct arg *arg, const raympi_value *value)
{
    switch (value->kind) {
    case RAYMPI_KIND_INT:
    case RAYMPI_KIND_DOUBLE:
        arg->value.kind = VALUE_INLINE;
        arg->value.type = (uint8_t)value->kind;
        arg->value.length = 8;
        memcpy(arg->value.u.bytes, &value->u.integer, 8);
        return RAYMPI_OK;
    case RAYMPI_KIND_STRING:
        if (!value->u.pointer)
            return base_fail(RAYMPI_ERR_ARGUMENT, "a string argument is a null pointer");
        return arg_set_bytes(room, arg, value->u.pointer, strlen(value->u.pointer) + 1);
    case RAYMPI_KIND_BYTES:
        return arg_set_bytes(room, arg, value->u.pointer, value->len);
    case RAYMPI_KIND_REF:
    case RAYMPI_KIND_ACTOR:
        return arg_set_handle(arg, value->u.handle);
    case RAYMPI_KIND_REFS:
        return arg_set_list(arg, value->u.pointer, value->len);
    default:
        return base_fail(RAYMPI_ERR_TYPE, "argument of unknown kind %d: make it with the macros",
                         value->kind);
    }
}

/* For so many there are places; others are refused. */
static inline uint32_t args_places(const raympi_value *args, size_t count)
{
    return args && count <= TASK_ARGS_MAX ? (uint32_t)count : 0;
}

/* The task has a rest with places for them. */
static int task_set_args(struct task *task, const raympi_value *args, size_t count)
{
    if (count > TASK_ARGS_MAX)
        return base_fail(RAYMPI_ERR_ARGUMENT, "%zu arguments: 0 to %d", count, TASK_ARGS_MAX);
    if (count && !args)
        return base_fail(RAYMPI_ERR_ARGUMENT, "%zu arguments in a null array", count);
    int status = RAYMPI_OK;
    for (size_t i = 0; i < count && status == RAYMPI_OK; i++) {
        struct arg *arg = &task->rest->args[i];
        task_arg_init(arg, task, args[i].kind);
        task->arg_count++;
        status = arg_set(task->room, arg, &args[i]);
    }
    return status;
}

/* ---- dependencies */

static void resolved(struct task *task)
{
    /* Acquire-release: whoever brings it to 0 sees all arguments as the others left them. */
    if (atomic_fetch_sub_explicit(&task->rest->unresolved, 1, memory_order_acq_rel) == 1) {
        __atomic_store_n(&task_object(task)->waits, 0, __ATOMIC_RELAXED);
        task_dispatch(task);
    }
}

static void arg_fire(struct waiter *waiter, struct object *object)
{
    (void)object;
    resolved(base_container(waiter, struct arg, waiter)->task);
}

const struct task *waiter_task(const struct waiter *waiter)
{
    return waiter->fire == arg_fire ? base_container(waiter, struct arg, waiter)->task : NULL;
}

static void arg_depend(struct task *task, struct arg *arg)
{
    for (uint32_t i = 0; arg->list && i < arg->count; i++)
        arg_depend(task, &arg->list[i]);
    if (!arg->object || arg->kind == RAYMPI_KIND_ACTOR || object_ready(arg->object))
        return;
    arg->waiter.fire = arg_fire;
    atomic_fetch_add_explicit(&task->rest->unresolved, 1, memory_order_relaxed);
    if (!object_wait_add(arg->object, &arg->waiter))
        atomic_fetch_sub_explicit(&task->rest->unresolved, 1, memory_order_relaxed);
    else
        object_want(task->room, arg->object);
}

static bool arg_ready(const struct arg *arg)
{
    if (arg->object && arg->kind != RAYMPI_KIND_ACTOR && !object_ready(arg->object))
        return false;
    for (uint32_t i = 0; arg->list && i < arg->count; i++)
        if (!arg_ready(&arg->list[i]))
            return false;
    return true;
}

bool task_ready(const struct task *task)
{
    for (int i = 0; i < task->arg_count; i++)
        if (!arg_ready(&task->rest->args[i]))
            return false;
    return true;
}

/* Dispatched by whoever brings its last argument; here, when all are there. */
static void task_depend(struct task *task)
{
    if (base_likely(task_ready(task))) {
        task_dispatch(task);
        return;
    }
    __atomic_store_n(&task_object(task)->waits, 1, __ATOMIC_RELAXED);
    atomic_store_explicit(&task->rest->unresolved, 1, memory_order_relaxed);
    for (int i = 0; i < task->arg_count; i++)
        arg_depend(task, &task->rest->args[i]);
    resolved(task);
}

static const struct value *arg_error(const struct arg *arg)
{
    if (arg->object && arg->kind != RAYMPI_KIND_ACTOR && arg->object->status != RAYMPI_OK) {
        object_see(arg->object);
        value_error_see(value_behind(&arg->object->value));
        return value_behind(&arg->object->value);
    }
    const struct value *error = NULL;
    for (uint32_t i = 0; arg->list && i < arg->count && !error; i++)
        error = arg_error(&arg->list[i]);
    return error;
}

const struct value *task_failed_argument(struct task *task)
{
    const struct value *error = NULL;
    for (int i = 0; i < task->arg_count && !error; i++)
        error = arg_error(&task->rest->args[i]);
    return error;
}

/* ---- submitting */

raympi_ref task_error_ref(struct task_room *room, int code, const char *task, const char *message)
{
    struct context *context = task_self->context;
    /* A label of our own: the name may be the caller's, and gone by the time somebody asks. */
    static const char *const label = "refused call";
    struct object *object = object_new(room, 1, &label);
    if (!object)
        return (raympi_ref){0};
    object_fail(room, object, code, task, message);
    if (context_hold(context, object) == RAYMPI_OK)
        return (raympi_ref){object_handle(object)};
    object_drop(room, object);
    return (raympi_ref){0};
}

/* Results but the first. */
static int make_more(struct task *task, struct context *context, int count)
{
    struct object *first = task_object(task);
    uint64_t *more = malloc((size_t)(count - 1) * sizeof(uint64_t));
    task->rest->more = more;
    if (!more)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for %d results", count);
    for (int i = 1; i < count; i++) {
        struct object *object = task_return_new(task->room, first->function, context);
        if (base_unlikely(!object)) {
            if (i == 1)
                free(more);
            return RAYMPI_ERR_MEMORY;
        }
        object->parent = first->parent;
        object->child = first->child;
        object->result = (uint16_t)i;
        value_init(&object->value);
        atomic_store_explicit(&object->first, object_slot(object_handle(first)), memory_order_relaxed);
        more[i - 1] = object_handle(object);
        task->returns++;
    }
    return RAYMPI_OK;
}

/* Takes a hold over. The task has a rest. */
static void task_set_actor(struct task *task, uint64_t actor, struct object *object)
{
    task->flags |= TASK_CALL;
    task->rest->actor = actor;
    task->rest->actor_object = object;
}

static int task_prepare(struct task *task, const struct task_request *request, const struct task_plan *plan)
{
    task->node = plan->spread ? TASK_IN_TURN : plan->node;
    task->flags = plan->is_void ? TASK_VOID : 0;
    if (request->count == 0 && !request->actor && plan->num_returns == 1)
        return RAYMPI_OK;
    int status = task_rest_new(task, args_places(request->args, request->count));
    if (base_unlikely(status != RAYMPI_OK)) {
        if (request->actor)
            object_drop(task->room, request->actor_object);
        return status;
    }
    if (request->actor)
        task_set_actor(task, request->actor, request->actor_object);
    if (base_unlikely(plan->num_returns > 1))
        status = make_more(task, task_self->context, plan->num_returns);
    if (base_unlikely(status != RAYMPI_OK))
        return status;
    return task_set_args(task, request->args, request->count);
}

/* What the caller has no ref for is not his to release, and an error is told by the refs that he has. */
static void returns_unnamed(struct task *task, int first)
{
    for (int i = first; i < task->returns; i++) {
        struct object *object = object_by_slot(task->room, task_result(task, i));
        if (!object)
            continue; /* can not be: the task holds it */
        object_see(object);
        context_unhold(task_self->context, object);
        object_drop_named(task->room, object);
    }
}

/* The refs hold the error, if all were made; else the caller is told by the status, and has none. */
static int submit_failed(struct task *task, int status, bool made)
{
    char text[512];
    snprintf(text, sizeof text, "%s", base_detail());
    task_count(&task_self->submitted);
    task_fail(task, status, text);
    return made ? RAYMPI_OK : base_fail(status, "%s", text);
}

static void task_enter(struct task_room *room, struct task *task, struct context *context)
{
    if (task->flags & TASK_CALL && base_unlikely(!room->actor.enter(room->actor.arg, task, context)))
        task_fail(task, RAYMPI_ERR_MEMORY, "no memory to keep the order of the caller's calls");
    else
        task_depend(task);
}

int task_submit(struct task_room *room, const struct task_request *request, raympi_ref *refs, size_t count)
{
    struct task_thread *thread = task_self;
    const struct task_plan *plan = &request->function->plan;
    struct task_plan made;
    int status = RAYMPI_OK;
    if (base_unlikely(request->options || plan->status != RAYMPI_OK || plan->on_node)) {
        status = task_plan_make(&made, room, request);
        if (status != RAYMPI_OK)
            return status;
        plan = &made;
    }
    if (base_unlikely(count > (size_t)plan->num_returns))
        return base_fail(RAYMPI_ERR_ARGUMENT, "%zu refs for the results of %s, which has %d", count,
                         request->function->full_name, plan->num_returns);
    if (request->actor) /* who holds it may let go of it while we wait */
        object_retain(request->actor_object);
    task_backlog_wait(room, request->actor ? refcount_owner(request->actor) : plan->node);
    struct task *task = task_make(room, request->function, thread->context);
    if (base_unlikely(!task)) {
        if (request->actor)
            object_drop(room, request->actor_object);
        return RAYMPI_ERR_MEMORY;
    }
    status = task_prepare(task, request, plan);
    bool all = task->returns == plan->num_returns;
    int given = all ? (int)count : 0;
    for (int i = 0; i < given; i++)
        refs[i].handle = task_result(task, i);
    if (base_unlikely(given < task->returns))
        returns_unnamed(task, given);
    if (base_unlikely(status != RAYMPI_OK))
        return submit_failed(task, status, all);
    task_count(&thread->submitted);
    task_enter(room, task, thread->context);
    return RAYMPI_OK;
}

int task_submit_args(struct task *task, const raympi_value *args, size_t count)
{
    int status = count > 0 ? task_rest_new(task, args_places(args, count)) : RAYMPI_OK;
    if (count > 0 && base_likely(status == RAYMPI_OK))
        status = task_set_args(task, args, count);
    if (base_unlikely(status != RAYMPI_OK))
        return submit_failed(task, status, true);
    task_count(&task_self->submitted);
    task_depend(task);
    return RAYMPI_OK;
}

bool task_submit_there(struct task_thread *thread, struct task_function *function, const raympi_value *args,
                       size_t count, raympi_ref *ref, int *status)
{
    struct task_room *room = thread->room;
    const struct task_plan *plan = &function->plan;
    if (base_unlikely(task_way_of(function) != TASK_WAY_THERE))
        return false;
    task_credit_wait(room, plan->node);
    task_backlog_check(room, thread);
    struct task *task = task_make(room, function, thread->context);
    *status = RAYMPI_ERR_MEMORY;
    if (base_unlikely(!task))
        return true;
    ref->handle = object_handle(task_object(task));
    task->node = plan->node;
    if (count > 0) {
        *status = task_submit_args(task, args, count);
        return true;
    }
    task_count(&thread->submitted);
    *status = RAYMPI_OK;
    task_dispatch(task);
    return true;
}

int task_submit_call(struct task_thread *thread, struct task_function *function, struct object *object,
                     const raympi_value *args, size_t count, raympi_ref *ref)
{
    struct task_room *room = thread->room;
    uint64_t actor = object_handle(object);
    object_retain(object); /* the call's: others may let go of the actor while we wait */
    int host = refcount_owner(actor);
    task_credit_wait(room, host);
    task_backlog_check(room, thread);
    struct task *task = task_make(room, function, thread->context);
    if (base_unlikely(!task)) {
        object_drop(room, object);
        return RAYMPI_ERR_MEMORY;
    }
    ref->handle = object_handle(task_object(task));
    int status = task_rest_new(task, args_places(args, count));
    if (base_unlikely(status != RAYMPI_OK)) {
        object_drop(room, object);
        return submit_failed(task, status, true);
    }
    task_set_actor(task, actor, object);
    status = task_set_args(task, args, count);
    if (base_unlikely(status != RAYMPI_OK))
        return submit_failed(task, status, true);
    task_count(&thread->submitted);
    task_enter(room, task, thread->context);
    return RAYMPI_OK;
}
