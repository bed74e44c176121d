/* DONE_SMALL and ENDS messages: the ends of tasks with one small result, alone and several together. */
#include "fuzz_node.h"

enum { PENDING = 3 };

RAYMPI_TASK(number)
{
    return raympi_return_int(ctx, 0, 1);
}

static raympi_ref pending[PENDING];

static void pending_calls(void)
{
    for (int i = 0; i < PENDING; i++)
        pending[i] = raympi_call_opts(there, number);
    node_settle(&node);
}

/* A first byte that tells which message it is, and the message. */
static void seed(uint8_t which, const void *message, size_t size)
{
    uint8_t bytes[1 + PENDING * sizeof(struct task_end)] = {which};
    memcpy(bytes + 1, message, size);
    fuzz_seed(bytes, 1 + size);
}

static void fuzz_seeds(void)
{
    struct task_end ends[PENDING];
    struct done_small text = {.length = 5, .type = RAYMPI_KIND_BYTES, .bytes = "text"};
    struct done_small nothing = {.type = DONE_NOTHING};
    for (int i = 0; i < PENDING; i++)
        ends[i] = (struct task_end){.length = 8, .type = RAYMPI_KIND_INT, .bytes = "1234567"};
    seed(0, &ends[0], sizeof ends[0]);
    seed(0, &text, offsetof(struct done_small, bytes) + 5);
    seed(0, &nothing, offsetof(struct done_small, bytes));
    seed(1, ends, sizeof ends);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    raympi_view view;
    if (size == 0)
        return 0;
    char *message = fuzz_copy(data + 1, size - 1);
    node_begin();
    pending_calls();
    /* Handles differ from input to input: mostly they are the right ones. */
    for (size_t i = 0; i < PENDING && (i + 1) * sizeof(struct task_end) <= size - 1; i++)
        if ((unsigned char)message[i * sizeof(struct task_end)] != UINT8_MAX)
            memcpy(message + i * sizeof(struct task_end), &pending[i].handle, sizeof pending[i].handle);
    if (size - 1 >= sizeof pending[0].handle && message[0] != (char)UINT8_MAX)
        memcpy(message, &pending[0].handle, sizeof pending[0].handle);
    node_receive(&node, data[0] % 2 ? task_on_ends : task_on_done_small, message, size - 1);
    free(message);
    node_settle(&node);
    for (int i = 0; i < PENDING; i++)
        if (raympi_ref_status(pending[i]) != RAYMPI_ERR_TIMEOUT && raympi_get(pending[i], &view) == RAYMPI_OK)
            raympi_view_end(&view);
    raympi_release_all(pending, PENDING);
    node_end();
    return 0;
}
