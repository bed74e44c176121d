/* The short ways of the task room, inline: what nearly every task, object and scope takes. The long ways, for
 * whatever is rare, are functions of the files that they belong to. Included by task.h only. */
#ifndef RAYMPI_TASK_INLINE_H
#define RAYMPI_TASK_INLINE_H

/* ---- from handles to records */

/* A handle is rank (20 bits), actor flag, generation (19 bits), slot (24 bits). */
#define OBJECT_GENERATION  (UINT64_C(1) << OBJECT_SLOT_BITS)
#define OBJECT_GENERATIONS (((UINT64_C(1) << 19) - 1) << OBJECT_SLOT_BITS)
#define OBJECT_NO_HANDLE   UINT64_MAX
#define OBJECT_AHEAD       8  /* records that are fetched from memory before their turn comes */
#define OBJECT_SLOTS_BATCH 64 /* slots that a thread and the room change at a time */

/** Is this rank the owner, so that the record is in a slot? */
static inline bool object_owned(const struct task_room *room, uint64_t handle)
{
    /* Rank and actor flag in one look. */
    return handle >> (REFCOUNT_SEQUENCE_BITS - 1) == (uint64_t)room->config.rank << 1;
}
_Static_assert(TASK_HANDLE_ACTOR == UINT64_C(1) << (REFCOUNT_SEQUENCE_BITS - 1),
               "the flag is below the rank");

/** Of a handle: what tells owner and slab. */
#define OBJECT_PLACE (~OBJECT_GENERATIONS & ~(uint64_t)(OBJECT_SLAB - 1))

static inline uint32_t object_slot(uint64_t handle)
{
    return (uint32_t)(handle & ((1u << OBJECT_SLOT_BITS) - 1));
}

/** The slab in which the slot of an owned handle lies; NULL: there is none. */
static inline struct object *object_slab(struct task_room *room, uint64_t handle)
{
    uint32_t slot = object_slot(handle);
    /* Acquire: the slab's memory is seen as its maker left it. */
    return atomic_load_explicit(&room->slabs[slot / OBJECT_SLAB], memory_order_acquire);
}

/** Of a slot that may have another record at any moment. */
static inline uint64_t object_handle_now(const struct object *object)
{
    return __atomic_load_n(&object->count.handle, __ATOMIC_RELAXED);
}

/** The record in the slot of an owned handle; NULL when that has another one by now. */
static inline struct object *object_by_slot(struct task_room *room, uint64_t handle)
{
    struct object *slab = object_slab(room, handle);
    if (base_unlikely(!slab))
        return NULL;
    struct object *object = slab + handle % OBJECT_SLAB;
    return base_likely(object_handle_now(object) == handle) ? object : NULL;
}

/** Where the slot would lie; for prefetches, any handle will do. */
static inline uintptr_t object_place(struct task_room *room, uint64_t handle)
{
    uint32_t slot = object_slot(handle);
    struct object *slab = atomic_load_explicit(&room->slabs[slot / OBJECT_SLAB], memory_order_relaxed);
    return (uintptr_t)slab + slot % OBJECT_SLAB * sizeof *slab;
}
/** Its record is to be changed soon. */
static inline void object_prefetch(struct task_room *room, uint64_t handle)
{
    base_prefetch_write((const void *)object_place(room, handle));
}

struct object *object_find_borrowed(struct task_room *room, uint64_t handle);
/** The record of a handle here, or NULL. The caller must know of a hold that keeps it. */
static inline struct object *object_find(struct task_room *room, uint64_t handle)
{
    return base_likely(object_owned(room, handle)) ? object_by_slot(room, handle)
                                                   : object_find_borrowed(room, handle);
}

/** One more hold on another rank's object of which a user's scope here has a ref; NULL: none has. */
struct object *object_hold_borrowed(struct task_room *room, uint64_t handle);
/** Where the scope that got it last keeps it, as its record says; UINT32_MAX: there is none. */
uint32_t object_hint_borrowed(struct task_room *room, uint64_t handle);

/* ---- objects */

