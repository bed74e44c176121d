/* Memory in the store for values, and waiting for it.
 *
 * Results keep their memory until somebody has read and released them. Where nothing can go to disk, those
 * that are read late could fill the store, and none would be left for the one that is read next. So what
 * tasks make leaves a part of the host's store alone, which is for tasks whose result somebody waits for: a
 * thread, another rank, a wait set, or a task whose own result somebody waits for. The owner of the result
 * knows that; who runs a task of another rank's asks it once (HUNGRY), and is told when it is so (AWAITED).
 * What main(), threads and methods of actors make has no such bounds.
 */
#include "task/task_internal.h"

#include <utlist.h>

#define ROOM_RETRY                                                                                           \
    UINT64_C(1000000)  /* ns between two tries while the store is full, if nothing comes free here */
#define AWAITED_PART 4 /* of the store, or as much as is asked for if that is more */

/** Somebody who wants memory. */
struct create_wait {
    struct create_wait *prev, *next;
    uint64_t bytes;
    struct store_place *place; /* of the block that is made; NULL: it is only promised */
    void **data;
    uint64_t promised;
    const struct task *task; /* that makes something; NULL: it is none that has to leave room */
    bool asked;              /* its owner, on another rank: in the list */
    _Atomic bool awaited;    /* the answer */
};

/** Who waits for that, until it is time to look again. */
struct create_rest {
    struct create_rest *prev, *next;
    struct sched_parker parker;
    bool woken; /* no longer in the list */
    _Atomic int fired;
};

/** One of this rank's that does so elsewhere, as long as nobody waits for it. */
struct hungry {
    struct hungry *next;
    uint64_t handle; /* a result of its */
    int rank;
};

/* ---- who is waited for */

bool task_awaited(const struct task *task, int depth)
{
    if (!task->item.run) /* it runs on the stack of who does */
        return true;
    for (int i = 0; i < task->returns; i++) {
        struct object *object = object_by_slot(task->room, task_result(task, i));
        if (object && object_awaited(object, depth))
            return true;
    }
    return false;
}

/* Takes those out that are waited for, or have ended. */
static struct hungry *hungry_take(struct task_room *room)
{
    struct hungry *told = NULL, **link = &room->create.hungry;
    base_spin_lock(&room->create.lock);
    while (*link) {
        struct hungry *hungry = *link;
        struct object *object = object_by_slot(room, hungry->handle);
        bool pending = object && !object_ready(object);
        if (pending && !object_awaited(object, TASK_AWAITED_DEPTH)) {
            link = &hungry->next;
            continue;
        }
        *link = hungry->next;
        atomic_fetch_sub(&room->create.hungry_count, 1);
        LL_PREPEND(told, hungry);
    }
    base_spin_unlock(&room->create.lock);
    return told;
}

static bool own_awaited(const struct task *task, const void *arg)
{
    (void)arg;
    return !(task->flags & TASK_FOREIGN) && task_awaited(task, TASK_AWAITED_DEPTH);
}

void task_hungry_look(struct task_room *room)
{
    task_aside_awaited(room, own_awaited, NULL);
    struct hungry *hungry = hungry_take(room), *next;
    for (; hungry; hungry = next) {
        struct net_piece piece = {&hungry->handle, sizeof hungry->handle};
        next = hungry->next;
        if (task_tell(room, hungry->rank, TASK_MESSAGE_AWAITED, &piece, 1) != RAYMPI_OK)
            base_log(BASE_LOG_WARN, "task", "rank %d can not be told who waits for a result: %s",
                     hungry->rank, base_detail());
        free(hungry);
    }
}

/* The results of a task that waits for memory there. */
static void on_hungry(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    const char *handles = message->data;
    if (message->length % sizeof(uint64_t) != 0) {
        base_log(BASE_LOG_WARN, "task", "malformed question of rank %d dropped", message->source);
        return;
    }
    for (size_t at = 0; at < message->length; at += sizeof(uint64_t)) {
        struct hungry *hungry = base_alloc_sure(sizeof *hungry, "task", "a task that waits for memory");
        hungry->rank = message->source;
        memcpy(&hungry->handle, handles + at, sizeof hungry->handle);
        base_spin_lock(&room->create.lock);
        LL_PREPEND(room->create.hungry, hungry);
        atomic_fetch_add(&room->create.hungry_count, 1);
        base_spin_unlock(&room->create.lock);
    }
    task_hungry_look(room);
}

static bool has_result(const struct task *task, const void *arg)
{
    uint64_t handle = *(const uint64_t *)arg;
    for (int i = 0; i < task->returns; i++)
        if (task_result(task, i) == handle)
            return true;
    return false;
}

