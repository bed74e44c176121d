/* A value that is told to be fetched, then messages about fetching: what is asked of this rank, and what it
 * is given. An input is {length, VALUE message} and a sequence of {type, length, bytes}. */
#include "fuzz_node.h"

#define BORROWED (((uint64_t)1 << REFCOUNT_SEQUENCE_BITS) + 77)
#define STEPS    8

struct __attribute__((packed)) far_value {
    uint8_t size;
    uint64_t handle;
    uint32_t status;
    struct value_head head;
    uint64_t lease;
};

static void fuzz_seeds(void)
{
    char bytes[256];
    struct far_value far = {sizeof far - 1, BORROWED, 0, {VALUE_FAR, RAYMPI_KIND_BYTES, 0, 64}, 1};
    uint64_t chunk[10] = {1, 0}, pull[4] = {UINT64_C(1) << 32, 1, 0, 8};
    memcpy(bytes, &far, sizeof far);
    size_t used = sizeof far;
    bytes[used++] = 1;
    bytes[used++] = sizeof pull;
    memcpy(bytes + used, pull, sizeof pull);
    used += sizeof pull;
    bytes[used++] = 0;
    bytes[used++] = sizeof chunk;
    memcpy(bytes + used, chunk, sizeof chunk);
    fuzz_seed(bytes, used + sizeof chunk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static net_handler *const handlers[] = {fetch_on_chunk, fetch_on_pull, fetch_on_read};
    node_begin();
    node.room->fetches.number = 0;
    struct object *object = object_accept(node.room, BORROWED, (struct task_id){{1, 2}}, 1, BORROWED);
    FUZZ_CHECK(object);
    for (int step = 0; step <= STEPS && size > 0; step++) {
        uint64_t kind = step > 0 ? fuzz_take(&data, &size, 1) % 3 : 0;
        size_t length = fuzz_take(&data, &size, 1);
        length = length < size ? length : size;
        node_receive(&node, step == 0 ? ref_on_value : handlers[kind], data, length);
        data += length;
        size -= length;
        node_settle(&node);
    }
    object_drop(node.room, object);
    node_settle(&node);
    node_inputs = NODE_INPUTS; /* what is still being fetched goes with the node */
    node_end();
    return 0;
}
