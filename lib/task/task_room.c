/* The task room of a node: opening, closing, the threads that use it. */
#include "task/task_internal.h"

#include <stdlib.h>

#define BACKLOG_LOOK 1024 /* submissions of a thread between two looks at the backlog, at most */

__thread struct task_thread *task_self __attribute__((tls_model("initial-exec")));

struct task_thread *task_thread_open(struct task_room *room, struct worker *worker, const char *name)
{
    struct task_thread *thread =
        aligned_alloc(BASE_CACHE_LINE, base_align_up(sizeof *thread, BASE_CACHE_LINE));
    if (!thread) {
        base_fail(RAYMPI_ERR_MEMORY, "no memory for a thread that calls raympi");
        return NULL;
    }
    memset(thread, 0, sizeof *thread);
    thread->room = room;
    thread->worker = worker;
    thread->front = sched_worker_front(worker);
    thread->ticks = room->sched ? sched_ticks(room->sched) : NULL;
    int index = worker ? sched_worker_index(worker) : 0;
    thread->shown = index < 4 ? &net_board(room->net, room->config.rank)->task[index] : &thread->unshown;
    thread->trace = trace_thread_open(room->config.trace, name);
    if (room->config.trace && !thread->trace) {
        free(thread);
        return NULL;
    }
    base_spin_lock(&room->thread_lock);
    uint64_t number = ++room->thread_number;
    thread->next = room->threads;
    room->threads = thread;
    base_spin_unlock(&room->thread_lock);
    bool main = worker && sched_worker_index(worker) == 0;
    context_init(&thread->root, room, main ? "main" : worker ? "worker" : "thread");
    /* Parents that are no tasks: (rank, driver), or (rank, thread), which is not the same in another run. */
    thread->root.id = task_id_root(main ? 0 : 1, (uint64_t)room->config.rank, main ? 0 : number);
    thread->root.id_known = true;
    thread->context = &thread->root;
    run_clear(&thread->own_run, room);
    thread->free_run = &thread->own_run;
    task_self = thread;
    return thread;
}

static void free_lists_return(struct task_room *room, struct task_thread *thread)
{
    object_slots_return(room, thread);
    base_pool_drain(&room->tasks, &thread->tasks);
    base_pool_drain(&room->args, &thread->args);
    base_pool_drain(&room->lines, &thread->lines);
}

void task_thread_close(struct task_thread *thread)
{
    struct task_room *room = thread->room;
    task_settle(thread);
    context_fini(&thread->root);
    free_lists_return(room, thread);
    trace_thread_close(room->config.trace, thread->trace);
    base_spin_lock(&room->thread_lock);
    struct task_thread **link = &room->threads;
    while (*link && *link != thread)
        link = &(*link)->next;
    if (*link)
        *link = thread->next;
    room->ended_threads_submitted += atomic_load(&thread->submitted);
    __atomic_fetch_add(&room->ended_threads_ended, atomic_load(&thread->ended), __ATOMIC_RELEASE);
    base_spin_unlock(&room->thread_lock);
    if (task_self == thread)
        task_self = NULL;
    free(thread);
}

static void thread_begin(void *arg, struct worker *worker)
{
    char name[32];
    snprintf(name, sizeof name, "worker %d", sched_worker_index(worker));
    int tries = 0;
    while (!task_thread_open(arg, worker, name))
        base_await_memory(&tries, "task", "a worker");
    task_self->in_call = 1;
    base_crash_thread_init();
}

static void thread_end(void *arg, struct worker *worker)
{
    (void)arg;
    (void)worker;
    if (task_self)
        task_thread_close(task_self);
    base_crash_thread_fini();
}

static void polled(void *arg)
{
    struct task_room *room = arg;
    if (room->actor.arrived)
        room->actor.arrived(room->actor.arg);
    store_collect(room->store);
    task_present_look(room);
}

void task_room_hooks(struct task_room *room, struct sched_hooks *hooks)
{
    *hooks = (struct sched_hooks){.arg = room,
                                  .thread_begin = thread_begin,
                                  .thread_end = thread_end,
                                  .settle = task_settle_self,
                                  .ticked = task_ticked,
                                  .polled = polled,
                                  .idle = task_idle,
                                  .rest = task_rest,
                                  .stalled = task_stalled};
}

static void register_handlers(struct task_room *room)
{
    net_handle(room->net, TASK_MESSAGE_TASK, task_on_task, room);
    net_handle(room->net, TASK_MESSAGE_DONE, task_on_done, room);
    net_handle(room->net, TASK_MESSAGE_DONE_SMALL, task_on_done_small, room);
    net_handle(room->net, TASK_MESSAGE_ENDS, task_on_ends, room);
    net_handle(room->net, TASK_MESSAGE_REF, ref_on_message, room);
    net_handle(room->net, TASK_MESSAGE_WANT, ref_on_want, room);
    net_handle(room->net, TASK_MESSAGE_VALUE, ref_on_value, room);
    net_handle(room->net, TASK_MESSAGE_STEAL, task_on_steal, room);
    net_handle(room->net, TASK_MESSAGE_NO_WORK, task_on_no_work, room);
    net_handle(room->net, TASK_MESSAGE_END, task_on_end, room);
    net_handle(room->net, TASK_MESSAGE_DEADLOCK, task_on_deadlock, room);
}