static void on_awaited(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct create_wait *wait;
    uint64_t handle;
    if (message->length != sizeof handle)
        return;
    memcpy(&handle, message->data, sizeof handle);
    base_spin_lock(&room->create.lock);
    DL_FOREACH (room->create.waits, wait)
        if (has_result(wait->task, &handle))
            atomic_store(&wait->awaited, true);
    base_spin_unlock(&room->create.lock);
    task_aside_awaited(room, has_result, &handle);
}

/* ---- trying */

/* The task that makes something; NULL: main(), a thread, a method. */
static const struct task *who_makes(void)
{
    const struct raympi_ctx *run = task_self->context->run;
    return run && !run->actor ? run->task : NULL;
}

static bool leaves_room(const struct task_room *room, uint64_t bytes, uint64_t more)
{
    uint64_t least = store_capacity(room->store) / AWAITED_PART;
    return store_unleased(room->store) >= (bytes > least ? bytes : least) + more;
}

static int no_room_left(const struct task_room *room, uint64_t bytes)
{
    return base_fail(
        RAYMPI_ERR_STORE_FULL,
        "no room for %llu bytes in the host's store of %llu bytes (RAYMPI_STORE_BYTES): results that "
        "nobody has read fill it, but for a part that is kept for those that somebody waits for",
        (unsigned long long)bytes, (unsigned long long)store_capacity(room->store));
}

/* `bound`: it has to leave room. Who is as fast as others, so that there is too little for all, takes
 * nothing. */
static int try_create(struct task_room *room, const struct create_wait *wait, bool bound)
{
    uint64_t bytes = wait->bytes;
    if (bound && bytes <= store_capacity(room->store) && !leaves_room(room, bytes, bytes))
        return no_room_left(room, bytes);
    int status = store_create(room->store, bytes, wait->place, wait->data);
    if (status != RAYMPI_OK || !bound || leaves_room(room, bytes, 0))
        return status;
    store_free(room->store, *wait->place);
    return no_room_left(room, bytes);
}

/* Who need not leave room takes what there is, without a promise. */
static int try_promise(struct task_room *room, struct create_wait *wait, bool bound)
{
    if (!bound)
        return RAYMPI_OK;
    store_promise(room->store, (int64_t)wait->bytes);
    if (leaves_room(room, wait->bytes, 0)) {
        wait->promised = wait->bytes;
        return RAYMPI_OK;
    }
    store_promise(room->store, -(int64_t)wait->bytes);
    return no_room_left(room, wait->bytes);
}

static int try(struct task_room *room, struct create_wait *wait, bool bound)
{
    return wait->place ? try_create(room, wait, bound) : try_promise(room, wait, bound);
}

/* ---- waiting */

void task_question_make(struct task_question *question, const struct task *task)
{
    question->owner = task_owner(task);
    question->count = task->returns;
    for (int i = 0; i < task->returns; i++)
        question->handles[i] = task_result(task, i);
}

void task_question_ask(struct task_room *room, const struct task_question *question)
{
    struct net_piece piece = {question->handles, question->count * sizeof *question->handles};
    if (task_tell(room, question->owner, TASK_MESSAGE_HUNGRY, &piece, 1) != RAYMPI_OK)
        base_log(BASE_LOG_WARN, "task", "rank %d can not be asked who waits for a result: %s",
                 question->owner, base_detail());
}

static void ask_owner(struct task_room *room, struct create_wait *wait)
{
    struct task_question question;
    wait->asked = true;
    base_spin_lock(&room->create.lock);
    DL_APPEND(room->create.waits, wait);
    base_spin_unlock(&room->create.lock);
    task_question_make(&question, wait->task);
    task_question_ask(room, &question);
}

static void wait_begin(struct task_room *room, const struct create_wait *wait)
{
    if (wait->task)
        task_crowd_enter(room, wait->task);
}

static void wait_end(struct task_room *room, struct create_wait *wait)
{
    if (wait->asked) {
        base_spin_lock(&room->create.lock);
        DL_DELETE(room->create.waits, wait);
        base_spin_unlock(&room->create.lock);
    }
    if (wait->task)
        task_crowd_leave(room);
}

static bool is_awaited(struct task_room *room, struct create_wait *wait)
{
    if (!wait->task->item.run || !(wait->task->flags & TASK_FOREIGN))
        return task_awaited(wait->task, TASK_AWAITED_DEPTH);
    if (!wait->asked)
        ask_owner(room, wait);
    return atomic_load(&wait->awaited);
}

