/* Waiting for objects. */
#include "task/task_internal.h"

#include <stdlib.h>

uint64_t task_deadline(struct task_room *room, double timeout)
{
    if (timeout < 0 || timeout > 1e9)
        return UINT64_MAX;
    return net_now(room->net) + (uint64_t)(timeout * 1e9);
}

struct awaiter {
    struct waiter waiter;
    struct sched_parker parker;
    _Atomic int fired;
};

static void await_fire(struct waiter *waiter, struct object *object)
{
    (void)object;
    struct awaiter *awaiter = base_container(waiter, struct awaiter, waiter);
    sched_unpark(&awaiter->parker);
    /* Release: the last touch of the waiter's stack comes before "fired". */
    atomic_store_explicit(&awaiter->fired, 1, memory_order_release);
}

/* In timelines a task has gaps where it waits; main() and threads are no tasks. */
static void trace_gap(struct task_thread *thread, enum trace_kind kind)
{
    struct raympi_ctx *run = thread->context->run;
    if (!run)
        return;
    run_show_begin(thread, run);
    trace_event(thread->trace, kind, task_function_of(run->task)->full_hash, task_object(run->task)->child);
}

int task_park(struct sched_parker *parker, uint64_t deadline)
{
    struct task_thread *thread = task_self;
    struct context *context = thread->context;
    task_settle(thread);
    thread->follows = false; /* on what runs meanwhile */
    trace_gap(thread, TRACE_TASK_BLOCK);
    bool reads = context->run && context->run->admitted > 0;
    if (base_unlikely(reads))
        task_args_blocked(context->run);
    int status = sched_park(parker, deadline);
    task_resumed(thread, context);
    if (base_unlikely(reads))
        task_args_resumed(context->run);
    trace_gap(thread, TRACE_TASK_RESUME);
    return status;
}

void task_yield(struct task_thread *thread)
{
    struct context *context = thread->context;
    task_settle(thread);
    thread->follows = false;
    trace_gap(thread, TRACE_TASK_BLOCK);
    sched_yield_fiber(thread->room->sched);
    task_resumed(thread, context);
    trace_gap(thread, TRACE_TASK_RESUME);
}

static bool is_ready(void *arg)
{
    return object_ready(arg);
}

bool task_spin(struct task_room *room, struct object *object)
{
    task_settle(task_self);
    object_want(room, object);
    return sched_spin(room->sched, is_ready, object);
}

int task_await(struct task_room *room, struct object *object, uint64_t deadline, const char *what)
{
    struct task_thread *thread = task_self;
    if (object_ready(object) || (deadline == UINT64_MAX && task_run_wanted_now(thread, object)))
        return RAYMPI_OK;
    if (deadline == UINT64_MAX && task_spin(room, object))
        return RAYMPI_OK;
    object_want(room, object);
    struct awaiter awaiter = {.waiter = {.fire = await_fire}};
    atomic_init(&awaiter.fired, 0);
    sched_parker_init(room->sched, &awaiter.parker,
                      (struct sched_reason){thread->context->name, what, object_handle(object), false});
    if (!object_wait_add(object, &awaiter.waiter))
        return RAYMPI_OK;
    int status = task_park(&awaiter.parker, deadline);
    if (status == RAYMPI_OK || !object_wait_remove(object, &awaiter.waiter))
        base_spin_until(&awaiter.fired); /* the one who fires takes its hands off this stack */
    if (object_ready(object))
        return RAYMPI_OK;
    if (status == RAYMPI_ERR_TIMEOUT)
        return base_fail(status, "%s was not ready in time", object_label(object));
    if (status == RAYMPI_ERR_DEADLOCK)
        return base_fail(status,
                         "%s can never be ready: everything in the job waits (see the report on stderr)",
                         object_label(object));
    return status;
}

/* ---- k of n */

struct group {
    struct sched_parker parker;
    _Atomic long needed;
};

struct member {
    struct waiter waiter;
    struct group *group;
    _Atomic int fired;
    bool added;
};

static void member_fire(struct waiter *waiter, struct object *object)
{
    (void)object;
    struct member *member = base_container(waiter, struct member, waiter);
    if (atomic_fetch_sub_explicit(&member->group->needed, 1, memory_order_acq_rel) == 1)
        sched_unpark(&member->group->parker);
    atomic_store_explicit(&member->fired, 1, memory_order_release);
}

static size_t count_ready(struct object *const *objects, size_t count)
{
    size_t ready = 0;
    for (size_t i = 0; i < count; i++)
        ready += object_ready(objects[i]);
    return ready;
}

int task_wait(struct task_room *room, struct object **objects, size_t count, size_t k, uint64_t deadline)
{
    struct task_thread *thread = task_self;
    size_t ready = count_ready(objects, count);
    if (ready >= k)
        return RAYMPI_OK;
    struct member *members = calloc(count, sizeof *members);
    if (!members)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory to wait for %zu refs", count);
    struct group group;
    sched_parker_init(room->sched, &group.parker,
                      (struct sched_reason){thread->context->name, "wait", 0, false});
    /* One more than needed while members are added, so that nobody wakes us before. */
    atomic_init(&group.needed, (long)k + 1);
    long already = 1;
    for (size_t i = 0; i < count; i++) {
        members[i] = (struct member){.waiter = {.fire = member_fire}, .group = &group};
        members[i].added = object_wait_add(objects[i], &members[i].waiter);
        if (members[i].added)
            object_want(room, objects[i]);
        else
            already++;
        if (!members[i].added || group.parker.reason.handle)
            continue;
        group.parker.reason.handle = object_handle(objects[i]);
    }
    int status = RAYMPI_OK;
    if (atomic_fetch_sub_explicit(&group.needed, already, memory_order_acq_rel) > already)
        status = task_park(&group.parker, deadline);
    for (size_t i = 0; i < count; i++)
        if (members[i].added && !object_wait_remove(objects[i], &members[i].waiter))
            base_spin_until(&members[i].fired);
    free(members);
    if (status == RAYMPI_ERR_DEADLOCK)
        return base_fail(
            status, "these refs can never be ready: everything in the job waits (see the report on stderr)");
    return status == RAYMPI_ERR_TIMEOUT ? RAYMPI_OK : status;
}

int task_object_error(struct object *object)
{
    char text[768];
    object_see(object);
    value_error_see(value_behind(&object->value));
    value_error_text(value_behind(&object->value), text, sizeof text);
    return base_fail(object->status, "%s", text);
}
