/* Submitting in the short way: where all that it needs is at hand, and without a call of a function; and the
 * form in which tasks travel. Included by task.h only. */
#ifndef RAYMPI_TASK_SHORT_H
#define RAYMPI_TASK_SHORT_H

/** Has the thread a record, and its scope a place for the ref, and is it not time to look at the backlog? */
static inline bool task_is_easy(const struct task_thread *thread, const struct context *context)
{
    uint64_t mask = thread->room->backlog_mask;
    uint64_t submitted =
        atomic_load_explicit(&((struct task_thread *)thread)->submitted, memory_order_relaxed);
    return thread->free_objects != NULL && context->held_used != context->held_size &&
           (submitted & mask) != mask;
}
/** Then: task_make(), and it counts as submitted; but where and how it is to run is not said yet. */
static inline struct task *task_make_easy(struct task_thread *thread, struct context *context,
                                          struct task_function *function)
{
    struct object *object = object_take(thread, REFCOUNT_NAMED_HOLD + 1, &function->full_name);
    context_hold_put(context, object);
    object->parent = context->id;
    object->child = context->children++;
    struct task *task = &object->task;
    task->room = thread->room;
    task->rest = NULL;
    task_count(&thread->submitted);
    return task;
}

/** A plain task without arguments in a job of one rank; the context's id is known. `alone`: the thread is the
 * rank's only worker. The handle of its result; 0: nothing has happened. */
static inline __attribute__((always_inline)) uint64_t
task_submit_here(struct task_thread *thread, struct task_function *function, bool alone)
{
    struct context *context = thread->context;
    struct sched_front *front = thread->front;
    if (base_unlikely(!sched_push_ready(front) || !task_is_easy(thread, context)))
        return 0;
    struct task *task = task_make_easy(thread, context, function);
    uint64_t handle = object_handle(task_object(task)); /* once it can be run, it may be over */
    task->item.run = task_item_run;
    task_set_shape(task, 1, 0, TASK_ANYWHERE);
    if (alone)
        sched_deque_put(&front->deque, &task->item);
    else
        sched_push_here(front, &task->item);
    return handle;
}

/* What stands before the handles of further results and the arguments of a task on its way. With a record's
 * header it fills a cache line, and is all of a task without either. */
struct task_head {
    uint64_t name_hash, actor;
    struct task_id parent;
    uint64_t handle; /* of the first result: its rank is the owner */
    uint32_t index;
    uint16_t attempt;
    uint8_t how; /* the number of arguments in units of HOW_ARG, and the others */
    uint8_t returns;
};
_Static_assert(sizeof(struct task_head) == 48, "no bytes without a meaning");
#define HOW_VOID    1
#define HOW_PINNED  2 /* must run where it goes */
#define HOW_ARG     4
#define HOW_NUMBERS 128 /* at most TASK_ARGS_INLINE arguments: struct task_numbers instead of all else */
_Static_assert(TASK_ARGS_MAX *HOW_ARG < HOW_NUMBERS, "there is room for the number of arguments");

struct task_numbers {
    uint64_t kinds; /* a byte each, from the lowest */
    uint64_t number[TASK_ARGS_INLINE];
};
/** Bytes of so many. */
static inline uint32_t task_numbers_size(size_t count)
{
    return (uint32_t)(offsetof(struct task_numbers, number) + count * sizeof(uint64_t));
}
static inline bool task_kind_is_number(int kind)
{
    return kind == RAYMPI_KIND_INT || kind == RAYMPI_KIND_DOUBLE;
}
/** Can they travel in that form? */
static inline bool task_are_numbers(const raympi_value *args, size_t count)
{
    if (!args || count > TASK_ARGS_INLINE)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!task_kind_is_number(args[i].kind))
            return false;
    return true;
}

#define TASK_CREDITS                                                                                         \
    16384 /* tasks of ours that another rank may have at once, where it is asked for by name */

/** One without arguments, or with few that are numbers, which goes to `node`, another rank, as soon as it is
 * submitted: a task with a plan that says so, or a call (`actor` is its handle, `object` a hold on that). */
static inline __attribute__((always_inline)) uint64_t
task_submit_away(struct task_thread *thread, struct task_function *function, int node, uint64_t actor,
                 struct object *object, const raympi_value *args, size_t count)
{
    struct task_room *room = thread->room;
    struct context *context = thread->context;
    if (base_unlikely(!context->id_known))
        context_id_make(context);
    if (base_unlikely(!task_is_easy(thread, context) || task_inflight(room, node) >= TASK_CREDITS))
        return 0;
    uint32_t size = (uint32_t)sizeof(struct task_head) + (count > 0 ? task_numbers_size(count) : 0);
    struct task_head *head = net_put_begin(room->net, node, size);
    if (base_unlikely(!head))
        return 0;
    struct task *task = task_make_easy(thread, context, function);
    struct object *record = task_object(task);
    uint64_t handle = object_handle(record);
    head->name_hash = function->hash;
    head->actor = actor;
    head->parent = record->parent;
    head->handle = handle;
    head->index = record->child;
    head->attempt = 0;
    head->how = (uint8_t)((actor ? 0 : HOW_PINNED) | (count > 0 ? HOW_NUMBERS | count * HOW_ARG : 0));
    head->returns = 1;
    if (count > 0) {
        struct task_numbers *numbers = (struct task_numbers *)(head + 1);
        numbers->kinds = 0;
        for (size_t i = 0; i < count; i++) {
            numbers->kinds |= (uint64_t)args[i].kind << (8 * i);
            memcpy(&numbers->number[i], &args[i].u.integer, 8);
        }
    }
    task_set_shape(task, 1, actor ? TASK_SENT | TASK_CALL | TASK_NO_REST : TASK_SENT, node);
    if (actor)
        task->called = object;
    trace_count(thread->trace, TRACE_COUNT_SENT, 1);
    net_put_end(room->net, node, TASK_MESSAGE_TASK, size, &room->flights[node].sent);
    return handle;
}

#endif
