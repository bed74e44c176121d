#ifndef RAYMPI_TASK_INTERNAL_H
#define RAYMPI_TASK_INTERNAL_H

#include "task/task.h"

#include <stdio.h>
#include <string.h>

/* ---- bytes of messages: a growing writer and a reader that checks lengths */

struct writer {
    char *bytes;
    size_t used, size;
    bool failed;  /* out of memory: nothing more is written */
    bool far;     /* it goes to another host: nothing there can read our store */
    bool moved;   /* a task of another rank's, handed on: blocks that are its values' alone go with it */
    bool results; /* whoever reads it will own the values */
    bool sure;    /* somebody waits for the message and could not be told: memory is waited for */
    char first[512];
};
void writer_init(struct writer *writer);
void writer_fini(struct writer *writer);
/** Room for `length` bytes more; false (and the writer has failed): out of memory. */
bool writer_grow(struct writer *writer, size_t length);
static inline void write_bytes(struct writer *writer, const void *data, size_t length)
{
    if (base_unlikely(length > writer->size - writer->used) && !writer_grow(writer, length))
        return;
    memcpy(writer->bytes + writer->used, data, length);
    writer->used += length;
}
static inline void write_u8(struct writer *w, uint8_t x)
{
    write_bytes(w, &x, sizeof x);
}
static inline void write_u32(struct writer *w, uint32_t x)
{
    write_bytes(w, &x, sizeof x);
}
static inline void write_u64(struct writer *w, uint64_t x)
{
    write_bytes(w, &x, sizeof x);
}
/** Sends what was written; MEMORY when the writer has failed. */
int writer_send(struct task_room *room, struct writer *writer, int rank, enum task_message_type type);

struct reader {
    const char *at, *end;
    bool failed;  /* something was longer than the message: all later reads give 0 */
    bool results; /* this rank will own the values */
};
/** The next `length` bytes where they lie; NULL (and the reader has failed): there are not so many. */
static inline const void *read_in_place(struct reader *reader, size_t length)
{
    if (base_unlikely(length > (size_t)(reader->end - reader->at))) {
        reader->failed = true;
        reader->at = reader->end;
        return NULL;
    }
    const void *data = reader->at;
    reader->at += length;
    return data;
}
static inline void read_bytes(struct reader *reader, void *data, size_t length)
{
    const void *from = read_in_place(reader, length);
    if (base_likely(from != NULL))
        memcpy(data, from, length);
}
static inline uint8_t read_u8(struct reader *r)
{
    uint8_t x = 0;
    read_bytes(r, &x, sizeof x);
    return x;
}
static inline uint32_t read_u32(struct reader *r)
{
    uint32_t x = 0;
    read_bytes(r, &x, sizeof x);
    return x;
}
static inline uint64_t read_u64(struct reader *r)
{
    uint64_t x = 0;
    read_bytes(r, &x, sizeof x);
    return x;
}

/* task_value.c */
/** The room closes: frees private memory that is not the room's. */
void value_forget(struct value *value);
/** A value on the wire: this, then its bytes or its place. */
struct __attribute__((packed)) value_head {
    uint8_t kind, type;
    uint32_t nested;
    uint64_t length;
};
/** False: it says where the bytes are; true: there are none in the store, or who reads it has its own. */
bool write_value(struct task_room *room, struct writer *writer, struct value *value);
bool read_value(struct task_room *room, struct reader *reader, struct value *value);

/* task_args.c */
/** Brings the stored arguments of a task to where its body can read them. May block. LOST, STORE_FULL,
 * DEADLOCK. */
int task_args_bring(struct raympi_ctx *run);
/** Of one for which run->admitted is not 0. */
void task_args_let_go(struct raympi_ctx *run);
/** It waits in its body, and goes on. */
void task_args_blocked(struct raympi_ctx *run);
void task_args_resumed(struct raympi_ctx *run);

/* task_create.c */
/** store_create(), which waits for room as long as RAYMPI_CREATE_TIMEOUT allows. */
int task_store_create(struct task_room *room, uint64_t bytes, struct store_place *place, void **data);
/** object_awaited() of any of its results. */
bool task_awaited(const struct task *task, int depth);
/** Somebody waits for something: tells those that run it, if they have asked. */
void task_hungry_look(struct task_room *room);
/** Before a task asks for copies of so many bytes on this host: waits in the same way. When it has them, or
 * will not, the promise is to be taken back (store_promise). */
int task_leave_room(const struct task *task, uint64_t bytes, uint64_t *promised);
/** Tasks that wait for each other's results, until one is taken for awaited. */
#define TASK_AWAITED_DEPTH 16
/** What a task of another rank's has to be asked for; made before it may end. */
struct task_question {
    int owner;
    uint32_t count;
    uint64_t handles[TASK_RETURNS_MAX];
};
void task_question_make(struct task_question *question, const struct task *task);
void task_question_ask(struct task_room *room, const struct task_question *question);
/** Something has left memory: who waits for some looks again. */
void task_create_wake(struct task_room *room);
void task_create_open(struct task_room *room);
void task_create_close(struct task_room *room);

