/* Short messages, several in a row: counting of refs, wishes for values, frees, stealing, actors made and
 * killed. An input is a sequence of {type, length, bytes}. */
#include "fuzz_node.h"

#define STEPS 16

static const struct {
    uint16_t type, length;
} kinds[] = {{TASK_MESSAGE_REF, REFCOUNT_WIRE_SIZE},
             {TASK_MESSAGE_WANT, 8},
             {TASK_MESSAGE_FREE, 16},
             {TASK_MESSAGE_STEAL, 0},
             {TASK_MESSAGE_NO_WORK, 8},
             {TASK_MESSAGE_ACTOR_NEW, 16},
             {TASK_MESSAGE_ACTOR_KILL, 40}};

static size_t sequence_add(char *bytes, size_t used, uint8_t kind, const void *message)
{
    bytes[used] = (char)kind;
    bytes[used + 1] = (char)kinds[kind].length;
    memcpy(bytes + used + 2, message, kinds[kind].length);
    return used + 2 + kinds[kind].length;
}

static void fuzz_seeds(void)
{
    char bytes[256];
    unsigned char wire[REFCOUNT_WIRE_SIZE];
    uint64_t handle = 1u << 24 | 1, actor = (UINT64_C(1) << 43) | UINT64_C(1) << 23 | 1;
    uint64_t born[2] = {actor, base_hash_name("counter")}, kill[5] = {actor, 1, 7, 0, 0}, place[2] = {0, 1};
    struct refcount_message message = {REFCOUNT_REGISTER, handle, 1, handle, 0};
    size_t used = 0;
    FUZZ_CHECK(refcount_encode(&message, wire, sizeof wire) == REFCOUNT_OK);
    used = sequence_add(bytes, used, 0, wire);
    used = sequence_add(bytes, used, 1, &handle);
    message = (struct refcount_message){.kind = REFCOUNT_RELEASE, .handle = handle};
    FUZZ_CHECK(refcount_encode(&message, wire, sizeof wire) == REFCOUNT_OK);
    used = sequence_add(bytes, used, 0, wire);
    used = sequence_add(bytes, used, 2, place);
    fuzz_seed(bytes, used);
    used = sequence_add(bytes, 0, 5, born);
    used = sequence_add(bytes, used, 6, kill);
    used = sequence_add(bytes, used, 3, kill);
    used = sequence_add(bytes, used, 4, &handle);
    fuzz_seed(bytes, used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    node_begin();
    /* Something to talk about: an object in the store, and one that waits for another rank. */
    char blob[20000] = "blob";
    raympi_ref stored = raympi_put(blob, sizeof blob);
    raympi_ref pending = raympi_call_opts(there, add, 1, 2);
    for (int step = 0; step < STEPS && size > 0; step++) {
        uint64_t kind = fuzz_take(&data, &size, 1) % (sizeof kinds / sizeof kinds[0]);
        size_t length = fuzz_take(&data, &size, 1);
        length = length < size ? length : size;
        struct net_piece piece = {data, length};
        FUZZ_CHECK(net_send(node.net[1], 0, kinds[kind].type, &piece, 1) == RAYMPI_OK);
        data += length;
        size -= length;
        node_settle(&node);
    }
    raympi_release(stored);
    raympi_release(pending);
    node_end();
    return 0;
}
