/* Objects: put, create, get, views. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

const char *raympi_detail(void)
{
    return base_detail();
}

raympi_ref api_error_ref(struct task_thread *thread, int status, const char *what)
{
    char text[512];
    snprintf(text, sizeof text, "%s", base_detail());
    return task_error_ref(thread->room, status, what, text);
}

/* ---- put */

/* Takes a hold on each ref that an object's bytes are to declare; on error on none. */
int api_nested_take(struct task_thread *thread, const raympi_ref *refs, size_t count)
{
    struct object *object;
    if (count && !refs)
        return base_fail(RAYMPI_ERR_ARGUMENT, "%zu nested refs in a null array", count);
    if (count > (1u << 24))
        return base_fail(RAYMPI_ERR_TOO_LARGE, "%zu nested refs in one object: at most %u", count, 1u << 24);
    for (size_t i = 0; i < count; i++) {
        int status = object_hold(thread, refs[i].handle, &object);
        if (status != RAYMPI_OK) {
            api_nested_give_back(thread->room, refs, i);
            return status;
        }
        if (base_defect(DEFECT_EARLY_NESTED))
            object_drop(thread->room, object);
    }
    return RAYMPI_OK;
}

void api_nested_give_back(struct task_room *room, const raympi_ref *refs, size_t count)
{
    for (size_t i = 0; i < count && !base_defect(DEFECT_EARLY_NESTED); i++)
        object_drop(room, object_find(room, refs[i].handle));
}

static raympi_wire_ref wire_of(const struct object *object)
{
    struct task_id id = object_id(object);
    return (raympi_wire_ref){object_handle(object), {id.word[0], id.word[1]}};
}

/* Behind the bytes; the holds that were taken are the object's from here on. */
void api_nested_write(struct task_room *room, void *bytes, size_t length, const raympi_ref *refs,
                      size_t count)
{
    size_t aligned = base_align_up(length, 8);
    raympi_wire_ref *wires = (raympi_wire_ref *)((char *)bytes + aligned);
    if (count == 0)
        return;
    memset((char *)bytes + length, 0, aligned - length); /* it travels with the bytes */
    for (size_t i = 0; i < count; i++)
        wires[i] = wire_of(object_find(room, refs[i].handle));
}

/* Takes over the holds on the declared refs, if it succeeds. */
static int fill(struct task_room *room, struct object *object, const void *data, size_t len,
                const raympi_ref *refs, size_t count)
{
    void *to;
    int status = value_create(room, &object->value, len, (uint32_t)count, &to);
    if (status != RAYMPI_OK)
        return status;
    if (len)
        store_copy(to, data, len);
    if (count) {
        api_nested_write(room, to, len, refs, count);
        status = value_wires_keep(&object->value, to);
        object->nested_held = status == RAYMPI_OK;
    }
    value_seal(room, &object->value);
    return status;
}

static void identify(struct task_thread *thread, struct object *object)
{
    object->parent = context_id(thread->context);
    object->child = thread->context->children++;
}

static raympi_ref put(struct task_thread *thread, const void *data, size_t len, const raympi_ref *refs,
                      size_t count)
{
    static const char *const label = "put";
    struct task_room *room = thread->room;
    if (len && !data) {
        base_fail(RAYMPI_ERR_ARGUMENT, "put of %zu bytes from a null pointer", len);
        return api_error_ref(thread, RAYMPI_ERR_ARGUMENT, "put");
    }
    int status = api_nested_take(thread, refs, count);
    if (status != RAYMPI_OK)
        return api_error_ref(thread, status, "put");
    struct object *object = object_new(room, REFCOUNT_NAMED_HOLD, &label);
    if (!object) {
        api_nested_give_back(room, refs, count);
        return api_error_ref(thread, RAYMPI_ERR_MEMORY, "put");
    }
    identify(thread, object);
    status = fill(room, object, data, len, refs, count);
    if (status != RAYMPI_OK)
        api_nested_give_back(room, refs, count);
    else
        status = context_hold_named(thread->context, object);
    if (base_unlikely(status != RAYMPI_OK)) {
        object_drop_named(room, object);
        return api_error_ref(thread, status, "put");
    }
    object_complete_fresh(room, object);
    trace_count(thread->trace, TRACE_COUNT_PUTS, 1);
    trace_count(thread->trace, TRACE_COUNT_PUT_BYTES, len);
    return (raympi_ref){object_handle(object)};
}

raympi_ref raympi_put(const void *data, size_t len)
{
    return raympi_put_nested(data, len, NULL, 0);
}