/* Values are written, moved and looked at within a few instructions. A load that finds its bytes in the
 * stores of several others has to wait for all stores before it; so here words are written and read as such,
 * which atomic accesses see to. */

/** struct value's head of one that nests nothing. */
static inline uint64_t value_head(uint8_t kind, uint8_t type)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return kind | (uint64_t)type << 8;
#else
    return (uint64_t)kind << 56 | (uint64_t)type << 48;
#endif
}

static inline void value_begin(struct value *value, uint8_t kind, uint8_t type, uint64_t length)
{
    __atomic_store_n(&value->head, value_head(kind, type), __ATOMIC_RELAXED);
    value->length = length;
}

/** None: nothing of it is there, and nothing is to be let go. */
static inline void value_init(struct value *value)
{
    value_begin(value, VALUE_NONE, 0, 0);
}

static inline void value_bytes_copy(char *to, const char *from, uint64_t length)
{
    uint64_t word;
    if (base_likely(length <= 8)) {
        word = __atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_RELAXED);
        __atomic_store_n((uint64_t *)(void *)to, word, __ATOMIC_RELAXED);
    } else {
        memcpy(to, from, VALUE_INLINE_MAX);
    }
}

/** Takes a value over. Others may look at the kind of the one that is replaced. */
static inline void value_move(struct value *to, const struct value *from)
{
    uint64_t head = __atomic_load_n(&from->head, __ATOMIC_RELAXED);
    __atomic_store_n(&to->head, head, __ATOMIC_RELAXED);
    to->length = from->length;
    if (base_likely((uint8_t)head == VALUE_INLINE))
        value_bytes_copy(to->u.bytes, from->u.bytes, value_extent(from->length, from->nested));
    else
        to->u = from->u;
}

/** A line of memory, for a short value or a task's rest; NULL: out of memory. */
static inline void *task_line_take(struct task_room *room)
{
    struct task_thread *thread = task_self;
    return base_pool_take(&room->lines, thread ? &thread->lines : NULL);
}
static inline void task_line_give(struct task_room *room, void *line)
{
    struct task_thread *thread = task_self;
    base_pool_give(&room->lines, thread ? &thread->lines : NULL, line);
}

/** What stood in a free slot becomes an object. */
static inline void object_begin(struct object *object, uint64_t holds, const char *const *label)
{
    __atomic_store_n(&object->count.handle, object->free.handle, __ATOMIC_RELAXED);
    /* Release: who takes a hold because of this count sees whose it is. */
    atomic_store_explicit(&object->count.count, holds, memory_order_release);
    object->label = label;
}
/** object_new_bare() for a thread that has a free slot. */
static inline struct object *object_take(struct task_thread *thread, uint64_t holds, const char *const *label)
{
    struct object *object = thread->free_objects, *next = object->free.next;
    thread->free_objects = next;
    thread->free_object_count--;
    base_prefetch_write(next);
    object_begin(object, holds, label);
    return object;
}
/** When the thread has no free slot; NULL: out of memory (detail set). */
struct object *object_slots_fetch(struct task_room *room);
/** A new object owned here, with `holds` holds (those with a name count REFCOUNT_NAMED_HOLD) and nothing
 * where its value or task will be; nobody else knows it yet. NULL: out of memory (detail set). */
static inline struct object *object_new_bare(struct task_room *room, uint64_t holds, const char *const *label)
{
    struct task_thread *thread = task_self;
    if (base_likely(thread && thread->room == room && thread->free_objects))
        return object_take(thread, holds, label);
    struct object *object = object_slots_fetch(room);
    if (object)
        object_begin(object, holds, label);
    return object;
}
/** The same, without a task, with no value yet and no identity: what was the list of free slots does not
 * travel. */
static inline struct object *object_new(struct task_room *room, uint64_t holds, const char *const *label)
{
    struct object *object = object_new_bare(room, holds, label);
    if (base_likely(object != NULL)) {
        object->parent = (struct task_id){{0, 0}};
        object->child = 0;
        value_init(&object->value);
    }
    return object;
}

