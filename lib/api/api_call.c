/* Calls: tasks and actors by definition or by name. */
#include "api/api.h"

#include <string.h>

/* The function that a definition or a name stands for; a definition that is linked in knows it. */
static int function_of(const raympi_definition *definition, const char *name, bool klass,
                       struct task_function **function)
{
    if (definition && definition->internal[0] && definition->internal[0] != (const void *)definition)
        *function = definition->internal[0];
    else if (!name)
        return base_fail(RAYMPI_ERR_ARGUMENT, "the name of a task is a null pointer");
    else
        *function = task_function_named(name);
    if (!*function)
        return task_function_unknown(name);
    if ((*function)->is_class != klass)
        return base_fail(RAYMPI_ERR_TYPE, "%s is a %s", (*function)->name,
                         klass ? "task: call it with raympi_call()"
                               : "class: make an actor with raympi_actor_new()");
    return RAYMPI_OK;
}

static int submit(struct task_thread *thread, const raympi_definition *definition, const char *name,
                  const raympi_options *options, const raympi_value *args, size_t count, raympi_ref *refs,
                  size_t nrefs)
{
    struct task_request request = {.name = name, .options = options, .args = args, .count = count};
    int status = function_of(definition, name, false, &request.function);
    return status == RAYMPI_OK ? task_submit(thread->room, &request, refs, nrefs) : status;
}

static __attribute__((noinline)) raympi_ref submit_any(const raympi_definition *definition, const char *name,
                                                       const raympi_options *options,
                                                       const raympi_value *args, size_t count)
{
    struct task_thread *thread;
    raympi_ref ref = {0};
    if (api_enter(&thread) != RAYMPI_OK)
        return ref;
    int status = submit(thread, definition, name, options, args, count, &ref, 1);
    if (base_unlikely(status != RAYMPI_OK))
        ref = api_error_ref(thread, status, name ? name : "?");
    api_leave(thread);
    return ref;
}

/* By a definition whose plan needs no second look. */
static __attribute__((noinline)) raympi_ref submit_known(const raympi_definition *definition,
                                                         const raympi_value *args, size_t count)
{
    struct task_thread *thread;
    raympi_ref ref = {0};
    if (api_enter(&thread) != RAYMPI_OK)
        return ref;
    struct task_function *known = definition->internal[0];
    int status;
    if (known->plan.plain) {
        status = task_submit_plain(thread, known, args, count, &ref);
    } else if (!task_submit_there(thread, known, args, count, &ref, &status)) {
        api_leave(thread);
        return submit_any(definition, NULL, NULL, args, count);
    }
    if (base_unlikely(status != RAYMPI_OK))
        ref = api_error_ref(thread, status, known->name);
    api_leave(thread);
    return ref;
}

/* The short ways; each a function of its own, so that it saves no more registers than it needs. */
static raympi_ref submit_first(const raympi_definition *definition, struct task_function *function);

/* Beside other workers, who may have to be woken. Inside a call; leaves it. */
static __attribute__((noinline)) raympi_ref submit_beside(const raympi_definition *definition,
                                                          struct task_function *function)
{
    struct task_thread *thread = task_self;
    uint64_t handle = task_submit_here(thread, function, false);
    api_leave(thread);
    return base_likely(handle != 0) ? (raympi_ref){handle} : submit_known(definition, NULL, 0);
}

static __attribute__((noinline)) raympi_ref submit_here(const raympi_definition *definition,
                                                        struct task_function *function)
{
    struct task_thread *thread = task_self;
    if (base_unlikely(!api_enter_short(thread)))
        return submit_known(definition, NULL, 0);
    if (base_unlikely(!thread->context->id_known))
        return submit_first(definition, function);
    if (!thread->front || !thread->front->alone)
        return submit_beside(definition, function);
    uint64_t handle = task_submit_here(thread, function, true);
    api_leave(thread);
    return base_likely(handle != 0) ? (raympi_ref){handle} : submit_known(definition, NULL, 0);
}

/* A task's first: inside a call, which it leaves and enters again. */
static __attribute__((noinline)) raympi_ref submit_first(const raympi_definition *definition,
                                                         struct task_function *function)
{
    context_id_make(task_self->context);
    api_leave(task_self);
    return submit_here(definition, function);
}

/* `args` are numbers. */
static inline __attribute__((always_inline)) raympi_ref submit_away(const raympi_definition *definition,
                                                                    struct task_function *function,
                                                                    const raympi_value *args, size_t count)
{
    struct task_thread *thread = task_self;
    int node = function->plan.node;
    if (base_unlikely(!api_enter_short(thread)))
        return submit_known(definition, args, count);
    uint64_t handle = 0;
    if (base_likely(node != thread->room->config.rank && !base_defect(DEFECT_WRONG_PLACE)))
        handle = task_submit_away(thread, function, node, 0, NULL, args, count);
    api_leave(thread);
    return base_likely(handle != 0) ? (raympi_ref){handle} : submit_known(definition, args, count);
}