int task_room_open(struct task_room **out, struct net *net, struct store *store,
                   const struct task_config *config)
{
    struct task_room *room = calloc(1, sizeof *room);
    if (!room)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the tasks");
    room->net = net;
    room->store = store;
    room->config = *config;
    room->slot_used = OBJECT_SLAB;
    base_fences_open();
    room->crossed = base_fences_suffice() ? TASK_NEVER_CROSSED : TASK_CROSSED;
    room->backlog_mask = config->backlog ? BACKLOG_LOOK - 1 : UINT64_MAX;
    while (room->backlog_mask >= config->backlog / 4 && config->backlog)
        room->backlog_mask /= 2;
    base_pool_init(&room->tasks, sizeof(struct task_record));
    base_pool_init(&room->args, sizeof(struct task_rest) + TASK_ARGS_INLINE * sizeof(struct arg));
    base_pool_init(&room->lines, BASE_CACHE_LINE);
    base_spin_init(&room->slab_lock);
    base_spin_init(&room->borrow_lock);
    base_spin_init(&room->thread_lock);
    base_spin_init(&room->finalize_lock);
    base_spin_init(&room->kept.lock);
    base_spin_init(&room->admission.lock);
    room->admission.most = store_capacity(store) / (uint64_t)net_locals(net) / 2;
    room->flights = calloc((size_t)config->size, sizeof *room->flights);
    if (!room->flights || task_present_open(room) != RAYMPI_OK) {
        free(room->flights);
        free(room);
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the tasks");
    }
    register_handlers(room);
    task_create_open(room);
    *out = room;
    return RAYMPI_OK;
}

static void arg_forget(struct arg *arg)
{
    for (uint32_t i = 0; arg->list && i < arg->count; i++)
        arg_forget(&arg->list[i]);
    free(arg->list);
    value_forget(&arg->value);
}

/* Those who wait for what never came. Others are part of something else: an argument, a wait set. */
static void waiters_forget(struct object *object)
{
    struct waiter *next, *waiter = (struct waiter *)atomic_load(&object->waiters);
    for (; waiter; waiter = next) {
        next = waiter->next;
        if (waiter_is_remote(waiter) || waiter_is_alias(waiter))
            free(waiter);
    }
}

void task_forget(struct task *task)
{
    if (!task->rest || task->flags & TASK_NO_REST)
        return;
    for (int i = 0; i < task->arg_count; i++)
        arg_forget(&task->rest->args[i]);
    if (task->returns > 1)
        free(task->rest->more);
    if (task->rest->places > TASK_ARGS_INLINE)
        free(task->rest);
}

/* What an object that was leaked has, or the task that never ran. */
static void object_forget(struct object *object)
{
    refcount_fini(&object->count);
    if (object_has_task(object))
        task_forget(&object->task);
    else
        value_forget(&object->value);
}

/* The scheduler has stopped: nobody else is here any more. */
void task_room_close(struct task_room *room)
{
    while (room->threads) {
        struct task_thread *thread = room->threads;
        task_self = thread == task_self ? task_self : NULL;
        free_lists_return(room, thread);
        trace_thread_close(room->config.trace, thread->trace);
        room->threads = thread->next;
        free(thread);
    }
    task_self = NULL;
    struct borrowed *borrowed, *next;
    HASH_ITER (hh, room->borrowed, borrowed, next) {
        HASH_DEL(room->borrowed, borrowed);
        waiters_forget(&borrowed->object);
        value_forget(&borrowed->object.value);
        refcount_fini(&borrowed->object.count);
        free(borrowed);
    }
    for (uint32_t i = 0; i < room->slab_used; i++)
        for (uint32_t j = 0; j < task_slots(room, i); j++)
            waiters_forget(&atomic_load(&room->slabs[i])[j]); /* while the arguments among them are there */
    for (uint32_t i = 0; i < room->slab_used; i++)
        for (uint32_t j = 0; j < task_slots(room, i); j++)
            object_forget(&atomic_load(&room->slabs[i])[j]);
    for (uint32_t i = 0; i < room->slab_used; i++)
        base_memory_unmap(atomic_load(&room->slabs[i]), OBJECT_SLAB * sizeof(struct object));
    task_create_close(room);
    task_present_close(room);
    base_pool_fini(&room->tasks);
    base_pool_fini(&room->args);
    base_pool_fini(&room->lines);
    free(room->flights);
    free(room);
}
