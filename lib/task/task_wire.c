/* Tasks and their ends as messages. */
#include "task/task_internal.h"

#include <stdlib.h>

#define ARG_BYTES 27 /* of the shortest argument: a list has no more members than there are bytes for */

/* ---- a task on its way to its runner */

/* A number as an argument: the same bytes as any other's, at once. */
struct __attribute__((packed)) arg_number {
    uint8_t kind;
    uint64_t handle;
    uint32_t count;
    struct value_head head;
    char number[8];
};

static bool read_number(struct reader *reader, struct task *task, struct arg *arg)
{
    const struct arg_number *bytes = (const void *)reader->at;
    if ((size_t)(reader->end - reader->at) < sizeof *bytes || !task_kind_is_number(bytes->kind) ||
        bytes->handle != 0 || bytes->count != 0 || bytes->head.kind != VALUE_INLINE ||
        bytes->head.nested != 0 || bytes->head.length != 8)
        return false;
    task_arg_init(arg, task, bytes->kind);
    value_begin(&arg->value, VALUE_INLINE, bytes->head.type, 8);
    memcpy(arg->value.u.bytes, bytes->number, 8);
    reader->at += sizeof *bytes;
    return true;
}

static void write_arg(struct task_room *room, struct writer *writer, const struct task *task, struct arg *arg)
{
    if (task_kind_is_number(arg->kind) && arg->value.kind == VALUE_INLINE && arg->value.length == 8) {
        struct arg_number bytes = {.kind = arg->kind, .head = {VALUE_INLINE, arg->value.type, 0, 8}};
        memcpy(bytes.number, arg->value.u.bytes, 8);
        write_bytes(writer, &bytes, sizeof bytes);
        return;
    }
    write_u8(writer, arg->kind);
    write_u64(writer, arg->handle);
    if (arg->handle) {
        struct task_id id = arg->object ? object_id(arg->object) : arg->id;
        write_bytes(writer, &id, sizeof id);
    }
    write_u32(writer, arg->count);
    for (uint32_t i = 0; i < arg->count; i++)
        write_arg(room, writer, task, &arg->list[i]);
    bool known = arg->object && !(task->flags & TASK_FOREIGN) && arg->kind != RAYMPI_KIND_ACTOR;
    write_value(room, writer, known ? &arg->object->value : &arg->value);
}

static bool read_arg(struct task_room *room, struct reader *reader, struct task *task, struct arg *arg,
                     int depth)
{
    if (read_number(reader, task, arg))
        return true;
    *arg = (struct arg){.kind = read_u8(reader), .task = task, .handle = read_u64(reader)};
    if (arg->handle)
        read_bytes(reader, &arg->id, sizeof arg->id);
    uint32_t count = read_u32(reader);
    if (reader->failed || (count && (depth > 0 || count > TASK_LIST_MAX || arg->kind != RAYMPI_KIND_REFS ||
                                     count > (size_t)(reader->end - reader->at) / ARG_BYTES)))
        return false;
    if (arg->kind == RAYMPI_KIND_REFS)
        arg->list =
            base_alloc_sure(count * sizeof *arg->list, "task", "the arguments of another rank's task");
    for (uint32_t i = 0; i < count; i++) {
        if (!read_arg(room, reader, task, &arg->list[i], depth + 1))
            return false;
        arg->count++;
    }
    return read_value(room, reader, &arg->value);
}

static inline struct task_head head_of(const struct task *task)
{
    const struct object *record = task_object(task);
    return (struct task_head){
        .name_hash = task_hash(task),
        .actor = task->actor,
        .parent = record->parent,
        .handle = object_handle(record),
        .index = record->child,
        .attempt = record->attempt,
        .how = (uint8_t)((task->flags & TASK_VOID ? HOW_VOID : 0) | (task->node >= 0 ? HOW_PINNED : 0) |
                         task->arg_count * HOW_ARG),
        .returns = task->returns,
    };
}

