#ifndef RAYMPI_TASK_INTERNAL_H
#define RAYMPI_TASK_INTERNAL_H

#include "task/task.h"

#include <stdio.h>
#include <string.h>

/* ---- bytes of messages: a growing writer and a reader that checks lengths */

struct writer {
    char *bytes;
    size_t used, size;
    bool failed; /* out of memory: nothing more is written */
    char first[512];
};
void writer_init(struct writer *writer);
void writer_fini(struct writer *writer);
void write_bytes(struct writer *writer, const void *data, size_t length);
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
    bool failed; /* something was longer than the message: all later reads give 0 */
};
void read_bytes(struct reader *reader, void *data, size_t length);
const void *read_in_place(struct reader *reader, size_t length);
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
void write_value(struct task_room *room, struct writer *writer, struct value *value);
bool read_value(struct task_room *room, struct reader *reader, struct value *value);

/* task_object.c */
struct object *object_by_slot(struct task_room *room, uint64_t handle);
void object_destroy(struct task_room *room, struct object *object);
struct object *object_alloc(struct task_room *room);
void object_free(struct task_room *room, struct object *object);
void object_init(struct object *object, uint64_t handle, uint32_t holds, const char *label);

/* task_held.c */
/** Lets go of the holds from position `first` on. */
void held_drop_from(struct context *context, uint32_t first);
void held_fini(struct context *context);

/* task_ref.c */
void object_zero(struct task_room *room, uint64_t handle);
void object_drop_handle(struct task_room *room, uint64_t handle);
/** Drops a hold that a user had a name for: one of a scope or a kept set. */
void object_drop_named(struct task_room *room, uint64_t handle);
void ref_decline(struct task_room *room, uint64_t handle, int forwarder);
void ref_on_message(void *arg, const struct net_message *message);
void ref_on_want(void *arg, const struct net_message *message);
void ref_on_value(void *arg, const struct net_message *message);
void ref_on_free(void *arg, const struct net_message *message);

/* task_wire.c */
void task_on_task(void *arg, const struct net_message *message);
void task_on_done(void *arg, const struct net_message *message);
void task_send_done(struct raympi_ctx *run);
void task_send_failed(struct task *task, const struct value *error);

/* task_run.c */
void task_dispatch(struct task *task);
void task_item_run(struct sched_item *item);
void task_complete_returns(struct task *task, struct result *results, const struct value *error);
void object_set_alias(struct task_room *room, struct object *object, struct object *target);

/* task_steal.c */
void task_on_steal(void *arg, const struct net_message *message);
void task_on_no_work(void *arg, const struct net_message *message);
void task_idle(void *arg);
void task_credit_wait(struct task_room *room, int rank);
int task_choose(struct task_room *room, const struct task *task);

/* task_end.c */
void task_on_end(void *arg, const struct net_message *message);
void task_on_deadlock(void *arg, const struct net_message *message);
void task_rest(void *arg, enum net_rest rest);
void task_stalled(void *arg, double seconds);
void task_note_unseen(struct task_room *room, struct object *object);

#endif
