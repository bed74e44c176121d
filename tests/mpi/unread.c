/* Results that nobody has read yet, more of them than the store has room for, and no disk for them. The
 * argument says which part runs. */
#include "mpi_test.h"

#define MOST 20000

static int count = 64;
static size_t bytes_each = 1 << 20;
static raympi_ref refs[MOST];

static void fill(char *bytes, size_t len, int64_t number)
{
    for (size_t i = 0; i < len; i += 512)
        memcpy(bytes + i, &number, sizeof number);
}

static bool is_right(const char *bytes, size_t len, int64_t number)
{
    for (size_t i = 0; i < len; i += 512)
        if (memcmp(bytes + i, &number, sizeof number) != 0)
            return false;
    return len == bytes_each;
}

RAYMPI_TASK(make)
{
    char *bytes = raympi_return(ctx, 0, bytes_each);
    if (bytes)
        fill(bytes, bytes_each, raympi_arg_int(ctx, 0));
    return RAYMPI_OK;
}

/* The argument, and one more. */
RAYMPI_TASK(next)
{
    size_t len;
    const char *from = raympi_arg(ctx, 0, &len);
    int64_t number = raympi_arg_int(ctx, 1);
    char *bytes = raympi_return(ctx, 0, bytes_each);
    if (!is_right(from, len, number))
        return raympi_fail(ctx, 1, "the argument is not what was made");
    if (bytes)
        fill(bytes, bytes_each, number + 1);
    return RAYMPI_OK;
}

RAYMPI_TASK(look)
{
    size_t len;
    const char *bytes = raympi_arg(ctx, 0, &len);
    return raympi_return_int(ctx, 0, bytes && is_right(bytes, len, raympi_arg_int(ctx, 1)));
}

RAYMPI_TASK(box)
{
    raympi_ref ref;
    char *bytes = raympi_create(bytes_each, &ref);
    if (!bytes)
        return raympi_fail(ctx, 1, "%s", raympi_detail());
    fill(bytes, bytes_each, raympi_arg_int(ctx, 0));
    CHECK_OK(raympi_seal(ref));
    raympi_wire_ref *wire = raympi_return_nested(ctx, 0, sizeof *wire, &ref, 1);
    if (wire)
        *wire = raympi_wire(ref);
    return RAYMPI_OK;
}

static void read_one(raympi_ref ref, int64_t number)
{
    raympi_view view;
    int status = raympi_get(ref, &view);
    CHECK_OK(status);
    if (status == RAYMPI_OK) {
        CHECK(is_right(view.data, view.len, number));
        CHECK_OK(raympi_view_end(&view));
    }
    CHECK_OK(raympi_release(ref));
}

static void in_order(void)
{
    for (int i = 0; i < count; i++)
        refs[i] = raympi_call(make, (int64_t)i);
    for (int i = 0; i < count; i++)
        read_one(refs[i], i);
}

static void backwards(void)
{
    for (int i = 0; i < count; i++)
        refs[i] = raympi_call(make, (int64_t)i);
    for (int i = count; i-- > 0;)
        read_one(refs[i], i);
}

/* Each has an argument that nobody else reads. */
static void in_pairs(void)
{
    for (int i = 0; i < count; i++) {
        raympi_ref first = raympi_call(make, (int64_t)i);
        refs[i] = raympi_call(next, first, i);
        CHECK_OK(raympi_release(first));
    }
    for (int i = 0; i < count; i++)
        read_one(refs[i], i + 1);
}

/* The arguments fill the store, and whoever makes them waits until tasks have read some. */
static void arguments(void)
{
    for (int i = 0; i < count; i++) {
        raympi_ref ref;
        char *bytes = raympi_create(bytes_each, &ref);
        CHECK(bytes != NULL);
        if (!bytes)
            continue;
        fill(bytes, bytes_each, i);
        CHECK_OK(raympi_seal(ref));
        refs[i] = raympi_call(look, ref, i);
        CHECK_OK(raympi_release(ref));
    }
    for (int i = 0; i < count; i++) {
        int64_t good = 0;
        CHECK_OK(raympi_get_copy(refs[i], &good, sizeof good));
        CHECK(good == 1);
        CHECK_OK(raympi_release(refs[i]));
    }
}

