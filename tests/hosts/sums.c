/* An object that somebody writes to after its seal, and others that nobody touches, read on another host:
 *
 *   sums checked      RAYMPI_CHECKSUM=1: who reads it gets a status
 *   sums unchecked    RAYMPI_CHECKSUM=0: gets the wrong byte
 *
 * Rank 0 and the last rank are on different hosts. */
#include "../mpi/mpi_test.h"

#define THERE   RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = raympi_size() - 1)
#define BESIDE  RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = 1)
#define LENGTHS 4

static const size_t lengths[LENGTHS] = {65537, 100000, 1 << 20, 5000001}; /* no message carries them */

static void fill(unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 1000);
}

static size_t wrong_bytes(const unsigned char *bytes, size_t len)
{
    size_t wrong = 0;
    for (size_t i = 0; i < len; i++)
        wrong += bytes[i] != (unsigned char)(i * 7 + i / 1000);
    return wrong;
}

/* An object that stays here; where asked for, with a byte that is another one than was sealed. */
RAYMPI_TASK(make)
{
    size_t len = (size_t)raympi_arg_int(ctx, 0);
    raympi_ref ref;
    unsigned char *bytes = raympi_create(len, &ref);
    if (!bytes)
        return raympi_fail(ctx, 1, "%s", raympi_detail());
    fill(bytes, len);
    CHECK_OK(raympi_seal(ref));
    if (raympi_arg_int(ctx, 1))
        bytes[len / 2] ^= 1;
    raympi_wire_ref wire = raympi_wire(ref), *to = raympi_return_nested(ctx, 0, sizeof wire, &ref, 1);
    if (to)
        *to = wire;
    return to ? RAYMPI_OK : RAYMPI_ERR_MEMORY;
}

RAYMPI_TASK(count_wrong)
{
    size_t len;
    const unsigned char *bytes = raympi_arg(ctx, 0, &len);
    return raympi_return_int(ctx, 0, (int64_t)wrong_bytes(bytes, len));
}

static raympi_ref made(size_t len, bool corrupt)
{
    raympi_view view;
    CHECK_OK(raympi_get(raympi_call_opts(THERE, make, (int64_t)len, (int64_t)corrupt), &view));
    return raympi_view_ref(&view, *(const raympi_wire_ref *)view.data);
}

/* By both ranks of this host, which share a copy, or find that there is none. */
static void is_read(raympi_ref ref, size_t len, int expected, size_t wrong)
{
    raympi_view view;
    int64_t count = -1;
    raympi_ref beside = raympi_call_opts(BESIDE, count_wrong, ref);
    int status = raympi_get(ref, &view);
    CHECK(status == expected);
    if (status == RAYMPI_OK)
        CHECK(view.len == len && wrong_bytes(view.data, len) == wrong);
    else
        CHECK(strstr(raympi_detail(), "corrupt") != NULL);
    status = raympi_get_copy(beside, &count, sizeof count);
    CHECK(status == expected);
    CHECK(status == RAYMPI_OK ? count == (int64_t)wrong : strstr(raympi_detail(), "corrupt") != NULL);
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    bool checked = argc > 1 && strcmp(argv[1], "checked") == 0;
    CHECK_OK(raympi_scope_begin());
    for (int i = 0; raympi_rank() == 0 && i < LENGTHS; i++) {
        is_read(made(lengths[i], false), lengths[i], RAYMPI_OK, 0);
        is_read(made(lengths[i], true), lengths[i], checked ? RAYMPI_ERR_LOST : RAYMPI_OK, 1);
    }
    CHECK_OK(raympi_scope_end());
    return test_end(raympi_finalize());
}
