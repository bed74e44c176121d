/* Values: in the record, in private memory, in the store, or an error. */
#include "task/task_internal.h"

#include <stdlib.h>

#define FAR_BYTES 65536 /* a longer value does not go to another host as bytes: it is told where they are */

static struct value_blob *blob_init(struct value_blob *blob, uint64_t size)
{
    if (blob) {
        blob->size = size;
        atomic_init(&blob->holders, 1);
        atomic_init(&blob->seen, 0);
    }
    return blob;
}

/* Of a value, which shares it with nobody; an error's comes from elsewhere. */
static struct value_blob *blob_new(struct task_room *room, uint64_t size)
{
    return blob_init(
        size <= VALUE_SHORT_MAX ? task_line_take(room) : malloc(sizeof(struct value_blob) + size), size);
}

static struct value_blob *blob_sure(struct task_room *room, uint64_t size)
{
    struct value_blob *blob;
    int tries = 0;
    while (!(blob = blob_new(room, size)))
        base_await_memory(&tries, "task", "a value that has arrived");
    return blob;
}

static inline void blob_free(struct task_room *room, struct value_blob *blob)
{
    if (base_likely(blob->size <= VALUE_SHORT_MAX))
        task_line_give(room, blob);
    else
        free(blob);
}

static void error_drop(struct value_blob *blob)
{
    /* Acquire-release: what the others did with it comes before the memory goes. */
    if (atomic_fetch_sub_explicit(&blob->holders, 1, memory_order_acq_rel) == 1)
        free(blob);
}

static uint32_t maker(void)
{
    const raympi_ctx *run = task_self->context->run;
    return run ? task_note_of(task_function_of(run->task)->full_hash) : TASK_NOTE_OUTSIDE;
}

int value_create(struct task_room *room, struct value *value, uint64_t length, uint32_t nested, void **data)
{
    uint64_t bytes = value_extent(length, nested);
    value_begin(value, VALUE_NONE, RAYMPI_KIND_BYTES, length);
    value->nested = nested;
    if (bytes <= VALUE_INLINE_MAX) {
        value->kind = VALUE_INLINE;
        *data = value->u.bytes;
        return RAYMPI_OK;
    }
    if (bytes <= VALUE_SHORT_MAX || bytes <= room->config.inline_bytes) {
        value->u.blob = blob_new(room, bytes);
        if (!value->u.blob)
            return base_fail(RAYMPI_ERR_MEMORY, "no memory for a value of %llu bytes",
                             (unsigned long long)length);
        value->kind = VALUE_BLOB;
        *data = value->u.blob->bytes;
        return RAYMPI_OK;
    }
    value->u.at = (struct stored){.holder = room->config.rank};
    int status = task_store_create(room, bytes, &value->u.at.place, data);
    if (status != RAYMPI_OK)
        return status;
    store_note(room->store, value->u.at.place, maker());
    value->kind = VALUE_STORE;
    return RAYMPI_OK;
}

void value_seal(struct task_room *room, struct value *value)
{
    if (value->kind == VALUE_STORE)
        store_seal(room->store, value_stored(value)->place);
}

struct value *value_behind(struct value *value)
{
    while (value->kind == VALUE_ALIAS)
        value = &value->u.alias->value;
    return value;
}

/* `nest` may be NULL: there was no memory. */
static int wires_take(struct value *value, struct stored_nest *nest, const void *wires)
{
    if (!nest)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the list of %u nested refs", value->nested);
    nest->at = value->u.at;
    memcpy(nest->wires, wires, value->nested * sizeof *nest->wires);
    value->u.nest = nest;
    value->is_nest = 1;
    return RAYMPI_OK;
}

static size_t nest_bytes(const struct value *value)
{
    return sizeof(struct stored_nest) + value->nested * sizeof(raympi_wire_ref);
}

int value_wires_keep(struct value *value, const void *data)
{
    if (value->kind != VALUE_STORE || value->nested == 0)
        return RAYMPI_OK;
    return wires_take(value, malloc(nest_bytes(value)), (const char *)data + base_align_up(value->length, 8));
}

const char *value_private(const struct value *value)
{
    return value->kind == VALUE_INLINE ? value->u.bytes
           : value->kind == VALUE_BLOB ? value->u.blob->bytes
                                       : NULL;
}