raympi_ref raympi_put_nested(const void *data, size_t len, const raympi_ref *refs, size_t count)
{
    struct task_thread *thread;
    if (api_enter(&thread) != RAYMPI_OK)
        return (raympi_ref){0};
    raympi_ref ref = put(thread, data, len, refs, count);
    api_leave(thread);
    return ref;
}

static void *create(struct task_thread *thread, size_t len, raympi_ref *ref)
{
    static const char *const label = "create";
    struct task_room *room = thread->room;
    void *data;
    if (!ref) {
        base_fail(RAYMPI_ERR_ARGUMENT, "raympi_create needs a place for the ref");
        return NULL;
    }
    struct object *object = object_new(room, REFCOUNT_NAMED_HOLD, &label);
    if (!object)
        return NULL;
    identify(thread, object);
    if (value_create(room, &object->value, len, 0, &data) != RAYMPI_OK ||
        context_hold_named(thread->context, object) != RAYMPI_OK) {
        object_drop_named(room, object);
        return NULL;
    }
    object->unsealed = 1;
    ref->handle = object_handle(object);
    return data;
}

raympi_pointer raympi_create(size_t len, raympi_ref *ref)
{
    struct task_thread *thread;
    if (api_enter(&thread) != RAYMPI_OK)
        return NULL;
    void *data = create(thread, len, ref);
    api_leave(thread);
    return data;
}

static int seal(struct task_thread *thread, uint64_t handle)
{
    struct task_room *room = thread->room;
    struct object *object;
    /* A hold of our own: who sees it ready may let go of it while others are still to be told. */
    int status = object_hold(thread, handle, &object);
    if (status != RAYMPI_OK)
        return status;
    if (!object->unsealed) {
        status = base_fail(RAYMPI_ERR_ARGUMENT,
                           "only an object of raympi_create() is sealed, once; this one is %s",
                           object_label(object));
        object_drop(room, object);
        return status;
    }
    object->unsealed = 0;
    value_seal(room, &object->value);
    object_complete_drop(room, object);
    return RAYMPI_OK;
}

int raympi_seal(raympi_ref ref)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = seal(thread, ref.handle);
    api_leave(thread);
    return status;
}

static raympi_wire_ref wire(uint64_t handle, bool actor)
{
    struct task_thread *thread;
    struct object *object;
    raympi_wire_ref wire = {0, {0, 0}};
    if (api_enter(&thread) != RAYMPI_OK)
        return wire;
    if (handle && task_handle_is_actor(handle) != actor)
        base_fail(RAYMPI_ERR_TYPE, actor ? "a ref is no actor handle" : "an actor handle is no ref");
    else if (object_hold(thread, handle, &object) == RAYMPI_OK) {
        wire = wire_of(object);
        object_drop(thread->room, object);
    }
    api_leave(thread);
    return wire;
}

raympi_wire_ref raympi_ref_wire(raympi_ref ref)
{
    return wire(ref.handle, false);
}

raympi_wire_actor raympi_actor_wire(raympi_actor actor)
{
    raympi_wire_ref w = wire(actor.handle, true);
    return (raympi_wire_actor){w.handle, {w.id[0], w.id[1]}};
}

/* ---- get */

static bool is_own_result(const struct context *context, uint64_t handle)
{
    struct task *task = context->run ? context->run->task : NULL;
    for (int i = 0; task && i < task->returns; i++)
        if (task_result(task, i) == handle)
            return true;
    return false;
}

int api_object_of(struct task_thread *thread, raympi_ref ref, struct object **object)
{
    if (task_handle_is_actor(ref.handle))
        return base_fail(RAYMPI_ERR_TYPE, "an actor handle is no ref");
    int status = object_hold(thread, ref.handle, object);
    if (status == RAYMPI_OK && !object_ready(*object) && is_own_result(thread->context, ref.handle)) {
        object_drop(thread->room, *object);
        return base_fail(RAYMPI_ERR_ARGUMENT, "%s waits for its own result", thread->context->name);
    }
    return status;
}

static int view_open(struct task_thread *thread, struct object *object, raympi_view *view, const void *data,
                     uint64_t length)
{
    uint64_t position;
    int status = context_view_add(thread->context, object, &position);
    if (status != RAYMPI_OK) {
        value_unpin(thread->room, &object->value);
        return status;
    }
    view->data = length ? data : NULL;
    view->len = length;
    view->internal[0] = object_handle(object);
    view->internal[1] = position + 1;
    return RAYMPI_OK;
}