/* task_aside.c */
/** Puts a task that is about to run aside, if so many of its kind wait for memory. */
bool task_put_aside(struct task *task);
/** One waits for memory, and does not any more. */
void task_crowd_enter(struct task_room *room, const struct task *task);
void task_crowd_leave(struct task_room *room);
/** One more of those put aside begins, unless as many wait. */
void task_aside_next(struct task_room *room, int enough);
/** Those that are waited for begin. */
void task_aside_awaited(struct task_room *room, bool (*is_awaited)(const struct task *task, const void *arg),
                        const void *arg);
/** All of them end. */
void task_aside_fail(struct task_room *room, int code, const char *message);

/* task_present.c */
struct task_present;
int task_present_open(struct task_room *room);
void task_present_close(struct task_room *room);
/** What waits for memory or disk may go on. */
void task_present_look(struct task_room *room);
/** Memory for a block is wanted: gives up copies, spills, asks other ranks of the host. */
void task_make_room(struct task_room *room, uint64_t bytes);
/** A block of this rank's goes, and copies of it on other hosts. */
void stored_free(struct task_room *room, struct store_place place);
void task_on_free(void *arg, const struct net_message *message);

/* task_room.c */
/** The room closes: frees private memory of what never came to an end. */
void task_forget(struct task *task);

/* task_submit.c */
static inline void task_arg_init(struct arg *arg, struct task *task, int kind)
{
    arg->kind = (uint8_t)kind;
    arg->accepted = 0;
    arg->count = 0;
    arg->task = task;
    arg->handle = 0;
    arg->object = NULL;
    arg->list = NULL;
    value_init(&arg->value);
}

/** The task that it is an argument of; NULL: it is none's. */
const struct task *waiter_task(const struct waiter *waiter);

/* task_object.c */
/** Slots of a slab that were ever given out: the others are not looked at, which would take memory for them.
 */
static inline uint32_t task_slots(const struct task_room *room, uint32_t slab)
{
    return slab + 1 == room->slab_used ? room->slot_used : OBJECT_SLAB;
}
/** A thread ends: its free slots go to the room. */
void object_slots_return(struct task_room *room, struct task_thread *thread);

/* task_held.c */
/** Lets go of the holds from position `first` on. */
void held_drop_from(struct context *context, uint32_t first);
void held_fini(struct context *context);

/* task_context.c */
/** The scope is about to let go of a hold on the object: views of it that lean on the scope's holds get one
 * of their own. */
void views_stand(struct context *context, struct object *object);

/* task_ref.c */
void object_zero(struct task_room *room, uint64_t handle);
void object_drop_handle(struct task_room *room, uint64_t handle);
void ref_on_message(void *arg, const struct net_message *message);
void ref_on_want(void *arg, const struct net_message *message);
void ref_on_value(void *arg, const struct net_message *message);
/** Does it stand for another rank? Then it is memory of its own. */
bool waiter_is_remote(const struct waiter *waiter);

/* task_wire.c */
#define TASK_LIST_MAX (1u << 24) /* refs in one argument */
void task_on_task(void *arg, const struct net_message *message);
void task_on_done(void *arg, const struct net_message *message);
void task_on_done_small(void *arg, const struct net_message *message);
void task_on_ends(void *arg, const struct net_message *message);
void task_send_done(struct raympi_ctx *run);
void task_send_failed(struct task *task, const struct value *error);
/** No arguments, one result: its head is all of it. */
static inline bool task_is_small(const struct task *task)
{
    return task->arg_count == 0 && task->returns == 1;
}

/** The commonest end: one small result, and no ref taken over. */
struct done_small {
    uint64_t handle;
    uint32_t length;
    uint32_t type;
    char bytes[VALUE_SHORT_MAX];
};

_Static_assert(sizeof(struct task_end) == offsetof(struct done_small, bytes) + 8, "the same bytes");
#define DONE_NOTHING 256 /* type of the result of a method that has returned none */
/** That of a task with a number as its result, or (NULL) a call with none, while nothing is in its way. */
static inline bool task_put_done(const struct task *task, const struct value *value)
{
    const uint32_t size = (uint32_t)offsetof(struct done_small, bytes) + (value ? 8 : 0);
    struct net *net = task->room->net;
    int owner = task_owner(task);
    struct done_small *done = net_put_begin(net, owner, size);
    if (base_unlikely(!done))
        return false;
    done->handle = task_result(task, 0);
    done->length = value ? 8 : 0;
    done->type = value ? value->type : DONE_NOTHING;
    if (value)
        value_bytes_copy(done->bytes, value->u.bytes, 8);
    net_put_end(net, owner, TASK_MESSAGE_DONE_SMALL, size, NULL);
    return true;
}

