/* Records of objects: type-stable slots for those owned here, a hash for those borrowed from other ranks.
 * A handle is rank (20 bits), actor flag, generation (19 bits), slot (24 bits); a slot whose generations are
 * used up is never used again. */
#include "task/task_internal.h"

#include <sched.h>
#include <stdlib.h>

/* Under the lock: slots that were never used, at most a batch. */
static uint32_t slots_carve(struct task_room *room, struct object **list)
{
    if (room->slot_used == OBJECT_SLAB && room->slab_used < OBJECT_SLABS) {
        struct object *slab = base_memory_map(OBJECT_SLAB * sizeof *slab, room->slab_used > 0);
        if (slab) {
            room->slot_used = 0;
            if (room->slab_used == 0) /* handle 0 is null, and no look-up may find it */
                slab[room->slot_used++].count.handle = OBJECT_NO_HANDLE;
            /* Release: who finds a handle in this slab sees it zeroed. */
            atomic_store_explicit(&room->slabs[room->slab_used++], slab, memory_order_release);
        }
    }
    uint32_t count = OBJECT_SLAB - room->slot_used < OBJECT_SLOTS_BATCH ? OBJECT_SLAB - room->slot_used
                                                                        : OBJECT_SLOTS_BATCH;
    if (count == 0)
        return 0;
    uint32_t slab = room->slab_used - 1, first = room->slot_used;
    struct object *objects = atomic_load_explicit(&room->slabs[slab], memory_order_relaxed);
    /* From the end: so they are taken in the order of their addresses, which prefetchers like. */
    for (uint32_t slot = first + count; slot-- > first;) {
        objects[slot].free.handle =
            (uint64_t)room->config.rank << REFCOUNT_SEQUENCE_BITS | (slab * OBJECT_SLAB + slot);
        objects[slot].free.next = *list;
        *list = &objects[slot];
    }
    room->slot_used += count;
    return count;
}

/* Under the lock: a batch of slots, or fewer. */
static uint32_t slots_get(struct task_room *room, struct object **list)
{
    struct object *batch = room->free_batches;
    *list = NULL;
    if (batch) {
        room->free_batches = batch->next_batch;
        *list = batch;
        return OBJECT_SLOTS_BATCH;
    }
    uint32_t count = 0;
    for (; room->free_objects && count < OBJECT_SLOTS_BATCH; count++) {
        struct object *object = room->free_objects;
        room->free_objects = object->free.next;
        object->free.next = *list;
        *list = object;
    }
    return count > 0 ? count : slots_carve(room, list);
}

/* Under the lock: one by one. */
static void slots_give(struct task_room *room, struct object *list)
{
    while (list) {
        struct object *next = list->free.next;
        list->free.next = room->free_objects;
        room->free_objects = list;
        list = next;
    }
}

void object_slots_return(struct task_room *room, struct task_thread *thread)
{
    base_spin_lock(&room->slab_lock);
    slots_give(room, thread->free_objects);
    slots_give(room, thread->free_batch);
    base_spin_unlock(&room->slab_lock);
    thread->free_objects = thread->free_batch = NULL;
    thread->free_object_count = 0;
}

/* A thread that takes no part, or in another node's room. */
static struct object *slot_single(struct task_room *room)
{
    struct object *list;
    base_spin_lock(&room->slab_lock);
    if (slots_get(room, &list) > 0)
        slots_give(room, list->free.next);
    base_spin_unlock(&room->slab_lock);
    return list;
}

/* The thread's other batch, or one of the room's. */
static struct object *slots_refill(struct task_room *room, struct task_thread *thread)
{
    struct object *list = thread->free_batch;
    uint32_t count = OBJECT_SLOTS_BATCH;
    thread->free_batch = NULL;
    if (!list) {
        base_spin_lock(&room->slab_lock);
        count = slots_get(room, &list);
        base_spin_unlock(&room->slab_lock);
    }
    if (!list)
        return NULL;
    thread->free_objects = list->free.next;
    thread->free_object_count = count - 1;
    return list;
}

struct object *object_slots_fetch(struct task_room *room)
{
    struct task_thread *thread = task_self;
    bool part = thread && thread->room == room;
    struct object *object = part ? slots_refill(room, thread) : slot_single(room);
    if (!object)
        base_fail(RAYMPI_ERR_MEMORY,
                  "no memory for another object record (16 million may live at once on a rank)");
    return object;
}

void object_slots_surplus(struct task_room *room, struct object *object)
{
    struct task_thread *thread = task_self;
    base_spin_lock(&room->slab_lock);
    if (object) {
        object->free.next = room->free_objects;
        room->free_objects = object;
    } else if (thread->free_batch) {
        thread->free_batch->next_batch = room->free_batches;
        room->free_batches = thread->free_batch;
    }
    base_spin_unlock(&room->slab_lock);
    if (object)
        return;
    thread->free_batch = thread->free_objects;
    thread->free_objects = NULL;
    thread->free_object_count = 0;
}

