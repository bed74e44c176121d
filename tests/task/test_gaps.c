/* Timelines: a task is not shown as running while it waits, whatever it waits for. */
#include "task_node.h"

#include <stdlib.h>

static struct task_node node;

RAYMPI_TASK(seals, .num_returns = RAYMPI_NONE)
{
    CU_ASSERT_EQUAL(
        raympi_seal(raympi_arg_nested(ctx, 0, *(const raympi_wire_ref *)raympi_arg(ctx, 0, NULL))),
        RAYMPI_OK);
    return RAYMPI_OK;
}

/* An object that is not ready, and a task that makes it ready: not the one that makes the ref, so that it can
 * not run on the stack of who waits. */
static raympi_ref ready_later(void)
{
    raympi_ref later = {0};
    memset(raympi_create(8, &later), 0, 8);
    raympi_wire_ref wire = raympi_wire(later);
    raympi_ref box = raympi_put_nested(&wire, sizeof wire, &later, 1);
    raympi_ref ended = raympi_call(seals, box);
    raympi_release(box);
    raympi_release(ended);
    return later;
}

RAYMPI_TASK(gets, .num_returns = RAYMPI_NONE)
{
    raympi_view view;
    (void)ctx;
    CU_ASSERT_EQUAL(raympi_get(ready_later(), &view), RAYMPI_OK);
    return RAYMPI_OK;
}

RAYMPI_TASK(waits, .num_returns = RAYMPI_NONE)
{
    raympi_ref ref = ready_later();
    (void)ctx;
    CU_ASSERT_EQUAL(raympi_wait(&ref, 1, 1, -1, NULL), 1);
    return RAYMPI_OK;
}

RAYMPI_TASK(waits_for_set, .num_returns = RAYMPI_NONE)
{
    raympi_waitset *set;
    raympi_ref ref;
    (void)ctx;
    CU_ASSERT_EQUAL(raympi_waitset_create(&set), RAYMPI_OK);
    CU_ASSERT_EQUAL(raympi_waitset_add(set, ready_later(), 0), RAYMPI_OK);
    CU_ASSERT_EQUAL(raympi_waitset_wait(set, -1, &ref, NULL), RAYMPI_OK);
    CU_ASSERT_EQUAL(raympi_waitset_destroy(set), RAYMPI_OK);
    return RAYMPI_OK;
}

RAYMPI_TASK(asks, .num_returns = RAYMPI_NONE)
{
    (void)ctx;
    CU_ASSERT_EQUAL(raympi_ref_status(ready_later()), RAYMPI_OK);
    return RAYMPI_OK;
}

/* The timeline, to be freed. */
static char *timeline(void)
{
    char *trace = NULL, *text = NULL;
    const char *buffer;
    size_t length, written;
    CU_ASSERT_EQUAL_FATAL(trace_serialize(node.api.trace, &trace, &length), RAYMPI_OK);
    FILE *file = open_memstream(&text, &written);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    buffer = trace;
    CU_ASSERT_EQUAL(trace_write_json(file, &buffer, &length, 1), RAYMPI_OK);
    fclose(file);
    free(trace);
    return text;
}

static int slices(const char *text, const char *name)
{
    char wanted[64];
    int count = 0;
    snprintf(wanted, sizeof wanted, "\"ph\":\"X\",\"name\":\"%s\"", name);
    while ((text = strstr(text, wanted))) {
        text++;
        count++;
    }
    return count;
}

static void run_and_count(raympi_ref ended, const char *name)
{
    raympi_view view;
    CU_ASSERT_EQUAL(raympi_get(ended, &view), RAYMPI_OK);
    char *text = timeline();
    CU_ASSERT_TRUE(slices(text, name) >= 2);
    CU_ASSERT_PTR_NULL(strstr(text, "\"name\":\"0x")); /* each has the name of its task */
    free(text);
}

static void a_task_that_waits_is_not_shown_as_running(void)
{
    CU_ASSERT_EQUAL_FATAL(task_functions_build(), RAYMPI_OK);
    node_open(&node);
    run_and_count(raympi_call(gets), "gets");
    run_and_count(raympi_call(waits), "waits");
    run_and_count(raympi_call(waits_for_set), "waits_for_set");
    run_and_count(raympi_call(asks), "asks");
    node_close(&node);
    task_functions_clear();
}

static const struct unit_test tests[] = {
    {"a task that waits is not shown as running", a_task_that_waits_is_not_shown_as_running},
};

int main(void)
{
    return UNIT_MAIN("task: timelines", tests);
}
