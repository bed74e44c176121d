/* Inside a body: arguments, results, the task itself. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

/* The first failure of a call inside a body fails the task, with this text. */
static void fail_body(raympi_ctx *ctx, int status)
{
    if (ctx->failed != RAYMPI_OK)
        return;
    ctx->failed = status;
    if (!ctx->message[0])
        snprintf(ctx->message, sizeof ctx->message, "%s", base_detail());
}

/* ---- arguments */

static struct arg *arg_at(raympi_ctx *ctx, int i, int j)
{
    struct task *task = ctx ? ctx->task : NULL;
    if (!task) {
        base_fail(RAYMPI_ERR_ARGUMENT, "the context is a null pointer");
        return NULL;
    }
    if (base_unlikely(!task_self && !api_attach_get())) {
        base_fail(RAYMPI_ERR_STATE,
                  "argument %d was asked for in a forked child, which shares the objects' memory with the "
                  "rank: look at arguments before fork()",
                  i);
        return NULL;
    }
    if (i < 0 || i >= task->arg_count) {
        fail_body(ctx, base_fail(RAYMPI_ERR_TYPE, "argument %d was asked for, the call has %d", i,
                                 task->arg_count));
        return NULL;
    }
    struct arg *arg = &task->rest->args[i];
    if (arg->kind != RAYMPI_KIND_REFS && j == 0)
        return arg;
    if (arg->kind != RAYMPI_KIND_REFS || j < 0 || (uint32_t)j >= arg->count) {
        fail_body(ctx, base_fail(RAYMPI_ERR_TYPE, "member %d of argument %d was asked for, it has %d", j, i,
                                 arg->kind == RAYMPI_KIND_REFS ? (int)arg->count : 1));
        return NULL;
    }
    return &arg->list[j];
}

static const void *arg_bytes(raympi_ctx *ctx, int i, int j, size_t *len)
{
    const void *data = NULL;
    uint64_t length = 0;
    struct arg *arg = arg_at(ctx, i, j);
    if (arg && arg->kind == RAYMPI_KIND_ACTOR) {
        fail_body(ctx, base_fail(RAYMPI_ERR_TYPE, "argument %d is an actor, not bytes", i));
    } else if (arg) { /* what is stored has been pinned for the body */
        data = value_at(ctx->context.room, task_arg_value(ctx->task, arg), &length);
    }
    if (len)
        *len = length;
    return data;
}

int raympi_arg_count(raympi_ctx *ctx)
{
    return ctx ? ctx->task->arg_count : base_fail(RAYMPI_ERR_ARGUMENT, "the context is a null pointer");
}

int raympi_arg_list_count(raympi_ctx *ctx, int i)
{
    if (!ctx || i < 0 || i >= ctx->task->arg_count)
        return -1;
    return ctx->task->rest->args[i].kind == RAYMPI_KIND_REFS ? (int)ctx->task->rest->args[i].count : 1;
}

raympi_const_pointer raympi_arg(raympi_ctx *ctx, int i, size_t *len)
{
    return arg_bytes(ctx, i, 0, len);
}

raympi_const_pointer raympi_arg_at(raympi_ctx *ctx, int i, int j, size_t *len)
{
    return arg_bytes(ctx, i, j, len);
}

/* Eight bytes that are a number of kind `type`, or raw. */
static const void *number(raympi_ctx *ctx, int i, uint8_t *type)
{
    size_t len;
    struct arg *arg = arg_at(ctx, i, 0);
    const void *data = arg ? arg_bytes(ctx, i, 0, &len) : NULL;
    if (!arg || ctx->failed != RAYMPI_OK)
        return NULL;
    if (!data || len != 8 || arg->kind == RAYMPI_KIND_STRING) {
        fail_body(ctx, base_fail(RAYMPI_ERR_TYPE, "argument %d is no number: it has %zu bytes", i, len));
        return NULL;
    }
    *type = value_behind(task_arg_value(ctx->task, arg))->type;
    return data;
}

int64_t raympi_arg_int(raympi_ctx *ctx, int i)
{
    uint8_t type;
    int64_t integer = 0;
    const void *data = number(ctx, i, &type);
    if (data && type == RAYMPI_KIND_DOUBLE)
        fail_body(ctx, base_fail(RAYMPI_ERR_TYPE, "argument %d is a double, an integer was asked for", i));
    else if (data)
        memcpy(&integer, data, sizeof integer);
    return integer;
}

