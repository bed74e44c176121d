/* Values: where they lie by their size, on the wire and back, errors. */
#include "task_node.h"

static struct task_node node;

static const uint64_t sizes[] = {0, 1, 8, 23, 24, 25, 47, 48, 49, 100, 511, 512, 513, 4096, 200000};

static void fill(void *data, uint64_t length, unsigned seed)
{
    for (uint64_t i = 0; i < length; i++)
        ((unsigned char *)data)[i] = (unsigned char)base_mix(i + seed);
}

static bool filled(const void *data, uint64_t length, unsigned seed)
{
    for (uint64_t i = 0; i < length; i++)
        if (((const unsigned char *)data)[i] != (unsigned char)base_mix(i + seed))
            return false;
    return true;
}

static void size_decides_where_it_lies(void)
{
    node_open(&node);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct value value;
        void *data;
        const void *seen;
        uint64_t length;
        CU_ASSERT_EQUAL_FATAL(value_create(node.room, &value, sizes[i], 0, &data), RAYMPI_OK);
        uint8_t kind = sizes[i] <= VALUE_INLINE_MAX ? VALUE_INLINE
                       : sizes[i] <= 512            ? VALUE_BLOB
                                                    : VALUE_STORE;
        CU_ASSERT_EQUAL(value.kind, kind);
        fill(data, sizes[i], (unsigned)i);
        value_seal(node.room, &value);
        CU_ASSERT_EQUAL(value_pin_now(node.room, &value, &seen, &length), RAYMPI_OK);
        CU_ASSERT_EQUAL(length, sizes[i]);
        CU_ASSERT(filled(seen, length, (unsigned)i));
        value_unpin(node.room, &value);
        value_drop(node.room, &value, true);
        CU_ASSERT_EQUAL(value.kind, VALUE_NONE);
    }
    struct store_counters counters;
    store_collect(node.api.store);
    store_counters(node.api.store, &counters);
    CU_ASSERT_EQUAL(counters.blocks, 0);
    node_close(&node);
}

static void a_value_travels(void)
{
    node_open(&node);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct value value, read;
        struct writer writer;
        void *data;
        const void *seen;
        uint64_t length;
        CU_ASSERT_EQUAL_FATAL(value_create(node.room, &value, sizes[i], 0, &data), RAYMPI_OK);
        fill(data, sizes[i], (unsigned)i);
        value_seal(node.room, &value);
        writer_init(&writer);
        write_value(node.room, &writer, &value);
        struct reader reader = {.at = writer.bytes, .end = writer.bytes + writer.used};
        CU_ASSERT(read_value(node.room, &reader, &read));
        CU_ASSERT(reader.at == reader.end);
        CU_ASSERT_EQUAL(read.kind, value.kind);
        CU_ASSERT_EQUAL(read.type, value.type);
        CU_ASSERT_EQUAL(value_pin_now(node.room, &read, &seen, &length), RAYMPI_OK);
        CU_ASSERT_EQUAL(length, sizes[i]);
        CU_ASSERT(filled(seen, length, (unsigned)i));
        value_unpin(node.room, &read);
        for (size_t shorter = 0; shorter < writer.used && shorter < 200; shorter++) {
            struct value cut;
            struct reader less = {.at = writer.bytes, .end = writer.bytes + shorter};
            CU_ASSERT_FALSE(read_value(node.room, &less, &cut));
            CU_ASSERT(less.failed);
        }
        value_drop(node.room, &read, false);
        value_drop(node.room, &value, true);
        writer_fini(&writer);
    }
    node_close(&node);
}

