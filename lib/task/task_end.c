/* How a job ends: rest, deadlock, leaks, errors that nobody looked at. */
#include "task/task_internal.h"

#include <stdlib.h>

enum end_phase { END_NOT = 0, END_WORK, END_DESTRUCTORS, END_ALL };

static void tell_all(struct task_room *room, enum task_message_type type)
{
    for (int rank = 0; rank < room->config.size; rank++)
        if (task_tell(room, rank, type, NULL, 0) != RAYMPI_OK)
            base_log(BASE_LOG_ERROR, "task", "rank %d could not be told that the job is at rest: %s", rank,
                     base_detail());
}

/* This rank was the one to see that nothing in the job moves. */
void task_rest(void *arg, enum net_rest rest)
{
    struct task_room *room = arg;
    tell_all(room, rest == NET_REST_DONE ? TASK_MESSAGE_END : TASK_MESSAGE_DEADLOCK);
}

/* At the first rest the programs let go of what they still hold. Actors that nobody else holds end then, and
 * after them those that only they kept: a destructor can call what its actor keeps. The second rest ends the
 * actors that hold each other; at the third, everything that was let go of has reached its owner. */
void task_on_end(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    (void)message;
    int phase = atomic_fetch_add(&room->ended, 1) + 1;
    if (phase == END_DESTRUCTORS)
        room->actor.end(room->actor.arg);
    base_spin_lock(&room->finalize_lock);
    if (phase != END_DESTRUCTORS && room->finalize_parker)
        sched_unpark(room->finalize_parker);
    base_spin_unlock(&room->finalize_lock);
}

/* Under the lock. */
static uint64_t sum_ended(struct task_room *room)
{
    uint64_t sum = __atomic_load_n(&room->ended_threads_ended, __ATOMIC_ACQUIRE);
    for (struct task_thread *thread = room->threads; thread; thread = thread->next)
        sum += atomic_load(&thread->ended);
    return sum;
}

static uint64_t sum_submitted(struct task_room *room)
{
    uint64_t sum = room->ended_threads_submitted;
    for (struct task_thread *thread = room->threads; thread; thread = thread->next)
        sum += atomic_load(&thread->submitted);
    return sum;
}

uint64_t task_outstanding(struct task_room *room)
{
    base_spin_lock(&room->thread_lock);
    /* In this order: a task that one thread has submitted and another has ended is counted as submitted if it
     * is counted as ended. */
    uint64_t ended = sum_ended(room);
    uint64_t submitted = sum_submitted(room);
    base_spin_unlock(&room->thread_lock);
    return submitted - ended;
}

uint64_t task_submitted(struct task_room *room)
{
    base_spin_lock(&room->thread_lock);
    uint64_t sum = sum_submitted(room);
    base_spin_unlock(&room->thread_lock);
    return sum;
}

static void describe_object(struct task_room *room, uint64_t handle, char *text, size_t size)
{
    struct object *object = handle ? object_find(room, handle) : NULL;
    const struct task *producer = object ? object_producer(room, object) : NULL;
    if (!object) {
        snprintf(text, size, "an event of the job");
    } else if (refcount_owner(handle) != room->config.rank) {
        snprintf(text, size, "an object of rank %d", refcount_owner(handle));
    } else if (object->unsealed) {
        snprintf(text, size, "an object that was created but never sealed");
    } else if (!producer) {
        snprintf(text, size, "%s", object_label(object));
    } else if (producer->flags & TASK_SENT) {
        snprintf(text, size, "the result of %s, which is on rank %d", object_label(object), producer->runner);
    } else if (__atomic_load_n(&task_object(producer)->waits, __ATOMIC_RELAXED)) {
        snprintf(text, size, "the result of %s, which waits for its arguments", object_label(object));
    } else {
        snprintf(text, size, "the result of %s", object_label(object));
    }
}

static void report_one(void *arg, const struct sched_parker *parker)
{
    struct task_room *room = arg;
    char text[256];
    if (parker->reason.passive)
        return;
    describe_object(room, parker->reason.handle, text, sizeof text);
    base_log(BASE_LOG_ERROR, "task", "%s waits (%s) for %s", parker->reason.who, parker->reason.what, text);
}

void task_quiesce_report(struct task_room *room, const char *why)
{
    base_log(BASE_LOG_ERROR, "task", "%s: %llu of the tasks submitted here have not ended", why,
             (unsigned long long)task_outstanding(room));
    sched_each_parked(room->sched, report_one, room);
}

void task_on_deadlock(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    (void)message;
    atomic_fetch_add(&room->deadlocks, 1);
    task_quiesce_report(room, "deadlock, nothing in the job can move");
    sched_fail_parked(room->sched, RAYMPI_ERR_DEADLOCK);
}

void task_stalled(void *arg, double seconds)
{
    char why[128];
    snprintf(why, sizeof why, "watchdog: nothing has moved on this rank for %.0f s (RAYMPI_WATCHDOG)",
             seconds);
    task_quiesce_report(arg, why);
}

/* Serves the job until a rest that main has to know of is announced. No rest can come before this rank is
 * parked here. */
