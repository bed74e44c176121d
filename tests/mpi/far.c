/* Values between hosts: as arguments, results and borrowed refs, of sizes around every limit; and one that is
 * too long for a message, which is told. The first and the last rank are on different hosts. */
#include "mpi_test.h"

#define THERE   RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = raympi_size() - 1)
#define MESSAGE (UINT64_C(1) << 30)
#define WORD(i) ((uint64_t)(i)*UINT64_C(0x9e3779b97f4a7c15))

static void fill(void *bytes, size_t len)
{
    for (size_t i = 0; i < len / 8; i++)
        ((uint64_t *)bytes)[i] = WORD(i);
}

static bool filled(const void *bytes, size_t len)
{
    for (size_t i = 0; i < len / 8; i++)
        if (((const uint64_t *)bytes)[i] != WORD(i))
            return false;
    return true;
}

RAYMPI_TASK(length)
{
    size_t len;
    const void *bytes = raympi_arg(ctx, 0, &len);
    return raympi_return_int(ctx, 0, filled(bytes, len) ? (int64_t)len : -1);
}

RAYMPI_TASK(filler)
{
    size_t len = (size_t)raympi_arg_int(ctx, 0);
    void *bytes = raympi_return(ctx, 0, len);
    if (bytes && len < MESSAGE)
        fill(bytes, len);
    return bytes ? RAYMPI_OK : RAYMPI_ERR_STORE_FULL;
}

RAYMPI_TASK(owner) /* a ref of an object that stays here */
{
    size_t len = (size_t)raympi_arg_int(ctx, 0);
    raympi_ref ref;
    void *bytes = raympi_create(len, &ref);
    if (!bytes)
        return raympi_fail(ctx, 1, "%s", raympi_detail());
    if (len < MESSAGE)
        fill(bytes, len);
    CHECK_OK(raympi_seal(ref));
    raympi_wire_ref wire = raympi_wire(ref), *to = raympi_return_nested(ctx, 0, sizeof wire, &ref, 1);
    if (to)
        *to = wire;
    return to ? RAYMPI_OK : RAYMPI_ERR_MEMORY;
}

static raympi_ref borrowed(size_t len)
{
    raympi_view view;
    CHECK_OK(raympi_get(raympi_call_opts(THERE, owner, (int64_t)len), &view));
    return raympi_view_ref(&view, *(const raympi_wire_ref *)view.data);
}

static void passes(size_t len)
{
    raympi_view view;
    raympi_ref ref;
    int64_t there = 0;
    CHECK_OK(raympi_scope_begin());
    void *bytes = raympi_create(len, &ref);
    CHECK(bytes != NULL);
    fill(bytes, len);
    CHECK_OK(raympi_seal(ref));
    CHECK_OK(raympi_get_copy(raympi_call_opts(THERE, length, ref), &there, sizeof there));
    CHECK(there == (int64_t)len);
    CHECK_OK(raympi_get(raympi_call_opts(THERE, filler, (int64_t)len), &view));
    CHECK(view.len == len && filled(view.data, len));
    CHECK_OK(raympi_get(borrowed(len), &view));
    CHECK(view.len == len && filled(view.data, len));
    CHECK_OK(raympi_scope_end());
}

static void is_too_large(raympi_ref ref, const char *what)
{
    raympi_view view;
    int status = raympi_get(ref, &view);
    CHECK(status == RAYMPI_ERR_TOO_LARGE);
    CHECK(strstr(raympi_detail(), "make several objects") != NULL);
    printf("%s: %s\n", what, raympi_detail());
}

static void too_large(void)
{
    raympi_ref ref;
    CHECK_OK(raympi_scope_begin());
    CHECK(raympi_create(MESSAGE, &ref) != NULL);
    CHECK_OK(raympi_seal(ref));
    is_too_large(raympi_call_opts(THERE, length, ref), "argument");
    CHECK_OK(raympi_release(ref));
    is_too_large(raympi_call_opts(THERE, filler, (int64_t)MESSAGE), "result");
    is_too_large(borrowed(MESSAGE), "borrowed");
    CHECK_OK(raympi_scope_end());
}

int main(int argc, char **argv)
{
    static const size_t lengths[] = {40, 48, 512, 520, 32600, 32768, 65536, 1 << 20, 40 << 20};
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    for (size_t i = 0; raympi_rank() == 0 && i < sizeof lengths / sizeof *lengths; i++)
        passes(lengths[i]);
    if (raympi_rank() == 0 && argc > 1) /* hosts that have the memory */
        too_large();
    return test_end(raympi_finalize());
}
