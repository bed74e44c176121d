/* Submitting: options, arguments, dependencies. */
#include "task/task_internal.h"

#include <stdlib.h>

/* ---- options */

static int unsupported(const char *option)
{
    return base_fail(RAYMPI_ERR_UNSUPPORTED, "option .%s is not built yet in raympi %s", option,
                     RAYMPI_VERSION);
}

#define MERGE(field)                                                                                         \
    if (call->field)                                                                                         \
    merged->field = call->field

static void merge_fields(raympi_options *merged, const raympi_options *call)
{
    MERGE(num_cpus);
    MERGE(num_gpus);
    MERGE(memory);
    MERGE(resources);
    MERGE(num_returns);
    MERGE(max_retries);
    MERGE(max_restarts);
    MERGE(max_concurrency);
    MERGE(strategy);
    MERGE(timeout);
    MERGE(name);
    MERGE(gang);
    if (call->strategy)
        merged->node =
            call->node; /* rank 0 is a node too: it belongs to the strategy, not to "0 = default" */
}

static int options_supported(const raympi_options *o)
{
    if (o->num_cpus != 0 && o->num_cpus != 1 && o->num_cpus != RAYMPI_NONE)
        return unsupported("num_cpus (other than 1 and RAYMPI_NONE)");
    if (o->num_gpus != 0 && o->num_gpus != RAYMPI_NONE)
        return unsupported("num_gpus");
    if (o->memory != 0 && o->memory != RAYMPI_NONE)
        return unsupported("memory");
    if (o->resources)
        return unsupported("resources");
    if (o->max_retries != 0 && o->max_retries != RAYMPI_NONE)
        return unsupported("max_retries");
    if (o->max_restarts != 0 && o->max_restarts != RAYMPI_NONE)
        return unsupported("max_restarts");
    if (o->max_concurrency != 0 && o->max_concurrency != 1)
        return unsupported("max_concurrency");
    if (o->timeout != 0 && o->timeout != RAYMPI_NONE)
        return unsupported("timeout");
    if (o->name)
        return unsupported("name");
    if (o->gang != 0 && o->gang != RAYMPI_NONE)
        return unsupported("gang");
    return RAYMPI_OK;
}

int task_options_merge(raympi_options *merged, const raympi_options *definition, const raympi_options *call,
                       bool actor)
{
    *merged = (raympi_options){.size = sizeof *merged};
    if (definition)
        merge_fields(merged, definition);
    if (call) {
        if (call->size != sizeof *call)
            return base_fail(RAYMPI_ERR_ARGUMENT, "options of %zu bytes: make them with RAYMPI_OPTIONS()",
                             call->size);
        merge_fields(merged, call);
    }
    int status = options_supported(merged);
    if (status != RAYMPI_OK)
        return status;
    if (merged->num_returns < RAYMPI_NONE || merged->num_returns > TASK_RETURNS_MAX)
        return base_fail(RAYMPI_ERR_ARGUMENT, "num_returns %d: 1 to %d, or RAYMPI_NONE", merged->num_returns,
                         TASK_RETURNS_MAX);
    if (merged->strategy < 0 || merged->strategy > RAYMPI_STRATEGY_NODE)
        return base_fail(RAYMPI_ERR_ARGUMENT, "strategy %d is none of enum raympi_strategy",
                         merged->strategy);
    (void)actor;
    return RAYMPI_OK;
}

#define TASK_SPARE 8192 /* free tasks that a thread keeps */

/* ---- tasks */

struct task *task_new(struct task_room *room)
{
    struct task_thread *thread = task_self;
    struct task *task = thread ? thread->free_tasks : NULL;
    if (task) {
        thread->free_tasks = task->next;
        thread->free_task_count--;
    } else if (!(task = malloc(sizeof *task))) {
        base_fail(RAYMPI_ERR_MEMORY, "no memory for another task");
        return NULL;
    }
    task->item.run = task_item_run;
    task->room = room;
    task->function = NULL;
    task->attempt = 0;
    task->flags = 0;
    task->node = -1;
    task->runner = -1;
    task->arg_count = 0;
    task->args = task->args_inline;
    task->returns_more = NULL;
    task->actor = 0;
    task->actor_object = NULL;
    task->lane = NULL;
    task->next = NULL;
    return task;
}

