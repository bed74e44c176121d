/* Actors: state on one node, methods one at a time, in the order in which each caller made them. */
#ifndef RAYMPI_ACTOR_H
#define RAYMPI_ACTOR_H

#include "task/task.h"

struct actor_room;

int actor_room_open(struct actor_room **room, struct task_room *tasks);
/** The scheduler has stopped. */
void actor_room_close(struct actor_room *room);

/** Creates an actor of class `klass` somewhere; the handle belongs to the current scope. Its constructor is
 * called with args before anything else. What goes wrong (INFEASIBLE, UNSUPPORTED, an argument) is what calls
 * on the handle answer; only MEMORY leaves no handle. */
int actor_create(struct actor_room *room, struct task_function *klass, const raympi_options *options,
                 const raympi_value *args, size_t count, raympi_actor *actor);
/** A handle that holds an error: every call on it answers with `code` and the detail text. MEMORY. */
int actor_create_failed(struct actor_room *room, int code, raympi_actor *actor);
/** Calls a method by name. */
int actor_submit(struct actor_room *room, uint64_t handle, raympi_method_name *method,
                 const raympi_options *options, const raympi_value *args, size_t count, raympi_ref *ref);
/** actor_submit() for a call without options and arguments to an actor of another rank, where that is simple;
 * 0: nothing has happened, and the other function is to be called. */
uint64_t actor_submit_short(struct task_thread *thread, uint64_t handle, raympi_method_name *method);
/** The same with arguments that are numbers: task_are_numbers(). */
uint64_t actor_submit_numbers(struct task_thread *thread, uint64_t handle, raympi_method_name *method,
                              const raympi_value *args, size_t count);
/** A call that ends when all calls before it have, without an effect. */
int actor_ping(struct actor_room *room, uint64_t handle, raympi_ref *ref);
/** Ends an actor as soon as its running method has returned. */
int actor_kill(struct actor_room *room, uint64_t handle);
/** The handle of a running actor (raympi_ctx.actor). */
uint64_t actor_handle(const void *actor);

#endif
