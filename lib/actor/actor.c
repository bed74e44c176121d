/* Actors as callers see them. */
#include "actor/actor_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Methods as callers know them, by hash of the name. One table for all nodes of the process, since calls in
 * the program remember where theirs is: in this generation of the table, which ends with the last node. */
static struct method_stub *method_stubs;
static struct base_spin method_stubs_lock;
static int method_stubs_users;
static uint64_t method_stubs_generation = 1;

static void method_stubs_open(void)
{
    base_spin_lock(&method_stubs_lock);
    method_stubs_users++;
    base_spin_unlock(&method_stubs_lock);
}

static void method_stubs_close(void)
{
    struct method_stub *stub, *next;
    base_spin_lock(&method_stubs_lock);
    bool last = --method_stubs_users == 0;
    HASH_ITER (hh, method_stubs, stub, next) {
        if (!last)
            break;
        HASH_DEL(method_stubs, stub);
        free((char *)stub->function.name);
        free(stub);
    }
    method_stubs_generation += last;
    base_spin_unlock(&method_stubs_lock);
}

int actor_room_open(struct actor_room **out, struct task_room *tasks)
{
    struct actor_room *room = calloc(1, sizeof *room);
    size_t size = (size_t)tasks->config.size;
    if (room) {
        room->born = calloc(size, sizeof *room->born);
        room->next_number = calloc(size, sizeof *room->next_number);
    }
    if (!room || !room->born || !room->next_number) {
        if (room) {
            free(room->born);
            free(room->next_number);
        }
        free(room);
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the actors");
    }
    method_stubs_open();
    room->tasks = tasks;
    room->constructor_hash = base_hash_name("");
    room->destructor_hash = base_hash_name("~");
    room->ping_hash = base_hash_name(ACTOR_PING);
    room->next_start = (uint32_t)tasks->config.rank;
    base_spin_init(&room->lock);
    base_spin_init(&room->lane_lock);
    base_spin_init(&room->making_lock);
    tasks->actor = (struct task_actor_hooks){.arg = room,
                                             .enter = lane_enter,
                                             .leave = lane_leave,
                                             .send = lane_send,
                                             .arrive = actor_arrive,
                                             .arrived = actor_arrived,
                                             .handle_free = actor_handle_free,
                                             .unborn = actor_unborn,
                                             .end = actor_end_all};
    net_handle(tasks->net, TASK_MESSAGE_ACTOR_NEW, actor_on_new, room);
    net_handle(tasks->net, TASK_MESSAGE_ACTOR_KILL, actor_on_kill, room);
    *out = room;
    return RAYMPI_OK;
}

void actor_room_close(struct actor_room *room)
{
    struct actor *actor, *next;
    HASH_ITER (hh, room->table, actor, next) {
        HASH_DEL(room->table, actor);
        for (struct task *task = actor->head, *behind; task; task = behind) { /* calls of one never born */
            behind = task->next;
            if (task->flags & TASK_FOREIGN)
                task_free(task);
        }
        actor_delete(actor);
    }
    method_stubs_close();
    free(room->born);
    free(room->next_number);
    free(room);
}

uint64_t actor_handle(const void *actor)
{
    return ((const struct actor *)actor)->handle;
}

/* ---- making */

static int choose_host(struct actor_room *room, const struct task_function *klass,
                       const raympi_options *options, int *host)
{
    struct task_room *tasks = room->tasks;
    int size = tasks->config.size;
    if (options->strategy == RAYMPI_STRATEGY_NODE) {
        *host = options->node;
        if (options->node < 0 || options->node >= size)
            return base_fail(RAYMPI_ERR_INFEASIBLE,
                             "node %d was asked for an actor, the job has ranks 0 to %d", options->node,
                             size - 1);
        if (!task_function_on(klass, options->node))
            return base_fail(RAYMPI_ERR_INFEASIBLE,
                             "class %s is not registered on rank %d, where its actor was to be", klass->name,
                             options->node);
        return RAYMPI_OK;
    }
    struct place_node nodes[size];
    for (int rank = 0; rank < size; rank++) {
        struct net_board *board = net_board(tasks->net, rank);
        nodes[rank] =
            (struct place_node){.actors = atomic_load_explicit(&board->actors, memory_order_relaxed),
                                .available = rank == tasks->config.rank || atomic_load(&board->available),
                                .allowed = task_function_on(klass, rank)};
    }
    *host = place_actor(nodes, size, (int)(atomic_fetch_add(&room->next_start, 1) % (uint32_t)size));
    return *host >= 0 ? RAYMPI_OK
                      : base_fail(RAYMPI_ERR_INFEASIBLE, "class %s is registered on no rank", klass->name);
}