uint64_t *task_returns(struct task *task)
{
    return task->returns_more ? task->returns_more : task->return_handles;
}

const char *task_name(const struct task *task)
{
    return task->function ? task->function->full_name : "?";
}

static void arg_free(struct task_room *room, struct arg *arg, bool submitter)
{
    for (uint32_t i = 0; arg->list && i < arg->count; i++)
        arg_free(room, &arg->list[i], submitter);
    free(arg->list);
    value_drop(room, &arg->value, false);
    /* The submitter's hold goes on to the runner where that has accepted the ref; the runner's own hold,
     * which the acceptance gave, ends with the task. */
    if (arg->object && !(submitter && arg->accepted))
        object_drop(room, arg->object);
}

void task_actor_drop(struct task *task)
{
    if (task->actor_object)
        object_drop(task->room, task->actor_object);
    task->actor_object = NULL;
}

void task_free(struct task *task)
{
    struct task_room *room = task->room;
    bool submitter = !(task->flags & TASK_FOREIGN);
    for (int i = 0; i < task->arg_count; i++)
        arg_free(room, &task->args[i], submitter);
    if (task->args != task->args_inline)
        free(task->args);
    task_actor_drop(task);
    free(task->returns_more);
    struct task_thread *thread = task_self;
    if (thread && thread->free_task_count < TASK_SPARE) {
        task->next = thread->free_tasks;
        thread->free_tasks = task;
        thread->free_task_count++;
    } else {
        free(task);
    }
}

/* ---- arguments */

static void arg_init(struct arg *arg, struct task *task, int kind)
{
    arg->kind = (uint8_t)kind;
    arg->accepted = 0;
    arg->count = 0;
    arg->task = task;
    arg->handle = 0;
    arg->object = NULL;
    arg->list = NULL;
    arg->value.kind = VALUE_NONE;
    arg->value.type = 0;
    arg->value.nested = 0;
    arg->value.length = 0;
}

static int arg_set_bytes(struct task_room *room, struct arg *arg, const void *data, size_t length)
{
    void *to;
    if (length && !data)
        return base_fail(RAYMPI_ERR_ARGUMENT, "an argument of %zu bytes has a null pointer", length);
    if (length <= room->config.inline_bytes || length <= VALUE_INLINE_MAX) {
        int status = value_create(room, &arg->value, length, 0, &to);
        if (status == RAYMPI_OK && length)
            memcpy(to, data, length);
        return status;
    }
    /* Long bytes go through the store: an object that only this task holds. */
    struct object *object = object_new(room, 1, "bytes argument");
    if (!object)
        return RAYMPI_ERR_MEMORY;
    int status = value_create(room, &object->value, length, 0, &to);
    if (status == RAYMPI_OK) {
        store_copy(to, data, length);
        value_seal(room, &object->value);
    }
    object->status = status;
    atomic_store(&object->seen, 1);
    object_complete(room, object);
    if (status != RAYMPI_OK) {
        object_drop(room, object);
        return status;
    }
    arg->object = object;
    arg->handle = object_handle(object);
    return RAYMPI_OK;
}

static int arg_set_ref(struct task_room *room, struct arg *arg, uint64_t handle)
{
    struct object *object;
    if (task_handle_is_actor(handle))
        return base_fail(RAYMPI_ERR_TYPE, "an actor handle was passed as a ref");
    int status = object_check(room, handle, &object);
    if (status != RAYMPI_OK)
        return status;
    object_retain(object);
    arg->object = object;
    arg->handle = handle;
    return RAYMPI_OK;
}

static int arg_set_actor(struct task_room *room, struct arg *arg, uint64_t handle)
{
    struct object *object;
    if (!task_handle_is_actor(handle))
        return base_fail(RAYMPI_ERR_ARGUMENT, "an actor argument is null or no actor handle");
    int status = object_check(room, handle, &object);
    if (status != RAYMPI_OK)
        return status;
    object_retain(object);
    arg->object = object;
    arg->handle = handle;
    return RAYMPI_OK;
}