/** When the thread has many free slots (NULL), or takes no part in the room. */
void object_slots_surplus(struct task_room *room, struct object *object);
/** Makes it a free slot; false: the slot has had all the handles that there are for it. */
static inline bool object_slot_clear(struct object *object)
{
    uint64_t handle = object->count.handle, next = handle + OBJECT_GENERATION;
    __atomic_store_n(&object->count.handle, 0, __ATOMIC_RELAXED);
    object->result = 0;
    object->attempt = 0;
    object->free.handle = next;
    return base_likely((next & OBJECT_GENERATIONS) != 0);
}
/** Has the thread room for one more? Only one more than a batch makes some: who takes and gives in turn never
 * comes there. */
static inline bool object_slots_room(const struct task_thread *thread)
{
    return base_likely(thread->free_object_count != OBJECT_SLOTS_BATCH);
}
/** object_slot_free() then. */
static inline void object_slot_give(struct task_thread *thread, struct object *object)
{
    if (!object_slot_clear(object))
        return;
    object->free.next = thread->free_objects;
    thread->free_objects = object;
    thread->free_object_count++;
}
/** The slot of an object that is over and has no holders, waiters, status or flags any more: what a new
 * object begins with need not be written then. */
static inline void object_slot_free(struct task_room *room, struct object *object)
{
    struct task_thread *thread = task_self;
    if (base_likely(thread && thread->room == room)) {
        if (!object_slots_room(thread))
            object_slots_surplus(room, NULL);
        object_slot_give(thread, object);
    } else if (object_slot_clear(object)) {
        object_slots_surplus(room, object);
    }
}

void object_destroy_more(struct task_room *room, struct object *object);
/** Is it nothing but a record, as most are? */
static inline bool object_is_plain(const struct object *object)
{
    return object->value.kind <= VALUE_INLINE && object->special == 0 && !object->count.holders;
}
/** The last hold is gone of an object owned here. */
static inline void object_destroy_owned(struct task_room *room, struct object *object)
{
    if (base_likely(object_is_plain(object)))
        object_slot_free(room, object);
    else
        object_destroy_more(room, object);
}
/** The last hold is gone, and the record is in no table that others look into with a hold. */
static inline void object_destroy(struct task_room *room, struct object *object)
{
    if (base_likely(object_owned(room, object_handle(object))))
        object_destroy_owned(room, object);
    else
        object_destroy_more(room, object);
}

/** `dropped`: what a refcount_drop() has answered, if not 0. */
void object_drop_more(struct task_room *room, struct object *object, uint64_t handle, int dropped);
static inline void object_drop(struct task_room *room, struct object *object)
{
    uint64_t handle = object_handle(object);
    if (refcount_is_last(&object->count) && object_owned(room, handle)) {
        object_destroy_owned(room, object);
        return;
    }
    int dropped = refcount_drop(&object->count);
    if (base_unlikely(dropped != 0))
        object_drop_more(room, object, handle, dropped);
}

/** The thread may end an object that only it holds by plain stores, up to object_end_done(): no other thread
 * looks it up by its handle. Whoever is the first to do that waits until nobody is between these two; false:
 * somebody has. */
static inline bool object_end_begin(struct task_thread *thread, const struct task_room *room)
{
    if (base_unlikely(!thread || thread->room != room))
        return false;
    atomic_store_explicit(&thread->ending, 1, memory_order_relaxed);
    base_fence_lightest(); /* pairs with the heavy one of cross() */
    if (base_likely(atomic_load_explicit(&((struct task_room *)room)->crossed, memory_order_relaxed) ==
                    TASK_NEVER_CROSSED))
        return true;
    atomic_store_explicit(&thread->ending, 0, memory_order_relaxed);
    return false;
}
static inline void object_end_done(struct task_thread *thread)
{
    /* Release: who has waited for it finds the object ended. */
    atomic_store_explicit(&thread->ending, 0, memory_order_release);
}

