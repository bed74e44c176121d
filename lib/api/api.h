/* The public functions: they check arguments and call the rooms below. */
#ifndef RAYMPI_API_H
#define RAYMPI_API_H

#include "actor/actor.h"
#include "base/base.h"
#include "net/net.h"
#include "sched/sched.h"
#include "store/store.h"
#include "task/task.h"
#include "trace/trace.h"

/** One node: everything a rank is. Hangs on threads (task_self), not on a global, so that several can live in
 * one process. */
struct api_node {
    struct base_config config;
    struct trace *trace;
    struct net *net;
    struct store *store;
    struct sched *sched;
    struct task_room *tasks;
    struct actor_room *actors;
};

/** Puts the rooms of a node together over an open net and store, which it takes over. The caller becomes
 * worker 0. */
int api_node_open(struct api_node *node, const struct base_config *config, struct net *net,
                  struct store *store, int workers, double spin_ns, bool cooperative);
/** Starts threads: from here on messages are handled. */
int api_node_start(struct api_node *node);
void api_node_stop(struct api_node *node);
void api_node_close(struct api_node *node);
/** The node of a task room. */
struct api_node *api_node_of(const struct task_room *tasks);

/** A user's thread is attached by its first call; else STATE, or REENTRY, with a text. */
int api_enter_first(struct task_thread **thread);
/** The calling thread inside raympi: STATE when there is no node, REENTRY from a signal handler that
 * interrupted a call. Pairs with api_leave(). */
static inline int api_enter(struct task_thread **out)
{
    struct task_thread *thread = task_self;
    if (base_unlikely(!thread || thread->in_call))
        return api_enter_first(out);
    thread->in_call = 1;
    atomic_signal_fence(memory_order_seq_cst);
    *out = thread;
    return RAYMPI_OK;
}
/** The same for the short way of a call: false where that is not to be gone. */
static inline bool api_enter_short(struct task_thread *thread)
{
    if (base_unlikely(!thread || thread->in_call))
        return false;
    thread->in_call = 1;
    atomic_signal_fence(memory_order_seq_cst); /* that is for signal handlers */
    return true;
}
static inline void api_leave(struct task_thread *thread)
{
    atomic_signal_fence(memory_order_seq_cst);
    thread->in_call = 0;
}

/* api_object.c */
/** The record behind a ref that may be waited for, with a hold for the caller. TYPE, RELEASED, ARGUMENT
 * (null, or one's own result). */
int api_object_of(struct task_thread *thread, raympi_ref ref, struct object **object);
/** ARGUMENT when it is not a number. */
int api_check_timeout(double timeout);
/** A status, with the detail text, as the ref that the caller gets. */
raympi_ref api_error_ref(struct task_thread *thread, int status, const char *what);

/* refs that an object's bytes declare */
/** A hold on each. ARGUMENT, TOO_LARGE, RELEASED: on none. */
int api_nested_take(struct task_thread *thread, const raympi_ref *refs, size_t count);
void api_nested_give_back(struct task_room *room, const raympi_ref *refs, size_t count);
/** Their wire forms, behind the `length` bytes; the object has their holds from here on. */
void api_nested_write(struct task_room *room, void *bytes, size_t length, const raympi_ref *refs,
                      size_t count);
/** One of them becomes a ref, or an actor handle, of the current scope. */
raympi_ref api_nested_ref(struct task_thread *thread, struct object *container, raympi_wire_ref wire);
int api_nested_hold(struct task_thread *thread, struct object *container, uint64_t handle, bool actor);

/* api_misuse.c */
/** What it means that somebody has used the address and crashed, as base_crash_hooks wants it. */
size_t api_misuse(const struct api_node *node, const void *address, char *text, size_t size);

/* api_attach.c */
/** STATE, and why. */
int api_not_running(void);
/** The node that threads of the user's belong to from here on. Main thread only. MEMORY. */
int api_attach_set(struct api_node *node);
/** NULL: none. */
struct api_node *api_attach_get(void);
/** No thread is attached or detached any more when this returns: the node can be taken down. */
void api_attach_close(void);

#endif