static void write_task(struct task_room *room, struct writer *writer, struct task *task)
{
    struct task_head head = head_of(task);
    write_bytes(writer, &head, sizeof head);
    if (task->returns > 1)
        write_bytes(writer, task->more, (task->returns - 1u) * sizeof(uint64_t));
    for (int i = 0; i < task->arg_count; i++)
        write_arg(room, writer, task, &task->args[i]);
}

static bool read_args(struct task_room *room, struct reader *reader, struct task *task, uint32_t count)
{
    if (reader->failed || count > TASK_ARGS_MAX)
        return false;
    int tries = 0;
    while (count > 0 && task_args_new(task, count) != RAYMPI_OK)
        base_await_memory(&tries, "task", "the arguments of another rank's task");
    for (uint32_t i = 0; i < count; i++) {
        bool read = read_arg(room, reader, task, &task->args[i], 0);
        task->arg_count++; /* also when broken: what there is of it is freed with the task */
        if (!read)
            return false;
    }
    return true;
}

/* False: they are none. */
static bool read_numbers(struct reader *reader, struct task *task, uint32_t count)
{
    const struct task_numbers *numbers = read_in_place(reader, task_numbers_size(count));
    if (!numbers || count == 0 || count > TASK_ARGS_INLINE)
        return false;
    uint64_t kinds = numbers->kinds;
    for (uint32_t i = 0; i < count; i++)
        if (!task_kind_is_number((int)(kinds >> (8 * i) & UINT8_MAX)))
            return false;
    int tries = 0;
    while (task_args_new(task, count) != RAYMPI_OK)
        base_await_memory(&tries, "task", "the arguments of another rank's task");
    for (uint32_t i = 0; i < count; i++) {
        uint8_t kind = (uint8_t)(kinds >> (8 * i));
        task_arg_init(&task->args[i], task, kind);
        value_begin(&task->args[i].value, VALUE_INLINE, kind, 8);
        memcpy(task->args[i].value.u.bytes, &numbers->number[base_defect(DEFECT_WRONG_NUMBER) ? 0 : i], 8);
    }
    task->arg_count = (uint8_t)count;
    task->numbers = 1;
    return reader->at == reader->end;
}

/* False: it says what can not be. */
static inline bool head_take(struct task_room *room, const struct task_head *head, struct task *task)
{
    struct object *record = task_object(task);
    int owner = refcount_owner(head->handle);
    record->count.handle = head->handle;
    record->parent = head->parent;
    record->child = head->index;
    record->attempt = head->attempt;
    task->owner = owner;
    task->node = head->how & HOW_PINNED ? room->config.rank : -1;
    task->name_hash = head->name_hash;
    task->actor = head->actor;
    task->actor_object = NULL;
    task->lane = NULL;
    task->flags =
        TASK_POOLED | TASK_FOREIGN | (head->how & HOW_VOID ? TASK_VOID : 0) | (head->actor ? TASK_CALL : 0);
    if (base_unlikely((unsigned)owner >= (unsigned)room->config.size || !head->returns ||
                      head->returns > TASK_RETURNS_MAX))
        return false;
    task->returns = head->returns;
    return true;
}

static bool read_task(struct task_room *room, struct reader *reader, struct task *task)
{
    struct task_head head = {0};
    read_bytes(reader, &head, sizeof head);
    if (!head_take(room, &head, task) || reader->failed)
        return false;
    if (head.returns > 1) {
        size_t bytes = (head.returns - 1u) * sizeof(uint64_t);
        task->more = base_alloc_sure(bytes, "task", "the results of another rank's task");
        read_bytes(reader, task->more, bytes);
    }
    if (head.how & HOW_NUMBERS)
        return read_numbers(reader, task, (head.how & ~HOW_NUMBERS) / HOW_ARG);
    return head.how < HOW_ARG ? !reader->failed : read_args(room, reader, task, head.how / HOW_ARG);
}