double raympi_arg_double(raympi_ctx *ctx, int i)
{
    uint8_t type;
    double real = 0;
    int64_t integer;
    const void *data = number(ctx, i, &type);
    if (!data)
        return 0;
    memcpy(&integer, data, sizeof integer);
    memcpy(&real, data, sizeof real);
    return type == RAYMPI_KIND_INT ? (double)integer : real; /* a plain 1 where 1.0 was meant */
}

const char *raympi_arg_string(raympi_ctx *ctx, int i)
{
    size_t len;
    const char *text = arg_bytes(ctx, i, 0, &len);
    uint8_t type = text ? value_behind(task_arg_value(ctx->task, arg_at(ctx, i, 0)))->type : RAYMPI_KIND_NONE;
    /* The bytes of a small number end with 0 too. */
    if (text && len && text[len - 1] == 0 && type != RAYMPI_KIND_INT && type != RAYMPI_KIND_DOUBLE)
        return text;
    if (ctx)
        fail_body(ctx, base_fail(RAYMPI_ERR_TYPE, "argument %d is no string", i));
    return NULL;
}

/* This rank's record of the object behind an argument; it is taken over from the submitter when there is none
 * yet. */
static struct object *arg_record(raympi_ctx *ctx, struct arg *arg)
{
    struct task *task = ctx->task;
    if (!arg->object && arg->handle) {
        arg->object = object_accept(ctx->context.room, arg->handle, arg->id, task_owner(task), arg->handle);
        arg->accepted = arg->object != NULL;
    }
    return arg->object;
}

static uint64_t arg_hold(raympi_ctx *ctx, int i, int j, bool actor)
{
    struct arg *arg = arg_at(ctx, i, j);
    if (!arg)
        return 0;
    if (arg->kind != (actor ? RAYMPI_KIND_ACTOR : RAYMPI_KIND_REF) || !arg->handle) {
        fail_body(ctx, base_fail(RAYMPI_ERR_TYPE, "argument %d is no %s", i, actor ? "actor" : "ref"));
        return 0;
    }
    struct object *object = arg_record(ctx, arg);
    int status = object ? RAYMPI_OK : RAYMPI_ERR_RELEASED;
    if (object) {
        object_retain(object);
        status = context_hold(&ctx->context, object);
        if (status == RAYMPI_OK)
            return arg->handle;
        object_drop(ctx->context.room, object);
    }
    fail_body(ctx, status);
    return 0;
}

raympi_ref raympi_arg_ref(raympi_ctx *ctx, int i)
{
    return raympi_arg_ref_at(ctx, i, 0);
}

raympi_ref raympi_arg_ref_at(raympi_ctx *ctx, int i, int j)
{
    struct task_thread *thread;
    if (api_enter(&thread) != RAYMPI_OK)
        return (raympi_ref){0};
    raympi_ref ref = {arg_hold(ctx, i, j, false)};
    api_leave(thread);
    return ref;
}

raympi_actor raympi_arg_actor(raympi_ctx *ctx, int i)
{
    struct task_thread *thread;
    if (api_enter(&thread) != RAYMPI_OK)
        return (raympi_actor){0};
    raympi_actor actor = {arg_hold(ctx, i, 0, true)};
    api_leave(thread);
    return actor;
}

/* The record of the object whose bytes argument i is, with its value. */
static struct object *arg_container(struct task_thread *thread, raympi_ctx *ctx, int i)
{
    struct arg *arg = arg_at(ctx, i, 0);
    struct object *container = arg && arg->kind == RAYMPI_KIND_REF ? arg_record(ctx, arg) : NULL;
    if (arg && !container)
        fail_body(ctx, base_fail(RAYMPI_ERR_TYPE, "argument %d is no ref, it can not contain any", i));
    if (!container || object_ready(container))
        return container;
    /* We have its value, the record has not: it was made just now. */
    object_want(thread->room, container);
    int status = task_await(thread->room, container, UINT64_MAX, "nested ref");
    if (status != RAYMPI_OK)
        fail_body(ctx, status);
    return status == RAYMPI_OK ? container : NULL;
}

raympi_ref raympi_arg_nested(raympi_ctx *ctx, int i, raympi_wire_ref wire)
{
    struct task_thread *thread;
    raympi_ref ref = {0};
    if (api_enter(&thread) != RAYMPI_OK)
        return ref;
    struct object *container = arg_container(thread, ctx, i);
    if (container)
        ref = api_nested_ref(thread, container, wire);
    api_leave(thread);
    return ref;
}

