/* Refs: those that objects nest, holds, scopes. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

/* ---- in objects */

/* What the bytes of `container` declare of `handle`; its handle is 0 where they do not. */
static int declared(struct task_room *room, struct object *container, uint64_t handle, raympi_wire_ref *wire)
{
    const void *data;
    uint64_t length;
    struct value *value = value_behind(&container->value);
    *wire = (raympi_wire_ref){0, {0, 0}};
    if (value->kind == VALUE_ERROR || value->nested == 0)
        return RAYMPI_OK;
    int status = value_pin(room, value, UINT64_MAX, &data, &length);
    if (status != RAYMPI_OK)
        return status;
    const void *behind = (const char *)data + base_align_up(length, 8);
    const raympi_wire_ref *wires = behind;
    for (uint32_t i = 0; i < value->nested && !wire->handle; i++)
        if (wires[i].handle == handle)
            *wire = wires[i];
    value_unpin(room, value);
    return RAYMPI_OK;
}

/* A handle that the bytes of `container` declare becomes one of this scope: the container is held until the
 * owner knows of us. */
int api_nested_hold(struct task_thread *thread, struct object *container, uint64_t handle, bool actor)
{
    struct task_room *room = thread->room;
    if (handle && task_handle_is_actor(handle) != actor)
        return base_fail(RAYMPI_ERR_TYPE, "the wire form is one of %s",
                         actor ? "a ref, not of an actor" : "an actor, not of a ref");
    raympi_wire_ref wire = {0, {0, 0}};
    int found = handle ? declared(room, container, handle, &wire) : RAYMPI_OK;
    if (found != RAYMPI_OK)
        return found;
    if (!wire.handle)
        return base_fail(
            RAYMPI_ERR_RELEASED,
            "the object does not declare %#llx: use raympi_put_nested() or raympi_return_nested()",
            (unsigned long long)handle);
    object_retain(container);
    struct object *object = object_accept(room, handle, (struct task_id){{wire.id[0], wire.id[1]}},
                                          room->config.rank, object_handle(container));
    if (!object) {
        object_drop(room, container);
        return RAYMPI_ERR_RELEASED;
    }
    int status = context_hold(thread->context, object);
    if (status != RAYMPI_OK)
        object_drop(room, object);
    return status;
}

raympi_ref api_nested_ref(struct task_thread *thread, struct object *container, raympi_wire_ref wire)
{
    int status = api_nested_hold(thread, container, wire.handle, false);
    return status == RAYMPI_OK ? (raympi_ref){wire.handle} : api_error_ref(thread, status, "nested ref");
}

/* What the view shows, with a hold for the caller: a view of another context's says nothing, but the ref may.
 */
static struct object *view_container(struct task_thread *thread, const raympi_view *view)
{
    struct object *container = NULL;
    if (view && view->internal[1])
        container = context_view_object(thread->context, view->internal[0], view->internal[1] - 1);
    if (container)
        object_retain(container);
    else if (!view || !view->internal[1] || object_hold(thread, view->internal[0], &container) != RAYMPI_OK)
        base_fail(RAYMPI_ERR_ARGUMENT, "the view is not open");
    return container;
}

raympi_ref raympi_view_ref(const raympi_view *view, raympi_wire_ref wire)
{
    struct task_thread *thread;
    raympi_ref ref = {0};
    if (api_enter(&thread) != RAYMPI_OK)
        return ref;
    struct object *container = view_container(thread, view);
    ref = container ? api_nested_ref(thread, container, wire)
                    : api_error_ref(thread, RAYMPI_ERR_ARGUMENT, "nested ref");
    if (container)
        object_drop(thread->room, container);
    api_leave(thread);
    return ref;
}

raympi_actor raympi_view_actor(const raympi_view *view, raympi_wire_actor wire)
{
    struct task_thread *thread;
    raympi_actor actor = {0};
    if (api_enter(&thread) != RAYMPI_OK)
        return actor;
    struct object *container = view_container(thread, view);
    if (container && api_nested_hold(thread, container, wire.handle, true) == RAYMPI_OK)
        actor.handle = wire.handle;
    if (container)
        object_drop(thread->room, container);
    api_leave(thread);
    return actor;
}

/* ---- holds and scopes */

/* Somebody else's hold, or nobody's. */
static int not_ours(struct task_thread *thread, uint64_t handle)
{
    if (!object_named(thread->room, handle))
        return object_refused(handle);
    return base_fail(RAYMPI_ERR_RELEASED,
                     "%s does not hold ref %#llx: released before, or got in another scope",
                     thread->context->name, (unsigned long long)handle);
}

/* A hold that the caller may let go of becomes the caller's own. */
static bool release_take(struct task_thread *thread, uint64_t handle)
{
    struct context *context = thread->context;
    return context_unhold_anywhere(context, handle) ||
           (context->run && context->run->kept && kept_remove(context->run->kept, handle)) ||
           kept_remove(&thread->room->kept, handle);
}

/* The commonest case: an object of this rank's that is ready and that only the caller's scope holds, once;
 * its value is of a kind up to `most`, VALUE_INLINE or VALUE_BLOB. False: it is none. */