/* No arguments, one result: its head is all of it. */
static inline bool is_small(const struct task *task)
{
    return task->arg_count == 0 && task->returns == 1;
}

/* The message of a small task. `sent` counts it. */
static inline int send_small(struct task_room *room, struct task *task, int rank, _Atomic uint32_t *sent)
{
    struct task_head head = head_of(task);
    struct net_piece piece = {&head, sizeof head};
    return net_send_counted(room->net, rank, TASK_MESSAGE_TASK, &piece, 1, sent);
}

static int send_large(struct task_room *room, struct task *task, int rank, _Atomic uint32_t *sent)
{
    struct writer writer;
    writer_init(&writer);
    write_task(room, &writer, task);
    struct net_piece piece = {writer.bytes, writer.used};
    int status = writer.failed ? base_fail(RAYMPI_ERR_MEMORY,
                                           "no memory for a message of more than %zu bytes", writer.used)
                               : net_send_counted(room->net, rank, TASK_MESSAGE_TASK, &piece, 1, sent);
    writer_fini(&writer);
    return status;
}

/* Can messages go there? An owner of a task can be told at once when they can not; a task that waits for
 * memory would look like one that hangs. */
static inline bool is_reached(struct task_room *room, int rank)
{
    if (base_likely(atomic_load_explicit(&room->flights[rank].reached, memory_order_relaxed)))
        return true;
    if (net_reach(room->net, rank) != RAYMPI_OK)
        return false;
    atomic_store_explicit(&room->flights[rank].reached, true, memory_order_relaxed);
    return true;
}

static void send_failed(struct task *task, int status)
{
    task->flags &= (uint8_t)~TASK_SENT;
    task_fail(task, status, base_detail());
}

void task_send(struct task_room *room, struct task *task, int rank)
{
    bool own = !(task->flags & TASK_FOREIGN), small = is_small(task);
    if (own && base_unlikely(!is_reached(room, rank))) {
        task_fail(task, RAYMPI_ERR_STORE_FULL, base_detail());
        return;
    }
    if (own) {
        task->flags |= TASK_SENT;
        task->runner = rank;
    }
    task_count_sent(room);
    _Atomic uint32_t *sent = own ? &room->flights[rank].sent : NULL;
    int status = small ? send_small(room, task, rank, sent) : send_large(room, task, rank, sent);
    if (base_unlikely(status != RAYMPI_OK))
        send_failed(task, status);
    else if (!own)
        task_free(task);
}

/* False: it is malformed. */
static bool task_arrives(struct task_room *room, const struct net_message *message, struct task *task)
{
    struct reader reader = {message->data, (const char *)message->data + message->length, false};
    return read_task(room, &reader, task);
}

/* One of any kind. */
static __attribute__((noinline)) struct task *task_receive(struct task_room *room,
                                                           const struct net_message *message)
{
    struct task *task;
    int tries = 0;
    while (!(task = task_new(room)))
        base_await_memory(&tries, "task", "a task from another rank");
    if (base_unlikely(!task_arrives(room, message, task))) {
        base_log(BASE_LOG_ERROR, "task", "a task from rank %d could not be read: malformed", message->source);
        task_free(task);
        return NULL;
    }
    return task;
}

/* Into a record at hand, if the thread has one; NULL: it is no such message. */
static inline __attribute__((always_inline)) struct task *
receive_short(struct task_room *room, const struct task_head *head, uint8_t flags)
{
    struct task_thread *thread = task_self;
    int owner = refcount_owner(head->handle);
    if (base_unlikely((unsigned)owner >= (unsigned)room->config.size || !thread || !thread->tasks.free))
        return NULL;
    struct object *record = base_pool_take(&room->tasks, &thread->tasks);
    struct task *task = &record->task;
    record->count.handle = head->handle;
    record->parent = head->parent;
    record->child = head->index;
    record->attempt = head->attempt;
    task->item.run = task_item_run;
    task->room = room;
    task->where = task_place(head->how & HOW_PINNED ? room->config.rank : -1, owner);
    task_set_shape(task, 1, flags);
    task->name_hash = head->name_hash;
    task->actor = head->actor;
    task->actor_object = NULL;
    task->lane = NULL;
    return task;
}