static int arg_set_list(struct task_room *room, struct arg *arg, const raympi_ref *refs, size_t count)
{
    if ((count && !refs) || count > UINT32_MAX / 2)
        return base_fail(RAYMPI_ERR_ARGUMENT, "a list of %zu refs with %s array", count,
                         refs ? "an" : "a null");
    arg->list = malloc((count ? count : 1) * sizeof *arg->list);
    if (!arg->list)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a list of %zu refs", count);
    for (size_t i = 0; i < count; i++) {
        arg_init(&arg->list[i], arg->task, RAYMPI_KIND_REF);
        arg->count++;
        int status = arg_set_ref(room, &arg->list[i], refs[i].handle);
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
        return arg_set_ref(room, arg, value->u.handle);
    case RAYMPI_KIND_ACTOR:
        return arg_set_actor(room, arg, value->u.handle);
    case RAYMPI_KIND_REFS:
        return arg_set_list(room, arg, value->u.pointer, value->len);
    default:
        return base_fail(RAYMPI_ERR_TYPE, "argument of unknown kind %d: make it with the macros",
                         value->kind);
    }
}

static int task_set_args(struct task *task, const raympi_value *args, size_t count)
{
    if (count > TASK_ARGS_MAX)
        return base_fail(RAYMPI_ERR_ARGUMENT, "%zu arguments: 0 to %d", count, TASK_ARGS_MAX);
    if (count && !args)
        return base_fail(RAYMPI_ERR_ARGUMENT, "%zu arguments in a null array", count);
    if (count > TASK_ARGS_INLINE && !(task->args = malloc(count * sizeof *task->args))) {
        task->args = task->args_inline;
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for %zu arguments", count);
    }
    for (size_t i = 0; i < count; i++) {
        arg_init(&task->args[i], task, args[i].kind);
        task->arg_count++;
        int status = arg_set(task->room, &task->args[i], &args[i]);
        if (status != RAYMPI_OK)
            return status;
    }
    return RAYMPI_OK;
}

/* ---- dependencies */

static void resolved(struct task *task)
{
    /* Acquire-release: whoever brings it to 0 sees all arguments as the others left them. */
    if (atomic_fetch_sub_explicit(&task->unresolved, 1, memory_order_acq_rel) == 1)
        task_dispatch(task);
}

static void arg_fire(struct waiter *waiter, struct object *object)
{
    (void)object;
    resolved(base_container(waiter, struct arg, waiter)->task);
}

static void arg_depend(struct task *task, struct arg *arg)
{
    for (uint32_t i = 0; arg->list && i < arg->count; i++)
        arg_depend(task, &arg->list[i]);
    if (!arg->object || arg->kind == RAYMPI_KIND_ACTOR || object_ready(arg->object))
        return;
    arg->waiter.fire = arg_fire;
    atomic_fetch_add_explicit(&task->unresolved, 1, memory_order_relaxed);
    if (!object_wait_add(arg->object, &arg->waiter))
        atomic_fetch_sub_explicit(&task->unresolved, 1, memory_order_relaxed);
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
        if (!arg_ready(&task->args[i]))
            return false;
    return true;
}