/** Drops a hold that a user had a name for: one of a scope or a kept set. */
static inline void object_drop_named(struct task_room *room, struct object *object)
{
    uint64_t handle = object_handle(object);
    struct task_thread *thread = task_self;
    if (base_likely(refcount_is_last(&object->count) && object_owned(room, handle) &&
                    object_end_begin(thread, room))) {
        refcount_drop_last(&object->count);
        object_end_done(thread);
        object_destroy_owned(room, object);
        return;
    }
    int dropped = refcount_drop_named(&object->count);
    if (base_unlikely(dropped != 0))
        object_drop_more(room, object, handle, dropped);
}

void object_complete_waited(struct task_room *room, struct object *object);
void object_complete_waited_drop(struct task_room *room, struct object *object);
/* READY, when nobody has ever waited: the count as it is then, 0 when somebody has. */
static inline uint64_t object_complete_alone(struct object *object, uint64_t drop)
{
    uint64_t count = atomic_load_explicit(&object->count.count, memory_order_relaxed);
    while (base_likely(!(count & (OBJECT_WAITED | OBJECT_READY)))) {
        uint64_t after = (count | OBJECT_READY) - drop;
        /* Release: the value comes before "ready"; acquire: who destroys the object comes after all holders.
         */
        if (base_likely(atomic_compare_exchange_weak_explicit(&object->count.count, &count, after,
                                                              memory_order_acq_rel, memory_order_relaxed)))
            return after;
    }
    return 0;
}
/** The value is in place (or the status is an error): wakes all waiters. Once. */
static inline void object_complete(struct task_room *room, struct object *object)
{
    if (base_unlikely(object_complete_alone(object, 0) == 0))
        object_complete_waited(room, object);
}
/** The same, and drops the caller's hold: one atomic operation does both when nobody waits. */
static inline void object_complete_drop(struct task_room *room, struct object *object)
{
    uint64_t left = object_complete_alone(object, 1);
    if (base_likely((uint32_t)left > 0))
        return;
    if (left)
        object_destroy(room, object);
    else
        object_complete_waited_drop(room, object);
}
/** The same for an object that nobody else knows yet: only who knew the one that its slot had before may hold
 * it for a moment. */
static inline void object_complete_fresh(struct task_room *room, struct object *object)
{
    uint64_t count = atomic_load_explicit(&object->count.count, memory_order_relaxed);
    base_fence_lightest(); /* as in object_end_begin() */
    if (base_unlikely(atomic_load_explicit(&room->crossed, memory_order_relaxed) != TASK_NEVER_CROSSED))
        atomic_fetch_or_explicit(&object->count.count, OBJECT_READY, memory_order_release);
    else
        atomic_store_explicit(&object->count.count, count | OBJECT_READY, memory_order_release);
}

/* ---- contexts */

static inline void context_init(struct context *context, struct task_room *room, const char *name)
{
    context->room = room;
    context->name = name;
    context->run = NULL;
    context->held = context->held_first;
    context->held_size = sizeof context->held_first / sizeof context->held_first[0];
    context->views = context->view_first;
    context->view_size = VIEWS_INLINE;
    memset(&context->none, 0, sizeof context->none);
}
void context_let_go(struct context *context);
/** Lets go of everything. */
static inline void context_fini(struct context *context)
{
    /* The lanes are others' to change. */
    if (base_unlikely(context->held_used || context->view_used || context->grown ||
                      __atomic_load_n(&context->lanes, __ATOMIC_RELAXED) != NULL))
        context_let_go(context);
}
struct task_id context_id_make(struct context *context);
static inline struct task_id context_id(struct context *context)
{
    return base_likely(context->id_known) ? context->id : context_id_make(context);
}
int context_hold_more(struct context *context);
/** The same where there is room for it. */
static inline void context_hold_put(struct context *context, struct object *object)
{
    uint32_t at = context->held_used;
    atomic_store_explicit(&object->scope_index, at, memory_order_relaxed);
    context->held[at] = object_handle(object);
    context->held_used = at + 1;
}
/** The same for a hold that has its name already. */
static inline int context_hold_named(struct context *context, struct object *object)
{
    if (base_unlikely(context->held_used == context->held_size)) {
        int status = context_hold_more(context);
        if (status != RAYMPI_OK)
            return status;
    }
    context_hold_put(context, object);
    return RAYMPI_OK;
}
/** Does the context hold what has the handle, as far as one look tells? The record may be another's by now.
 */