struct task *object_producer_elsewhere(struct task_room *room, const struct object *object)
{
    uint32_t slot = atomic_load_explicit(&((struct object *)object)->first, memory_order_relaxed);
    if (slot == 0 || slot == OBJECT_BORROWED)
        return NULL;
    struct object *first = object_slab(room, slot) + slot % OBJECT_SLAB;
    return object_has_task(first) ? &first->task : NULL;
}

struct task_id object_id(const struct object *object)
{
    if (atomic_load_explicit(&((struct object *)object)->first, memory_order_relaxed) == OBJECT_BORROWED)
        return object->parent;
    return task_id_child(task_id_child(object->parent, object->child),
                         (uint64_t)object->result + (UINT64_C(1) << 40));
}

/* What the owner held for the object's bytes. */
static void nested_drop(struct task_room *room, struct object *object)
{
    uint32_t count;
    const raympi_wire_ref *wires = value_nested(&object->value, &count);
    for (uint32_t i = 0; i < count; i++)
        if (wires[i].handle)
            object_drop_handle(room, wires[i].handle);
}

/* Nobody can seal it any more. Whoever was promised the value (ranks that have let go of it since) is told,
 * perhaps only after others that are woken just now: it has a hold until then. */
static void unsealed_end(struct task_room *room, struct object *object)
{
    uint64_t marks = atomic_load_explicit(&object->count.count, memory_order_relaxed) & OBJECT_WAITED;
    atomic_store_explicit(&object->count.count, marks + 1, memory_order_relaxed);
    object->unsealed = 0;
    value_drop(room, &object->value, true);
    object_see(object);
    object_fail(room, object, RAYMPI_ERR_RELEASED, object_label(object),
                "it was released before it was sealed");
    object_drop(room, object);
}

static void slot_clear_free(struct task_room *room, struct object *object)
{
    object->special = 0;
    object_slot_free(room, object);
}

static void destroy_one(struct task_room *room, struct object *object)
{
    uint64_t handle = object_handle(object);
    bool owner = refcount_owner(handle) == room->config.rank;
    if (object->unsealed) {
        unsealed_end(room, object);
        return;
    }
    if (owner && object->status != RAYMPI_OK && !__atomic_load_n(&object->seen, __ATOMIC_RELAXED))
        task_note_unseen(room, object);
    if (object->nested_held)
        nested_drop(room, object);
    value_drop(room, &object->value, owner);
    refcount_fini(&object->count);
    if (task_handle_is_actor(handle) || !owner)
        free(base_container(object, struct borrowed, object));
    else
        slot_clear_free(room, object);
    if (task_handle_is_actor(handle) && owner)
        room->actor.handle_free(room->actor.arg, handle);
}

/* The last hold is gone, and the record is in no table that others look into with a hold. What an object
 * holds may go with it, and what that holds, and so on: a list that is as long as a user makes it, so not by
 * recursion. */
void object_destroy_more(struct task_room *room, struct object *object)
{
    static __thread struct object *doomed __attribute__((tls_model("initial-exec")));
    static __thread bool destroying __attribute__((tls_model("initial-exec")));
    if (destroying) {
        object->next_doomed = doomed;
        doomed = object;
        return;
    }
    destroying = true;
    destroy_one(room, object);
    while ((object = doomed)) {
        doomed = object->next_doomed;
        destroy_one(room, object);
    }
    destroying = false;
}

void object_drop_more(struct task_room *room, struct object *object, uint64_t handle, int dropped)
{
    if (dropped < 0)
        base_log(BASE_LOG_ERROR, "task", "object %#llx (%s) was released more often than held",
                 (unsigned long long)handle, object_label(object));
    else if (object_owned(room, handle))
        object_destroy(room, object); /* stays 0: nobody is left to pass a hold on, and no lock is needed */
    else
        object_zero(room, handle);
}

/* ---- waiters: a list whose head word is its own lock. Who adds the first one marks the object WAITED, and
 * who completes an object that is marked takes the lock: either the one sees READY, or the other WAITED. */

#define WAITERS_LOCKED ((uintptr_t)1)

static uintptr_t waiters_lock(struct object *object)
{
    uintptr_t word = atomic_load_explicit(&object->waiters, memory_order_relaxed);
    for (int spins = 0;; spins++) {
        /* Acquire: the list as the last holder of the lock left it. */
        if (!(word & WAITERS_LOCKED) &&
            atomic_compare_exchange_weak_explicit(&object->waiters, &word, word | WAITERS_LOCKED,
                                                  memory_order_acquire, memory_order_relaxed))
            return word;
        if (spins < 100)
            ck_pr_stall();
        else
            sched_yield(); /* its holder may have lost the processor to us */
        word = atomic_load_explicit(&object->waiters, memory_order_relaxed);
    }
}

