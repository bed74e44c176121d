/* For fuzzers of messages: a whole node (tests/task/task_node.h) for each input, so that inputs do not depend
 * on each other. */
#ifndef TESTS_FUZZ_NODE_H
#define TESTS_FUZZ_NODE_H

#include "fuzz.h"

/* task_node.h without CUnit, which is not running here. */
#define TESTS_UNIT_H
#define CU_ASSERT_FATAL(condition)            FUZZ_CHECK(condition)
#define CU_ASSERT_PTR_NOT_NULL_FATAL(pointer) FUZZ_CHECK(pointer)
#include "../task/task_node.h"

#include "actor/actor_internal.h"

RAYMPI_TASK(nothing, .num_returns = RAYMPI_NONE)
{
    (void)ctx;
    return RAYMPI_OK;
}

RAYMPI_TASK(add)
{
    /* Whatever numbers come: the sum may wrap. */
    uint64_t sum = (uint64_t)raympi_arg_int(ctx, 0) + (uint64_t)raympi_arg_int(ctx, 1);
    return raympi_return_int(ctx, 0, (int64_t)sum);
}

RAYMPI_TASK(three, .num_returns = 3)
{
    for (int i = 0; i < 3; i++)
        raympi_return_int(ctx, i, i);
    return RAYMPI_OK;
}

struct counter {
    int64_t value;
};
RAYMPI_ACTOR(counter, struct counter)
RAYMPI_CONSTRUCTOR(counter)
{
    struct counter *self = raympi_self(ctx);
    self->value = raympi_arg_int(ctx, 0);
    return RAYMPI_OK;
}
RAYMPI_METHOD(counter, increment)
{
    struct counter *self = raympi_self(ctx);
    self->value += raympi_arg_int(ctx, 0);
    return raympi_return_int(ctx, 0, self->value);
}

static struct task_node node;
static const raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = 1};

/* A node serves some inputs, for speed; an input that breaks it does so mostly on its own. */
#define NODE_INPUTS 64
static int node_inputs;

static void node_begin(void)
{
    static bool built;
    if (!built)
        FUZZ_CHECK(task_functions_build() == RAYMPI_OK);
    built = true;
    if (node_inputs++ == 0)
        node_open(&node);
}

static void node_end(void)
{
    node_settle(&node);
    if (node_inputs < NODE_INPUTS)
        return;
    node_close(&node);
    node_inputs = 0;
}

#endif