raympi_actor raympi_arg_nested_actor(raympi_ctx *ctx, int i, raympi_wire_actor wire)
{
    struct task_thread *thread;
    raympi_actor actor = {0};
    if (api_enter(&thread) != RAYMPI_OK)
        return actor;
    struct object *container = arg_container(thread, ctx, i);
    int status = container ? api_nested_hold(thread, container, wire.handle, true) : RAYMPI_ERR_TYPE;
    if (status == RAYMPI_OK)
        actor.handle = wire.handle;
    else if (ctx)
        fail_body(ctx, status);
    api_leave(thread);
    return actor;
}

/* ---- results */

static void result_refused(raympi_ctx *ctx, int i)
{
    int returns = ctx && !(ctx->task->flags & TASK_VOID) ? ctx->task->returns : 0;
    if (!ctx)
        base_fail(RAYMPI_ERR_ARGUMENT, "the context is a null pointer");
    else if (i < 0 || i >= returns)
        fail_body(ctx, base_fail(RAYMPI_ERR_ARGUMENT, "result %d was set, the task has %d (.num_returns)", i,
                                 returns));
    else
        fail_body(ctx, base_fail(RAYMPI_ERR_ARGUMENT, "result %d was set twice", i));
}

static inline bool may_set(const raympi_ctx *ctx, int i)
{
    return base_likely((unsigned)i < ctx->task->returns && !(ctx->task->flags & TASK_VOID) &&
                       !ctx->results[i].set);
}

static inline struct result *result_at(raympi_ctx *ctx, int i)
{
    if (base_likely(ctx && may_set(ctx, i)))
        return &ctx->results[i];
    result_refused(ctx, i);
    return NULL;
}

static void *result_create(raympi_ctx *ctx, int i, size_t len, const raympi_ref *refs, size_t count,
                           uint8_t type)
{
    struct result *result = result_at(ctx, i);
    if (!result)
        return NULL;
    struct task_room *room = ctx->context.room;
    void *data;
    int status = api_nested_take(task_self, refs, count);
    if (status == RAYMPI_OK) {
        status = value_create(room, &result->value, len, (uint32_t)count, &data);
        if (status == RAYMPI_OK) {
            api_nested_write(room, data, len, refs, count);
            status = value_wires_keep(&result->value, data);
        }
        if (status != RAYMPI_OK) {
            api_nested_give_back(room, refs, count);
            value_drop(room, &result->value, true);
        }
    }
    if (status != RAYMPI_OK) {
        fail_body(ctx, status);
        return NULL;
    }
    result->value.type = type;
    result->data = data;
    result->set = true;
    return data;
}

/* The status is of use where there is no data. */
static void *result_enter(raympi_ctx *ctx, int i, size_t len, const raympi_ref *refs, size_t count,
                          uint8_t type, int *status)
{
    struct task_thread *thread;
    *status = api_enter(&thread);
    if (*status != RAYMPI_OK)
        return NULL;
    void *data = result_create(ctx, i, len, refs, count, type);
    api_leave(thread);
    *status = ctx && ctx->failed ? ctx->failed : RAYMPI_ERR_ARGUMENT;
    return data;
}

raympi_pointer raympi_return(raympi_ctx *ctx, int i, size_t len)
{
    int status;
    return result_enter(ctx, i, len, NULL, 0, RAYMPI_KIND_BYTES, &status);
}

raympi_pointer raympi_return_nested(raympi_ctx *ctx, int i, size_t len, const raympi_ref *refs, size_t count)
{
    int status;
    return result_enter(ctx, i, len, refs, count, RAYMPI_KIND_BYTES, &status);
}

int raympi_return_copy(raympi_ctx *ctx, int i, const void *data, size_t len)
{
    int status;
    if (len && !data) {
        status = base_fail(RAYMPI_ERR_ARGUMENT, "result %d of %zu bytes from a null pointer", i, len);
        if (ctx)
            fail_body(ctx, status);
        return status;
    }
    void *to = result_enter(ctx, i, len, NULL, 0, RAYMPI_KIND_BYTES, &status);
    if (!to)
        return status;
    store_copy(to, data, len);
    return RAYMPI_OK;
}

/* A thread that does not belong to a rank yet, or a forked child, which never does. */
static __attribute__((noinline)) int enter_once(void)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status == RAYMPI_OK)
        api_leave(thread);
    return status;
}