static inline bool context_holds(const struct context *context, const struct object *object, uint64_t handle)
{
    uint32_t at = atomic_load_explicit(&((struct object *)object)->scope_index, memory_order_relaxed);
    return at < context->held_used && context->held[at] == handle;
}
/** Who looks at an object will often look next at those that its scope has got after it. */
static inline void object_expect_next(struct task_room *room, const struct context *context,
                                      const struct object *object)
{
    uint32_t at =
        atomic_load_explicit(&((struct object *)object)->scope_index, memory_order_relaxed) + OBJECT_AHEAD;
    if (at >= context->held_used)
        return;
    const char *soon = (const char *)object_place(room, context->held[at]);
    __builtin_prefetch(soon);
    __builtin_prefetch(soon + BASE_CACHE_LINE);
}
#define CONTEXT_NOWHERE UINT32_MAX
/** Where the innermost scope has the handle, if the hint leads to it; else CONTEXT_NOWHERE. */
static inline uint32_t context_find_short(const struct context *context, const struct object *object,
                                          uint64_t handle)
{
    uint32_t at = atomic_load_explicit(&((struct object *)object)->scope_index, memory_order_relaxed);
    uint32_t used = context->held_used, floor = context->held_floor;
    if (base_unlikely(at - floor >= used - floor || context->held[at] != handle || context->odd))
        return CONTEXT_NOWHERE;
    return at;
}
/** Takes the hold there out of the scope. */
static inline void context_unhold_at(struct context *context, uint32_t at)
{
    context->held[at] = 0;
    if (at + 1 < context->held_used)
        return;
    while (at > context->held_floor && context->held[at - 1] == 0) /* released before */
        at--;
    context->held_used = at;
}
/** Takes a hold of the caller's out of the context, without dropping it; it keeps its name. False: there is
 * none. */
static inline bool context_unhold(struct context *context, struct object *object)
{
    uint32_t at = context_find_short(context, object, object_handle(object));
    if (base_unlikely(at == CONTEXT_NOWHERE))
        return context_unhold_anywhere(context, object_handle(object));
    context_unhold_at(context, at);
    return true;
}

/* ---- refs of the user's */

/** The record of this rank's object that the current context holds, as far as one look tells; else NULL.
 * Nobody else can take that hold away. */
static inline struct object *object_own(struct task_thread *thread, uint64_t handle)
{
    struct task_room *room = thread->room;
    struct object *object = object_owned(room, handle) ? object_by_slot(room, handle) : NULL;
    return base_likely(object && context_holds(thread->context, object, handle)) ? object : NULL;
}
/** Has some scope on this rank a ref for it, just now? For messages: a moment later it may not. */
bool object_named(struct task_room *room, uint64_t handle);
/** Fails with ARGUMENT or RELEASED, and says why. */
int object_refused(uint64_t handle);
int object_hold_across(struct task_thread *thread, uint64_t handle, struct object **object);
/** The record behind a handle that comes from the user, with a hold for the caller. RELEASED with a text when
 * no user's scope on this rank holds it, even if something else (a view, an argument of a waiting task) still
 * does. Other threads may be letting go of it. */
static inline int object_hold(struct task_thread *thread, uint64_t handle, struct object **object)
{
    *object = object_own(thread, handle);
    if (base_unlikely(!*object))
        return object_hold_across(thread, handle, object);
    object_retain(*object);
    return RAYMPI_OK;
}

/* ---- tasks */

struct task *object_producer_elsewhere(struct task_room *room, const struct object *object);
/** The task that makes its value, as long as that is not there: then it may be gone. It lies in the record,
 * or in that of the first of its results, whose slot a further one knows until its value is there. */
static inline struct task *object_producer(struct task_room *room, struct object *object)
{
    return base_likely(object_has_task(object)) ? &object->task : object_producer_elsewhere(room, object);
}