const raympi_wire_ref *value_nested(struct value *value, uint32_t *count)
{
    value = value_behind(value);
    *count = 0;
    const char *data = value_private(value);
    if (value->nested == 0 || (!data && !value->is_nest))
        return NULL;
    *count = value->nested;
    return data ? (const raympi_wire_ref *)(data + base_align_up(value->length, 8)) : value->u.nest->wires;
}

static void store_release(struct task_room *room, const struct stored *at)
{
    struct net_piece piece = {&at->place, sizeof at->place};
    if (at->holder == room->config.rank)
        stored_free(room, at->place);
    else if (task_tell(room, at->holder, TASK_MESSAGE_FREE, &piece, 1) != RAYMPI_OK)
        base_log(BASE_LOG_WARN, "store", "a block of rank %d could not be freed: %s", at->holder,
                 base_detail());
}

void value_drop(struct task_room *room, struct value *value, bool owner)
{
    switch (value->kind) {
    case VALUE_BLOB:
        blob_free(room, value->u.blob);
        break;
    case VALUE_ERROR:
        error_drop(value->u.blob);
        break;
    case VALUE_ALIAS:
        object_drop(room, value->u.alias);
        break;
    case VALUE_STORE:
        if (owner || value->copied)
            store_release(room, value_stored(value));
        if (value->is_nest)
            free(value->u.nest);
        break;
    }
    value_init(value);
}

/* Memory of the room's, and the store, go as a whole. */
void value_forget(struct value *value)
{
    if (value->kind == VALUE_BLOB && value->u.blob->size > VALUE_SHORT_MAX)
        free(value->u.blob);
    if (value->kind == VALUE_ERROR)
        error_drop(value->u.blob);
    if (value->is_nest)
        free(value->u.nest);
    value_init(value);
}

/* ---- errors: {code, rank, three lengths} and three strings with their NULs */

struct error_head {
    int32_t code, rank;
    uint32_t task, message, chain; /* bytes, NUL included */
};

static int error_make(struct value *value, int code, int rank, const char *task, const char *message,
                      const char *chain)
{
    struct error_head head = {code, rank, (uint32_t)strlen(task) + 1, (uint32_t)strlen(message) + 1,
                              (uint32_t)strlen(chain) + 1};
    uint64_t size = sizeof head + head.task + head.message + head.chain;
    *value = (struct value){.kind = VALUE_ERROR, .length = size};
    value->u.blob = blob_init(malloc(sizeof *value->u.blob + size), size);
    if (!value->u.blob) {
        value->kind = VALUE_NONE;
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for an error's text: %s", message);
    }
    char *at = value->u.blob->bytes;
    memcpy(at, &head, sizeof head);
    memcpy(at += sizeof head, task, head.task);
    memcpy(at += head.task, message, head.message);
    memcpy(at + head.message, chain, head.chain);
    return RAYMPI_OK;
}

int value_error(struct value *value, int code, int rank, const char *task, const char *message)
{
    return error_make(value, code, rank, task ? task : "?", message ? message : "", "");
}

static const struct error_head *error_parts(const struct value *value, const char **task,
                                            const char **message, const char **chain)
{
    const struct error_head *head = (const struct error_head *)value->u.blob->bytes;
    *task = (const char *)(head + 1);
    *message = *task + head->task;
    *chain = *message + head->message;
    return head;
}

int value_error_chain(struct value *value, const struct value *error, const char *task)
{
    const char *origin, *message, *chain;
    if (error->kind != VALUE_ERROR)
        return error_make(value, RAYMPI_ERR_MEMORY, -1, "?", "no memory for the error's text", task);
    const struct error_head *head = error_parts(error, &origin, &message, &chain);
    char longer[512];
    snprintf(longer, sizeof longer, "%s%s%s", chain, *chain ? " <- " : "", task);
    int code = base_defect(DEFECT_LOST_CODE) ? RAYMPI_ERR_TASK : head->code;
    return error_make(value, code, head->rank, origin, message, strlen(chain) < 400 ? longer : chain);
}

void value_error_copy(struct value *value, const struct value *error)
{
    *value = (struct value){.kind = VALUE_NONE};
    if (error->kind != VALUE_ERROR)
        return; /* the code alone is left of it */
    value->u.blob = error->u.blob;
    atomic_fetch_add_explicit(&value->u.blob->holders, 1, memory_order_relaxed);
    value->length = error->length;
    value->kind = VALUE_ERROR;
}