/* Invents a handle and tells the host. Numbers of one host reach it in order: the lock covers the message. */
static struct object *make_known(struct actor_room *room, uint64_t class_hash, const char *const *label,
                                 int host)
{
    struct task_room *tasks = room->tasks;
    int self = tasks->config.rank;
    struct object *object = NULL, *half = NULL;
    /* Counted here and not only where it will live, so that the next one is placed with this one in mind. */
    if (net_local(tasks->net, host) < 0 && net_reach(tasks->net, host) != RAYMPI_OK)
        return NULL;
    _Atomic uint32_t *actors = &net_board(tasks->net, host)->actors;
    atomic_fetch_add(actors, 1);
    base_spin_lock(&room->making_lock);
    uint32_t number = ++room->next_number[host];
    uint64_t handle = (uint64_t)host << REFCOUNT_SEQUENCE_BITS | TASK_HANDLE_ACTOR |
                      (uint64_t)self << ACTOR_NUMBER_BITS | number;
    if (number >> ACTOR_NUMBER_BITS) {
        base_fail(RAYMPI_ERR_MEMORY, "rank %d has made 8 million actors on rank %d", self, host);
    } else if (host == self) {
        int born = actor_born(room, handle, class_hash, self);
        object = object_find(tasks, handle);
        half = born == RAYMPI_OK ? NULL : object;
    } else {
        uint64_t words[2] = {handle, class_hash};
        struct net_piece piece = {words, sizeof words};
        object = object_actor_borrow(tasks, handle, label);
        if (object && task_tell(tasks, host, TASK_MESSAGE_ACTOR_NEW, &piece, 1) != RAYMPI_OK)
            object = NULL;
    }
    base_spin_unlock(&room->making_lock);
    if (half) {
        object_drop(tasks, half);
        object = NULL;
    }
    if (!object)
        atomic_fetch_sub(actors, 1);
    return object;
}

static struct task_function *method_stub(const char *name)
{
    struct method_stub *stub;
    uint64_t hash = base_hash_name(name);
    base_spin_lock(&method_stubs_lock);
    HASH_FIND(hh, method_stubs, &hash, sizeof hash, stub);
    if (!stub && (stub = calloc(1, sizeof *stub))) {
        char *copy = strdup(*name ? name : "constructor");
        stub->function = (struct task_function){.hash = hash, .name = copy, .full_name = copy};
        task_plan_init(&stub->function.plan, NULL);
        if (copy)
            HASH_ADD(hh, method_stubs, function.hash, sizeof hash, stub);
        if (!stub->hh.tbl) {
            free(copy);
            free(stub);
            stub = NULL;
        }
    }
    base_spin_unlock(&method_stubs_lock);
    if (!stub)
        base_fail(RAYMPI_ERR_MEMORY, "no memory for a method's name");
    return stub ? &stub->function : NULL;
}

static int call(struct actor_room *room, struct object *object, struct task_function *function,
                const raympi_options *options, const raympi_value *args, size_t count, raympi_ref *ref)
{
    if (base_unlikely(!function))
        return RAYMPI_ERR_MEMORY;
    if (base_likely(ref && !options && function->plan.plain))
        return task_submit_call(task_self, function, object, args, count, ref);
    struct task_request request = {.function = function,
                                   .name = function->name,
                                   .options = options,
                                   .args = args,
                                   .count = count,
                                   .actor = object_handle(object),
                                   .actor_object = object};
    return task_submit(room->tasks, &request, ref, ref ? 1 : 0);
}

