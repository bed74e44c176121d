/* Refs that are used when they have been released: small and stored objects, own and borrowed ones, by who
 * had them and by ranks that never had; see bad_input.c. */
#include "bad_input.h"

#define THERE RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = (raympi_rank() + 1) % raympi_size())
#define LONG  100000 /* bytes: in the store */

RAYMPI_TASK(bytes_of)
{
    size_t len;
    raympi_arg(ctx, 0, &len);
    return raympi_return_int(ctx, 0, (int64_t)len);
}

/* Every way to use it says the same. */
static void used_late(raympi_ref ref)
{
    char bytes[8];
    raympi_view views[2];
    struct raympi_object_info info = {.size = sizeof info};
    raympi_ref two[2] = {raympi_put("x", 1), ref};
    raympi_waitset *set;
    FAILS(RAYMPI_ERR_RELEASED, "released", raympi_get(ref, views));
    FAILS(RAYMPI_ERR_RELEASED, "released", raympi_get_timeout(ref, views, 0));
    FAILS(RAYMPI_ERR_RELEASED, "released", raympi_get_many(two, 2, views, -1));
    FAILS(RAYMPI_ERR_RELEASED, "released", raympi_get_copy(ref, bytes, sizeof bytes));
    FAILS(RAYMPI_ERR_RELEASED, "released", raympi_object_info(ref, &info));
    FAILS(RAYMPI_ERR_RELEASED, "released", raympi_wait(two, 2, 1, -1, NULL));
    FAILS(RAYMPI_ERR_RELEASED, "released", raympi_ref_status(ref));
    FAILS(RAYMPI_ERR_RELEASED, "released", raympi_seal(ref));
    CHECK_OK(raympi_waitset_create(&set));
    FAILS(RAYMPI_ERR_RELEASED, "released", raympi_waitset_add(set, ref, 0));
    CHECK_OK(raympi_waitset_destroy(set));
    CHECK(raympi_wire(ref).handle == 0);
    REF_FAILS(RAYMPI_ERR_RELEASED, "released", raympi_call_opts(HERE, bytes_of, ref));
    REF_FAILS(RAYMPI_ERR_RELEASED, "released", raympi_call_opts(THERE, bytes_of, ref));
    REF_FAILS(RAYMPI_ERR_RELEASED, "released", raympi_call_opts(THERE, bytes_of, RAYMPI_REFS(two, 2)));
    REF_FAILS(RAYMPI_ERR_RELEASED, "released", raympi_put_nested("x", 1, &ref, 1));
    CHECK_OK(raympi_release(two[0]));
    FAILS(RAYMPI_ERR_RELEASED, "released", raympi_release(ref));
}

/* A handle that came as a number: this rank has no ref of it. */
RAYMPI_TASK(use_number)
{
    used_late((raympi_ref){(uint64_t)raympi_arg_int(ctx, 0)});
    return raympi_return_int(ctx, 0, 1);
}

RAYMPI_TASK(lend)
{
    static const char bytes[LONG];
    raympi_ref ref = raympi_put(bytes, (size_t)raympi_arg_int(ctx, 0));
    raympi_wire_ref *wire = raympi_return_nested(ctx, 0, sizeof *wire, &ref, 1);
    if (wire)
        *wire = raympi_wire(ref);
    return RAYMPI_OK;
}

static void use_there(raympi_ref ref)
{
    int64_t one = 0;
    raympi_ref used = raympi_call_opts(THERE, use_number, (int64_t)ref.handle);
    CHECK_OK(raympi_get_copy(used, &one, sizeof one));
    CHECK(one == 1);
    CHECK_OK(raympi_release(used));
}

static void own(size_t len)
{
    static const char bytes[LONG];
    raympi_ref ref = raympi_put(bytes, len);
    if (raympi_size() > 1)
        use_there(ref);
    CHECK_OK(raympi_release(ref));
    used_late(ref);
    use_there(ref);
}

static void borrowed(size_t len)
{
    raympi_view view;
    raympi_ref lent = raympi_call_opts(THERE, lend, (int64_t)len);
    CHECK_OK(raympi_get(lent, &view));
    raympi_wire_ref wire = *(const raympi_wire_ref *)view.data;
    raympi_ref ref = raympi_view_ref(&view, wire);
    CHECK_OK(raympi_view_end(&view));
    CHECK_OK(raympi_release(lent));
    CHECK_OK(raympi_get(ref, &view)); /* its maker has let go of it: it is ours alone */
    CHECK(view.len == len);
    CHECK_OK(raympi_view_end(&view));
    CHECK_OK(raympi_release(ref));
    used_late(ref);
    use_there(ref);
}

static void unsealed(size_t len)
{
    raympi_ref ref;
    CHECK(raympi_create(len, &ref) != NULL);
    CHECK_OK(raympi_release(ref));
    used_late(ref);
}

void late_refs(void)
{
    static const size_t lengths[] = {0, 8, 600, LONG};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        own(lengths[i]);
        borrowed(lengths[i]);
        unsealed(lengths[i]);
    }
}