static __attribute__((noinline)) struct task *task_receive_numbers(struct task_room *room,
                                                                   const struct net_message *message)
{
    const struct task_head *head = message->data;
    if (message->length <= sizeof *head || head->returns != 1 ||
        (head->how & (HOW_NUMBERS | HOW_VOID)) != HOW_NUMBERS)
        return NULL;
    uint8_t flags = TASK_POOLED | TASK_FOREIGN | (head->actor ? TASK_CALL : 0);
    struct task *task = receive_short(room, head, flags);
    struct reader reader = {(const char *)(head + 1), (const char *)message->data + message->length, false};
    if (!task || read_numbers(&reader, task, (head->how & ~HOW_NUMBERS) / HOW_ARG))
        return task;
    task_free(task);
    return NULL; /* it is told what is wrong in the long way */
}

void task_on_task(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    const struct task_head *head = message->data;
    struct task *task = NULL;
    /* The commonest: one result, no arguments. */
    if (base_likely(message->length == sizeof *head && head->returns == 1 && !(head->how & ~HOW_PINNED))) {
        if (head->actor)
            task = receive_short(room, head, TASK_POOLED | TASK_FOREIGN | TASK_CALL);
        else
            task = receive_short(room, head, TASK_POOLED | TASK_FOREIGN);
    } else {
        task = task_receive_numbers(room, message);
    }
    if (base_unlikely(!task) && !(task = task_receive(room, message)))
        return;
    if (task->actor) {
        task->function = NULL; /* its class knows */
        room->actor.arrive(room->actor.arg, task);
        return;
    }
    task->function = task_function_find(task->name_hash);
    if (base_unlikely(!task->function || !task->function->body))
        task->item.run = task_item_refuse;
    if (task->node >= 0)
        sched_push_pinned(room->sched, &task->item);
    else
        sched_push_fifo(room->sched, &task->item);
}

/* ---- its end on the way back to the owner */

/* Positions, list members counted through, of the refs that the task has taken over. */
static uint32_t write_accepted(struct writer *writer, const struct arg *args, uint32_t count,
                               uint32_t *position)
{
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (args[i].accepted) {
            if (writer)
                write_u32(writer, *position);
            accepted++;
        }
        ++*position;
        accepted += write_accepted(writer, args[i].list, args[i].count, position);
    }
    return accepted;
}

static void write_all_accepted(struct writer *writer, const struct task *task)
{
    uint32_t position = 0;
    if (task->arg_count == 0) {
        write_u32(writer, 0);
        return;
    }
    write_u32(writer, write_accepted(NULL, task->args, task->arg_count, &position));
    position = 0;
    write_accepted(writer, task->args, task->arg_count, &position);
}

static void send_end(struct task *task, struct writer *writer)
{
    if (writer_send(task->room, writer, task->owner, TASK_MESSAGE_DONE) != RAYMPI_OK)
        base_log(BASE_LOG_ERROR, "task", "the end of %s could not be told to rank %d: %s", task_name(task),
                 task->owner, base_detail());
    writer_fini(writer);
}

static void write_alias(struct task_room *room, struct writer *writer, uint64_t alias)
{
    write_u64(writer, alias);
    if (!alias)
        return;
    struct task_id id = object_id(object_find(room, alias)); /* the result holds it */
    write_bytes(writer, &id, sizeof id);
}