static void declared_refs_lie_behind_the_bytes(void)
{
    node_open(&node);
    for (uint64_t bytes = 0; bytes < 1000; bytes = bytes * 3 + 1) {
        struct value value;
        void *data;
        uint32_t count;
        CU_ASSERT_EQUAL_FATAL(value_create(node.room, &value, bytes, 2, &data), RAYMPI_OK);
        fill(data, bytes, 5);
        raympi_wire_ref wires[2] = {{.handle = 11}, {.handle = 22}};
        memcpy((char *)data + base_align_up(bytes, 8), wires, sizeof wires);
        CU_ASSERT_EQUAL(value_wires_keep(&value, data), RAYMPI_OK);
        value_seal(node.room, &value);
        const raympi_wire_ref *found = value_nested(&value, &count);
        CU_ASSERT_EQUAL_FATAL(count, 2);
        CU_ASSERT(found[0].handle == 11 && found[1].handle == 22);
        value_drop(node.room, &value, true);
    }
    node_close(&node);
}

/* ---- errors */

static void an_error_tells_who_where_and_why(void)
{
    struct value error, copy;
    char text[1024];
    CU_ASSERT_EQUAL(value_error(&error, 42, 3, "solve", "matrix is singular"), RAYMPI_OK);
    CU_ASSERT_EQUAL(value_error_code(&error), 42);
    value_error_copy(&copy, &error);
    value_drop(NULL, &error, true);
    CU_ASSERT_EQUAL(value_error_code(&copy), 42);
    value_error_text(&copy, text, sizeof text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "solve failed on rank 3 with code 42: matrix is singular"));
    value_error_text(&copy, text, 10); /* cut, not overrun */
    CU_ASSERT_EQUAL(strlen(text), 9);
    value_drop(NULL, &copy, true);
}

static void an_error_remembers_its_victims(void)
{
    struct value error, next;
    char text[2048];
    CU_ASSERT_EQUAL(value_error(&error, RAYMPI_ERR_MEMORY, 0, "first", ""), RAYMPI_OK);
    for (int i = 0; i < 200; i++) { /* also when there are more than one would read */
        CU_ASSERT_EQUAL_FATAL(value_error_chain(&next, &error, i == 0 ? "second" : "later"), RAYMPI_OK);
        value_drop(NULL, &error, true);
        error = next;
    }
    CU_ASSERT_EQUAL(value_error_code(&error), RAYMPI_ERR_MEMORY);
    value_error_text(&error, text, sizeof text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "first failed on rank 0"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "second <- later"));
    CU_ASSERT(strlen(text) < 1024);
    value_drop(NULL, &error, true);
}

/* Every byte of an error changed: what is accepted can be printed. */
static void broken_errors_are_refused_or_printable(void)
{
    struct value error, read;
    struct writer writer;
    char text[1024];
    node_open(&node);
    CU_ASSERT_EQUAL_FATAL(value_error(&error, 7, 1, "task", "message"), RAYMPI_OK);
    writer_init(&writer);
    write_value(node.room, &writer, &error);
    value_drop(NULL, &error, true);
    int refused = 0, accepted = 0;
    for (size_t i = 0; i < writer.used; i++)
        for (int bit = 0; bit < 8; bit++) {
            writer.bytes[i] ^= (char)(1 << bit);
            struct reader reader = {.at = writer.bytes, .end = writer.bytes + writer.used};
            if (!read_value(node.room, &reader, &read)) {
                refused++;
            } else {
                accepted++;
                if (read.kind == VALUE_ERROR)
                    value_error_text(&read, text, sizeof text);
                value_drop(node.room, &read, false);
            }
            writer.bytes[i] ^= (char)(1 << bit);
        }
    CU_ASSERT(refused > 100);
    CU_ASSERT(accepted > 0); /* a letter of the message */
    writer_fini(&writer);
    node_close(&node);
}

static const struct unit_test tests[] = {
    {"size decides where it lies", size_decides_where_it_lies},
    {"a value travels", a_value_travels},
    {"declared refs lie behind the bytes", declared_refs_lie_behind_the_bytes},
    {"an error tells who, where and why", an_error_tells_who_where_and_why},
    {"an error remembers its victims", an_error_remembers_its_victims},
    {"broken errors are refused or printable", broken_errors_are_refused_or_printable},
};

int main(void)
{
    return UNIT_MAIN("task: values", tests);
}
