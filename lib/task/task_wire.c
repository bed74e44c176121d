/* Tasks as messages: on their way to a runner. */
#include "task/task_internal.h"

#include <stdlib.h>

#define ARG_BYTES 27 /* of the shortest argument: a list has no more members than there are bytes for */

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
    write_value(room, writer, task_arg_value(task, arg));
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
    bool list = arg->kind == RAYMPI_KIND_REFS;
    if (reader->failed || (list && depth > 0) ||
        (count && (!list || count > TASK_LIST_MAX || count > (size_t)(reader->end - reader->at) / ARG_BYTES)))
        return false;
    if (list)
        arg->list =
            base_alloc_sure(count * sizeof *arg->list, "task", "the arguments of another rank's task");
    for (uint32_t i = 0; i < count; i++) {
        if (!read_arg(room, reader, task, &arg->list[i], depth + 1))
            return false;
        arg->count++;
    }
    return read_value(room, reader, &arg->value);
}

static inline struct task_head head_of(const struct task *task, bool pinned)
{
    const struct object *record = task_object(task);
    return (struct task_head){
        .name_hash = task_hash(task),
        .actor = task->flags & TASK_CALL ? task->rest->actor : 0,
        .parent = record->parent,
        .handle = object_handle(record),
        .index = record->child,
        .attempt = record->attempt,
        .how = (uint8_t)((task->flags & TASK_VOID ? HOW_VOID : 0) | (pinned ? HOW_PINNED : 0) |
                         task->arg_count * HOW_ARG),
        .returns = task->returns,
    };
}

static void write_task(struct task_room *room, struct writer *writer, struct task *task, bool pinned)
{
    struct task_head head = head_of(task, pinned);
    write_bytes(writer, &head, sizeof head);
    if (task->returns > 1)
        write_bytes(writer, task->rest->more, (task->returns - 1u) * sizeof(uint64_t));
    for (int i = 0; i < task->arg_count; i++)
        write_arg(room, writer, task, &task->rest->args[i]);
}

static bool read_args(struct task_room *room, struct reader *reader, struct task *task, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bool read = read_arg(room, reader, task, &task->rest->args[i], 0);
        task->arg_count++; /* also when broken: what there is of it is freed with the task */
        if (!read)
            return false;
    }
    return !reader->failed;
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
    for (uint32_t i = 0; i < count; i++) {
        uint8_t kind = (uint8_t)(kinds >> (8 * i));
        struct arg *arg = &task->rest->args[i];
        task_arg_init(arg, task, kind);
        value_begin(&arg->value, VALUE_INLINE, kind, 8);
        memcpy(arg->value.u.bytes, &numbers->number[base_defect(DEFECT_WRONG_NUMBER) ? 0 : i], 8);
    }
    task->arg_count = (uint8_t)count;
    task->flags |= TASK_NUMBERS;
    return reader->at == reader->end;
}

static inline uint32_t head_args(const struct task_head *head)
{
    return (head->how & (uint32_t)~HOW_NUMBERS) / HOW_ARG;
}

static void rest_sure(struct task *task, const struct task_head *head, uint32_t args)
{
    int tries = 0;
    while (task_rest_new(task, args) != RAYMPI_OK)
        base_await_memory(&tries, "task", "the arguments of another rank's task");
    task->rest->actor = head->actor;
    task->rest->name_hash = head->name_hash;
}

static inline void record_take(struct object *record, const struct task_head *head)
{
    record->count.handle = head->handle;
    record->parent = head->parent;
    record->child = head->index;
    record->attempt = head->attempt;
}

/* False: it says what can not be. */
static bool head_take(struct task_room *room, const struct task_head *head, struct task *task)
{
    uint32_t args = head_args(head);
    if ((unsigned)refcount_owner(head->handle) >= (unsigned)room->config.size || !head->returns ||
        head->returns > TASK_RETURNS_MAX || args > TASK_ARGS_MAX)
        return false;
    record_take(task_object(task), head);
    if (args > 0 || head->returns > 1 || head->actor)
        rest_sure(task, head, args);
    if (head->returns > 1)
        task->rest->more = base_alloc_sure((head->returns - 1u) * sizeof(uint64_t), "task",
                                           "the results of another rank's task");
    task->node = head->how & HOW_PINNED ? room->config.rank : TASK_ANYWHERE;
    task->flags |= TASK_FOREIGN | (head->how & HOW_VOID ? TASK_VOID : 0) | (head->actor ? TASK_CALL : 0);
    task->returns = head->returns;
    return true;
}

static bool read_task(struct task_room *room, struct reader *reader, struct task *task)
{
    struct task_head head = {0};
    read_bytes(reader, &head, sizeof head);
    if (reader->failed || !head_take(room, &head, task))
        return false;
    if (head.returns > 1)
        read_bytes(reader, task->rest->more, (head.returns - 1u) * sizeof(uint64_t));
    if (head.how & HOW_NUMBERS)
        return read_numbers(reader, task, head_args(&head));
    return read_args(room, reader, task, head_args(&head));
}