static inline bool send_small_done(struct task *task, const struct result *result)
{
    const struct value *value = &result->value;
    uint64_t value_is = __atomic_load_n(&value->head, __ATOMIC_RELAXED);
    uint8_t type = value->type;
    if (base_unlikely(!is_small(task) || task->flags & TASK_VOID ||
                      value_is != value_head(VALUE_INLINE, type)))
        return false;
    struct done_small done;
    done.handle = task_result(task, 0);
    done.length = (uint32_t)value->length;
    done.type = type;
    value_bytes_copy(done.bytes, value->u.bytes, value->length);
    struct net_piece piece = {&done, offsetof(struct done_small, bytes) + value->length};
    int status = net_send(task->room->net, task->owner, TASK_MESSAGE_DONE_SMALL, &piece, 1);
    if (base_unlikely(status == RAYMPI_ERR_MEMORY))
        status = task_tell(task->room, task->owner, TASK_MESSAGE_DONE_SMALL, &piece, 1);
    if (base_unlikely(status != RAYMPI_OK))
        base_log(BASE_LOG_ERROR, "task", "the end of %s could not be told to rank %d: %s", task_name(task),
                 task->owner, base_detail());
    return true;
}

void task_send_done(struct raympi_ctx *run)
{
    struct task *task = run->task;
    if (base_likely(send_small_done(task, &run->results[0])))
        return;
    struct writer writer;
    writer_init(&writer);
    writer.sure = true;
    write_u64(&writer, task_result(task, 0));
    write_all_accepted(&writer, task);
    write_u8(&writer, task->flags & TASK_VOID ? 0 : task->returns);
    for (int i = 0; i < task->returns && !(task->flags & TASK_VOID); i++) {
        struct result *result = &run->results[i];
        value_seal(task->room, &result->value);
        write_alias(task->room, &writer, result->alias);
        write_value(task->room, &writer, &result->value);
        /* A block in the store now belongs to the owner of the result, and so do the holds on nested refs,
         * until they are acknowledged. */
        value_drop(task->room, &result->value, false);
    }
    send_end(task, &writer);
}

void task_send_failed(struct task *task, const struct value *error)
{
    struct writer writer;
    writer_init(&writer);
    writer.sure = true;
    write_u64(&writer, task_result(task, 0));
    write_all_accepted(&writer, task);
    write_u8(&writer, UINT8_MAX);
    write_value(task->room, &writer, (struct value *)error);
    send_end(task, &writer);
}

static void mark_accepted(struct arg *args, uint32_t count, uint32_t *position, uint32_t accepted)
{
    for (uint32_t i = 0; i < count; i++) {
        if ((*position)++ == accepted)
            args[i].accepted = 1;
        mark_accepted(args[i].list, args[i].count, position, accepted);
    }
}

static bool read_accepted(struct reader *reader, struct task *task)
{
    uint32_t count = read_u32(reader);
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        uint32_t position = 0;
        mark_accepted(task->args, task->arg_count, &position, read_u32(reader));
    }
    return !reader->failed;
}

/* The refs in a result's bytes, kept alive by the runner until now: this rank holds them from here on. */
static void nested_accept(struct task_room *room, struct object *object, int runner)
{
    uint32_t count;
    const raympi_wire_ref *wires = value_nested(room, &object->value, &count);
    for (uint32_t i = 0; i < count; i++)
        if (!object_accept(room, wires[i].handle, (struct task_id){{wires[i].id[0], wires[i].id[1]}}, runner,
                           wires[i].handle))
            base_log(BASE_LOG_ERROR, "task", "a ref in a result of %s is lost: %s", object->label,
                     base_detail());
    object->nested_held = count > 0;
}

/* The ref that a result is. */
struct alias {
    uint64_t handle; /* 0: it is a value */
    struct task_id id;
};

static struct alias read_alias(struct reader *reader)
{
    struct alias alias = {.handle = read_u64(reader)};
    if (alias.handle)
        read_bytes(reader, &alias.id, sizeof alias.id);
    return alias;
}

/* A result as it came. */
struct arrived {
    bool read; /* else it can not be told */
    struct alias alias;
    struct value value;
};