void value_error_name(struct value *value, const char *task)
{
    const char *unnamed, *message, *chain;
    struct value named;
    if (value->kind != VALUE_ERROR)
        return;
    const struct error_head *head = error_parts(value, &unnamed, &message, &chain);
    if (strcmp(unnamed, "?") != 0 ||
        error_make(&named, head->code, head->rank, task, message, chain) != RAYMPI_OK)
        return;
    error_drop(value->u.blob);
    *value = named;
}

void value_error_see(const struct value *value)
{
    if (value->kind == VALUE_ERROR)
        atomic_store_explicit(&value->u.blob->seen, 1, memory_order_relaxed);
}

bool value_error_seen(const struct value *value)
{
    return value->kind == VALUE_ERROR && atomic_load_explicit(&value->u.blob->seen, memory_order_relaxed);
}

int value_error_code(const struct value *value)
{
    return value->kind == VALUE_ERROR ? ((const struct error_head *)value->u.blob->bytes)->code
                                      : RAYMPI_ERR_MEMORY;
}

void value_error_text(const struct value *value, char *text, size_t size)
{
    if (value->kind != VALUE_ERROR) {
        snprintf(text, size, "a task failed, and there was no memory to say why");
        return;
    }
    const char *task, *message, *chain;
    const struct error_head *head = error_parts(value, &task, &message, &chain);
    int used = snprintf(text, size, "%s failed on rank %d with %s%s%s", task, head->rank,
                        raympi_strerror(head->code), *message ? ": " : "", message);
    if (head->code > 0)
        used = snprintf(text, size, "%s failed on rank %d with code %d%s%s", task, head->rank, head->code,
                        *message ? ": " : "", message);
    if (*chain && used > 0 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, " (so these did not run: %s)", chain);
}

/* A decoded error is used only when its lengths add up and its strings end. */
static bool error_valid(const struct value *value)
{
    const struct error_head *head = (const struct error_head *)value->u.blob->bytes;
    if (value->length < sizeof *head || !head->task || !head->message || !head->chain ||
        (uint64_t)head->task + head->message + head->chain != value->length - sizeof *head)
        return false;
    const char *strings = (const char *)(head + 1);
    return strings[head->task - 1] == 0 && strings[head->task + head->message - 1] == 0 &&
           strings[value->length - sizeof *head - 1] == 0 && head->code != 0;
}

/* ---- on the wire: kind, type, nested, length, then bytes or where they are */

/** Where they are; behind it, for who will own the value, the refs that it nests. */
struct __attribute__((packed)) value_where {
    struct stored at;
    uint8_t copied;
};

static void write_where(struct writer *writer, const struct value *value)
{
    struct value_head head = {VALUE_STORE, value->type, value->nested, value->length};
    struct value_where where = {*value_stored(value), writer->moved && value->copied};
    write_bytes(writer, &head, sizeof head);
    write_bytes(writer, &where, sizeof where);
    if (writer->results && value->nested > 0)
        write_bytes(writer, value->u.nest->wires, value->nested * sizeof *value->u.nest->wires);
}

/* Another host gets a short one as bytes of its own, if they are at hand. */
static bool write_stored(struct task_room *room, struct writer *writer, struct value *value)
{
    const void *data;
    uint64_t length, extent = value_extent(value->length, value->nested);
    bool moved = writer->moved && value->copied;
    if (!writer->far || moved || extent > FAR_BYTES ||
        value_pin_now(room, value, &data, &length) != RAYMPI_OK) {
        write_where(writer, value);
        return false;
    }
    struct value_head head = {VALUE_BLOB, value->type, value->nested, value->length};
    write_bytes(writer, &head, sizeof head);
    write_bytes(writer, data, extent);
    value_unpin(room, value);
    return true;
}

bool write_value(struct task_room *room, struct writer *writer, struct value *value)
{
    value = value_behind(value);
    if (value->kind == VALUE_STORE)
        return write_stored(room, writer, value);
    struct value_head head = {value->kind, value->type, value->nested, value->length};
    write_bytes(writer, &head, sizeof head);
    if (value->kind == VALUE_BLOB || value->kind == VALUE_ERROR)
        write_bytes(writer, value->u.blob->bytes, value->u.blob->size);
    else if (value->kind == VALUE_INLINE)
        write_bytes(writer, value->u.bytes, value_extent(value->length, value->nested));
    return true;
}