static int serve(struct task_room *room)
{
    struct sched_parker parker;
    sched_parker_init(room->sched, &parker, (struct sched_reason){"main", "finalize", 0, true});
    base_spin_lock(&room->finalize_lock);
    room->finalize_parker = &parker;
    base_spin_unlock(&room->finalize_lock);
    atomic_store(&net_board(room->net, room->config.rank)->finalizing, 1);
    int status = sched_park(&parker, UINT64_MAX);
    base_spin_lock(&room->finalize_lock);
    room->finalize_parker = NULL;
    base_spin_unlock(&room->finalize_lock);
    return status;
}

int task_finalize(struct task_room *room)
{
    return serve(room);
}

/* ---- errors that nobody looked at */

void task_note_unseen(struct task_room *room, struct object *object)
{
    char text[768];
    /* Of actors that hold each other one has to end before the other. */
    if (object->status == RAYMPI_ERR_ACTOR_DEAD && atomic_load(&room->ended) >= END_DESTRUCTORS)
        return;
    const struct value *error = value_behind(&object->value);
    if (value_error_seen(error))
        return;
    value_error_see(error); /* one report for all results of a task */
    value_error_text(error, text, sizeof text);
    if (atomic_fetch_add(&room->unseen, 1) < 16)
        base_log(BASE_LOG_ERROR, "task", "error that nobody looked at: %s", text);
}

/* ---- leaks */

struct leak {
    const char *label;
    uint32_t count;
    UT_hash_handle hh;
};

static void leak_note(struct leak **leaks, struct task_room *room, uint64_t handle)
{
    struct object *object = handle ? object_find(room, handle) : NULL;
    struct leak *leak;
    if (!object)
        return;
    HASH_FIND_STR(*leaks, object_label(object), leak);
    if (!leak && (leak = calloc(1, sizeof *leak))) {
        leak->label = object_label(object);
        HASH_ADD_KEYPTR(hh, *leaks, leak->label, strlen(leak->label), leak);
        if (!leak->hh.tbl) {
            free(leak);
            leak = NULL;
        }
    }
    if (leak)
        leak->count++;
}

static void leaks_print(struct leak *leaks)
{
    char text[512] = "";
    size_t used = 0;
    uint64_t sum = 0;
    struct leak *leak, *next;
    HASH_ITER (hh, leaks, leak, next) {
        sum += leak->count;
        if (used < sizeof text - 1)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s x%u", used ? ", " : "",
                                     leak->label, leak->count);
        HASH_DEL(leaks, leak);
        free(leak);
    }
    if (sum)
        base_log(BASE_LOG_WARN, "task", "%llu refs were never released: %s (RAYMPI_LEAKS=0 hides this)",
                 (unsigned long long)sum, text);
}

/* Nothing may be left: for whoever tests or debugs this library. */
static void report_held(struct task_room *room)
{
    uint64_t objects = 0;
    for (uint32_t i = 0; i < room->slab_used; i++) {
        const struct object *slab = atomic_load_explicit(&room->slabs[i], memory_order_acquire);
        for (uint32_t j = 0; j < task_slots(room, i); j++)
            objects += object_handle(&slab[j]) != 0 && object_handle(&slab[j]) != OBJECT_NO_HANDLE;
    }
    struct store_counters store;
    store_collect(room->store);
    store_counters(room->store, &store);
    base_log(BASE_LOG_INFO, "task", "%llu objects, %u borrowed refs, %llu store blocks still held",
             (unsigned long long)objects, HASH_COUNT(room->borrowed), (unsigned long long)store.blocks);
}

static void let_go(struct task_room *room)
{
    struct leak *leaks = NULL;
    struct kept *kept, *next;
    if (room->config.report_leaks) {
        for (struct task_thread *thread = room->threads; thread; thread = thread->next)
            for (uint32_t i = 0; i < thread->root.held_used; i++)
                leak_note(&leaks, room, thread->root.held[i]);
        HASH_ITER (hh, room->kept.table, kept, next)
            leak_note(&leaks, room, kept->handle);
        leaks_print(leaks);
    }
    for (struct task_thread *thread = room->threads; thread; thread = thread->next)
        context_fini(&thread->root);
    kept_drop_all(room, &room->kept);
}

static void note_never_run(struct task_room *room)
{
    uint64_t left = task_outstanding(room);
    if (left == 0)
        return;
    base_log(BASE_LOG_ERROR, "task",
             "%llu tasks submitted here never ran: their arguments never became ready",
             (unsigned long long)left);
    atomic_fetch_add(&room->deadlocks, 1);
}

int task_report(struct task_room *room)
{
    let_go(room);
    /* The last actors end; an error that only another rank had a ref to is found when that rank's release
     * arrives. */
    serve(room);
    note_never_run(room);
    report_held(room);
    if (atomic_load(&room->deadlocks))
        return base_fail(RAYMPI_ERR_DEADLOCK, "the job was deadlocked (see the report on stderr)");
    if (atomic_load(&room->unseen))
        return base_fail(RAYMPI_ERR_UNSEEN, "%d errors of tasks were never looked at (see stderr)",
                         atomic_load(&room->unseen));
    return RAYMPI_OK;
}