static void read_result(struct task_room *room, struct reader *reader, struct arrived *arrived)
{
    arrived->alias = read_alias(reader);
    arrived->read = read_value(room, reader, &arrived->value);
}

static void result_arrived(struct task_room *room, struct object *object, struct arrived *arrived, int runner)
{
    object_set_producer(object, NULL);
    value_init(&object->value);
    if (!arrived->read) {
        object_fail(room, object, RAYMPI_ERR_MEMORY, object->label, "its result could not be read");
        object_drop(room, object);
    } else if (arrived->alias.handle) {
        const struct alias *alias = &arrived->alias;
        value_drop(room, &arrived->value, false); /* none, in a message that is whole */
        struct object *target = object_accept(room, alias->handle, alias->id, runner, alias->handle);
        if (target)
            object_set_alias(room, object, target);
        else
            object_fail(room, object, RAYMPI_ERR_LOST, object->label, base_detail());
        object_drop(room, object);
    } else {
        object->value = arrived->value;
        if (base_unlikely(object->value.nested > 0))
            nested_accept(room, object, runner);
        object_complete_drop(room, object);
    }
}

/* The task's record is the first result's, so that one comes last. */
static void read_values(struct task_room *room, struct reader *reader, struct task *task, int runner)
{
    struct object *record = task_object(task);
    struct arrived first, other;
    task_actor_drop(task);
    read_result(room, reader, &first);
    for (int i = 1; i < task->returns; i++) {
        struct object *object = object_by_slot(room, task->more[i - 1]);
        read_result(room, reader, &other);
        if (!base_defect(DEFECT_LOST_RESULT))
            result_arrived(room, object, &other, runner);
    }
    task_free(task);
    result_arrived(room, record, &first, runner);
    task_count_ended(room);
}

/* Ends the task by what the message says; false: that can not be read. */
static bool read_results(struct task_room *room, struct reader *reader, struct task *task, int runner)
{
    uint8_t returns = read_u8(reader);
    if (returns == UINT8_MAX) {
        struct value value;
        if (!read_value(room, reader, &value))
            return false;
        if (value.kind != VALUE_ERROR) {
            value_drop(room, &value, false);
            return false;
        }
        value_error_name(&value, task_name(task));
        task_complete_returns(task, NULL, &value);
        value_drop(room, &value, false);
        return true;
    }
    if (reader->failed || returns != (task->flags & TASK_VOID ? 0 : task->returns))
        return false;
    if (task->flags & TASK_VOID)
        task_complete_returns(task, NULL, NULL);
    else
        read_values(room, reader, task, runner);
    return true;
}

/* The task whose end is told, of this rank's; NULL: it can not be. */
static inline struct task *task_told(struct task_room *room, uint64_t handle)
{
    struct object *object = object_owned(room, handle) ? object_by_slot(room, handle) : NULL;
    struct task *task = object ? object_producer(object) : NULL;
    return base_likely(task && task->flags & TASK_SENT) ? task : NULL;
}

/* The poller's: a load and a store do. */
static inline void flight_ended(struct task_room *room, int runner)
{
    _Atomic uint32_t *ended = &room->flights[runner].ended;
    uint32_t count = atomic_load_explicit(ended, memory_order_relaxed);
    atomic_store_explicit(ended, count + !base_defect(DEFECT_LOST_CREDIT), memory_order_relaxed);
}

static void told_in_vain(uint64_t handle, int source)
{
    base_log(BASE_LOG_WARN, "task", "rank %d tells the end of a task (%#llx) that does not run there", source,
             (unsigned long long)handle);
}