/* One that has to be brought. Another thread may release the ref meanwhile: so a hold of our own. */
static __attribute__((noinline)) int show_later(struct task_thread *thread, struct object *object,
                                                raympi_view *view, uint64_t deadline)
{
    const void *data;
    uint64_t length;
    object_retain(object);
    int status = value_pin(thread->room, &object->value, deadline, &data, &length);
    if (status == RAYMPI_OK)
        status = view_open(thread, object, view, data, length);
    object_drop(thread->room, object);
    return status;
}

static int show(struct task_thread *thread, struct object *object, raympi_view *view, uint64_t deadline)
{
    const void *data;
    uint64_t length;
    if (object->status != RAYMPI_OK)
        return task_object_error(object);
    int status = value_pin_now(thread->room, &object->value, &data, &length);
    if (base_unlikely(status == STORE_ON_DISK))
        return show_later(thread, object, view, deadline);
    return status == RAYMPI_OK ? view_open(thread, object, view, data, length) : status;
}

static int get(struct task_thread *thread, raympi_ref ref, raympi_view *view, uint64_t deadline)
{
    if (!view)
        return base_fail(RAYMPI_ERR_ARGUMENT, "raympi_get needs a view to fill");
    struct object *object = object_own(thread, ref.handle);
    if (base_likely(object && object_ready(object)))
        return show(thread, object, view, deadline);
    /* A hold of our own while we wait: another thread may release the ref meanwhile. */
    int status = api_object_of(thread, ref, &object);
    if (status != RAYMPI_OK)
        return status;
    if (!object_ready(object)) {
        trace_count(thread->trace, TRACE_COUNT_BLOCKED, 1);
        status = task_await(thread->room, object, deadline, "get");
    }
    if (status == RAYMPI_OK)
        status = show(thread, object, view, deadline);
    object_drop(thread->room, object);
    return status;
}

int api_check_timeout(double timeout)
{
    return timeout != timeout ? base_fail(RAYMPI_ERR_ARGUMENT, "the timeout is not a number") : RAYMPI_OK;
}

int raympi_get(raympi_ref ref, raympi_view *view)
{
    return raympi_get_timeout(ref, view, -1);
}

int raympi_get_timeout(raympi_ref ref, raympi_view *view, double timeout)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = api_check_timeout(timeout);
    if (status == RAYMPI_OK)
        status = get(thread, ref, view, task_deadline(thread->room, timeout));
    api_leave(thread);
    return status;
}

static int view_end(struct task_thread *thread, raympi_view *view)
{
    struct object *object = view->internal[1] ? object_find(thread->room, view->internal[0]) : NULL;
    if (!object)
        return base_fail(RAYMPI_ERR_ARGUMENT, "this view is not open");
    int status = context_view_end(thread->context, object, view->internal[1] - 1);
    if (status == RAYMPI_OK)
        view->internal[1] = 0;
    return status;
}

/* Asks for what it is, or for its bytes. */
static void ask_for(struct task_thread *thread, raympi_ref ref)
{
    struct object *object = object_own(thread, ref.handle);
    if (object && object_ready(object))
        value_fetch(thread->room, &object->value);
    else if (object)
        object_want(thread->room, object);
}

/* Waits until it is known where its bytes are, and asks for them. False: an error, which whoever gets it
 * sees. */
static bool ask_when_ready(struct task_thread *thread, raympi_ref ref, uint64_t deadline)
{
    struct object *object = object_own(thread, ref.handle);
    if (base_likely(object && object_ready(object))) {
        value_fetch(thread->room, &object->value);
        return object->status == RAYMPI_OK;
    }
    if (api_object_of(thread, ref, &object) != RAYMPI_OK)
        return false;
    bool right =
        task_await(thread->room, object, deadline, "get") == RAYMPI_OK && object->status == RAYMPI_OK;
    if (right)
        value_fetch(thread->room, &object->value);
    object_drop(thread->room, object);
    return right;
}

/* What has to come from elsewhere is all asked for before any of it is waited for. */
static void ask_for_all(struct task_thread *thread, const raympi_ref *refs, size_t count, uint64_t deadline)
{
    for (size_t i = 0; i < count; i++)
        ask_for(thread, refs[i]);
    for (size_t i = 0; i < count && ask_when_ready(thread, refs[i], deadline); i++)
        continue;
}

