/* What the files of the table share. */
#ifndef RAYMPI_CONTROL_TABLE_INTERNAL_H
#define RAYMPI_CONTROL_TABLE_INTERNAL_H

#include "control/control_table.h"

/* Without memory an element is not added, and its hh.tbl is NULL. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct entry {
    UT_hash_handle hh;
    uint64_t version;
    uint32_t key_length, value_length;
    char bytes[]; /* key, value */
};

/** What a client was answered, by the serial's place in the window. */
struct client {
    UT_hash_handle hh;
    uint64_t name, answered;
    struct {
        uint64_t serial; /* 0: none */
        struct control_reply reply;
    } replies[CONTROL_WINDOW];
};

struct control_table {
    struct entry *entries;
    struct client *clients;
    uint64_t index, bytes, replies;
};

/** NULL: out of memory. */
struct entry *table_entry_new(struct control_bytes key, struct control_bytes value, uint64_t version);
/** False: out of memory, and it is not in the table. */
bool table_entry_add(struct control_table *table, struct entry *entry);
/** Those that begin so, in order; the array is the caller's to free. MEMORY. */
int table_entries_sorted(const struct control_table *table, struct control_bytes prefix,
                         const struct entry ***sorted, size_t *count);
/** The client, which is new if nobody knew it; NULL: out of memory. */
struct client *table_client_make(struct control_table *table, uint64_t name);
/** Keeps what the client was answered. */
void table_client_reply(struct control_table *table, struct client *client, uint64_t serial,
                        const struct control_reply *reply);

#endif