static __attribute__((noinline)) void done_small(struct task_room *room, const struct net_message *message)
{
    const struct done_small *done = message->data;
    size_t head = offsetof(struct done_small, bytes);
    if (base_unlikely(message->length < head || message->length > sizeof *done ||
                      done->length != message->length - head || done->type > UINT8_MAX)) {
        base_log(BASE_LOG_WARN, "task", "malformed end of a task from rank %d dropped", message->source);
        return;
    }
    struct task *task = task_told(room, done->handle);
    if (base_unlikely(!task || task->returns != 1 || task->flags & TASK_VOID)) {
        told_in_vain(done->handle, message->source);
        return;
    }
    struct object *object = task_object(task);
    flight_ended(room, task->runner);
    task_free(task);
    value_begin(&object->value, VALUE_INLINE, (uint8_t)done->type, done->length);
    memcpy(object->value.u.bytes, done->bytes, done->length);
    object_set_producer(object, NULL);
    object_complete_drop(room, object);
    task_count_ended(room);
}

/* The task or call of which nothing but its result is awaited; NULL: it is none. */
static inline __attribute__((always_inline)) struct object *told_short(struct task_room *room,
                                                                       uint64_t handle)
{
    struct object *object = object_owned(room, handle) ? object_by_slot(room, handle) : NULL;
    struct task *task = object ? object_producer(object) : NULL;
    if (base_unlikely(!task))
        return NULL;
    if (task_has_shape(task, 1, TASK_SENT | TASK_CALL))
        task_actor_let_go(task);
    else if (base_unlikely(!task_has_shape(task, 1, TASK_SENT)))
        return NULL;
    flight_ended(room, task->runner);
    return object;
}

static inline void told_complete(struct task_room *room, struct object *object)
{
    object_set_producer(object, NULL);
    object_complete_drop(room, object);
    task_count_ended(room);
}

/* 8 bytes as the result. False: it is something else. */
static inline __attribute__((always_inline)) bool end_short(struct task_room *room,
                                                            const struct task_end *end)
{
    if (base_unlikely(end->length != 8 || end->type > UINT8_MAX))
        return false;
    struct object *object = told_short(room, end->handle);
    if (base_unlikely(!object))
        return false;
    value_begin(&object->value, VALUE_INLINE, (uint8_t)end->type, 8);
    value_bytes_copy(object->value.u.bytes, end->bytes, 8);
    told_complete(room, object);
    return true;
}

/* None, of a method. */
static __attribute__((noinline)) bool end_nothing(struct task_room *room, const struct net_message *message)
{
    const struct done_small *done = message->data;
    if (message->length != offsetof(struct done_small, bytes) || done->type != DONE_NOTHING ||
        done->length != 0)
        return false;
    struct object *object = told_short(room, done->handle);
    if (!object)
        return false;
    value_init(&object->value);
    told_complete(room, object);
    return true;
}

void task_on_done_small(void *arg, const struct net_message *message)
{
    if (base_likely(message->length == sizeof(struct task_end) && end_short(arg, message->data)))
        return;
    if (base_unlikely(!end_nothing(arg, message)))
        done_small(arg, message);
}

void task_on_ends(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    const struct task_end *end = message->data;
    size_t count = message->length / sizeof *end;
    if (base_unlikely(message->length % sizeof *end != 0)) {
        base_log(BASE_LOG_WARN, "task", "malformed ends of tasks from rank %d dropped", message->source);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct net_message one = {.source = message->source, .data = &end[i], .length = sizeof *end};
        if (i + 1 < count)
            object_prefetch(room, end[i + 1].handle);
        if (base_unlikely(!end_short(room, &end[i])))
            done_small(room, &one);
    }
}

void task_on_done(void *arg, const struct net_message *message)
{
    struct task_room *room = arg;
    struct reader reader = {message->data, (const char *)message->data + message->length, false};
    uint64_t handle = read_u64(&reader);
    struct task *task = reader.failed ? NULL : task_told(room, handle);
    if (!task) {
        told_in_vain(handle, message->source);
        return;
    }
    flight_ended(room, task->runner);
    if (!read_accepted(&reader, task) || !read_results(room, &reader, task, message->source)) {
        task->flags &= (uint8_t)~TASK_SENT;
        task_fail(task, RAYMPI_ERR_MEMORY, "the message about its end could not be read");
    }
}