/* The message of a small task. `sent` counts it. */
static inline int send_small(struct task_room *room, struct task *task, bool pinned, int rank,
                             _Atomic uint32_t *sent)
{
    struct task_head head = head_of(task, pinned);
    struct net_piece piece = {&head, sizeof head};
    return net_send_counted(room->net, rank, TASK_MESSAGE_TASK, &piece, 1, sent);
}

/* Blocks that are the values' alone are the next runner's now. */
static void args_moved(struct arg *args, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (args[i].value.kind == VALUE_STORE)
            args[i].value.copied = 0;
        args_moved(args[i].list, args[i].count);
    }
}

static int send_large(struct task_room *room, struct task *task, bool pinned, int rank,
                      _Atomic uint32_t *sent)
{
    struct writer writer;
    writer_init(&writer);
    writer.far = net_local(room->net, rank) < 0;
    writer.moved = (task->flags & TASK_FOREIGN) != 0;
    write_task(room, &writer, task, pinned);
    struct net_piece piece = {writer.bytes, writer.used};
    int status;
    if (writer.failed)
        status = base_fail(RAYMPI_ERR_MEMORY, "no memory for a message of more than %zu bytes", writer.used);
    else
        status = net_send_counted(room->net, rank, TASK_MESSAGE_TASK, &piece, 1, sent);
    if (status == RAYMPI_OK && writer.moved && task->arg_count > 0)
        args_moved(task->rest->args, task->arg_count);
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
    bool own = !(task->flags & TASK_FOREIGN), small = task_is_small(task), pinned = task->node >= 0;
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
    int status =
        small ? send_small(room, task, pinned, rank, sent) : send_large(room, task, pinned, rank, sent);
    if (base_unlikely(status != RAYMPI_OK))
        send_failed(task, status);
    else if (!own)
        task_free(task);
}

/* One of any kind. */
static __attribute__((noinline)) struct task *task_receive(struct task_room *room,
                                                           const struct net_message *message)
{
    struct reader reader = {.at = message->data, .end = (const char *)message->data + message->length};
    struct task *task;
    int tries = 0;
    while (!(task = task_new(room)))
        base_await_memory(&tries, "task", "a task from another rank");
    if (base_unlikely(!read_task(room, &reader, task))) {
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
    struct task_record *record = base_pool_take(&room->tasks, &thread->tasks);
    struct task *task = &record->object.task;
    record_take(&record->object, head);
    task->item.run = task_item_run;
    task->room = room;
    task->rest = NULL;
    task_set_shape(task, 1, flags, head->how & HOW_PINNED ? room->config.rank : TASK_ANYWHERE);
    if (flags & TASK_CALL) {
        task->rest = &record->rest;
        task_rest_init(task->rest, 0);
        task->rest->actor = head->actor;
        task->rest->name_hash = head->name_hash;
    }
    return task;
}

static __attribute__((noinline)) struct task *task_receive_numbers(struct task_room *room,
                                                                   const struct net_message *message)
{
    const struct task_head *head = message->data;
    if (message->length <= sizeof *head || head->returns != 1 ||
        (head->how & (HOW_NUMBERS | HOW_VOID)) != HOW_NUMBERS || head_args(head) > TASK_ARGS_INLINE)
        return NULL;
    struct task *task = receive_short(room, head, TASK_POOLED | TASK_FOREIGN);
    if (!task)
        return NULL;
    rest_sure(task, head, head_args(head));
    if (head->actor)
        task->flags |= TASK_CALL;
    struct reader reader = {.at = (const char *)(head + 1),
                            .end = (const char *)message->data + message->length};
    if (read_numbers(&reader, task, head_args(head)))
        return task;
    task_free(task);
    return NULL; /* it is told what is wrong in the long way */
}

static inline __attribute__((always_inline)) void arrived(struct task_room *room, struct task *task,
                                                          uint64_t name_hash)
{
    struct object *record = task_object(task);
    if (task->flags & TASK_CALL) {
        record->function = NULL; /* its class knows */
        room->actor.arrive(room->actor.arg, task);
        return;
    }
    struct task_function *function = task_function_find(name_hash);
    record->function = function;
    if (base_unlikely(!function || !function->body))
        task->item.run = task_item_refuse;
    if (task->node >= 0 || base_unlikely(!function)) /* nobody else has it from here: its name is not kept */
        sched_push_pinned(room->sched, &task->item);
    else
        sched_push_fifo(room->sched, &task->item);
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
    if (base_likely(task != NULL) || (task = task_receive(room, message)))
        arrived(room, task, head->name_hash);
}
