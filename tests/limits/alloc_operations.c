/* The operations: every function of the API, with arguments of all kinds and sizes. */
#include "alloc.h"

#define LARGE  300000 /* goes to the store */
#define MEDIUM 300    /* private memory */

int operation_node = -1;
_Atomic int test_failures;

bool good(int status)
{
    /* A wait that can never end, or a value that is gone: a message or a waiter was lost on the way. */
    if (status == RAYMPI_ERR_DEADLOCK || status == RAYMPI_ERR_TIMEOUT || status == RAYMPI_ERR_LOST ||
        status == RAYMPI_ERR_UNKNOWN || status == RAYMPI_ERR_TYPE) {
        fprintf(stderr, "lost: %s (%s)\n", raympi_strerror(status), raympi_detail());
        test_failures++;
    }
    return status == RAYMPI_OK;
}

static raympi_options here(int returns)
{
    raympi_options options = RAYMPI_OPTIONS(.num_returns = returns);
    if (operation_node >= 0) {
        options.strategy = RAYMPI_STRATEGY_NODE;
        options.node = operation_node;
    }
    return options;
}

/* Waits for a ref whose bytes are to be `len` times `fill` (-1: any), and lets go of it. A null ref is a
 * failure. */
static bool settle(raympi_ref ref, size_t len, int fill)
{
    raympi_view view;
    if (!ref.handle)
        return false;
    bool got = good(raympi_get_timeout(ref, &view, 20));
    if (got) {
        CHECK(view.len == len);
        const unsigned char *bytes = view.data;
        for (size_t i = 0; fill >= 0 && i<view.len; i += view.len> 64 ? view.len - 1 : 1)
            CHECK(bytes[i] == (unsigned char)fill);
        CHECK_OK(raympi_view_end(&view));
    }
    CHECK_OK(raympi_release(ref));
    return got;
}

static bool settle_int(raympi_ref ref, int64_t expected)
{
    int64_t value;
    if (!ref.handle)
        return false;
    bool got = good(raympi_get_copy(ref, &value, sizeof value));
    CHECK(!got || value == expected);
    CHECK_OK(raympi_release(ref));
    return got;
}

static unsigned char filled[LARGE];

static raympi_ref put_filled(size_t len, int fill)
{
    memset(filled, fill, len);
    return raympi_put(filled, len);
}

/* ---- the tasks */

RAYMPI_TASK(alloc_sum)
{
    int64_t sum = 0;
    for (int i = 0; i < raympi_arg_count(ctx); i++)
        for (int j = 0; j < raympi_arg_list_count(ctx, i); j++) {
            size_t len = 0;
            const unsigned char *bytes = raympi_arg_at(ctx, i, j, &len);
            sum += (int64_t)len + (len && bytes ? bytes[len - 1] : 0);
        }
    return raympi_return_int(ctx, 0, sum);
}

RAYMPI_TASK(alloc_fill)
{
    int64_t len = raympi_arg_int(ctx, 0);
    void *data = raympi_return(ctx, 0, (size_t)len);
    if (data)
        memset(data, 7, (size_t)len);
    return RAYMPI_OK;
}

RAYMPI_TASK(alloc_many_results, .num_returns = 9)
{
    for (int i = 0; i < 9; i++)
        raympi_return_int(ctx, i, 100 + i);
    return RAYMPI_OK;
}

RAYMPI_TASK(alloc_nested)
{
    raympi_ref inner = raympi_put("inner bytes that need memory of their own, more than forty of them", 60);
    if (!inner.handle || !good(raympi_ref_status(inner)))
        return raympi_fail(ctx, RAYMPI_ERR_MEMORY, "no inner object");
    raympi_wire_ref wire = raympi_wire(inner);
    void *data = raympi_return_nested(ctx, 0, sizeof wire, &inner, 1);
    if (data)
        memcpy(data, &wire, sizeof wire);
    return RAYMPI_OK;
}

RAYMPI_TASK(alloc_alias)
{
    return raympi_return_ref(ctx, 0, raympi_arg_ref(ctx, 0));
}

/* Keeps the ref inside its argument and looks at what it names. */
RAYMPI_TASK(alloc_inside)
{
    raympi_view view;
    const raympi_wire_ref *wire = raympi_arg(ctx, 0, NULL);
    raympi_ref inner = wire ? raympi_arg_nested(ctx, 0, *wire) : (raympi_ref){0};
    if (!inner.handle || !good(raympi_get(inner, &view)))
        return raympi_fail(ctx, RAYMPI_ERR_MEMORY, "no inner object");
    return raympi_return_int(ctx, 0, (int64_t)view.len);
}