static __attribute__((noinline)) raympi_ref submit_there(const raympi_definition *definition,
                                                         struct task_function *function)
{
    return submit_away(definition, function, NULL, 0);
}

static __attribute__((noinline)) raympi_ref submit_numbers(const raympi_definition *definition,
                                                           struct task_function *function,
                                                           const raympi_value *args, size_t count)
{
    return submit_away(definition, function, args, count);
}

raympi_ref raympi_submit(const raympi_definition *definition, const char *name, const raympi_options *options,
                         const raympi_value *args, size_t count)
{
    struct task_function *known = definition ? definition->internal[0] : NULL;
    if (base_unlikely(!known || (const void *)known == (const void *)definition || options))
        return submit_any(definition, name, options, args, count);
    enum task_way way = task_way_of(known);
    if (base_likely(count == 0)) {
        if (way == TASK_WAY_HERE)
            return submit_here(definition, known);
        if (way == TASK_WAY_THERE)
            return submit_there(definition, known);
    } else if (way == TASK_WAY_THERE && task_are_numbers(args, count)) {
        return submit_numbers(definition, known, args, count);
    }
    if (base_likely(known->plan.plain || known->plan.there))
        return submit_known(definition, args, count);
    return submit_any(definition, name, options, args, count);
}

int raympi_submit_n(const raympi_definition *definition, const char *name, const raympi_options *options,
                    const raympi_value *args, size_t count, raympi_ref *refs, size_t nrefs)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = refs && nrefs ? submit(thread, definition, name, options, args, count, refs, nrefs)
                           : base_fail(RAYMPI_ERR_ARGUMENT, "raympi_call_n needs an array of refs");
    api_leave(thread);
    return status;
}

raympi_actor raympi_actor_create(const raympi_definition *definition, const char *name,
                                 const raympi_options *options, const raympi_value *args, size_t count)
{
    struct task_thread *thread;
    raympi_actor actor = {0};
    if (api_enter(&thread) != RAYMPI_OK)
        return actor;
    struct task_function *klass = NULL;
    int status = function_of(definition, name, true, &klass);
    if (status == RAYMPI_OK)
        status = actor_create(api_node_of(thread->room)->actors, klass, options, args, count, &actor);
    else
        status = actor_create_failed(api_node_of(thread->room)->actors, status, &actor);
    if (status == RAYMPI_OK)
        trace_count(thread->trace, TRACE_COUNT_ACTORS, 1);
    else
        base_log(BASE_LOG_ERROR, "actor", "an actor of class %s could not be made: %s", name ? name : "?",
                 base_detail());
    api_leave(thread);
    return actor;
}

static __attribute__((noinline)) raympi_ref actor_submit_any(raympi_actor actor, raympi_method_name *method,
                                                             const raympi_options *options,
                                                             const raympi_value *args, size_t count)
{
    struct task_thread *thread;
    raympi_ref ref = {0};
    if (api_enter(&thread) != RAYMPI_OK)
        return ref;
    int status = method && method->name
                     ? actor_submit(api_node_of(thread->room)->actors, actor.handle, method, options, args,
                                    count, &ref)
                     : base_fail(RAYMPI_ERR_ARGUMENT, "the method's name is a null pointer");
    if (status != RAYMPI_OK)
        ref = api_error_ref(thread, status, method && method->name ? method->name : "?");
    api_leave(thread);
    return ref;
}

raympi_ref raympi_actor_submit(raympi_actor actor, raympi_method_name *method, const raympi_options *options,
                               const raympi_value *args, size_t count)
{
    struct task_thread *thread = task_self;
    uint64_t handle = 0;
    if (base_likely(!options && method && (count == 0 || task_are_numbers(args, count)) &&
                    api_enter_short(thread))) {
        handle = base_likely(count == 0) ? actor_submit_short(thread, actor.handle, method)
                                         : actor_submit_numbers(thread, actor.handle, method, args, count);
        api_leave(thread);
    }
    return base_likely(handle != 0) ? (raympi_ref){handle}
                                    : actor_submit_any(actor, method, options, args, count);
}

int raympi_actor_kill(raympi_actor actor)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = actor_kill(api_node_of(thread->room)->actors, actor.handle);
    api_leave(thread);
    return status;
}

int raympi_actor_ready(raympi_actor actor, double timeout)
{
    struct task_thread *thread;
    raympi_ref ref;
    raympi_view view;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = actor_ping(api_node_of(thread->room)->actors, actor.handle, &ref);
    api_leave(thread);
    if (status != RAYMPI_OK)
        return status;
    status = raympi_get_timeout(ref, &view, timeout);
    if (status == RAYMPI_OK)
        raympi_view_end(&view);
    char text[512];
    snprintf(text, sizeof text, "%s", base_detail());
    raympi_ref_release(ref);
    return status == RAYMPI_OK ? status : base_fail(status, "%s", text);
}

int raympi_actor_node(raympi_actor actor)
{
    if (!actor.handle || !task_handle_is_actor(actor.handle))
        return base_fail(RAYMPI_ERR_ARGUMENT, "the actor handle is null");
    return refcount_owner(actor.handle);
}