static inline __attribute__((always_inline)) bool release_simple(struct task_thread *thread, uint64_t handle,
                                                                 enum value_kind most)
{
    struct task_room *room = thread->room;
    struct object *object = object_owned(room, handle) ? object_by_slot(room, handle) : NULL;
    uint32_t at =
        base_likely(object != NULL) ? context_find_short(thread->context, object, handle) : CONTEXT_NOWHERE;
    /* With one hold, which has a name, there are no other ranks that hold it. */
    if (base_unlikely(at == CONTEXT_NOWHERE ||
                      !refcount_is_only(&object->count, OBJECT_READY | REFCOUNT_NAMED_HOLD) ||
                      object->special || object->value.kind > most || base_defect(DEFECT_EARLY_FREE) ||
                      !object_slots_room(thread)))
        return false;
    context_unhold_at(thread->context, at);
    if (base_unlikely(!object_end_begin(thread, room))) {
        object_drop_named(room, object);
        return true;
    }
    if (most > VALUE_INLINE && base_unlikely(object->value.kind > VALUE_INLINE))
        value_drop(room, &object->value, true);
    object_slot_give(thread, object);
    object_end_done(thread);
    return true;
}

static int release(struct task_thread *thread, uint64_t handle)
{
    struct task_room *room = thread->room;
    if (!release_take(thread, handle))
        return not_ours(thread, handle);
    struct object *object = object_find(room, handle);
    if (base_defect(DEFECT_EARLY_FREE))
        object_drop(room, object);
    object_drop_named(room, object);
    return RAYMPI_OK;
}

/* The next to commonest: it is in private memory. */
static int release_blob(struct task_thread *thread, uint64_t handle)
{
    const struct object *object = object_own(thread, handle);
    bool blob = object && object_ready(object) && object->value.kind == VALUE_BLOB;
    return blob && release_simple(thread, handle, VALUE_BLOB) ? RAYMPI_OK : release(thread, handle);
}

static int retain(struct task_thread *thread, uint64_t handle)
{
    struct object *object;
    int status = object_hold(thread, handle, &object);
    if (status != RAYMPI_OK)
        return status;
    status = context_hold(thread->context, object);
    if (status != RAYMPI_OK)
        object_drop(thread->room, object);
    return status;
}

static int keep(struct task_thread *thread, uint64_t handle)
{
    struct context *context = thread->context;
    struct kept_set *set = context->run && context->run->kept ? context->run->kept : &thread->room->kept;
    if (!context_holds_anywhere(context, handle))
        return not_ours(thread, handle);
    /* From here on others may let go of what is kept; so a hold of our own. */
    struct object *object = object_find(thread->room, handle);
    object_retain(object);
    int status = kept_add(set, handle);
    if (status == RAYMPI_OK)
        context_unhold(context, object);
    object_drop(thread->room, object);
    return status;
}

static int with_handle(uint64_t handle, int (*action)(struct task_thread *thread, uint64_t handle))
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = action(thread, handle);
    api_leave(thread);
    return status;
}

static __attribute__((noinline)) int release_any(raympi_ref ref)
{
    return with_handle(ref.handle, release_blob);
}

int raympi_ref_release(raympi_ref ref)
{
    struct task_thread *thread = task_self;
    if (base_unlikely(!api_enter_short(thread)))
        return release_any(ref);
    bool released = release_simple(thread, ref.handle, VALUE_INLINE);
    api_leave(thread);
    return base_likely(released) ? RAYMPI_OK : release_any(ref);
}

int raympi_actor_release(raympi_actor actor)
{
    return with_handle(actor.handle, release);
}

int raympi_release_all(const raympi_ref *refs, size_t count)
{
    int first = RAYMPI_OK;
    if (count > INT32_MAX)
        return base_fail(RAYMPI_ERR_ARGUMENT, "release of %zu refs: a negative count?", count);
    if (count && !refs)
        return base_fail(RAYMPI_ERR_ARGUMENT, "release of %zu refs in a null array", count);
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        if (base_likely(i + OBJECT_AHEAD < count))
            object_prefetch(thread->room, refs[i + OBJECT_AHEAD].handle);
        uint64_t handle = refs[i].handle;
        status =
            base_likely(release_simple(thread, handle, VALUE_BLOB)) ? RAYMPI_OK : release(thread, handle);
        first = first == RAYMPI_OK ? status : first;
    }
    api_leave(thread);
    return first;
}

raympi_ref raympi_ref_retain(raympi_ref ref)
{
    return with_handle(ref.handle, retain) == RAYMPI_OK ? ref : (raympi_ref){0};
}

raympi_actor raympi_actor_retain(raympi_actor actor)
{
    return with_handle(actor.handle, retain) == RAYMPI_OK ? actor : (raympi_actor){0};
}

raympi_ref raympi_ref_keep(raympi_ref ref)
{
    return with_handle(ref.handle, keep) == RAYMPI_OK ? ref : (raympi_ref){0};
}

raympi_actor raympi_actor_keep(raympi_actor actor)
{
    return with_handle(actor.handle, keep) == RAYMPI_OK ? actor : (raympi_actor){0};
}

static int in_context(int (*action)(struct context *context))
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = action(thread->context);
    api_leave(thread);
    return status;
}

int raympi_scope_begin(void)
{
    return in_context(context_scope_begin);
}

int raympi_scope_end(void)
{
    return in_context(context_scope_end);
}
