/* Values between hosts: as arguments, results and borrowed refs, of sizes around every limit, and longer than
 * a message may be; in order, and many at once. The first and the last rank are on different hosts. */
#include "mpi_test.h"

#define THERE   RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = raympi_size() - 1)
#define MESSAGE (UINT64_C(1) << 30)
#define WORD(i) ((uint64_t)(i)*UINT64_C(0x9e3779b97f4a7c15))

static void fill(void *bytes, size_t len)
{
    uint64_t last = WORD(len / 8);
    for (size_t i = 0; i < len / 8; i++)
        ((uint64_t *)bytes)[i] = WORD(i);
    memcpy((char *)bytes + len / 8 * 8, &last, len % 8);
}

/* And aligned, as a view is said to be; the store has what is longer than RAYMPI_INLINE_BYTES. */
static bool filled(const void *bytes, size_t len)
{
    uint64_t last = WORD(len / 8);
    for (size_t i = 0; i < len / 8; i++)
        if (((const uint64_t *)bytes)[i] != WORD(i))
            return false;
    return (len == 0 || memcmp((const char *)bytes + len / 8 * 8, &last, len % 8) == 0) &&
           (uintptr_t)bytes % (len > 512 ? 64 : 8) == 0;
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
    if (bytes)
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

static raympi_ref made(size_t len)
{
    raympi_ref ref;
    void *bytes = raympi_create(len, &ref);
    CHECK(bytes != NULL);
    fill(bytes, len);
    CHECK_OK(raympi_seal(ref));
    return ref;
}

static void passes_there(size_t len)
{
    int64_t there = 0;
    CHECK_OK(raympi_get_copy(raympi_call_opts(THERE, length, made(len)), &there, sizeof there));
    CHECK(there == (int64_t)len);
}

static void passes(size_t len)
{
    raympi_view view;
    CHECK_OK(raympi_scope_begin());
    passes_there(len);
    CHECK_OK(raympi_get(raympi_call_opts(THERE, filler, (int64_t)len), &view));
    CHECK(view.len == len && filled(view.data, len));
    CHECK_OK(raympi_get(borrowed(len), &view));
    CHECK(view.len == len && filled(view.data, len));
    CHECK_OK(raympi_scope_end());
}

/* Of an actor there. The first call's argument takes longer to get there than the others' do. */
struct log {
    int64_t calls;
    bool ordered;
};
RAYMPI_ACTOR(log, struct log)
RAYMPI_METHOD(log, add)
{
    struct log *self = raympi_self(ctx);
    size_t len;
    const void *bytes = raympi_arg(ctx, 1, &len);
    self->ordered =
        (self->calls == 0 || self->ordered) && raympi_arg_int(ctx, 0) == self->calls && filled(bytes, len);
    self->calls++;
    return raympi_return_int(ctx, 0, self->ordered);
}

static void calls_keep_their_order(void)
{
    static const size_t lengths[] = {8 << 20, 16, 100000, 48, 3 << 20, 24};
    raympi_ref done[60];
    int64_t ordered = 0;
    CHECK_OK(raympi_scope_begin());
    raympi_actor actor = raympi_actor_new_opts(
        RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = raympi_size() - 1), log);
    for (int i = 0; i < 60; i++) {
        raympi_ref ref = made(lengths[i % 6]);
        done[i] = raympi_actor_call(actor, add, i, ref);
        CHECK_OK(raympi_release(ref));
    }
    for (int i = 0; i < 60; i++) {
        CHECK_OK(raympi_get_copy(done[i], &ordered, sizeof ordered));
        CHECK(ordered == 1);
    }
    CHECK_OK(raympi_scope_end());
}

/* Several long results of one task, and long values from all ranks to all at once. */
RAYMPI_TASK(twins, .num_returns = 3, .strategy = RAYMPI_STRATEGY_SPREAD)
{
    size_t len = (size_t)raympi_arg_int(ctx, 0);
    for (int i = 0; i < 3; i++) {
        void *bytes = raympi_return(ctx, i, i == 1 ? 64 : len);
        if (!bytes)
            return RAYMPI_ERR_STORE_FULL;
        fill(bytes, i == 1 ? 64 : len);
    }
    return RAYMPI_OK;
}

static void many_at_once(void)
{
    raympi_ref refs[8][3];
    CHECK_OK(raympi_scope_begin());
    for (int i = 0; i < 8; i++)
        CHECK_OK(raympi_call_n(refs[i], 3, twins, (int64_t)(300000 + 8 * i)));
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 3; j++) {
            raympi_view view;
            CHECK_OK(raympi_get(refs[i][j], &view));
            CHECK(view.len == (j == 1 ? 64 : 300000 + 8 * (size_t)i) && filled(view.data, view.len));
        }
    CHECK_OK(raympi_scope_end());
}

int main(int argc, char **argv)
{
    static const size_t lengths[] = {
        0,     1,     40,    48,    63,    64,     65,     512,    520,     4095,          4097,
        32600, 32768, 65536, 65537, 65544, 261504, 261511, 261512, 1 << 20, (1 << 20) + 1, 40 << 20};
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    for (size_t i = 0; raympi_rank() == 0 && i < sizeof lengths / sizeof *lengths; i++)
        passes(lengths[i]);
    if (raympi_rank() == 0)
        calls_keep_their_order();
    many_at_once();
    CHECK_OK(raympi_scope_begin());
    if (raympi_rank() == 0 && argc > 1) /* longer than a message may be; hosts that have the memory */
        passes_there(MESSAGE + 4104);
    CHECK_OK(raympi_scope_end());
    return test_end(raympi_finalize());
}
