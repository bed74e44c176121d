/* Tasks: many, nested, with dependencies, lists, several results, errors, aliases; on every rank at once. */
#include "mpi_test.h"

RAYMPI_TASK(empty, .num_returns = RAYMPI_NONE)
{
    return RAYMPI_OK;
}

RAYMPI_TASK(add)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + raympi_arg_int(ctx, 1));
}

RAYMPI_TASK(fib)
{
    int64_t n = raympi_arg_int(ctx, 0), a, b;
    if (n < 2)
        return raympi_return_int(ctx, 0, n);
    raympi_ref left = raympi_call(fib, n - 1), right = raympi_call(fib, n - 2);
    if (raympi_get_copy(left, &a, sizeof a) || raympi_get_copy(right, &b, sizeof b))
        return raympi_fail(ctx, 1, "%s", raympi_detail());
    return raympi_return_int(ctx, 0, a + b);
}

RAYMPI_TASK(sum_list)
{
    int64_t sum = 0;
    for (int i = 0; i < raympi_arg_list_count(ctx, 0); i++) {
        size_t len;
        const int64_t *value = raympi_arg_at(ctx, 0, i, &len);
        if (len != sizeof *value)
            return raympi_fail(ctx, 2, "member %d has %zu bytes", i, len);
        sum += *value;
    }
    return raympi_return_int(ctx, 0, sum);
}

RAYMPI_TASK(where)
{
    return raympi_return_int(ctx, 0, raympi_rank());
}

RAYMPI_TASK(divide, .num_returns = 2)
{
    int64_t a = raympi_arg_int(ctx, 0), b = raympi_arg_int(ctx, 1);
    if (b == 0)
        return raympi_fail(ctx, 42, "%lld divided by zero", (long long)a);
    raympi_return_int(ctx, 0, a / b);
    return raympi_return_int(ctx, 1, a % b);
}

RAYMPI_TASK(fill)
{
    int64_t n = raympi_arg_int(ctx, 0), seed = raympi_arg_int(ctx, 1);
    uint64_t *data = raympi_return(ctx, 0, (size_t)n * sizeof *data);
    for (int64_t i = 0; data && i < n; i++)
        data[i] = (uint64_t)(seed + i) * UINT64_C(0x9e3779b97f4a7c15);
    return RAYMPI_OK;
}

RAYMPI_TASK(check_fill)
{
    size_t len;
    const uint64_t *data = raympi_arg(ctx, 0, &len);
    int64_t seed = raympi_arg_int(ctx, 1);
    for (size_t i = 0; i < len / sizeof *data; i++)
        if (data[i] != (uint64_t)(seed + (int64_t)i) * UINT64_C(0x9e3779b97f4a7c15))
            return raympi_fail(ctx, 3, "word %zu is wrong", i);
    return raympi_return_int(ctx, 0, (int64_t)len);
}

RAYMPI_TASK(forward)
{
    return raympi_return_ref(ctx, 0, raympi_call(add, raympi_arg_ref(ctx, 0), 1));
}

static int64_t value_of(raympi_ref ref)
{
    int64_t value = -1;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    return value;
}

static void many(void)
{
    enum { N = 2000 };
    raympi_ref refs[N];
    raympi_view view;
    for (int i = 0; i < N; i++)
        refs[i] = raympi_call(empty);
    for (int i = 0; i < N; i++) {
        CHECK_OK(raympi_get(refs[i], &view));
        CHECK(view.len == 0);
        CHECK_OK(raympi_view_end(&view));
    }
    CHECK_OK(raympi_release_all(refs, N));
}

static void chains(void)
{
    raympi_scope_begin();
    raympi_ref at = raympi_call(add, 0, 0);
    for (int i = 0; i < 300; i++)
        at = raympi_call(add, at, 1);
    CHECK(value_of(at) == 300);
    raympi_scope_end();
}

static void nested(void)
{
    raympi_ref f = raympi_call(fib, 12);
    CHECK(value_of(f) == 144);
    raympi_release(f);
}

static void lists(void)
{
    raympi_ref parts[100];
    raympi_scope_begin();
    for (int i = 0; i < 100; i++)
        parts[i] = raympi_call(add, i, 0);
    CHECK(value_of(raympi_call(sum_list, RAYMPI_REFS(parts, 100))) == 4950);
    CHECK(value_of(raympi_call(sum_list, RAYMPI_REFS(parts, 0))) == 0);
    raympi_scope_end();
}

static void everywhere(void)
{
    raympi_scope_begin();
    for (int rank = 0; rank < raympi_size(); rank++)
        CHECK(value_of(raympi_call_opts(RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = rank),
                                        where)) == rank);
    raympi_scope_end();
}

static void several(void)
{
    raympi_ref r[2];
    raympi_view view;
    raympi_scope_begin();
    CHECK_OK(raympi_call_n(r, 2, divide, 17, 5));
    CHECK(value_of(r[0]) == 3 && value_of(r[1]) == 2);
    CHECK_OK(raympi_call_n(r, 2, divide, 17, 0));
    CHECK(raympi_get(r[1], &view) == 42);
    CHECK(strstr(raympi_detail(), "17 divided by zero") && strstr(raympi_detail(), "divide"));
    raympi_ref later = raympi_call(add, r[0], 1);
    CHECK(raympi_get(raympi_call(add, later, 1), &view) == 42);
    CHECK(strstr(raympi_detail(), "17 divided by zero") && strstr(raympi_detail(), "add <- add"));
    raympi_scope_end();
}

static void large(void)
{
    raympi_scope_begin();
    for (int rank = 0; rank < raympi_size(); rank++) {
        raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = rank};
        raympi_ref data = raympi_call_opts(there, fill, 20000, rank);
        for (int reader = 0; reader < raympi_size(); reader++) {
            raympi_options reads = {.size = sizeof reads, .strategy = RAYMPI_STRATEGY_NODE, .node = reader};
            CHECK(value_of(raympi_call_opts(reads, check_fill, data, rank)) == 160000);
        }
        raympi_view view;
        CHECK_OK(raympi_get(data, &view));
        CHECK(view.len == 160000 &&
              *(const uint64_t *)view.data == (uint64_t)rank * UINT64_C(0x9e3779b97f4a7c15));
    }
    raympi_scope_end();
}

static void aliases(void)
{
    raympi_scope_begin();
    for (int rank = 0; rank < raympi_size(); rank++) {
        raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = rank};
        raympi_ref start = raympi_call(add, 40, 1);
        CHECK(value_of(raympi_call_opts(there, forward, start)) == 42);
    }
    raympi_scope_end();
}

static void drive(void)
{
    many();
    chains();
    nested();
    lists();
    everywhere();
    several();
    large();
    aliases();
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    return test_end(test_drive(drive));
}