RAYMPI_TASK(alloc_children)
{
    int64_t sum = 0;
    raympi_ref children[12];
    raympi_scope_begin();
    for (int i = 0; i < 12; i++)
        children[i] = raympi_call(alloc_sum, raympi_arg_ref(ctx, 0), i);
    for (int i = 0; i < 12; i++) {
        int64_t value = 0;
        if (!children[i].handle || !good(raympi_get_copy(children[i], &value, sizeof value)))
            return raympi_fail(ctx, RAYMPI_ERR_MEMORY, "a child failed");
        sum += value;
    }
    raympi_scope_end();
    return raympi_return_int(ctx, 0, sum);
}

RAYMPI_TASK(alloc_fails)
{
    return raympi_fail(ctx, 42,
                       "on purpose, with a message that is long enough not to fit anywhere by chance");
}

struct counter {
    int64_t value;
    raympi_ref kept;
};
RAYMPI_ACTOR(alloc_counter, struct counter)
RAYMPI_CONSTRUCTOR(alloc_counter)
{
    struct counter *self = raympi_self(ctx);
    self->value = raympi_arg_int(ctx, 0);
    return RAYMPI_OK;
}
RAYMPI_METHOD(alloc_counter, add)
{
    struct counter *self = raympi_self(ctx);
    self->value += raympi_arg_int(ctx, 0);
    return raympi_return_int(ctx, 0, self->value);
}
RAYMPI_METHOD(alloc_counter, keep)
{
    struct counter *self = raympi_self(ctx);
    raympi_ref ref = raympi_arg_ref(ctx, 0);
    if (!ref.handle)
        return RAYMPI_ERR_MEMORY;
    self->kept = raympi_keep(ref);
    return self->kept.handle ? RAYMPI_OK : RAYMPI_ERR_MEMORY;
}
RAYMPI_DESTRUCTOR(alloc_counter)
{
    return RAYMPI_OK;
}

/* ---- objects */

static bool put_small(void)
{
    return settle(put_filled(8, 1), 8, 1);
}

static bool put_medium(void)
{
    return settle(put_filled(MEDIUM, 2), MEDIUM, 2);
}

static bool put_large(void)
{
    return settle(put_filled(LARGE, 3), LARGE, 3);
}

static bool put_many(void)
{
    enum { MANY = 6000 };
    static raympi_ref refs[MANY];
    bool all = true;
    for (int i = 0; i < MANY; i++)
        refs[i] = put_filled(i % 3 ? 8 : MEDIUM, i);
    for (int i = 0; i < MANY; i++) /* the oldest first: not the order in which a scope is cut off */
        all = settle(refs[i], i % 3 ? 8 : MEDIUM, i) && all;
    return all;
}

static bool create_and_seal(void)
{
    bool all = true;
    for (size_t len = 8; len <= LARGE; len = len < MEDIUM ? MEDIUM : len + LARGE - MEDIUM) {
        raympi_ref ref;
        void *data = raympi_create(len, &ref);
        if (data) {
            memset(data, 5, len);
            CHECK_OK(raympi_seal(ref));
        }
        all = data && settle(ref, len, 5) && all;
    }
    return all;
}

static bool nested(void)
{
    raympi_ref inner = put_filled(MEDIUM, 4);
    if (!inner.handle || !good(raympi_ref_status(inner)))
        return inner.handle && raympi_release(inner) != RAYMPI_OK;
    raympi_wire_ref wire = raympi_wire(inner);
    raympi_ref outer = raympi_put_nested(&wire, sizeof wire, &inner, 1);
    raympi_view view;
    bool all = outer.handle && good(raympi_get(outer, &view));
    if (all) {
        raympi_ref again = raympi_view_ref(&view, wire);
        all = settle(again, MEDIUM, 4);
        CHECK_OK(raympi_view_end(&view));
    }
    CHECK_OK(raympi_release(inner));
    if (outer.handle)
        CHECK_OK(raympi_release(outer));
    return all;
}

static bool views(void)
{
    enum { VIEWS = 40 };
    raympi_view view[VIEWS];
    raympi_ref ref = put_filled(MEDIUM, 6);
    int open = 0;
    while (ref.handle && open < VIEWS && good(raympi_get(ref, &view[open])))
        open++;
    for (int i = 0; i < open; i++)
        CHECK_OK(raympi_view_end(&view[i]));
    return settle(ref, MEDIUM, 6) && open == VIEWS;
}

