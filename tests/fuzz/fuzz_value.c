/* VALUE messages: the value of an object that this rank has borrowed. */
#include "fuzz_node.h"

#define BORROWED (((uint64_t)1 << REFCOUNT_SEQUENCE_BITS) + 77)

static void seed_value(uint64_t size)
{
    struct writer writer;
    struct value value;
    void *data;
    writer_init(&writer);
    write_u64(&writer, BORROWED);
    write_u32(&writer, RAYMPI_OK);
    value_create(node.room, &value, size, 0, &data);
    memset(data, 7, size);
    write_value(node.room, &writer, &value);
    fuzz_seed(writer.bytes, writer.used);
}

static void fuzz_seeds(void)
{
    node_begin();
    seed_value(8);
    seed_value(100);
    seed_value(100000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const void *bytes;
    uint64_t length;
    node_begin();
    struct object *object = object_accept(node.room, BORROWED, (struct task_id){{1, 2}}, 1, BORROWED);
    FUZZ_CHECK(object);
    node_receive(&node, ref_on_value, data, size);
    if (object_ready(object) && value_pin_now(node.room, &object->value, &bytes, &length) == RAYMPI_OK) {
        base_hash_name(bytes && length ? "some" : "none");
        value_unpin(node.room, &object->value);
    }
    object_drop(node.room, object);
    node_settle(&node);
    node_end();
    return 0;
}