/* What a task puts, in its result. */
static void in_boxes(void)
{
    for (int i = 0; i < count; i++)
        refs[i] = raympi_call(box, i);
    for (int i = 0; i < count; i++) {
        raympi_view view;
        CHECK_OK(raympi_scope_begin());
        int status = raympi_get(refs[i], &view);
        CHECK_OK(status);
        if (status == RAYMPI_OK)
            read_one(raympi_view_ref(&view, *(const raympi_wire_ref *)view.data), i);
        CHECK_OK(raympi_scope_end());
        CHECK_OK(raympi_release(refs[i]));
    }
}

/* Whichever is there. */
static void any(void)
{
    raympi_waitset *set;
    CHECK_OK(raympi_waitset_create(&set));
    for (int i = 0; i < count; i++) {
        refs[i] = raympi_call(make, (int64_t)i);
        CHECK_OK(raympi_waitset_add(set, refs[i], (uint64_t)i));
        CHECK_OK(raympi_release(refs[i]));
    }
    for (int i = 0; i < count; i++) {
        raympi_ref ref;
        uint64_t number;
        CHECK_OK(raympi_waitset_wait(set, -1, &ref, &number));
        read_one(ref, (int64_t)number);
    }
    CHECK_OK(raympi_waitset_destroy(set));
}

/* All of it takes longer than RAYMPI_CREATE_TIMEOUT, no step does. */
static void slowly(void)
{
    raympi_ref never;
    CHECK(raympi_create(8, &never) != NULL);
    for (int i = 0; i < count; i++)
        refs[i] = raympi_call(make, (int64_t)i);
    for (int i = 0; i < count; i++) {
        raympi_view view;
        CHECK(raympi_get_timeout(never, &view, 0.05) == RAYMPI_ERR_TIMEOUT);
        read_one(refs[i], i);
    }
    CHECK_OK(raympi_seal(never));
    CHECK_OK(raympi_release(never));
}

/* Nobody reads: some have room, the others say at the deadline what to do. */
static void never(void)
{
    int made = 0;
    for (int i = 0; i < count; i++)
        refs[i] = raympi_call(make, (int64_t)i);
    CHECK(raympi_wait(refs, (size_t)count, (size_t)count, -1, NULL) == count);
    for (int i = 0; i < count; i++) {
        raympi_view view;
        int status = raympi_get(refs[i], &view);
        made += status == RAYMPI_OK;
        CHECK(status == RAYMPI_OK || status == RAYMPI_ERR_STORE_FULL);
        CHECK(status == RAYMPI_OK || (strstr(raympi_detail(), "RAYMPI_CREATE_TIMEOUT") &&
                                      strstr(raympi_detail(), "RAYMPI_SPILL_DIR")));
    }
    CHECK(made > 8 && made <= 16);
    CHECK_OK(raympi_release_all(refs, (size_t)count));
}

static const struct part {
    const char *name;
    void (*run)(void);
    bool everybody; /* all ranks at once */
} parts[] = {{"order", in_order, false}, {"all", in_order, true},         {"backwards", backwards, false},
             {"pairs", in_pairs, false}, {"arguments", arguments, false}, {"boxes", in_boxes, false},
             {"any", any, false},        {"slowly", slowly, false},       {"never", never, false}};
static const struct part *part;

static void drive(void)
{
    if (part->everybody || raympi_rank() == 0)
        part->run();
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof parts / sizeof *parts; i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            part = &parts[i];
    count = argc > 2 ? atoi(argv[2]) : count;
    bytes_each = argc > 3 ? (size_t)atoi(argv[3]) << 10 : bytes_each;
    if (!part || count > MOST)
        return 4;
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    return test_end(test_drive(drive));
}