/** The record that a task's own lies in: of its first result, or one of the pool's. Its identity is there. */
static inline struct object *task_object(const struct task *task)
{
    return base_container((struct task *)task, struct object, task);
}
static inline uint64_t task_result(const struct task *task, int i)
{
    return base_likely(i == 0) ? object_handle(task_object(task)) : task->rest->more[i - 1];
}
/** What it runs; NULL: of a task of another rank's it is not known, or not yet. */
static inline struct task_function *task_function_of(const struct task *task)
{
    return task_object(task)->function;
}
/** The rank that submitted it and owns the results. */
static inline int task_owner(const struct task *task)
{
    return refcount_owner(object_handle(task_object(task)));
}
/** Of its name, as it travels. */
static inline uint64_t task_hash(const struct task *task)
{
    const uint8_t foreign_call = TASK_FOREIGN | TASK_CALL;
    return (task->flags & foreign_call) == foreign_call ? task->rest->name_hash
                                                        : task_function_of(task)->hash;
}

/** The submitter lets go of the actor: before the results of a call are there, so that who has them finds a
 * handle that was released to be released. */
void task_actor_let_go(struct task *task);
static inline void task_actor_drop(struct task *task)
{
    if (base_unlikely((task->flags & TASK_CALL) != 0))
        task_actor_let_go(task);
}
/** Of a task whose function is registered here; else task_item_refuse(). */
void task_item_run(struct sched_item *item);
void task_item_refuse(struct sched_item *item);
/** Of one without arguments: one look tells. */
static inline uint32_t task_shape(uint8_t returns, uint8_t flags)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return VALUE_TASK | (uint32_t)flags << 8 | (uint32_t)returns << 16;
#else
    return (uint32_t)VALUE_TASK << 24 | (uint32_t)flags << 16 | (uint32_t)returns << 8;
#endif
}
static inline bool task_has_shape(const struct task *task, uint8_t returns, uint8_t flags)
{
    return __atomic_load_n(&task->shape, __ATOMIC_RELAXED) == task_shape(returns, flags);
}
/** From here on its record is known to have a task. */
static inline void task_set_shape(struct task *task, uint8_t returns, uint8_t flags, int node)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t head = task_shape(returns, flags) | (uint64_t)(uint32_t)node << 32;
#else
    uint64_t head = (uint64_t)task_shape(returns, flags) << 32 | (uint32_t)node;
#endif
    __atomic_store_n(&task->head, head, __ATOMIC_RELAXED);
}
/** All but what it is called for. */
static inline void task_init(struct task *task, struct task_room *room, uint8_t returns, uint8_t flags)
{
    task->item.run = task_item_run;
    task->room = room;
    task_set_shape(task, returns, flags, TASK_ANYWHERE);
    task->rest = NULL;
}
static inline void task_rest_init(struct task_rest *rest, uint32_t places)
{
    atomic_init(&rest->unresolved, 0);
    rest->places = places;
    rest->actor_object = NULL;
    rest->lane = NULL;
}
/** That of a task without a result here, as long as it has no arguments. */
static inline struct task_rest *task_rest_own(struct task *task)
{
    return &base_container(task_object(task), struct task_record, object)->rest;
}
void task_free_more(struct task *task);
/** Frees what a task has besides its record, and that too if it is the pool's; drops holds of the submitter
 * on arguments that the runner did not accept. */
static inline void task_free(struct task *task)
{
    if (base_unlikely(task->rest || task->flags & TASK_POOLED))
        task_free_more(task);
}

/** Another task runs on the stack of one that waits for it, and has ended. */
void task_covered(struct task_thread *thread, struct raympi_ctx *run);
void task_uncovered(struct task_thread *thread, struct raympi_ctx *run);

/** Runs the task that makes the object here and now, on the caller's stack, if it is the one that this worker
 * would take next. True when the object is ready after that. */