static __attribute__((noinline)) int return_number_any(raympi_ctx *ctx, int i, uint64_t bits, uint8_t type)
{
    int status = base_likely(task_self != NULL) ? RAYMPI_OK : enter_once();
    if (base_unlikely(status != RAYMPI_OK))
        return status;
    struct result *result = result_at(ctx, i);
    if (base_unlikely(!result))
        return ctx && ctx->failed ? ctx->failed : RAYMPI_ERR_ARGUMENT;
    value_begin(&result->value, VALUE_INLINE, type, 8);
    memcpy(result->value.u.bytes, &bits, 8);
    result->set = true;
    return RAYMPI_OK;
}

/* Writes to the context only, which is the caller's: not a call in which others could come in. */
static inline int return_number(raympi_ctx *ctx, int i, uint64_t bits, uint8_t type)
{
    if (base_unlikely(!task_self || !ctx || !may_set(ctx, i)))
        return return_number_any(ctx, i, bits, type);
    struct result *result = &ctx->results[i];
    value_begin(&result->value, VALUE_INLINE, type, 8);
    __atomic_store_n((uint64_t *)(void *)result->value.u.bytes, bits, __ATOMIC_RELAXED);
    result->set = true;
    return RAYMPI_OK;
}

int raympi_return_int(raympi_ctx *ctx, int i, int64_t value)
{
    return return_number(ctx, i, (uint64_t)value, RAYMPI_KIND_INT);
}

int raympi_return_double(raympi_ctx *ctx, int i, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return return_number(ctx, i, bits, RAYMPI_KIND_DOUBLE);
}

static int return_ref(struct task_thread *thread, raympi_ctx *ctx, int i, uint64_t handle)
{
    struct object *object = NULL;
    struct result *result = result_at(ctx, i);
    if (!result)
        return RAYMPI_ERR_ARGUMENT;
    int status =
        task_handle_is_actor(handle)
            ? base_fail(RAYMPI_ERR_TYPE, "an actor handle is no ref: return it by raympi_return_nested()")
            : object_hold(thread, handle, &object);
    if (status != RAYMPI_OK) {
        fail_body(ctx, status);
        return status;
    }
    result->alias = handle;
    result->set = true;
    return RAYMPI_OK;
}

int raympi_return_ref(raympi_ctx *ctx, int i, raympi_ref ref)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = return_ref(thread, ctx, i, ref.handle);
    api_leave(thread);
    return status;
}

int raympi_fail(raympi_ctx *ctx, int code, const char *format, ...)
{
    if (!ctx || !format)
        return base_fail(RAYMPI_ERR_ARGUMENT, "raympi_fail needs a context and a message");
    va_list list;
    va_start(list, format);
    vsnprintf(ctx->message, sizeof ctx->message, format, list);
    va_end(list);
    return code ? code : RAYMPI_ERR_TASK;
}

/* ---- the task and the actor */

raympi_pointer raympi_self(raympi_ctx *ctx)
{
    return ctx ? ctx->self : NULL;
}

raympi_actor raympi_self_actor(raympi_ctx *ctx)
{
    struct task_thread *thread;
    raympi_actor actor = {0};
    if (!ctx || !ctx->actor) {
        base_fail(RAYMPI_ERR_ARGUMENT, "raympi_self_actor is for methods");
        return actor;
    }
    if (api_enter(&thread) != RAYMPI_OK)
        return actor;
    struct object *object = object_retain_alive(thread->room, actor_handle(ctx->actor));
    if (!object)
        base_fail(RAYMPI_ERR_ACTOR_DEAD,
                  "the actor's last handle has been released: it ends after this call");
    else if (context_hold(&ctx->context, object) == RAYMPI_OK)
        actor.handle = object_handle(object);
    else
        object_drop(thread->room, object);
    api_leave(thread);
    return actor;
}

int raympi_actor_exit(raympi_ctx *ctx)
{
    if (!ctx || !ctx->actor)
        return base_fail(RAYMPI_ERR_ARGUMENT, "raympi_actor_exit is for methods");
    ctx->exit_actor = true;
    return RAYMPI_OK;
}

const char *raympi_task_name(raympi_ctx *ctx)
{
    return ctx ? ctx->context.name : "?";
}

void raympi_task_id(raympi_ctx *ctx, uint64_t id[2])
{
    struct task_id own = ctx ? context_id(&ctx->context) : (struct task_id){{0, 0}};
    id[0] = own.word[0];
    id[1] = own.word[1];
}