static bool scopes(void)
{
    enum { DEPTH = 20 };
    int depth = 0;
    bool all = true;
    while (depth < DEPTH && good(raympi_scope_begin())) {
        depth++;
        raympi_ref ref = put_filled(8, depth);
        all = ref.handle && good(raympi_ref_status(ref)) && all;
    }
    for (int i = 0; i < depth; i++)
        CHECK_OK(raympi_scope_end());
    return all && depth == DEPTH;
}

static bool holds(void)
{
    raympi_ref ref = put_filled(MEDIUM, 8), again = ref.handle ? raympi_retain(ref) : ref;
    raympi_ref kept = again.handle ? raympi_keep(again) : again;
    if (again.handle)
        CHECK_OK(raympi_release(again)); /* kept or not */
    return settle(ref, MEDIUM, 8) && kept.handle;
}

/* ---- calls */

static bool call_values(void)
{
    memset(filled, 9, LARGE);
    char text[MEDIUM];
    memset(text, 'x', sizeof text);
    text[MEDIUM - 1] = 0;
    raympi_ref ref = raympi_call_opts(here(0), alloc_sum, 1, 2.5, "short", text, RAYMPI_BYTES(filled, LARGE),
                                      RAYMPI_BYTES(filled, MEDIUM));
    return settle_int(ref, 8 + 0 + 8 + 0x40 + 6 + MEDIUM + LARGE + 9 + MEDIUM + 9);
}

static bool call_refs(void)
{
    enum { REFS = 20 };
    raympi_ref refs[REFS];
    bool all = true;
    for (int i = 0; i < REFS; i++)
        refs[i] = put_filled(i == 3 ? LARGE : MEDIUM, 1);
    bool made = true;
    for (int i = 0; i < REFS; i++)
        made = made && refs[i].handle;
    if (made)
        all = settle_int(
            raympi_call_opts(here(0), alloc_sum, RAYMPI_REFS(refs, REFS), refs[0], refs[1], refs[2]),
            (REFS - 1) * (MEDIUM + 1) + LARGE + 1 + 3 * (MEDIUM + 1));
    for (int i = 0; i < REFS; i++)
        all = settle(refs[i], i == 3 ? LARGE : MEDIUM, 1) && all;
    return all;
}

/* A message that is longer than a ring. */
static bool call_long(void)
{
    enum { REFS = 400 };
    static raympi_ref refs[REFS];
    raympi_ref ref = put_filled(8, 1);
    if (!ref.handle)
        return false;
    for (int i = 0; i < REFS; i++)
        refs[i] = ref;
    bool all = settle_int(raympi_call_opts(here(0), alloc_sum, RAYMPI_REFS(refs, REFS)), REFS * 9);
    return settle(ref, 8, 1) && all;
}

static bool call_results(void)
{
    raympi_ref refs[9] = {{0}};
    bool all = true;
    int status = raympi_submit_n(&raympi_task_alloc_many_results, "alloc_many_results",
                                 (raympi_options[]){here(9)}, NULL, 0, refs, 9);
    for (int i = 0; i < 9; i++) {
        CHECK(status == RAYMPI_OK || !refs[i].handle); /* what is refused gives no ref */
        all = settle_int(refs[i], 100 + i) && all;
    }
    return good(status) && all;
}

static bool call_fill(void)
{
    bool small = settle(raympi_call_opts(here(0), alloc_fill, 8), 8, 7);
    bool medium = settle(raympi_call_opts(here(0), alloc_fill, MEDIUM), MEDIUM, 7);
    return settle(raympi_call_opts(here(0), alloc_fill, LARGE), LARGE, 7) && small && medium;
}

static bool call_nested(void)
{
    raympi_ref outer = raympi_call_opts(here(0), alloc_nested);
    raympi_view view;
    if (!outer.handle)
        return false;
    bool all = settle_int(raympi_call_opts(here(0), alloc_inside, outer), 60);
    bool got = good(raympi_get_timeout(outer, &view, 20));
    if (got) {
        raympi_ref inner = raympi_view_ref(&view, *(const raympi_wire_ref *)view.data);
        all = settle(inner, 60, -1) && all;
        CHECK_OK(raympi_view_end(&view));
    }
    CHECK_OK(raympi_release(outer));
    return all && got;
}

static bool call_children(void)
{
    raympi_ref ref = put_filled(MEDIUM, 1);
    if (!ref.handle)
        return false;
    bool all = settle_int(raympi_call_opts(here(0), alloc_children, ref), 12 * (MEDIUM + 1 + 8));
    return settle(ref, MEDIUM, 1) && all;
}

