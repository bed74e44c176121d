/* Arguments in the store: before a body begins they are where it can read them, and stay there until it ends.
 *
 * Not all tasks that could begin may do so at once: what they read could fill the store, and leave no room
 * for what they make, or each could lose what it has while it waits for the rest. So a task is *admitted*
 * with the bytes that it reads, up to half of the rank's share of the store, in the order in which tasks
 * come; one that reads more than that alone, when no other does. A task that waits for others in its body
 * does not count meanwhile, or they might never be admitted.
 */
#include "task/task_internal.h"

#include <utlist.h>

struct admission_wait {
    struct admission_wait *prev, *next;
    struct sched_parker parker;
    uint64_t bytes;
    bool admitted;
    _Atomic int fired;
};

/* ---- what a task reads */

static bool is_stored(const struct task *task, struct arg *arg)
{
    return value_behind(task_arg_value(task, arg))->kind == VALUE_STORE;
}

/* Bytes of these, members of lists included, that are stored. */
struct stored_args {
    uint32_t count;
    uint64_t bytes, far; /* of these on other hosts */
};

static void stored_count(const struct task *task, struct arg *args, uint32_t length, struct stored_args *sum)
{
    for (uint32_t i = 0; i < length; i++) {
        const struct value *value = value_behind(task_arg_value(task, &args[i]));
        if (base_unlikely(value->kind == VALUE_STORE)) {
            uint64_t bytes = store_takes(task->room->store, value_extent(value->length, value->nested));
            sum->bytes += bytes;
            sum->far += net_local(task->room->net, value_stored(value)->holder) < 0 ? bytes : 0;
            sum->count++;
        }
        if (base_unlikely(args[i].count > 0))
            stored_count(task, args[i].list, args[i].count, sum);
    }
}

static int pin(struct task *task, struct arg *args, uint32_t length, uint32_t *pinned)
{
    const void *data;
    uint64_t bytes;
    int status = RAYMPI_OK;
    for (uint32_t i = 0; i < length && status == RAYMPI_OK; i++) {
        if (is_stored(task, &args[i])) {
            status = value_pin(task->room, task_arg_value(task, &args[i]), UINT64_MAX, &data, &bytes);
            *pinned += status == RAYMPI_OK;
        }
        if (status == RAYMPI_OK)
            status = pin(task, args[i].list, args[i].count, pinned);
    }
    return status;
}

/* The first *pinned of them. */
static void unpin(struct task *task, struct arg *args, uint32_t length, uint32_t *pinned)
{
    for (uint32_t i = 0; i<length && * pinned> 0; i++) {
        if (is_stored(task, &args[i])) {
            value_unpin(task->room, task_arg_value(task, &args[i]));
            --*pinned;
        }
        unpin(task, args[i].list, args[i].count, pinned);
    }
}

/* Those that have to come from elsewhere are all asked for before any is waited for. */
static void fetch(struct task *task, struct arg *args, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        if (is_stored(task, &args[i]))
            value_fetch(task->room, task_arg_value(task, &args[i]));
        fetch(task, args[i].list, args[i].count);
    }
}

/* ---- admission */

static bool has_room(const struct task_admission *admission, uint64_t bytes)
{
    return admission->bytes == 0 || admission->bytes + bytes <= admission->most;
}

static int admit(struct task_room *room, const char *who, uint64_t bytes)
{
    struct task_admission *admission = &room->admission;
    struct admission_wait wait = {.bytes = bytes};
    base_spin_lock(&admission->lock);
    if (!admission->waits && has_room(admission, bytes)) {
        admission->bytes += bytes;
        base_spin_unlock(&admission->lock);
        return RAYMPI_OK;
    }
    atomic_init(&wait.fired, 0);
    sched_parker_init(room->sched, &wait.parker,
                      (struct sched_reason){who, "room for its arguments", 0, false});
    DL_APPEND(admission->waits, &wait);
    base_spin_unlock(&admission->lock);
    int status = task_park(&wait.parker, UINT64_MAX);
    base_spin_lock(&admission->lock);
    if (!wait.admitted)
        DL_DELETE(admission->waits, &wait);
    base_spin_unlock(&admission->lock);
    if (!wait.admitted)
        return base_fail(status, "its arguments in the store never found room: everything in the job waits");
    base_spin_until(&wait.fired);
    return RAYMPI_OK;
}

static void leave(struct task_room *room, uint64_t bytes)
{
    struct task_admission *admission = &room->admission;
    struct admission_wait *wait, *next, *woken = NULL;
    base_spin_lock(&admission->lock);
    admission->bytes -= bytes;
    while ((wait = admission->waits) && has_room(admission, wait->bytes)) {
        admission->bytes += wait->bytes;
        wait->admitted = true;
        DL_DELETE(admission->waits, wait);
        DL_APPEND(woken, wait);
    }
    base_spin_unlock(&admission->lock);
    DL_FOREACH_SAFE (woken, wait, next) {
        sched_unpark(&wait->parker);
        /* Release: the last touch of the waiter's stack comes before it. */
        atomic_store_explicit(&wait->fired, 1, memory_order_release);
    }
}

void task_args_blocked(struct raympi_ctx *run)
{
    leave(run->context.room, run->admitted);
}

void task_args_resumed(struct raympi_ctx *run)
{
    struct task_admission *admission = &run->context.room->admission;
    base_spin_lock(&admission->lock);
    admission->bytes += run->admitted; /* what it has it keeps: others wait */
    base_spin_unlock(&admission->lock);
}

/* ---- a task's */

int task_args_bring(struct raympi_ctx *run)
{
    struct task *task = run->task;
    struct task_thread *thread = task_self;
    struct stored_args sum = {0};
    stored_count(task, task->rest->args, task->arg_count, &sum);
    if (base_likely(sum.count == 0))
        return RAYMPI_OK;
    thread->context = &thread->root; /* what there was may belong to a fiber that goes on meanwhile */
    uint64_t promised = 0;
    int status = sum.far > 0 && !run->actor ? task_leave_room(task, sum.far, &promised) : RAYMPI_OK;
    if (status == RAYMPI_OK)
        status = admit(task->room, task_name(task), sum.bytes);
    if (status == RAYMPI_OK) {
        run->admitted = sum.bytes;
        if (sum.count > 1)
            fetch(task, task->rest->args, task->arg_count);
        status = pin(task, task->rest->args, task->arg_count, &run->pinned);
    }
    if (promised > 0)
        store_promise(task->room->store, -(int64_t)promised);
    return status;
}

void task_args_let_go(struct raympi_ctx *run)
{
    struct task *task = run->task;
    unpin(task, task->rest->args, task->arg_count, &run->pinned);
    leave(task->room, run->admitted);
    run->admitted = 0;
}