/* `bound`: it has left room to others all the time. */
static int too_late(struct task_room *room, bool bound, int status)
{
    char spilling[256];
    if (status != RAYMPI_ERR_STORE_FULL)
        return status;
    store_spill_fault(room->store, spilling, sizeof spilling);
    base_fail(
        status,
        "%s; it was waited for %g s (RAYMPI_CREATE_TIMEOUT): release results sooner, end views, or raise "
        "RAYMPI_STORE_BYTES; %s",
        base_detail(), room->config.create_timeout, spilling);
    if (bound) { /* no memory came free in all that time: those that were put aside had no chance either */
        char text[512];
        snprintf(text, sizeof text, "%s", base_detail());
        task_aside_fail(room, status, text);
        base_fail(status, "%s", text);
    }
    return status;
}

void task_create_wake(struct task_room *room)
{
    struct create_rest *rest, *next, *woken;
    /* Relaxed: who begins to rest now looks again soon. */
    if (base_likely(!atomic_load_explicit(&room->create.resting, memory_order_relaxed)))
        return;
    base_spin_lock(&room->create.lock);
    woken = room->create.rests;
    room->create.rests = NULL;
    DL_FOREACH (woken, rest)
        rest->woken = true;
    base_spin_unlock(&room->create.lock);
    DL_FOREACH_SAFE (woken, rest, next) {
        sched_unpark(&rest->parker);
        /* Release: the last touch of the waiter's stack comes before it. */
        atomic_store_explicit(&rest->fired, 1, memory_order_release);
    }
}

static void rest_begin(struct task_room *room, struct create_rest *rest)
{
    atomic_init(&rest->fired, 0);
    sched_parker_init(room->sched, &rest->parker,
                      (struct sched_reason){task_self->context->name, "room in the store", 0, false});
    base_spin_lock(&room->create.lock);
    DL_APPEND(room->create.rests, rest);
    base_spin_unlock(&room->create.lock);
    atomic_fetch_add_explicit(&room->create.resting, 1, memory_order_relaxed);
}

static void rest_end(struct task_room *room, struct create_rest *rest)
{
    atomic_fetch_sub_explicit(&room->create.resting, 1, memory_order_relaxed);
    base_spin_lock(&room->create.lock);
    if (!rest->woken)
        DL_DELETE(room->create.rests, rest);
    base_spin_unlock(&room->create.lock);
    if (rest->woken)
        base_spin_until(&rest->fired);
}

/* A moment, while other tasks run and messages (which carry the frees) are handled. False: the job ends. */
static bool rest(struct task_room *room, uint64_t deadline)
{
    struct create_rest rest = {.woken = false};
    uint64_t next = net_now(room->net) + ROOM_RETRY;
    rest_begin(room, &rest);
    int status = task_park(&rest.parker, next < deadline ? next : deadline);
    rest_end(room, &rest);
    return status == RAYMPI_OK || status == RAYMPI_ERR_TIMEOUT;
}

static int await_room(struct task_room *room, struct create_wait *wait)
{
    uint64_t deadline = task_deadline(room, room->config.create_timeout);
    for (;;) {
        uint32_t ticket = store_room_ticket(room->store);
        bool last = net_now(room->net) >= deadline;
        bool bound = wait->task && !store_spills(room->store) && !is_awaited(room, wait);
        store_collect(room->store);
        int status = try(room, wait, bound && !last);
        if (status != RAYMPI_ERR_STORE_FULL || last)
            return too_late(room, bound, status);
        task_make_room(room, wait->bytes);
        if (!rest(room, deadline))
            return status;
        /* Who leaves room to others has time as long as they get on. */
        if (bound && store_room_changed(room->store, ticket))
            deadline = task_deadline(room, room->config.create_timeout);
    }
}

static int take_room(struct task_room *room, struct create_wait *wait)
{
    store_collect(room->store);
    int status = try(room, wait, wait->task && !store_spills(room->store));
    if (status != RAYMPI_ERR_STORE_FULL)
        return status;
    wait_begin(room, wait);
    status = await_room(room, wait);
    wait_end(room, wait);
    return status;
}

int task_store_create(struct task_room *room, uint64_t bytes, struct store_place *place, void **data)
{
    struct create_wait wait = {.bytes = bytes, .place = place, .data = data, .task = who_makes()};
    return take_room(room, &wait);
}

int task_leave_room(const struct task *task, uint64_t bytes, uint64_t *promised)
{
    struct create_wait wait = {.bytes = bytes, .task = task};
    int status = take_room(task->room, &wait);
    *promised = wait.promised;
    return status;
}

/* ---- open and close */

void task_create_open(struct task_room *room)
{
    base_spin_init(&room->create.lock);
    room->create.aside_end = &room->create.aside;
    net_handle(room->net, TASK_MESSAGE_HUNGRY, on_hungry, room);
    net_handle(room->net, TASK_MESSAGE_AWAITED, on_awaited, room);
}

void task_create_close(struct task_room *room)
{
    struct hungry *hungry, *next;
    LL_FOREACH_SAFE(room->create.hungry, hungry, next)
    free(hungry);
}
