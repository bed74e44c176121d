/* Waiting for refs: k of n, and a look without waiting. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

static void wait_drop(struct task_room *room, struct object **objects, size_t count)
{
    for (size_t i = 0; i < count; i++)
        object_drop(room, objects[i]);
}

/* Holds of our own while we wait: another thread may release a ref meanwhile. On error none is taken. */
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

#define WAIT_FLAGS 1024 /* that fit on the stack */

/* How many are ready, if one look at each tells that they are enough, and which; -1: it does not, or there is
 * something wrong. Of refs of this rank's that somebody can name; without holds: who lets go of one meanwhile
 * does not wait for it. */
static int wait_enough(struct task_room *room, const raympi_ref *refs, size_t count, size_t k, bool *flags)
{
    const uint64_t names = OBJECT_WAITED - REFCOUNT_NAME;
    uint64_t found = 0, place = UINT64_MAX;
    struct object *slab = NULL;
#pragma GCC unroll 8
    for (size_t i = 0; i < count; i++) {
        uint64_t handle = refs[i].handle;
        /* Neighbours mostly lie in the same slab, and that they are this rank's is part of that. */
        if (base_unlikely((handle & OBJECT_PLACE) != place)) {
            place = handle & OBJECT_PLACE;
            if (!object_owned(room, handle) || !(slab = object_slab(room, handle)))
                return -1;
        }
        const struct object *object = slab + handle % OBJECT_SLAB;
        /* Acquire: where it says "ready", the value is seen. */
        uint64_t word = atomic_load_explicit(&((struct object *)object)->count.count, memory_order_acquire);
        if (base_unlikely(object_handle_now(object) != handle || (word & names) == 0))
            return -1;
        flags[i] = word >> 63;
        found += word >> 63;
    }
    return found >= k ? (int)found : -1;
}
_Static_assert(OBJECT_READY == UINT64_C(1) << 63, "the flag is the uppermost bit");

static int wait(struct task_thread *thread, const raympi_ref *refs, size_t count, size_t k, double timeout,
                bool *ready)
{
    if (count > INT32_MAX)
        return base_fail(RAYMPI_ERR_ARGUMENT, "wait for %zu refs: a negative count?", count);
    if (api_check_timeout(timeout) != RAYMPI_OK)
        return RAYMPI_ERR_ARGUMENT;
    bool flags[WAIT_FLAGS];
    int enough =
        refs && k <= count && count <= WAIT_FLAGS ? wait_enough(thread->room, refs, count, k, flags) : -1;
    if (enough >= 0 && ready && count)
        memcpy(ready, flags, count);
    if (enough >= 0)
        return enough;
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
static int ref_status(struct task_thread *thread, raympi_ref ref)
{
    struct object *object = object_own(thread, ref.handle);
    if (base_likely(object && object_ready(object)))
        return ready_status(object);
    int status = api_object_of(thread, ref, &object);
    if (status != RAYMPI_OK)
        return status;
    object_want(thread->room, object);
    if (!object_ready(object))
        task_yield(thread);
    status = object_ready(object)
                 ? ready_status(object)
                 : base_fail(RAYMPI_ERR_TIMEOUT, "%s is not ready yet", object_label(object));
    object_drop(thread->room, object);
    return status;
}

int raympi_ref_status(raympi_ref ref)
{
    struct task_thread *thread;
    int status = api_enter(&thread);
    if (status != RAYMPI_OK)
        return status;
    status = ref_status(thread, ref);
    api_leave(thread);
    return status;
}
