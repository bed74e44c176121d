/* Values: bytes in a record, in private memory or in the store, errors, and aliases of other objects.
 * Included by task.h only. */
#ifndef RAYMPI_TASK_VALUE_H
#define RAYMPI_TASK_VALUE_H

#include "store/store.h"

struct task_room;
enum value_kind {
    VALUE_NONE = 0,
    VALUE_INLINE,
    VALUE_BLOB,
    VALUE_STORE,
    VALUE_ERROR,
    VALUE_ALIAS,
    VALUE_TASK /* none yet: here lies the task that makes it */
};
#define VALUE_INLINE_MAX 24 /* bytes: it lies in the record */
#define VALUE_SHORT_MAX  48 /* in the record or in a line; never in the store */

struct object;

/** Private memory for values that are too long for a record and too short for the store, and for errors. Of
 * a value of up to VALUE_SHORT_MAX it is a line of the pool's. */
struct value_blob {
    uint64_t size;
    _Atomic uint32_t holders; /* values that share it: the results of one failed task have one error */
    _Atomic uint32_t seen;    /* of an error: somebody has looked at one of them */
    char bytes[];
};
_Static_assert(sizeof(struct value_blob) + VALUE_SHORT_MAX <= BASE_CACHE_LINE, "a short value fits a line");

/** What store_note() is told of a block: 0 (it came from another host as bytes), who made it, or whose it is
 * a copy of. */
#define TASK_NOTE_OUTSIDE 1          /* code outside of tasks */
#define TASK_NOTE_COPY    (1u << 31) /* of a block of the rank in the other bits */
/** A task or method, by the hash of its full name. */
static inline uint32_t task_note_of(uint64_t full_hash)
{
    return (uint32_t)(full_hash >> 33) | 2;
}

/** Names a stored value in the whole job. Travels, and is hashed as a whole. */
struct stored {
    struct store_place place; /* on the holder's host */
    int32_t holder;           /* rank of the job */
    uint32_t nothing;         /* 0 */
};

/** Where a stored value is, and a copy of the refs that it nests: what its owner keeps, if there are any. */
struct stored_nest {
    struct stored at;
    raympi_wire_ref wires[];
};

/** A value: length bytes, then (8-byte aligned) `nested` wire refs. */
struct value {
    union {
        struct {
            uint8_t kind;
            uint8_t type;    /* enum raympi_value_kind: what raympi_return_int() etc. said */
            uint8_t copied;  /* the stored block is this value's alone: it goes with it */
            uint8_t is_nest; /* it is stored, and `nest` says where */
            uint32_t nested;
        };
        uint64_t head; /* all of these */
    };
    uint64_t length;
    union {
        _Alignas(8) char bytes[VALUE_INLINE_MAX];
        struct value_blob *blob;
        struct stored at;
        struct stored_nest *nest;
        struct object *alias; /* the object whose value this is; one hold */
    } u;
};

/** Where a stored value is. */
static inline const struct stored *value_stored(const struct value *value)
{
    return value->is_nest ? &value->u.nest->at : &value->u.at;
}

/** Bytes with nested refs behind them. */
static inline uint64_t value_extent(uint64_t length, uint32_t nested)
{
    if (length > (UINT64_C(1) << 48)) /* no store is that large; a sum must not wrap round */
        return length;
    return nested ? base_align_up(length, 8) + nested * sizeof(raympi_wire_ref) : length;
}

/** Memory for a value of `length` bytes: in place, private or in the store; *data is writable. May block the
 * task while the store is full. STORE_FULL, TOO_LARGE, MEMORY. */
int value_create(struct task_room *room, struct value *value, uint64_t length, uint32_t nested, void **data);
/** Makes a stored value readable; no effect on others. */
void value_seal(struct task_room *room, struct value *value);
/** Brings a value to where this rank can read it, shows it, and keeps it there until value_unpin(): from
 * disk, or from another host. Follows aliases. May block the task. LOST; TIMEOUT past `deadline`; STORE_FULL.
 */
int value_pin(struct task_room *room, struct value *value, uint64_t deadline, const void **data,
              uint64_t *length);
/** The same if it is there; else STORE_ON_DISK at once. */
int value_pin_now(struct task_room *room, struct value *value, const void **data, uint64_t *length);
void value_unpin(struct task_room *room, struct value *value);
/** The same where most are not stored. */
static inline void value_unpin_stored(struct task_room *room, struct value *value)
{
    if (__builtin_expect(value->kind == VALUE_STORE || value->kind == VALUE_ALIAS, 0))
        value_unpin(room, value);
}
/** Shows a value that the caller has pinned. */
const void *value_at(struct task_room *room, struct value *value, uint64_t *length);
/** Begins to bring it. */
void value_fetch(struct task_room *room, struct value *value);
/** The bytes of one that is in a record or in private memory; NULL: it is not. */
const char *value_private(const struct value *value);
/** A value of up to VALUE_SHORT_MAX bytes that has arrived. */
void value_short_sure(struct task_room *room, struct value *value, uint8_t type, const char *bytes,
                      uint64_t length);
/** Notes the refs that the bytes at `data` nest, where those may go to disk or to another host. MEMORY. */
int value_wires_keep(struct value *value, const void *data);
/** The refs that an owner's value declares, NULL when none. */
const raympi_wire_ref *value_nested(struct value *value, uint32_t *count);
/** Lets go of memory; the owner also frees a stored block. Does not touch nested refs. `room` may be NULL for
 * an error. */
void value_drop(struct task_room *room, struct value *value, bool owner);
struct value *value_behind(struct value *value);

/** An error as a value: who failed, where, why, and which tasks could not run because of it. */
int value_error(struct value *value, int code, int rank, const char *task, const char *message);
/** The same error, one task further. */
int value_error_chain(struct value *value, const struct value *error, const char *task);
/** The same error, shared. */
void value_error_copy(struct value *value, const struct value *error);
/** Says which task failed where the rank that tells did not know its name. */
void value_error_name(struct value *value, const char *task);
/** Somebody has looked at the error, through this value or another that shares it. */
void value_error_see(const struct value *value);
bool value_error_seen(const struct value *value);
int value_error_code(const struct value *value);
void value_error_text(const struct value *value, char *text, size_t size);

#endif