static bool call_fails(void)
{
    raympi_view view;
    raympi_ref ref = raympi_call_opts(here(0), alloc_fails);
    if (!ref.handle)
        return false;
    raympi_ref next = raympi_call_opts(here(0), alloc_sum, ref);
    int first = raympi_get_timeout(ref, &view, 20);
    int second = next.handle ? raympi_get_timeout(next, &view, 20) : RAYMPI_ERR_MEMORY;
    CHECK(first != RAYMPI_OK && second != RAYMPI_OK);
    good(first);
    good(second);
    CHECK_OK(raympi_release(ref));
    if (next.handle)
        CHECK_OK(raympi_release(next));
    return first == 42 && second == 42;
}

/* Tasks, aliases and waits that hang on an object which is not there yet. */
static bool call_pending(void)
{
    enum { PENDING = 40 };
    raympi_ref late, refs[PENDING], alias;
    bool ready[PENDING];
    raympi_view view[PENDING];
    void *data = raympi_create(MEDIUM, &late);
    if (!data)
        return false;
    for (int i = 0; i < PENDING; i++)
        refs[i] = raympi_call_opts(here(0), alloc_sum, late);
    alias = raympi_call_opts(here(0), alloc_alias, late);
    bool all = true;
    for (int i = 0; i < PENDING; i++)
        all = all && refs[i].handle;
    if (all) {
        int found = raympi_wait(refs, PENDING, 1, 0.001, ready);
        all = found >= 0;
        good(found < 0 ? found : RAYMPI_OK);
    }
    memset(data, 1, MEDIUM);
    CHECK_OK(raympi_seal(late));
    if (all && good(raympi_get_many(refs, PENDING, view, 20)))
        for (int i = 0; i < PENDING; i++)
            CHECK_OK(raympi_view_end(&view[i]));
    for (int i = 0; i < PENDING; i++)
        all = settle_int(refs[i], MEDIUM + 1) && all;
    all = settle(alias, MEDIUM, 1) && all;
    return settle(late, MEDIUM, 1) && all;
}

/* Blocked tasks: a fiber each. */
RAYMPI_TASK(alloc_waits)
{
    raympi_view view;
    const raympi_wire_ref *wire = raympi_arg(ctx, 0, NULL);
    raympi_ref late = wire ? raympi_arg_nested(ctx, 0, *wire) : (raympi_ref){0};
    int status = late.handle ? raympi_get_timeout(late, &view, 20) : RAYMPI_ERR_MEMORY;
    return good(status) ? raympi_return_int(ctx, 0, (int64_t)view.len) : status;
}

static bool call_blocked(void)
{
    enum { BLOCKED = 12 };
    raympi_ref late, box, refs[BLOCKED];
    void *data = raympi_create(MEDIUM, &late);
    if (!data)
        return false;
    memset(data, 1, MEDIUM);
    raympi_wire_ref wire = raympi_wire(late);
    box = raympi_put_nested(&wire, sizeof wire, &late, 1);
    bool all = box.handle && good(raympi_ref_status(box));
    for (int i = 0; i < BLOCKED; i++)
        refs[i] = all ? raympi_call_opts(here(0), alloc_waits, box) : (raympi_ref){0};
    bool some = false;
    for (int i = 0; i < BLOCKED; i++)
        some = some || refs[i].handle;
    if (some)
        raympi_wait(&late, 1, 1, 0.002, NULL); /* lets them begin */
    CHECK_OK(raympi_seal(late));
    for (int i = 0; i < BLOCKED; i++)
        all = settle_int(refs[i], MEDIUM) && all;
    if (box.handle)
        CHECK_OK(raympi_release(box));
    return settle(late, MEDIUM, 1) && all;
}

#define MEMBERS 12 /* so many that the scope needs memory for those that were taken */

static bool wait_set(void)
{
    raympi_waitset *set;
    raympi_ref ref[MEMBERS], taken[MEMBERS];
    size_t left;
    int count = 0;
    uint64_t tag;
    bool all = true;
    if (!good(raympi_waitset_create(&set)))
        return false;
    for (int i = 0; i < MEMBERS; i++) {
        ref[i] = raympi_call_opts(here(0), alloc_fill, MEDIUM);
        all = ref[i].handle && good(raympi_waitset_add(set, ref[i], (uint64_t)i)) && all;
    }
    while ((left = raympi_waitset_size(set)) > 1) {
        bool took = good(raympi_waitset_wait(set, 20, &taken[count], &tag));
        CHECK(raympi_waitset_size(set) == left - took); /* else it is still a member */
        count += took;
        all = all && took;
    }
    CHECK_OK(raympi_waitset_destroy(set));
    for (int i = 0; i < count; i++)
        all = settle(taken[i], MEDIUM, 7) && all;
    for (int i = 0; i < MEMBERS; i++)
        all = settle(ref[i], MEDIUM, 7) && all;
    return all;
}

