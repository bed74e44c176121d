/* Who writes to a sealed object. The first argument says how: the last rank is to crash by it, and prints
 * "survived" where it does not; "well": nobody does what he may not. */
#include "mpi_test.h"

#define BYTES    ((size_t)1 << 20)
#define AT(rank) RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = (rank))

/* Of a sealed object: it can be seen that it was changed. */
static void strike(char *bytes, raympi_ref ref)
{
    raympi_view view;
    CHECK_OK(raympi_get(ref, &view));
    bytes[100] = 'x';
    printf("survived: %c\n", ((const char *)view.data)[100]);
}

static void *make(char letter, raympi_ref *ref)
{
    char *bytes = raympi_create(BYTES, ref);
    CHECK(bytes != NULL);
    memset(bytes, letter, BYTES);
    CHECK_OK(raympi_seal(*ref));
    return bytes;
}

RAYMPI_TASK(init)
{
    char *bytes = raympi_return(ctx, 0, BYTES);
    memset(bytes, 'i', BYTES);
    return RAYMPI_OK;
}

/* Writes to what it was given, which is said to be read-only. */
RAYMPI_TASK(scale)
{
    size_t len;
    const char *bytes = raympi_arg(ctx, 0, &len);
    ((char *)(uintptr_t)bytes)[len - 1] = 'x';
    printf("survived\n");
    return raympi_return_int(ctx, 0, 1);
}

/* Goes on writing to what it has made. */
RAYMPI_TASK(hurry)
{
    raympi_ref ref;
    char *bytes = make('h', &ref);
    strike(bytes, ref);
    return raympi_return_int(ctx, 0, 1);
}

/* The result is sealed when a body ends: the next task writes to it. */
static char *kept;
RAYMPI_TASK(keep)
{
    kept = raympi_return(ctx, 0, BYTES);
    memset(kept, 'k', BYTES);
    return RAYMPI_OK;
}
RAYMPI_TASK(late)
{
    raympi_arg(ctx, 0, NULL);
    kept[0] = 'x';
    printf("survived\n");
    return raympi_return_int(ctx, 0, 1);
}

/* Looks at something, lets go of it, and then writes to it. */
RAYMPI_TASK(forget)
{
    raympi_view view;
    raympi_ref ref;
    make('f', &ref);
    CHECK_OK(raympi_get(ref, &view));
    CHECK_OK(raympi_view_end(&view));
    CHECK_OK(raympi_release(ref));
    ((char *)(uintptr_t)(const char *)view.data)[0] = 'x';
    printf("survived\n");
    return raympi_return_int(ctx, 0, 1);
}

/* Objects that are made in memory of others that are gone, small and large; the views are right. */
static void well(void)
{
    for (int i = 0; i < 300; i++) {
        size_t len = (size_t)(1 + i * 7919 % 100000);
        raympi_view view, other;
        raympi_ref ref;
        raympi_scope_begin();
        char *bytes = raympi_create(len, &ref);
        CHECK(bytes != NULL);
        memset(bytes, 'a' + i % 26, len);
        CHECK_OK(raympi_seal(ref));
        raympi_ref put = raympi_put("a value", 8), result = raympi_call_opts(AT(i % raympi_size()), init);
        CHECK_OK(raympi_get(ref, &view));
        CHECK(view.len == len && ((const char *)view.data)[0] == 'a' + i % 26 &&
              ((const char *)view.data)[len - 1] == 'a' + i % 26);
        CHECK_OK(raympi_get(put, &other));
        CHECK_OK(raympi_get(result, &other));
        CHECK(other.len == BYTES && ((const char *)other.data)[BYTES - 1] == 'i');
        raympi_scope_end();
    }
}

static raympi_ref provoke(const char *how, int struck)
{
    raympi_ref ref;
    if (!strcmp(how, "view"))
        return raympi_call_opts(AT(struck), scale, raympi_call_opts(AT(0), init));
    if (!strcmp(how, "put")) {
        make('p', &ref);
        return raympi_call_opts(AT(struck), scale, ref);
    }
    if (!strcmp(how, "late"))
        return raympi_call_opts(AT(struck), late, raympi_call_opts(AT(struck), keep));
    if (!strcmp(how, "ended"))
        return raympi_call_opts(AT(struck), forget);
    return raympi_call_opts(AT(struck), hurry);
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    const char *how = argc > 1 ? argv[1] : "well";
    raympi_view view;
    if (!strcmp(how, "well"))
        well();
    else if (raympi_rank() == 0)
        CHECK_OK(raympi_get(provoke(how, raympi_size() - 1), &view));
    return test_end(raympi_finalize());
}