static const struct value *arg_error(const struct arg *arg)
{
    if (arg->object && arg->kind != RAYMPI_KIND_ACTOR && arg->object->status != RAYMPI_OK) {
        atomic_store_explicit(&arg->object->seen, 1, memory_order_relaxed);
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
        error = arg_error(&task->args[i]);
    return error;
}

/* ---- submitting */

raympi_ref task_error_ref(struct task_room *room, int code, const char *task, const char *message)
{
    struct context *context = task_self->context;
    struct object *object = object_new(room, 1, task);
    if (!object)
        return (raympi_ref){0};
    object_fail(room, object, code, task, message);
    if (context_hold(context, object) == RAYMPI_OK)
        return (raympi_ref){object_handle(object)};
    object_drop(room, object);
    return (raympi_ref){0};
}

/* The records of the results: one hold for the producer, one for the caller's scope. */
static int make_returns(struct task *task, int count)
{
    struct task_room *room = task->room;
    struct context *context = task_self->context;
    if (count > TASK_RETURNS_INLINE && !(task->returns_more = malloc((size_t)count * sizeof(uint64_t))))
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for %d results", count);
    uint64_t *handles = task_returns(task);
    task->returns = 0;
    for (int i = 0; i < count; i++) {
        struct object *object = object_new(room, 2, task_name(task));
        if (!object)
            return RAYMPI_ERR_MEMORY;
        object->parent = task->parent;
        object->child = task->index;
        object->result = (uint16_t)i;
        object->producer = task;
        if (context_hold(context, object) != RAYMPI_OK) {
            object_destroy(room, object);
            return RAYMPI_ERR_MEMORY;
        }
        handles[i] = object_handle(object);
        task->returns++;
    }
    return RAYMPI_OK;
}

static int task_prepare(struct task *task, const struct task_request *request, int returns)
{
    struct task_room *room = task->room;
    struct context *context = task_self->context;
    task->function = request->function;
    task->name_hash = request->function->hash;
    task->owner = room->config.rank;
    task->parent = context_id(context);
    task->index = context->children++;
    atomic_store_explicit(&task->unresolved, 1, memory_order_relaxed);
    if (request->actor) {
        task->actor = request->actor;
        task->actor_object = request->actor_object;
        object_retain(task->actor_object);
    }
    int status = make_returns(task, returns);
    return status == RAYMPI_OK ? task_set_args(task, request->args, request->count) : status;
}

static int check_node(const struct task_request *request, const raympi_options *options,
                      struct task_room *room)
{
    if (options->strategy != RAYMPI_STRATEGY_NODE || request->actor)
        return RAYMPI_OK;
    if (options->node < 0 || options->node >= room->config.size)
        return base_fail(RAYMPI_ERR_INFEASIBLE, "node %d was asked for, the job has ranks 0 to %d",
                         options->node, room->config.size - 1);
    if (!task_function_on(request->function, options->node))
        return base_fail(RAYMPI_ERR_INFEASIBLE, "%s is not registered on rank %d, where it was to run",
                         request->function->full_name, options->node);
    return RAYMPI_OK;
}

static void submit_counted(struct task *task)
{
    struct task_thread *thread = task_self;
    atomic_store_explicit(&thread->submitted,
                          atomic_load_explicit(&thread->submitted, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (task->actor)
        task->room->actor.enter(task->room->actor.arg, task, thread->context);
    for (int i = 0; i < task->arg_count; i++)
        arg_depend(task, &task->args[i]);
    resolved(task);
}

int task_submit(struct task_room *room, const struct task_request *request, raympi_ref *refs, size_t count)
{
    raympi_options options;
    const raympi_definition *definition = request->function->definition;
    int status = task_options_merge(&options, definition && !request->actor ? &definition->options : NULL,
                                    request->options, false);
    if (status != RAYMPI_OK || (status = check_node(request, &options, room)) != RAYMPI_OK)
        return status;
    int returns = options.num_returns > 0 ? options.num_returns : 1;
    if (count > (size_t)returns)
        return base_fail(RAYMPI_ERR_ARGUMENT, "%zu refs for the results of %s, which has %d", count,
                         request->function->full_name, returns);
    int there = request->actor                             ? refcount_owner(request->actor)
                : options.strategy == RAYMPI_STRATEGY_NODE ? options.node
                                                           : -1;
    if (there >= 0 && there != room->config.rank)
        task_credit_wait(room, there);
    struct task *task = task_new(room);
    if (!task)
        return RAYMPI_ERR_MEMORY;
    if (options.num_returns == RAYMPI_NONE)
        task->flags |= TASK_VOID;
    if (options.strategy == RAYMPI_STRATEGY_NODE)
        task->node = options.node;
    status = task_prepare(task, request, returns);
    for (size_t i = 0; i < count && i < task->returns; i++)
        refs[i].handle = task_returns(task)[i];
    /* What the caller has no ref for is not his to release, and an error is told by the refs that he has. */
    for (int i = (int)count; i < task->returns; i++) {
        atomic_store_explicit(&object_by_slot(room, task_returns(task)[i])->seen, 1, memory_order_relaxed);
        context_unhold(task_self->context, task_returns(task)[i]);
        object_drop_handle(room, task_returns(task)[i]);
    }
    if (status == RAYMPI_OK) {
        submit_counted(task);
        return RAYMPI_OK;
    }
    /* The refs that were made hold the error; the caller makes one where there is none. */
    char text[512];
    snprintf(text, sizeof text, "%s", base_detail());
    bool made = task->returns == returns;
    struct task_thread *thread = task_self;
    atomic_fetch_add_explicit(&thread->submitted, 1, memory_order_relaxed);
    task_fail(task, status, text);
    return made ? RAYMPI_OK : base_fail(status, "%s", text);
}