int raympi_get_many(const raympi_ref *refs, size_t count, raympi_view *views, double timeout)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = api_check_timeout(timeout);
    if (status == RAYMPI_OK && count > INT32_MAX)
        status = base_fail(RAYMPI_ERR_ARGUMENT, "get of %zu refs: a negative count?", count);
    if (status == RAYMPI_OK && count && (!refs || !views))
        status = base_fail(RAYMPI_ERR_ARGUMENT, "get of %zu refs with a null array", count);
    uint64_t deadline = status == RAYMPI_OK ? task_deadline(thread->room, timeout) : 0;
    if (status == RAYMPI_OK && count > 1)
        ask_for_all(thread, refs, count, deadline);
    size_t done = 0;
    for (; done < count && status == RAYMPI_OK; done++)
        status = get(thread, refs[done], &views[done], deadline);
    if (status != RAYMPI_OK && done > 0)
        for (size_t i = 0; i < done - 1; i++) {
            char text[512];
            snprintf(text, sizeof text, "%s", base_detail());
            view_end(thread, &views[i]);
            base_fail(status, "%s", text);
        }
    api_leave(thread);
    return status;
}

static int get_copy(struct task_thread *thread, raympi_ref ref, void *data, size_t len)
{
    raympi_view view;
    if (len && !data)
        return base_fail(RAYMPI_ERR_ARGUMENT, "copy of %zu bytes to a null pointer", len);
    int status = get(thread, ref, &view, UINT64_MAX);
    if (status != RAYMPI_OK)
        return status;
    if (view.len == len && len)
        memcpy(data, view.data, len);
    else if (view.len != len)
        status = base_fail(RAYMPI_ERR_TYPE, "the object has %zu bytes, %zu were asked for", view.len, len);
    view_end(thread, &view);
    return status;
}

static __attribute__((noinline)) int get_copy_any(raympi_ref ref, void *data, size_t len)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = get_copy(thread, ref, data, len);
    api_leave(thread);
    return status;
}

/* Of a small value; false: it is none, or has another length. */
static inline bool copy_small(const struct object *object, void *data, size_t len)
{
    if (base_unlikely(object->value.kind != VALUE_INLINE || object->value.length != len))
        return false;
    if (base_likely(len == 8))
        memcpy(data, object->value.u.bytes, 8);
    else
        memcpy(data, object->value.u.bytes, len);
    return true;
}

/* The same of one in private memory. */
static bool copy_blob(const struct object *object, void *data, size_t len)
{
    if (object->value.kind != VALUE_BLOB || object->value.length != len)
        return false;
    memcpy(data, object->value.u.blob->bytes, len);
    return true;
}

/* Inside a call; leaves it. `object`: a ready one that the caller's scope holds, or NULL. */
static __attribute__((noinline)) int get_copy_other(struct task_thread *thread, const struct object *object,
                                                    raympi_ref ref, void *data, size_t len)
{
    bool copied = object && copy_blob(object, data, len);
    api_leave(thread);
    return copied ? RAYMPI_OK : get_copy_any(ref, data, len);
}

/* Inside a call; leaves it. */
static __attribute__((noinline)) int get_copy_waiting(struct task_thread *thread, struct object *object,
                                                      raympi_ref ref, void *data, size_t len)
{
    bool ready = task_run_wanted_now(thread, object) || task_spin(thread->room, object);
    bool copied = ready && (base_likely(copy_small(object, data, len)) || copy_blob(object, data, len));
    api_leave(thread);
    return copied ? RAYMPI_OK : get_copy_any(ref, data, len);
}

int raympi_get_copy(raympi_ref ref, void *data, size_t len)
{
    struct task_thread *thread = task_self;
    if (base_unlikely(!data || !api_enter_short(thread)))
        return get_copy_any(ref, data, len);
    /* The commonest case: a small value of this rank's that the caller's scope holds. */
    struct task_room *room = thread->room;
    struct object *object = object_owned(room, ref.handle) ? object_by_slot(room, ref.handle) : NULL;
    bool held = object && context_holds(thread->context, object, ref.handle);
    if (base_likely(held))
        object_expect_next(room, thread->context, object);
    if (base_likely(held) && !object_ready(object))
        return get_copy_waiting(thread, object, ref, data, len);
    if (base_unlikely(!held || !copy_small(object, data, len)))
        return get_copy_other(thread, held ? object : NULL, ref, data, len);
    api_leave(thread);
    return RAYMPI_OK;
}

int raympi_view_end(raympi_view *view)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = view ? view_end(thread, view) : base_fail(RAYMPI_ERR_ARGUMENT, "the view is a null pointer");
    api_leave(thread);
    return status;
}
