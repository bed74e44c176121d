/* Refs that a thread looks up though another context holds them: a global variable of the program's, an array
 * that threads share. Their holder may let go of them at the same moment.
 *
 * As long as nobody does so, who drops the only hold of an object ends it by plain stores: nobody else can
 * come to it. The first look across changes that for the whole room, for good: it says so, waits until no
 * thread is in the middle of such an end (tests/models/cross.pml), and from then on every named hold is
 * dropped by an atomic operation. Then a hold can be taken of any record whose count says that somebody has a
 * name for it; should it be another object's by then, its handle tells, and the hold is dropped again. */
#include "task/task_internal.h"

int object_refused(uint64_t handle)
{
    if (handle == 0)
        return base_fail(RAYMPI_ERR_ARGUMENT,
                         "the ref is null: it was never set, or the call that made it failed");
    return base_fail(RAYMPI_ERR_RELEASED,
                     "ref %#llx is not held here: it was released (a task's refs end with the task unless "
                     "kept), or it is no ref of this job",
                     (unsigned long long)handle);
}

bool object_named(struct task_room *room, uint64_t handle)
{
    if (object_owned(room, handle)) {
        const struct object *object = object_by_slot(room, handle);
        return object && refcount_names(&object->count) > 0;
    }
    struct object *object = object_hold_borrowed(room, handle);
    if (object)
        object_drop(room, object);
    return object != NULL;
}

static void cross(struct task_room *room)
{
    /* Acquire: the ends of others are seen. */
    if (base_likely(atomic_load_explicit(&room->crossed, memory_order_acquire) == TASK_CROSSED))
        return;
    base_spin_lock(&room->thread_lock);
    if (atomic_load_explicit(&room->crossed, memory_order_relaxed) == TASK_NEVER_CROSSED) {
        atomic_store_explicit(&room->crossed, TASK_CROSSING, memory_order_relaxed);
        /* Our mark before the look at theirs: their own are as far apart, and they have nothing but a light
         * fence. */
        base_fence_heavy();
        for (struct task_thread *thread = room->threads; thread; thread = thread->next)
            base_spin_until_zero(&thread->ending);
        atomic_store_explicit(&room->crossed, TASK_CROSSED, memory_order_release);
    }
    base_spin_unlock(&room->thread_lock);
}

static struct object *hold_named(struct task_room *room, uint64_t handle)
{
    struct object *object = object_by_slot(room, handle);
    if (!object || refcount_names(&object->count) == 0)
        return NULL; /* and it never will be there again */
    cross(room);
    if (object_handle_now(object) != handle || !refcount_retain_named(&object->count))
        return NULL;
    if (base_likely(object_handle_now(object) == handle))
        return object;
    object_drop(room, object);
    return NULL;
}

/* What nobody can let go of meanwhile: of the caller's own scopes, where the record's hint leads to another
 * context's, and what is kept. */
static struct object *hold_known(struct task_thread *thread, uint64_t handle)
{
    struct task_room *room = thread->room;
    const struct raympi_ctx *run = thread->context->run;
    struct object *object = NULL;
    if (atomic_load_explicit(&room->crossed, memory_order_relaxed) == TASK_CROSSED)
        return NULL;
    if (context_holds_near(thread->context, handle) && (object = object_by_slot(room, handle)))
        object_retain(object);
    if (!object && run && run->kept)
        object = kept_hold(room, run->kept, handle);
    return object ? object : kept_hold(room, &room->kept, handle);
}

void task_objects_each(struct task_thread *thread,
                       void (*visit)(void *arg, struct task_room *room, struct object *object), void *arg)
{
    struct task_room *room = thread->room;
    base_spin_lock(&room->slab_lock);
    uint32_t slabs = room->slab_used, last = room->slot_used;
    base_spin_unlock(&room->slab_lock);
    for (uint32_t slab = 0; slab < slabs; slab++)
        for (uint32_t slot = 0; slot < (slab + 1 == slabs ? last : OBJECT_SLAB); slot++) {
            struct object *objects = atomic_load_explicit(&room->slabs[slab], memory_order_acquire);
            struct object *object = hold_named(room, object_handle_now(&objects[slot]));
            if (!object)
                continue;
            visit(arg, room, object);
            object_drop(room, object);
        }
}

int object_hold_across(struct task_thread *thread, uint64_t handle, struct object **object)
{
    struct task_room *room = thread->room;
    if (!object_owned(room, handle))
        *object = object_hold_borrowed(room, handle);
    else if (!(*object = hold_known(thread, handle)))
        *object = hold_named(room, handle);
    return base_likely(*object != NULL) ? RAYMPI_OK : object_refused(handle);
}