/* task_ends.c */
void task_ends_enter_second(struct task_ends *ends);
/** Keeps the progress thread out. The mark before the look at the other's: there a heavy fence lies between
 * the two. */
static inline void task_ends_enter(struct task_ends *ends)
{
    atomic_store_explicit(&ends->busy, 1, memory_order_relaxed);
    base_fence_light();
    /* Acquire: what the progress thread has sent is gone. */
    if (base_unlikely(atomic_load_explicit(&ends->late, memory_order_acquire)))
        task_ends_enter_second(ends);
}
static inline void task_ends_leave(struct task_ends *ends)
{
    /* Release: the progress thread sees what is there. */
    atomic_store_explicit(&ends->busy, 0, memory_order_release);
}
static inline uint32_t task_ends_count(const struct task_ends *ends)
{
    return atomic_load_explicit(&((struct task_ends *)ends)->count, memory_order_relaxed);
}
void task_ends_settle(struct task_thread *thread);
/** Before anything that may take long: sends the ends that wait for others. */
static inline void task_settle(struct task_thread *thread)
{
    if (base_unlikely(thread->front && thread->front->owed))
        task_ends_settle(thread);
}
/** The end of a task of another rank's, with 8 bytes as its result; `more`: another brief one follows at
 * once.
 */
static inline void task_end_later(struct task_thread *thread, const struct task *task,
                                  const struct value *value, bool more)
{
    struct task_ends *ends = &thread->ends;
    int owner = task_owner(task);
    if (base_unlikely(ends->owner != owner))
        task_settle(thread);
    task_ends_enter(ends);
    ends->owner = owner;
    uint32_t count = task_ends_count(ends);
    struct task_end *end = &ends->end[count];
    end->handle = task_result(task, 0);
    end->length = 8;
    end->type = value->type;
    value_bytes_copy(end->bytes, value->u.bytes, 8);
    atomic_store_explicit(&ends->count, count + 1, memory_order_relaxed);
    uint32_t added = atomic_load_explicit(&ends->added, memory_order_relaxed);
    atomic_store_explicit(&ends->added, added + 1, memory_order_relaxed);
    task_ends_leave(ends);
    thread->front->owed = true;
    if (!more || count + 1 == TASK_ENDS)
        task_ends_settle(thread);
}
void task_settle_self(void *arg);
void task_ticked(void *arg);

/* task_run.c */
/** As it begins, but for name and task. */
void run_clear(struct raympi_ctx *run, struct task_room *room);
void task_dispatch(struct task *task);
/** A task of this rank's has ended. */
static inline void task_count_ended(struct task_room *room)
{
    struct task_thread *thread = task_self;
    if (base_likely(thread != NULL))
        task_count_end(thread);
    else
        __atomic_fetch_add(&room->ended_threads_ended, 1, __ATOMIC_RELEASE);
}
/** One was given to another rank; for the statistics. */
static inline void task_count_sent(struct task_room *room)
{
    struct task_thread *thread = task_self;
    if (base_likely(thread != NULL))
        trace_count(thread->trace, TRACE_COUNT_SENT, 1);
    else
        atomic_fetch_add_explicit(&room->sent_away, 1, memory_order_relaxed);
}
void task_complete_returns(struct task *task, struct result *results, const struct value *error);
void object_set_alias(struct task_room *room, struct object *object, struct object *target);
/** Does it stand for an object that will have the same value? Then it is memory of its own. */
bool waiter_is_alias(const struct waiter *waiter);

/* task_steal.c */
void task_on_steal(void *arg, const struct net_message *message);
void task_on_no_work(void *arg, const struct net_message *message);
void task_idle(void *arg);
/** Slows a submitter down that asks rank `there` by name for more than that can keep up with. */
void task_credit_look(struct task_room *room, int there);
static inline void task_credit_wait(struct task_room *room, int there)
{
    if (there != room->config.rank &&
        base_unlikely(task_inflight(room, there) >= TASK_CREDITS || net_pending(room->net, there) > 0))
        task_credit_look(room, there);
}
static inline void task_backlog_wait(struct task_room *room, int there)
{
    if (there >= 0)
        task_credit_wait(room, there);
    task_backlog_check(room, task_self);
}
int task_choose(struct task_room *room, const struct task *task);

/* task_end.c */
void task_on_end(void *arg, const struct net_message *message);
void task_on_deadlock(void *arg, const struct net_message *message);
void task_rest(void *arg, enum net_rest rest);
void task_stalled(void *arg, double seconds);
void task_note_unseen(struct task_room *room, struct object *object);

#endif