/* The caller's scope holds the new handle. */
static int hold_new(struct actor_room *room, struct object *object)
{
    struct context *context = task_self->context;
    object->parent = context_id(context);
    object->child = context->children++;
    int status = context_hold(context, object);
    if (status != RAYMPI_OK)
        object_drop(room->tasks, object);
    return status;
}

int actor_create_failed(struct actor_room *room, int code, raympi_actor *actor)
{
    static const char *const label = "actor";
    char text[480];
    snprintf(text, sizeof text, "%s", base_detail());
    struct object *object = make_known(room, ACTOR_NO_CLASS, &label, room->tasks->config.rank);
    if (!object || hold_new(room, object) != RAYMPI_OK)
        return RAYMPI_ERR_MEMORY;
    actor_end(room, object_handle(object), ACTOR_FAILED, code, text);
    actor->handle = object_handle(object);
    return RAYMPI_OK;
}

/* Calls the constructor. Its failure is told by every later call, so its own ref is not kept. */
static int construct(struct actor_room *room, struct object *object, const raympi_value *args, size_t count)
{
    raympi_options nothing = {.size = sizeof nothing, .num_returns = RAYMPI_NONE};
    raympi_ref ended;
    int status = call(room, object, method_stub(""), &nothing, args, count, &ended);
    if (status != RAYMPI_OK)
        return status;
    struct object *result = object_find(room->tasks, ended.handle);
    /* Arguments that are none make a ref that has failed already, and no call. */
    status = object_ready(result) && result->status != RAYMPI_OK ? task_object_error(result) : RAYMPI_OK;
    object_see(result);
    context_unhold(task_self->context, result);
    object_drop_named(room->tasks, result);
    return status;
}

int actor_create(struct actor_room *room, struct task_function *klass, const raympi_options *options,
                 const raympi_value *args, size_t count, raympi_actor *actor)
{
    raympi_options merged;
    int host;
    int status = task_options_merge(&merged, klass->definition ? &klass->definition->options : NULL, options);
    if (status != RAYMPI_OK || (status = choose_host(room, klass, &merged, &host)) != RAYMPI_OK)
        return actor_create_failed(room, status, actor);
    struct object *object = make_known(room, klass->hash, &klass->name, host);
    if (!object || hold_new(room, object) != RAYMPI_OK)
        return RAYMPI_ERR_MEMORY;
    actor->handle = object_handle(object);
    status = construct(room, object, args, count);
    if (status == RAYMPI_OK)
        return RAYMPI_OK;
    char text[480];
    snprintf(text, sizeof text, "%s", base_detail());
    return actor_tell_end(room, actor->handle, ACTOR_FAILED, status, text);
}

/* The record of a handle of the user's, with a hold. */
static int hold_handle(uint64_t handle, struct object **object)
{
    if (handle == 0 || !task_handle_is_actor(handle))
        return base_fail(RAYMPI_ERR_ARGUMENT, "the actor handle is null, or none: creating it failed?");
    return object_hold_across(task_self, handle, object);
}

/* The first call of a method at this place of the program. */
static int method_find(raympi_method_name *method, struct task_function **function)
{
    if (!method->name[0] || !strcmp(method->name, "~") || !strcmp(method->name, ACTOR_PING))
        return base_fail(RAYMPI_ERR_UNKNOWN, "no method has the name \"%s\"", method->name);
    *function = method_stub(method->name);
    __atomic_store_n(&method->internal, *function, __ATOMIC_RELAXED);
    /* Release: who finds the generation finds the pointer, and what it points to. */
    if (*function)
        __atomic_store_n(&method->generation, method_stubs_generation, __ATOMIC_RELEASE);
    return *function ? RAYMPI_OK : RAYMPI_ERR_MEMORY;
}

