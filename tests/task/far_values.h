/* Values between hosts at a node of task_node.h: rank 0 is the node, the others are on hosts of their own,
 * and what they send is the test's. */
#ifndef TESTS_TASK_FAR_VALUES_H
#define TESTS_TASK_FAR_VALUES_H

#include "task_node.h"

#include "task/task_present.h"

static struct task_node node;
static char *content; /* of all values */
static const struct stored far_block = {{0, 5, 3}, 1, 0};

static inline void content_make(uint64_t bytes)
{
    content = malloc(bytes);
    for (uint64_t i = 0; i < bytes; i++)
        content[i] = (char)(i * 7 + i / 1000);
}

static inline void far_begin(uint64_t bytes)
{
    CU_ASSERT_FATAL(task_functions_build() == RAYMPI_OK);
    node_open(&node);
    node_apart(&node);
    content_make(bytes);
}

static inline void far_end(void)
{
    free(content);
    node_close(&node);
    task_functions_clear();
}

/** Of the node, those that wait for readers to end included. */
static inline uint64_t blocks(void)
{
    struct store_counters counters;
    store_collect(node.room->store);
    store_counters(node.room->store, &counters);
    return counters.blocks + counters.waiting;
}

/** far_block, as the node is told of it. */
static inline struct value far_value(uint64_t length)
{
    struct value value = {.kind = VALUE_STORE, .type = RAYMPI_KIND_BYTES, .length = length};
    value.u.at = far_block;
    return value;
}

/** The node can read it, and it is right. */
static inline bool is_here(struct value *value)
{
    const void *data;
    uint64_t length;
    if (value_pin_now(node.room, value, &data, &length) != RAYMPI_OK)
        return false;
    bool right = length == value->length && memcmp(data, content, length) == 0 &&
                 value_at(node.room, value, &length) == data;
    value_unpin(node.room, value);
    return right;
}

/** A value of the node's. */
static inline struct value own_value(uint64_t length, void **data)
{
    struct value value;
    CU_ASSERT_FATAL(value_create(node.room, &value, length, 0, data) == RAYMPI_OK);
    memcpy(*data, content, length);
    value_seal(node.room, &value);
    return value;
}

/** A wish of another rank's for bytes that the node has. */
static inline void pull_by(int rank, const struct stored *at, uint64_t offset, uint64_t length,
                           uint64_t serial)
{
    const struct pull wish = {*at, offset, length, serial};
    node_receive_from(&node, rank, lease_on_pull, &wish, sizeof wish);
    node_settle(&node);
}

#endif