static void waiters_unlock(struct object *object, struct waiter *head)
{
    atomic_store_explicit(&object->waiters, (uintptr_t)head, memory_order_release);
}

bool object_wait_add(struct object *object, struct waiter *waiter)
{
    if (object_ready(object))
        return false;
    waiter->object = object;
    struct waiter *head = (struct waiter *)waiters_lock(object);
    /* Acquire: where it is ready, the value is seen. */
    uint64_t count = atomic_fetch_or_explicit(&object->count.count, OBJECT_WAITED, memory_order_acq_rel);
    if (!(count & OBJECT_READY)) {
        waiter->next = head;
        head = waiter;
    }
    waiters_unlock(object, head);
    struct task_room *room = task_self ? task_self->room : NULL;
    if (base_unlikely(room && atomic_load_explicit(&room->create.hungry_count, memory_order_relaxed) > 0))
        task_hungry_look(room);
    return !(count & OBJECT_READY);
}

bool object_wait_remove(struct object *object, struct waiter *waiter)
{
    struct waiter *head = (struct waiter *)waiters_lock(object);
    struct waiter **link = &head;
    while (*link && *link != waiter)
        link = &(*link)->next;
    bool found = *link != NULL;
    if (found)
        *link = waiter->next;
    waiters_unlock(object, head);
    return found;
}

/* Whoever waits stays in the list as long as that is locked, and so does the task whose argument it is. A
 * task's lock is taken after that of its argument. */
bool object_awaited(struct object *object, int depth)
{
    if (!atomic_load_explicit(&object->waiters, memory_order_relaxed))
        return false;
    struct waiter *head = (struct waiter *)waiters_lock(object);
    bool found = false;
    for (const struct waiter *waiter = head; waiter && !found; waiter = waiter->next) {
        const struct task *task = waiter_task(waiter);
        found = !task || depth == 0 || task_awaited(task, depth - 1);
    }
    waiters_unlock(object, head);
    return found;
}

static struct waiter *oldest_first(struct waiter *list)
{
    struct waiter *first = NULL;
    while (list) {
        struct waiter *next = list->next;
        list->next = first;
        first = list;
        list = next;
    }
    return first;
}

/* A waiter may complete the next object (an alias, a task whose argument failed), and so on along a chain
 * that is as long as a user makes it: that one's waiters queue here behind all others, with a hold on it,
 * until they have been fired. `list`: the newest first. */
static void wake(struct task_room *room, struct object *object, struct waiter *list)
{
    static __thread struct waiter *queue __attribute__((tls_model("initial-exec")));
    static __thread struct waiter **queue_end __attribute__((tls_model("initial-exec")));
    struct object *outermost = queue_end ? NULL : object;
    if (outermost)
        queue_end = &queue;
    else
        object_retain(object);
    *queue_end = oldest_first(list);
    queue_end = &list->next; /* the newest is the last now */
    while (outermost && queue) {
        struct waiter *waiter = queue;
        object = waiter->object;
        queue = waiter->next;
        bool last = !queue || queue->object != object;
        if (!queue)
            queue_end = &queue;
        waiter->fire(waiter, object); /* may free itself, and queue others */
        if (last && object != outermost)
            object_drop(room, object);
    }
    if (outermost)
        queue_end = NULL;
}

void object_complete_waited(struct task_room *room, struct object *object)
{
    struct waiter *list = (struct waiter *)waiters_lock(object);
    /* Release: the value comes before "ready". */
    uint64_t count = atomic_fetch_or_explicit(&object->count.count, OBJECT_READY, memory_order_acq_rel);
    waiters_unlock(object, NULL);
    if (count & OBJECT_READY) {
        base_log(BASE_LOG_ERROR, "task", "object %#llx (%s) was completed twice",
                 (unsigned long long)object_handle(object), object_label(object));
        return;
    }
    if (list && base_defect(DEFECT_LOST_WAITER))
        list = list->next;
    if (list)
        wake(room, object, list);
}

void object_complete_waited_drop(struct task_room *room, struct object *object)
{
    object_complete_waited(room, object);
    object_drop(room, object);
}

void object_fail(struct task_room *room, struct object *object, int code, const char *task,
                 const char *message)
{
    struct value error;
    object->status = code;
    value_error(&error, code, room->config.rank, task, message);
    value_move(&object->value, &error);
    object_complete(room, object);
}