int actor_submit(struct actor_room *room, uint64_t handle, raympi_method_name *method,
                 const raympi_options *options, const raympi_value *args, size_t count, raympi_ref *ref)
{
    struct object *object;
    int status = hold_handle(handle, &object);
    if (status != RAYMPI_OK)
        return status;
    /* Acquire: pairs with the release of whoever called first. */
    bool known = __atomic_load_n(&method->generation, __ATOMIC_ACQUIRE) == method_stubs_generation;
    struct task_function *function =
        known ? (struct task_function *)__atomic_load_n(&method->internal, __ATOMIC_RELAXED) : NULL;
    if (base_unlikely(!known))
        status = method_find(method, &function);
    if (base_likely(status == RAYMPI_OK))
        status = call(room, object, function, options, args, count, ref);
    object_drop(room->tasks, object);
    return status;
}

static inline __attribute__((always_inline)) uint64_t submit_short(struct task_thread *thread,
                                                                   uint64_t handle,
                                                                   raympi_method_name *method,
                                                                   const raympi_value *args, size_t count)
{
    struct task_room *tasks = thread->room;
    /* Acquire: pairs with the release of whoever called first. */
    if (base_unlikely(!task_handle_is_actor(handle) || refcount_owner(handle) == tasks->config.rank ||
                      __atomic_load_n(&method->generation, __ATOMIC_ACQUIRE) != method_stubs_generation ||
                      !lane_clear(thread->context)))
        return 0;
    struct object *object = object_hold_borrowed(tasks, handle);
    if (base_unlikely(!object))
        return 0;
    struct task_function *function =
        (struct task_function *)__atomic_load_n(&method->internal, __ATOMIC_RELAXED);
    uint64_t ref = task_submit_away(thread, function, refcount_owner(handle), handle, object, args, count);
    if (base_unlikely(ref == 0))
        object_drop(tasks, object);
    return ref;
}

uint64_t actor_submit_short(struct task_thread *thread, uint64_t handle, raympi_method_name *method)
{
    return submit_short(thread, handle, method, NULL, 0);
}

uint64_t actor_submit_numbers(struct task_thread *thread, uint64_t handle, raympi_method_name *method,
                              const raympi_value *args, size_t count)
{
    return submit_short(thread, handle, method, args, count);
}

int actor_ping(struct actor_room *room, uint64_t handle, raympi_ref *ref)
{
    raympi_options nothing = {.size = sizeof nothing, .num_returns = RAYMPI_NONE};
    struct object *object;
    int status = hold_handle(handle, &object);
    if (status != RAYMPI_OK)
        return status;
    status = call(room, object, method_stub(ACTOR_PING), &nothing, NULL, 0, ref);
    object_drop(room->tasks, object);
    if (status != RAYMPI_OK)
        return status;
    /* Who has stopped waiting does not want to know how it ended. */
    object_see(object_find(room->tasks, ref->handle));
    return RAYMPI_OK;
}

int actor_tell_end(struct actor_room *room, uint64_t handle, enum actor_ending ending, int code,
                   const char *reason)
{
    int host = refcount_owner(handle);
    if (host == room->tasks->config.rank) {
        actor_end(room, handle, ending, code, reason);
        return RAYMPI_OK;
    }
    uint64_t words[3] = {handle, (uint64_t)ending, (uint64_t)(int64_t)code};
    struct net_piece pieces[2] = {{words, sizeof words}, {reason, reason ? strlen(reason) : 0}};
    if (ending == ACTOR_FAILED) /* calls are on their way already, and would wait for ever */
        return task_tell(room->tasks, host, TASK_MESSAGE_ACTOR_KILL, pieces, reason ? 2 : 1);
    return net_send(room->tasks->net, host, TASK_MESSAGE_ACTOR_KILL, pieces, reason ? 2 : 1);
}

int actor_kill(struct actor_room *room, uint64_t handle)
{
    struct object *object;
    int status = hold_handle(handle, &object);
    if (status != RAYMPI_OK)
        return status;
    status = actor_tell_end(room, handle, ACTOR_KILLED, 0, NULL);
    object_drop(room->tasks, object);
    return status;
}
