/* What one shard of the control state holds: values by key, and what its clients were answered. A pure state
 * machine: replicas that apply the same operations in the same order hold the same, answers included, so an
 * operation that is sent again, to whomever, is not done again. Not thread safe. */
#ifndef RAYMPI_CONTROL_TABLE_H
#define RAYMPI_CONTROL_TABLE_H

#include "base/base.h"

#define CONTROL_KEY_MOST 255                 /* bytes; 1 at least */
#define CONTROL_MOST     (UINT32_C(1) << 20) /* bytes of a value */
#define CONTROL_WINDOW   64                  /* operations of a client that may be without an answer */

struct control_bytes {
    const char *data;
    uint32_t length;
};

enum control_kind {
    CONTROL_PUT = 1,
    CONTROL_PUT_IF_ABSENT,
    CONTROL_COMPARE_AND_SET, /* if the key's version is this one; 0: if it has no value */
    CONTROL_DELETE,
};
#define CONTROL_KINDS 4

/** A change. The client numbers its changes 1, 2, ..., and says up to which it has all answers. */
struct control_op {
    enum control_kind kind;
    uint64_t client, serial, answered;
    struct control_bytes key, value;
    uint64_t version; /* that compare-and-set wants */
};

/** Its answer. */
struct control_reply {
    bool done;        /* false: the key was not as it was wanted, and nothing has changed */
    uint64_t version; /* of the key's value after it; 0: it has none */
};

struct control_table;
/** MEMORY. */
int control_table_open(struct control_table **table);
void control_table_close(struct control_table *table);

/** Applies the operation that has this place in the shard's log (1, 2, ...), which becomes the version of
 * what it writes. One whose answer is known is not done again: *reply is that answer. MEMORY, ARGUMENT (an
 * operation that nobody can do), STATE (a serial whose answer the client has had, or one too far ahead):
 * nothing has changed. */
int control_table_apply(struct control_table *table, uint64_t index, const struct control_op *op,
                        struct control_reply *reply);
/** What control_table_apply() would refuse whatever the table holds. ARGUMENT. */
int control_op_check(const struct control_op *op);
/** Whether a change of the client was done already: *reply is its answer. STATE as control_table_apply();
 * else OK and *done. */
int control_table_answered(const struct control_table *table, const struct control_op *op,
                           struct control_reply *reply, bool *done);
/** The place of the last operation applied; 0: none was. */
uint64_t control_table_index(const struct control_table *table);
/** Forgets what a client was answered: it has ended. */
void control_table_forget(struct control_table *table, uint64_t client);

/** The value of a key, until the next change; false: it has none. */
bool control_table_get(const struct control_table *table, struct control_bytes key,
                       struct control_bytes *value, uint64_t *version);
/** Calls visit() for each key that begins with `prefix`, in the order of their bytes. MEMORY. */
int control_table_list(const struct control_table *table, struct control_bytes prefix,
                       void (*visit)(void *arg, struct control_bytes key, struct control_bytes value,
                                     uint64_t version),
                       void *arg);

struct control_sizes {
    uint64_t keys, clients, replies;
    uint64_t bytes; /* of keys and values */
};
void control_table_sizes(const struct control_table *table, struct control_sizes *sizes);

/** All of it as bytes (the caller's to free), the same for tables that hold the same; and a table of such
 * bytes, which may come from anywhere. MEMORY; ARGUMENT: they are none. */
int control_table_save(const struct control_table *table, char **bytes, size_t *length);
int control_table_load(struct control_table **table, const char *bytes, size_t length);

#endif
