/* Messages about stored values: what is asked of this rank, and what it is given, while it fetches one itself
 * and has another to read. An input is a sequence of {type, length, bytes}. */
#include "fuzz_node.h"

#include "task/task_present.h"

#define STEPS 8

static const struct stored far_block = {{0, 5, 3}, 1, 0};

static void fuzz_seeds(void)
{
    struct stored own = {{0, 0, 1}, 0, 0};
    struct pull pull = {own, 0, 8, 0};
    struct __attribute__((packed)) {
        struct chunk head;
        char bytes[24];
    } chunk = {{.at = far_block}, {0}};
    struct brought brought = {far_block, {0, 0, 1}, 0, 0};
    struct bring bring = {far_block, 64};
    struct elsewhere elsewhere = {far_block, 1, 2, 0};
    struct pull copy_pull = {far_block, 0, 8, 1};
    const struct {
        const void *bytes;
        size_t size;
    } parts[] = {{&chunk, sizeof chunk},
                 {&pull, sizeof pull},
                 {&own, sizeof own},
                 {&own.place, sizeof own.place},
                 {&brought, sizeof brought},
                 {&bring, sizeof bring},
                 {&own.place, sizeof own.place},
                 {&elsewhere, sizeof elsewhere},
                 {&copy_pull, sizeof copy_pull},
                 {&own, sizeof own}};
    char bytes[512];
    size_t used = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        bytes[used++] = (char)i;
        bytes[used++] = (char)parts[i].size;
        memcpy(bytes + used, parts[i].bytes, parts[i].size);
        used += parts[i].size;
    }
    fuzz_seed(bytes, used);
}

static void on_brought(void *arg, const struct net_message *message)
{
    ((struct task_room *)arg)->net->handlers[TASK_MESSAGE_BROUGHT].run(arg, message);
}

static void on_bring(void *arg, const struct net_message *message)
{
    ((struct task_room *)arg)->net->handlers[TASK_MESSAGE_BRING].run(arg, message);
}

static void on_hungry(void *arg, const struct net_message *message)
{
    ((struct task_room *)arg)->net->handlers[TASK_MESSAGE_HUNGRY].run(arg, message);
}

static void on_awaited(void *arg, const struct net_message *message)
{
    ((struct task_room *)arg)->net->handlers[TASK_MESSAGE_AWAITED].run(arg, message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static net_handler *const handlers[] = {copy_on_chunk, lease_on_pull,    lease_on_read, copy_on_stale,
                                            on_brought,    on_bring,         task_on_free,  copy_on_elsewhere,
                                            lease_on_pull, lease_on_corrupt, on_hungry,     on_awaited};
    struct value own, far = {.kind = VALUE_STORE, .type = RAYMPI_KIND_BYTES, .length = 64};
    void *bytes;
    node_begin();
    node_apart(&node);
    if (size % 2)
        store_checksums_open(node.room->store); /* if there are any in this build */
    far.u.at = far_block;
    value_fetch(node.room, &far);
    FUZZ_CHECK(value_create(node.room, &own, 4096, 0, &bytes) == RAYMPI_OK);
    memset(bytes, 1, 4096);
    value_seal(node.room, &own);
    for (int step = 0; step < STEPS && size > 0; step++) {
        uint64_t kind = fuzz_take(&data, &size, 1) % (sizeof handlers / sizeof *handlers);
        size_t length = fuzz_take(&data, &size, 1);
        length = length < size ? length : size;
        node_receive(&node, handlers[kind], data, length);
        data += length;
        size -= length;
        node_settle(&node);
    }
    node_inputs = NODE_INPUTS; /* what is still being fetched goes with the node */
    node_end();
    return 0;
}