static inline bool task_run_wanted_now(struct task_thread *thread, struct object *object)
{
    /* A task of which only the address is known may have ended, and its record be another's: but not as long
     * as the object is not ready, so that is looked at last. */
    struct task *task = object_producer(thread->room, object);
    struct sched_front *front = thread->front;
    bool before;
    if (!task || !sched_newest_take(front, &task->item, &before))
        return false;
    if (base_unlikely(object_ready(object))) {
        sched_newest_return(front, &task->item, before);
        return true;
    }
    struct raympi_ctx *outer = thread->context->run;
    if (outer)
        task_covered(thread, outer);
    task->item.run = NULL; /* see task_awaited() */
    task_item_run(&task->item);
    if (outer)
        task_uncovered(thread, outer);
    sched_newest_ran(front, before);
    return object_ready(object);
}

/* ---- submitting */

/** Tasks sent to that rank that have not ended. */
static inline uint32_t task_inflight(const struct task_room *room, int rank)
{
    uint32_t ended = atomic_load_explicit(&room->flights[rank].ended, memory_order_relaxed);
    uint32_t left = atomic_load_explicit(&room->flights[rank].sent, memory_order_relaxed) - ended;
    return (int32_t)left > 0 ? left : 0; /* the two are not of one moment */
}

/** A count that one thread writes and others read. */
static inline void task_count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/** One task more has ended, by this thread. Release: who finds that all have ended, as task_outstanding()
 * tells, sees what they did. */
static inline void task_count_end(struct task_thread *thread)
{
    uint64_t ended = atomic_load_explicit(&thread->ended, memory_order_relaxed);
    atomic_store_explicit(&thread->ended, ended + 1, memory_order_release);
}

void task_backlog_look(struct task_room *room);
/** Slows a submitter down, when it is time to look, whose tasks the job can not keep up with. */
static inline void task_backlog_check(struct task_room *room, struct task_thread *thread)
{
    uint64_t submitted = atomic_load_explicit(&thread->submitted, memory_order_relaxed);
    if (base_unlikely((submitted & room->backlog_mask) == room->backlog_mask))
        task_backlog_look(room);
}

/** The record of a result: one hold for the producer, one with a name for the caller's scope. NULL: out of
 * memory (detail set). */
static inline struct object *task_return_new(struct task_room *room, struct task_function *function,
                                             struct context *context)
{
    struct object *object = object_new_bare(room, REFCOUNT_NAMED_HOLD + 1, &function->full_name);
    if (base_unlikely(!object))
        return NULL;
    if (base_likely(context_hold_named(context, object) == RAYMPI_OK))
        return object;
    value_init(&object->value);
    object_drop(room, object);
    object_drop_named(room, object);
    return NULL;
}

/** A task of this rank's with one result, in the record of that. NULL: out of memory (detail set). */
static inline struct task *task_make(struct task_room *room, struct task_function *function,
                                     struct context *context)
{
    struct object *object = task_return_new(room, function, context);
    if (base_unlikely(!object))
        return NULL;
    struct task *task = &object->task;
    object->parent = context_id(context);
    object->child = context->children++;
    task_init(task, room, 1, 0);
    return task;
}

int task_submit_args(struct task *task, const raympi_value *args, size_t count);
static inline void task_way_set(struct task_function *function, enum task_way way)
{
    __atomic_store_n(&function->plan.way, (uint8_t)way, __ATOMIC_RELAXED);
}
static inline enum task_way task_way_of(const struct task_function *function)
{
    return (enum task_way)__atomic_load_n(&function->plan.way, __ATOMIC_RELAXED);
}

/** task_submit() for a task without options whose definition's plan is plain. */
static inline int task_submit_plain(struct task_thread *thread, struct task_function *function,
                                    const raympi_value *args, size_t count, raympi_ref *ref)
{
    struct task_room *room = thread->room;
    task_backlog_check(room, thread);
    struct task *task = task_make(room, function, thread->context);
    if (base_unlikely(!task))
        return RAYMPI_ERR_MEMORY;
    ref->handle = object_handle(task_object(task));
    if (room->config.size == 1 && function->body)
        task_way_set(function, TASK_WAY_HERE);
    return task_submit_args(task, args, count);
}

#endif