static bool read_private(struct task_room *room, struct reader *reader, struct value *value, uint64_t size)
{
    const void *bytes = read_in_place(reader, size);
    if (!bytes)
        return false;
    value->u.blob = blob_sure(room, size);
    memcpy(value->u.blob->bytes, bytes, size);
    return true;
}

static bool read_error(struct reader *reader, struct value *value)
{
    uint64_t size = value->length;
    const void *bytes = read_in_place(reader, size);
    if (!bytes)
        return false;
    value->u.blob =
        blob_init(base_alloc_sure(sizeof *value->u.blob + size, "task", "an error that has arrived"), size);
    memcpy(value->u.blob->bytes, bytes, size);
    if (error_valid(value))
        return true;
    free(value->u.blob);
    return false;
}

void value_short_sure(struct task_room *room, struct value *value, uint8_t type, const char *bytes,
                      uint64_t length)
{
    bool in_place = length <= VALUE_INLINE_MAX;
    value_begin(value, in_place ? VALUE_INLINE : VALUE_BLOB, type, length);
    if (!in_place)
        value->u.blob = blob_sure(room, length);
    memcpy(in_place ? value->u.bytes : value->u.blob->bytes, bytes, length);
}

/* A value that is too long for private memory anywhere else, from another host: a block of our own, if there
 * is room. */
static bool read_copy(struct task_room *room, struct reader *reader, struct value *value, uint64_t size)
{
    void *data;
    struct stored at = {.holder = room->config.rank};
    if (size <= room->config.inline_bytes || size > (size_t)(reader->end - reader->at) ||
        store_create(room->store, size, &at.place, &data) != RAYMPI_OK)
        return read_private(room, reader, value, size);
    store_copy(data, read_in_place(reader, size), size);
    store_seal(room->store, at.place);
    value->kind = VALUE_STORE;
    value->copied = 1;
    value->u.at = at;
    int tries = 0;
    while (reader->results && value_wires_keep(value, data) != RAYMPI_OK)
        base_await_memory(&tries, "task", "the refs in a value that has arrived");
    return true;
}

/* Where it is. */
static bool read_where(struct task_room *room, struct reader *reader, struct value *value)
{
    struct value_where where = {{{0}, 0, 0}, 0};
    read_bytes(reader, &where, sizeof where);
    value->u.at = where.at;
    value->copied = where.copied != 0;
    if (reader->failed || where.at.nothing || (unsigned)where.at.holder >= (unsigned)room->config.size)
        return false;
    int local = net_local(room->net, where.at.holder);
    if (local >= 0 && (uint32_t)local != where.at.place.rank)
        return false;
    size_t bytes = value->nested * sizeof(raympi_wire_ref);
    const void *wires = reader->results && bytes > 0 ? read_in_place(reader, bytes) : NULL;
    if (wires)
        wires_take(value, base_alloc_sure(nest_bytes(value), "task", "the refs in a value that has arrived"),
                   wires);
    return !reader->failed;
}

static bool read_body(struct task_room *room, struct reader *reader, struct value *value, uint8_t kind)
{
    uint64_t size = value_extent(value->length, value->nested);
    switch (kind) {
    case VALUE_NONE:
        return true;
    case VALUE_INLINE:
        if (size > VALUE_INLINE_MAX)
            return false;
        read_bytes(reader, value->u.bytes, size);
        return !reader->failed;
    case VALUE_BLOB:
        return read_copy(room, reader, value, size);
    case VALUE_ERROR:
        return read_error(reader, value);
    case VALUE_STORE:
        return read_where(room, reader, value);
    default:
        return false;
    }
}

bool read_value(struct task_room *room, struct reader *reader, struct value *value)
{
    struct value_head head = {0};
    read_bytes(reader, &head, sizeof head);
    *value = (struct value){.type = head.type, .nested = head.nested, .length = head.length};
    uint8_t kind = head.kind;
    value->length -= kind == VALUE_STORE && base_defect(DEFECT_WRONG_LENGTH);
    if (reader->failed || value->nested > (1u << 26) || value->length > (UINT64_C(1) << 48) ||
        !read_body(room, reader, value, kind)) {
        reader->failed = true;
        return false;
    }
    if (value->kind == VALUE_NONE) /* else it was made into another kind */
        value->kind = kind;
    return true;
}
