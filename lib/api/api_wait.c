/* Waiting for refs: k of n, and a look without waiting. */
#include "api/api.h"

#include <stdlib.h>

static void wait_drop(struct task_room *room, struct object **objects, size_t count)
{
    for (size_t i = 0; i < count; i++)
        object_drop(room, objects[i]);
}

/* Our own holds while we wait: another thread may release a ref meanwhile. On error none is taken. */
static int wait_retain(struct task_thread *thread, const raympi_ref *refs, size_t count, size_t k,
                       struct object **objects)
{
    if (k > count)
        return base_fail(RAYMPI_ERR_ARGUMENT, "wait for %zu of %zu refs", k, count);
    if (count && !refs)
        return base_fail(RAYMPI_ERR_ARGUMENT, "wait for %zu refs in a null array", count);
    for (size_t i = 0; i < count; i++) {
        int status = api_object_of(thread, refs[i], &objects[i]);
        if (status != RAYMPI_OK) {
            wait_drop(thread->room, objects, i);
            return status;
        }
        object_retain(objects[i]);
    }
    return RAYMPI_OK;
}

/* Flags, set once nothing can go wrong any more; how many are set. */
static int wait_flags(struct object *const *objects, size_t count, bool *ready)
{
    int found = 0;
    for (size_t i = 0; i < count; i++) {
        bool here = object_ready(objects[i]);
        found += here;
        if (ready)
            ready[i] = here;
    }
    return found;
}

/* The same for refs of this rank's, without holds: who has let go of one meanwhile does not wait for it. */
static int wait_flags_owned(struct task_room *room, const raympi_ref *refs, size_t count, bool *ready)
{
    int found = 0;
    for (size_t i = 0; i < count; i++) {
        struct object *object = object_by_slot(room, refs[i].handle);
        ready[i] = !object || object_ready(object);
        found += ready[i];
    }
    return found;
}

/* How many are ready, if one look at each tells that they are enough; -1: it does not, or there is something
 * wrong. */
static int wait_enough(struct task_room *room, const raympi_ref *refs, size_t count, size_t k)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        struct object *object =
            object_owned(room, refs[i].handle) ? object_by_slot(room, refs[i].handle) : NULL;
        if (base_unlikely(!object))
            return -1;
        /* Acquire: where it says "ready", the value is seen. */
        uint64_t word = atomic_load_explicit(&object->count.count, memory_order_acquire);
        if (base_unlikely((word & (OBJECT_WAITED - REFCOUNT_NAME)) == 0)) /* no names */
            return -1;
        found += (word & OBJECT_READY) != 0;
    }
    return found >= k ? (int)found : -1;
}

static int wait(struct task_thread *thread, const raympi_ref *refs, size_t count, size_t k, double timeout,
                bool *ready)
{
    if (count > INT32_MAX)
        return base_fail(RAYMPI_ERR_ARGUMENT, "wait for %zu refs: a negative count?", count);
    if (api_check_timeout(timeout) != RAYMPI_OK)
        return RAYMPI_ERR_ARGUMENT;
    int enough = refs && k <= count ? wait_enough(thread->room, refs, count, k) : -1;
    if (enough >= 0)
        return ready ? wait_flags_owned(thread->room, refs, count, ready) : enough;
    struct object *few[64], **objects = few;
    if (count > 64 && !(objects = malloc(count * sizeof *objects)))
        return base_fail(RAYMPI_ERR_MEMORY, "no memory to wait for %zu refs", count);
    int status = wait_retain(thread, refs, count, k, objects);
    if (status == RAYMPI_OK) {
        status = task_wait(thread->room, objects, count, k, task_deadline(thread->room, timeout));
        if (status == RAYMPI_OK)
            status = wait_flags(objects, count, ready);
        wait_drop(thread->room, objects, count);
    }
    if (objects != few)
        free(objects);
    return status;
}

int raympi_wait(const raympi_ref *refs, size_t count, size_t k, double timeout, bool *ready)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = wait(thread, refs, count, k, timeout, ready);
    api_leave(thread);
    return status;
}

static int ready_status(struct object *object)
{
    return object->status == RAYMPI_OK ? RAYMPI_OK : task_object_error(object);
}

/* Who asks again and again is to get there: others go first. They may release the ref, so we hold it. */
static int unready_status(struct task_thread *thread, struct object *object)
{
    object_retain(object);
    object_want(thread->room, object);
    if (!object_ready(object))
        task_yield(thread);
    int status = object_ready(object) ? ready_status(object)
                                      : base_fail(RAYMPI_ERR_TIMEOUT, "%s is not ready yet", object->label);
    object_drop(thread->room, object);
    return status;
}

int raympi_ref_status(raympi_ref ref)
{
    struct task_thread *thread;
    struct object *object;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = api_object_of(thread, ref, &object);
    if (status == RAYMPI_OK)
        status = object_ready(object) ? ready_status(object) : unready_status(thread, object);
    api_leave(thread);
    return status;
}
