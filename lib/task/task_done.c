/* Ends of tasks as messages: on their way back to the owner. */
#include "task/task_internal.h"

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
    write_u32(writer, write_accepted(NULL, task->rest->args, task->arg_count, &position));
    position = 0;
    write_accepted(writer, task->rest->args, task->arg_count, &position);
}

static void send_end(struct task *task, struct writer *writer)
{
    int owner = task_owner(task);
    if (writer_send(task->room, writer, owner, TASK_MESSAGE_DONE) != RAYMPI_OK)
        base_log(BASE_LOG_ERROR, "task", "the end of %s could not be told to rank %d: %s", task_name(task),
                 owner, base_detail());
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

/* Is it so short that its bytes fit such a message? */
static inline bool is_short(const struct value *value)
{
    uint64_t head = __atomic_load_n(&value->head, __ATOMIC_RELAXED);
    return base_likely(head == value_head(VALUE_INLINE, value->type)) ||
           (head == value_head(VALUE_BLOB, value->type) && value->length <= VALUE_SHORT_MAX);
}

static inline bool send_small_done(struct task *task, struct result *result)
{
    struct value *value = &result->value;
    if (base_unlikely(!task_is_small(task) || task->flags & TASK_VOID || !is_short(value)))
        return false;
    struct done_small done;
    int owner = task_owner(task);
    done.handle = task_result(task, 0);
    done.length = (uint32_t)value->length;
    done.type = value->type;
    if (base_likely(value->kind == VALUE_INLINE))
        value_bytes_copy(done.bytes, value->u.bytes, value->length);
    else
        memcpy(done.bytes, value->u.blob->bytes, value->length);
    struct net_piece piece = {&done, offsetof(struct done_small, bytes) + value->length};
    int status = net_send(task->room->net, owner, TASK_MESSAGE_DONE_SMALL, &piece, 1);
    if (base_unlikely(status == RAYMPI_ERR_MEMORY))
        status = task_tell(task->room, owner, TASK_MESSAGE_DONE_SMALL, &piece, 1);
    if (base_unlikely(status != RAYMPI_OK))
        base_log(BASE_LOG_ERROR, "task", "the end of %s could not be told to rank %d: %s", task_name(task),
                 owner, base_detail());
    if (base_unlikely(value->kind != VALUE_INLINE))
        value_drop(task->room, value, true);
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
    writer.far = net_local(task->room->net, task_owner(task)) < 0;
    writer.results = true;
    write_u64(&writer, task_result(task, 0));
    write_all_accepted(&writer, task);
    write_u8(&writer, task->flags & TASK_VOID ? 0 : task->returns);
    for (int i = 0; i < task->returns && !(task->flags & TASK_VOID); i++) {
        struct result *result = &run->results[i];
        value_seal(task->room, &result->value);
        write_alias(task->room, &writer, result->alias);
        bool own = write_value(task->room, &writer, &result->value);
        /* A block in the store now belongs to the owner of the result, unless he has bytes of his own, and so
         * do the holds on nested refs, until they are acknowledged. */
        value_drop(task->room, &result->value, own);
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
        uint32_t position = 0, accepted = read_u32(reader);
        if (task->arg_count > 0)
            mark_accepted(task->rest->args, task->arg_count, &position, accepted);
    }
    return !reader->failed;
}

/* The refs in a result's bytes, kept alive by the runner until now: this rank holds them from here on. */
static void nested_accept(struct task_room *room, struct object *object, int runner)
{
    uint32_t count;
    const raympi_wire_ref *wires = value_nested(&object->value, &count);
    for (uint32_t i = 0; i < count; i++)
        if (!object_accept(room, wires[i].handle, (struct task_id){{wires[i].id[0], wires[i].id[1]}}, runner,
                           wires[i].handle))
            base_log(BASE_LOG_ERROR, "task", "a ref in a result of %s is lost: %s", object_label(object),
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
    if (!arrived->read) {
        object_fail(room, object, RAYMPI_ERR_MEMORY, object_label(object), "its result could not be read");
        object_drop(room, object);
    } else if (arrived->alias.handle) {
        const struct alias *alias = &arrived->alias;
        value_drop(room, &arrived->value, false); /* none, in a message that is whole */
        value_init(&object->value);
        struct object *target = object_accept(room, alias->handle, alias->id, runner, alias->handle);
        if (target)
            object_set_alias(room, object, target);
        else
            object_fail(room, object, RAYMPI_ERR_LOST, object_label(object), base_detail());
        object_drop(room, object);
    } else {
        struct value *value = &arrived->value;
        if (base_unlikely(value->kind == VALUE_ERROR)) { /* what there was could not be sent */
            value_error_name(value, object_label(object));
            object->status = value_error_code(value);
        }
        value_move(&object->value, value);
        if (base_unlikely(object->value.nested > 0))
            nested_accept(room, object, runner);
        object_complete_drop(room, object);
    }
}

/* One that is not the first. */
static void other_arrived(struct task_room *room, const struct task *task, int index, struct arrived *arrived,
                          int runner)
{
    struct object *object = object_by_slot(room, task->rest->more[index - 1]);
    atomic_store_explicit(&object->first, 0, memory_order_relaxed);
    if (!base_defect(DEFECT_LOST_RESULT))
        result_arrived(room, object, arrived, runner);
}

/* The task's record is the first result's, so that one comes last. */
static void first_arrived(struct task_room *room, struct task *task, struct arrived *arrived, int runner)
{
    struct object *record = task_object(task);
    task_free(task);
    result_arrived(room, record, arrived, runner);
    task_count_ended(room);
}

static void read_values(struct task_room *room, struct reader *reader, struct task *task, int runner)
{
    struct arrived first, other;
    task_actor_drop(task);
    reader->results = true;
    read_result(room, reader, &first);
    for (int i = 1; i < task->returns; i++) {
        read_result(room, reader, &other);
        other_arrived(room, task, i, &other, runner);
    }
    first_arrived(room, task, &first, runner);
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
    struct task *task = object ? object_producer(room, object) : NULL;
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
    struct value value;
    flight_ended(room, task->runner);
    task_free(task);
    value_short_sure(room, &value, (uint8_t)done->type, done->bytes, done->length);
    value_move(&object->value, &value);
    object_complete_drop(room, object);
    task_count_ended(room);
}

/* The task or call of which nothing but its result is awaited; NULL: it is none. */
static inline __attribute__((always_inline)) struct object *told_short(struct task_room *room,
                                                                       uint64_t handle)
{
    struct object *object = object_owned(room, handle) ? object_by_slot(room, handle) : NULL;
    if (base_unlikely(!object))
        return NULL;
    struct task *task = &object->task; /* if it has that shape */
    if (task_has_shape(task, 1, TASK_SENT | TASK_CALL | TASK_NO_REST))
        task_actor_let_go(task);
    else if (task_has_shape(task, 1, TASK_SENT | TASK_CALL))
        task_free(task);
    else if (base_unlikely(!task_has_shape(task, 1, TASK_SENT)))
        return NULL;
    flight_ended(room, task->runner);
    return object;
}

static inline void told_complete(struct task_room *room, struct object *object)
{
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
    struct reader reader = {.at = message->data, .end = (const char *)message->data + message->length};
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