/* ---- actors */

static bool actor(void)
{
    raympi_ref late;
    raympi_actor counter = raympi_actor_new_opts(here(0), alloc_counter, 5);
    if (!counter.handle)
        return false;
    bool all = good(raympi_actor_ready(counter, 20));
    void *data = raympi_create(8, &late);
    if (data) {
        /* The later call waits for the earlier one, whose argument is late. */
        raympi_ref first = raympi_actor_call(counter, add, late), second = raympi_actor_call(counter, add, 2);
        memcpy(data, (int64_t[]){3}, 8);
        CHECK_OK(raympi_seal(late));
        bool first_good = settle_int(first, 8);
        all = settle_int(second, first_good ? 10 : 7) && first_good && all;
        CHECK_OK(raympi_release(late));
    }
    raympi_ref object = put_filled(MEDIUM, 1);
    if (object.handle) {
        raympi_ref done = raympi_actor_call(counter, keep, object);
        all = settle(done, 0, 0) && all;
    }
    all = settle(object, MEDIUM, 1) && data && all;
    CHECK_OK(raympi_release(counter));
    return all;
}

static bool actor_killed(void)
{
    raympi_view view;
    raympi_actor counter = raympi_actor_new_opts(here(0), alloc_counter, 5);
    if (!counter.handle)
        return false;
    bool killed = good(raympi_actor_kill(counter));
    raympi_ref call = raympi_actor_call(counter, add, 1);
    int status = call.handle ? raympi_get_timeout(call, &view, 20) : RAYMPI_ERR_MEMORY;
    good(status);
    if (call.handle)
        CHECK_OK(raympi_release(call));
    CHECK_OK(raympi_release(counter));
    return killed && status == RAYMPI_ERR_ACTOR_DEAD;
}

static bool actor_passed(void)
{
    raympi_actor counter = raympi_actor_new_opts(here(0), alloc_counter, 5);
    if (!counter.handle)
        return false;
    raympi_wire_actor wire = raympi_wire(counter);
    raympi_ref member = raympi_actor_as_nested(counter);
    raympi_ref box = raympi_put_nested(&wire, sizeof wire, &member, 1);
    raympi_view view;
    bool all = box.handle && good(raympi_get(box, &view));
    if (all) {
        raympi_actor again = raympi_view_actor(&view, wire);
        all = again.handle && settle_int(raympi_actor_call(again, add, 1), 6);
        if (again.handle)
            CHECK_OK(raympi_release(again));
        CHECK_OK(raympi_view_end(&view));
    }
    if (box.handle)
        CHECK_OK(raympi_release(box));
    CHECK_OK(raympi_release(counter));
    return all;
}

const struct operation local_operations[] = {{"put small", put_small},
                                             {"put medium", put_medium},
                                             {"put large", put_large},
                                             {"put many", put_many},
                                             {"create and seal", create_and_seal},
                                             {"nested", nested},
                                             {"views", views},
                                             {"scopes", scopes},
                                             {"holds", holds},
                                             {"call with values", call_values},
                                             {"call with refs", call_refs},
                                             {"call with many refs", call_long},
                                             {"call with results", call_results},
                                             {"call with long results", call_fill},
                                             {"call with nested results", call_nested},
                                             {"call with children", call_children},
                                             {"call that fails", call_fails},
                                             {"call with late arguments", call_pending},
                                             {"call that blocks", call_blocked},
                                             {"wait set", wait_set},
                                             {"actor", actor},
                                             {"actor killed", actor_killed},
                                             {"actor passed", actor_passed},
                                             {NULL, NULL}};

const struct operation remote_operations[] = {{"call with values", call_values},
                                              {"call with refs", call_refs},
                                              {"call with many refs", call_long},
                                              {"call with results", call_results},
                                              {"call with long results", call_fill},
                                              {"call with nested results", call_nested},
                                              {"call with children", call_children},
                                              {"call that fails", call_fails},
                                              {"call with late arguments", call_pending},
                                              {"call that blocks", call_blocked},
                                              {"wait set", wait_set},
                                              {"actor", actor},
                                              {"actor killed", actor_killed},
                                              {"actor passed", actor_passed},
                                              {NULL, NULL}};
