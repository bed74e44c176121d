/* DONE messages: the ends of tasks that ran on another rank, with their results or errors. */
#include "fuzz_node.h"

/* An end may say that its results are each other, which then wait for each other for ever: no leak of ours.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static raympi_ref pending[3];

static void pending_call(void)
{
    FUZZ_CHECK(raympi_submit_n(&raympi_task_three, "three", &there, NULL, 0, pending, 3) == RAYMPI_OK);
    node_settle(&node);
}

static void seed_results(uint64_t size)
{
    struct writer writer;
    struct value value;
    void *data;
    writer_init(&writer);
    write_u64(&writer, pending[0].handle);
    write_u32(&writer, 0);
    write_u8(&writer, 3);
    for (int i = 0; i < 3; i++) {
        value_create(node.room, &value, i == 1 ? size : 8, 0, &data);
        memset(data, i + 1, i == 1 ? size : 8);
        write_u64(&writer, 0);
        write_value(node.room, &writer, &value);
    }
    fuzz_seed(writer.bytes, writer.used);
}

static void fuzz_seeds(void)
{
    struct writer writer;
    struct value error;
    node_begin();
    pending_call();
    seed_results(100);
    seed_results(100000);
    value_error(&error, 1, 1, "test", "why");
    writer_init(&writer);
    write_u64(&writer, pending[0].handle);
    write_u32(&writer, 0);
    write_u8(&writer, UINT8_MAX);
    write_value(node.room, &writer, &error);
    fuzz_seed(writer.bytes, writer.used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    raympi_view view;
    char *message = fuzz_copy(data, size);
    node_begin();
    pending_call();
    /* Handles differ from input to input: mostly it is the right one. */
    if (size >= sizeof pending[0].handle && data[0] != UINT8_MAX)
        memcpy(message, &pending[0].handle, sizeof pending[0].handle);
    node_receive(&node, task_on_done, message, size);
    free(message);
    node_settle(&node);
    /* What came is read as a user would, whatever it is. */
    for (int i = 0; i < 3; i++)
        if (raympi_ref_status(pending[i]) != RAYMPI_ERR_TIMEOUT && raympi_get(pending[i], &view) == RAYMPI_OK)
            raympi_view_end(&view);
    raympi_release_all(pending, 3);
    node_end();
    return 0;
}
