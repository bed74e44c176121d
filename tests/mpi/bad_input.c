/* What a program may do wrong while raympi runs: each mistake gets a status and a text that names it, and the
 * job goes on. The program runs with a store of 64 MiB. */
#include "bad_input.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

_Atomic int test_failures;

RAYMPI_TASK(echo)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0));
}
RAYMPI_TASK(pair, .num_returns = 2)
{
    raympi_return_int(ctx, 0, 1);
    return raympi_return_int(ctx, 1, 2);
}
RAYMPI_TASK_DECLARE(task_of_nobody);

struct counter {
    int64_t value;
};
RAYMPI_ACTOR(counter, struct counter)
RAYMPI_METHOD(counter, next)
{
    struct counter *self = raympi_self(ctx);
    return raympi_return_int(ctx, 0, ++self->value);
}

/* ---- null pointers */

static void null_pointers(void)
{
    raympi_view view;
    raympi_ref ref = raympi_put("x", 1);
    FAILS(RAYMPI_ERR_ARGUMENT, "needs a view", raympi_get(ref, NULL));
    FAILS(RAYMPI_ERR_ARGUMENT, "needs a view", raympi_get_timeout(ref, NULL, 1));
    FAILS(RAYMPI_ERR_ARGUMENT, "null", raympi_get_many(NULL, 1, &view, -1));
    FAILS(RAYMPI_ERR_ARGUMENT, "null", raympi_get_many(&ref, 1, NULL, -1));
    FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_get_copy(ref, NULL, 1));
    FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_view_end(NULL));
    FAILS(RAYMPI_ERR_ARGUMENT, "null array", raympi_wait(NULL, 1, 1, -1, NULL));
    FAILS(RAYMPI_ERR_ARGUMENT, "null array", raympi_release_all(NULL, 1));
    FAILS(RAYMPI_ERR_ARGUMENT, "place for the set", raympi_waitset_create(NULL));
    FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_waitset_add(NULL, ref, 0));
    FAILS(RAYMPI_ERR_ARGUMENT, "needs a set", raympi_waitset_wait(NULL, 1, &ref, NULL));
    FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_waitset_destroy(NULL));
    CHECK(raympi_waitset_size(NULL) == 0);
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_put(NULL, 1));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "null array", raympi_put_nested("x", 1, NULL, 1));
    CHECK((char *)raympi_create(1, NULL) == NULL && strstr(raympi_detail(), "place for the ref"));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "not open", raympi_view_ref(NULL, raympi_wire(ref)));
    raympi_release(ref);
}

static void null_calls(void)
{
    raympi_ref ref;
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_submit(NULL, NULL, NULL, NULL, 0));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "1 arguments in a null array", raympi_submit(NULL, "echo", NULL, NULL, 1));
    FAILS(RAYMPI_ERR_ARGUMENT, "array of refs", raympi_submit_n(NULL, "pair", NULL, NULL, 0, NULL, 2));
    FAILS(RAYMPI_ERR_ARGUMENT, "array of refs", raympi_submit_n(NULL, "pair", NULL, NULL, 0, &ref, 0));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_call(echo, (const char *)NULL));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_call(echo, RAYMPI_BYTES(NULL, 8)));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "null array", raympi_call(echo, RAYMPI_REFS(NULL, 2)));
    raympi_actor actor = raympi_actor_new(counter);
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_actor_submit(actor, NULL, NULL, NULL, 0));
    raympi_release(actor);
    ACTOR_FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_actor_create(NULL, NULL, NULL, NULL, 0));
}

static void null_context(void)
{
    uint64_t id[2] = {1, 1};
    size_t len = 1;
    FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_arg_count(NULL));
    CHECK(raympi_arg_list_count(NULL, 0) == -1);
    CHECK((const char *)raympi_arg(NULL, 0, &len) == NULL && len == 0);
    CHECK((const char *)raympi_arg_at(NULL, 0, 0, NULL) == NULL);
    CHECK(raympi_arg_int(NULL, 0) == 0 && raympi_arg_double(NULL, 0) == 0 &&
          raympi_arg_string(NULL, 0) == NULL);
    CHECK(raympi_arg_ref(NULL, 0).handle == 0 && raympi_arg_ref_at(NULL, 0, 0).handle == 0);
    CHECK(raympi_arg_actor(NULL, 0).handle == 0);
    CHECK(raympi_arg_nested(NULL, 0, (raympi_wire_ref){0}).handle == 0);
    CHECK((char *)raympi_return(NULL, 0, 1) == NULL);
    CHECK((char *)raympi_return_nested(NULL, 0, 1, NULL, 0) == NULL);
    FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_return_copy(NULL, 0, "x", 1));
    FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_return_int(NULL, 0, 1));
    FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_return_double(NULL, 0, 1));
    FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_return_ref(NULL, 0, null_ref));
    FAILS(RAYMPI_ERR_ARGUMENT, "needs a context", raympi_fail(NULL, 1, "%s", ""));
    CHECK((char *)raympi_self(NULL) == NULL && raympi_self_actor(NULL).handle == 0);
    FAILS(RAYMPI_ERR_ARGUMENT, "for methods", raympi_actor_exit(NULL));
    CHECK(raympi_task_name(NULL) != NULL);
    raympi_task_id(NULL, id);
    CHECK(id[0] == 0 && id[1] == 0);
}

static void null_handles(void)
{
    raympi_view view;
    raympi_waitset *set;
    FAILS(RAYMPI_ERR_ARGUMENT, "ref is null", raympi_get(null_ref, &view));
    FAILS(RAYMPI_ERR_ARGUMENT, "ref is null", raympi_wait(&null_ref, 1, 1, -1, NULL));
    raympi_ref good_and_null[2] = {raympi_put("x", 1), null_ref};
    bool ready[2] = {false, false};
    FAILS(RAYMPI_ERR_ARGUMENT, "ref is null", raympi_wait(good_and_null, 2, 1, -1, ready));
    CHECK(!ready[0]); /* what is refused changes nothing */
    CHECK_OK(raympi_release(good_and_null[0]));
    FAILS(RAYMPI_ERR_ARGUMENT, "ref is null", raympi_release(null_ref));
    FAILS(RAYMPI_ERR_ARGUMENT, "ref is null", raympi_seal(null_ref));
    FAILS(RAYMPI_ERR_ARGUMENT, "ref is null", raympi_ref_status(null_ref));
    CHECK(raympi_retain(null_ref).handle == 0 && raympi_keep(null_ref).handle == 0);
    CHECK(raympi_wire(null_ref).handle == 0);
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "ref is null", raympi_call(echo, null_ref));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "ref is null", raympi_put_nested("x", 1, &null_ref, 1));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "actor", raympi_call(echo, null_actor));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "actor handle is null", raympi_actor_call(null_actor, next));
    FAILS(RAYMPI_ERR_ARGUMENT, "actor handle is null", raympi_actor_kill(null_actor));
    FAILS(RAYMPI_ERR_ARGUMENT, "actor handle is null", raympi_actor_ready(null_actor, -1));
    FAILS(RAYMPI_ERR_ARGUMENT, "actor handle is null", raympi_actor_node(null_actor));
    FAILS(RAYMPI_ERR_ARGUMENT, "null", raympi_release(null_actor));
    CHECK_OK(raympi_waitset_create(&set));
    FAILS(RAYMPI_ERR_ARGUMENT, "ref is null", raympi_waitset_add(set, null_ref, 0));
    raympi_ref out;
    FAILS(RAYMPI_ERR_ARGUMENT, "empty", raympi_waitset_wait(set, -1, &out, NULL));
    FAILS(RAYMPI_ERR_ARGUMENT, "place for the ref", raympi_waitset_wait(set, -1, NULL, NULL));
    CHECK_OK(raympi_waitset_destroy(set));
}

/* ---- names */

static void unknown_names(void)
{
    REF_FAILS(RAYMPI_ERR_UNKNOWN, "nearest name: echo", raympi_call_name("ecoh", 1));
    REF_FAILS(RAYMPI_ERR_UNKNOWN, "task_of_nobody is registered on any rank", raympi_call(task_of_nobody, 1));
    REF_FAILS(RAYMPI_ERR_UNKNOWN, "no task or class", raympi_call_name("", 1));
    char longest[400];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    REF_FAILS(RAYMPI_ERR_UNKNOWN, "xxx", raympi_call_name(longest, 1));
    REF_FAILS(RAYMPI_ERR_TYPE, "counter is a class", raympi_call_name("counter", 1));
    ACTOR_FAILS(RAYMPI_ERR_TYPE, "echo is a task", raympi_actor_create(NULL, "echo", NULL, NULL, 0));
    ACTOR_FAILS(RAYMPI_ERR_UNKNOWN, "nearest name: counter",
                raympi_actor_create(NULL, "conter", NULL, NULL, 0));
    raympi_actor actor = raympi_actor_new(counter);
    REF_FAILS(RAYMPI_ERR_UNKNOWN, "nxet", raympi_actor_call(actor, nxet));
    raympi_release(actor);
}

/* ---- refs that are none */

static void released_refs(void)
{
    raympi_view view, other;
    raympi_ref ref = raympi_put("x", 1);
    CHECK_OK(raympi_release(ref));
    FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_get(ref, &view));
    FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_wait(&ref, 1, 1, -1, NULL));
    FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_release(ref));
    FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_release_all(&ref, 1));
    FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_seal(ref));
    FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_ref_status(ref));
    CHECK(raympi_retain(ref).handle == 0 && raympi_keep(ref).handle == 0 && raympi_wire(ref).handle == 0);
    REF_FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_call(echo, ref));
    REF_FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_call(echo, RAYMPI_REFS(&ref, 1)));
    REF_FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_put_nested("x", 1, &ref, 1));
    /* A record that lives on for another reason: the scope's hold is gone all the same. */
    ref = raympi_put("x", 1);
    CHECK_OK(raympi_get(ref, &view));
    CHECK_OK(raympi_release(ref));
    FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_release(ref));
    FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_get(ref, &other));
    REF_FAILS(RAYMPI_ERR_RELEASED, "was released", raympi_call(echo, ref));
    CHECK(view.len == 1 && *(const char *)view.data == 'x');
    CHECK_OK(raympi_view_end(&view));
    FAILS(RAYMPI_ERR_ARGUMENT, "not open", raympi_view_end(&view));
}

static void foreign_refs(void)
{
    static const uint64_t garbage[] = {1,
                                       42,
                                       UINT64_MAX,
                                       UINT64_C(0x8000000000000000),
                                       UINT64_C(0x00000fffffffffff),
                                       UINT64_C(0xdeadbeefdeadbeef),
                                       UINT64_C(1) << 44,
                                       UINT64_C(7) << 44 | 1};
    raympi_view view, closed = {0};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        raympi_ref ref = {garbage[i]};
        raympi_actor actor = {garbage[i] | UINT64_C(1) << 43};
        int status = raympi_get(ref, &view);
        CHECK(status == RAYMPI_ERR_RELEASED || status == RAYMPI_ERR_TYPE);
        CHECK(raympi_release(ref) == RAYMPI_ERR_RELEASED);
        FAILS(RAYMPI_ERR_RELEASED, "not held here", raympi_actor_kill(actor));
        REF_FAILS(RAYMPI_ERR_RELEASED, "not held here", raympi_actor_call(actor, next));
    }
    FAILS(RAYMPI_ERR_ARGUMENT, "not open", raympi_view_end(&closed));
    closed = (raympi_view){NULL, 0, {UINT64_MAX, UINT64_MAX}};
    FAILS(RAYMPI_ERR_ARGUMENT, "not open", raympi_view_end(&closed));
    raympi_ref ref = raympi_put("x", 1);
    CHECK_OK(raympi_get(ref, &view));
    REF_FAILS(RAYMPI_ERR_RELEASED, "does not declare", raympi_view_ref(&view, raympi_wire(ref)));
    FAILS(RAYMPI_ERR_ARGUMENT, "only an object of raympi_create() is sealed", raympi_seal(ref));
    CHECK_OK(raympi_view_end(&view));
    raympi_release(ref);
}

static void sealed_twice(void)
{
    raympi_ref ref;
    char *data = raympi_create(4, &ref);
    CHECK(data != NULL);
    memcpy(data, "abc", 4);
    CHECK_OK(raympi_seal(ref));
    FAILS(RAYMPI_ERR_ARGUMENT, "sealed, once", raympi_seal(ref));
    raympi_release(ref);
    FAILS(RAYMPI_ERR_STATE, "without raympi_scope_begin", raympi_scope_end());
}

/* ---- numbers */

static void counts(void)
{
    raympi_ref refs[2] = {raympi_put("a", 1), raympi_put("b", 1)};
    raympi_view views[2];
    const size_t negative = (size_t)-1;
    FAILS(RAYMPI_ERR_ARGUMENT, "3 of 2", raympi_wait(refs, 2, 3, -1, NULL));
    FAILS(RAYMPI_ERR_ARGUMENT, "18446744073709551615 refs", raympi_wait(refs, negative, 1, -1, NULL));
    FAILS(RAYMPI_ERR_ARGUMENT, "of 2", raympi_wait(refs, 2, negative, -1, NULL));
    FAILS(RAYMPI_ERR_ARGUMENT, "18446744073709551615 refs", raympi_get_many(refs, negative, views, -1));
    FAILS(RAYMPI_ERR_ARGUMENT, "18446744073709551615 refs", raympi_release_all(refs, negative));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "18446744073709551615 refs",
              raympi_call(echo, RAYMPI_REFS(refs, negative)));
    REF_FAILS(RAYMPI_ERR_TOO_LARGE, "at most 16777216",
              raympi_call(echo, RAYMPI_REFS(refs, ((size_t)1 << 24) + 1)));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "arguments",
              raympi_submit(NULL, "echo", NULL, RAYMPI_VALUES(RAYMPI_VALUE(1)), negative));
    FAILS(RAYMPI_ERR_ARGUMENT, "refs for the results of pair, which has 2",
          raympi_submit_n(NULL, "pair", NULL, NULL, 0, refs, negative));
    REF_FAILS(RAYMPI_ERR_TOO_LARGE, "18446744073709551615 nested refs",
              raympi_put_nested("x", 1, refs, negative));
    raympi_ref three[3];
    FAILS(RAYMPI_ERR_ARGUMENT, "3 refs for the results of pair, which has 2", raympi_call_n(three, 3, pair));
    CHECK(raympi_wait(refs, 2, 0, -1, NULL) >= 0);
    CHECK(raympi_wait(NULL, 0, 0, -1, NULL) == 0);
    CHECK_OK(raympi_get_many(NULL, 0, NULL, -1));
    CHECK_OK(raympi_release_all(refs, 2));
}

static void oversize(void)
{
    static const char byte[1];
    raympi_ref ref, one = raympi_put("x", 1);
    static const size_t sizes[] = {(size_t)1 << 27, (size_t)1 << 40, (size_t)1 << 62, SIZE_MAX - 64,
                                   SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        REF_FAILS(RAYMPI_ERR_TOO_LARGE, "", raympi_put(byte, sizes[i]));
        REF_FAILS(RAYMPI_ERR_TOO_LARGE, "", raympi_put_nested(byte, sizes[i], &one, 1));
        REF_FAILS(RAYMPI_ERR_TOO_LARGE, "", raympi_call(echo, RAYMPI_BYTES(byte, sizes[i])));
        CHECK((char *)raympi_create(sizes[i], &ref) == NULL);
    }
    FAILS(RAYMPI_ERR_TYPE, "were asked for", raympi_get_copy(one, &ref, SIZE_MAX));
    raympi_release(one);
}

static void timeouts(void)
{
    raympi_view view;
    raympi_ref ref, other;
    raympi_waitset *set;
    CHECK((char *)raympi_create(8, &ref) != NULL);
    FAILS(RAYMPI_ERR_ARGUMENT, "timeout", raympi_get_timeout(ref, &view, NAN));
    FAILS(RAYMPI_ERR_ARGUMENT, "timeout", raympi_get_many(&ref, 1, &view, NAN));
    FAILS(RAYMPI_ERR_ARGUMENT, "timeout", raympi_wait(&ref, 1, 1, NAN, NULL));
    CHECK_OK(raympi_waitset_create(&set));
    CHECK_OK(raympi_waitset_add(set, ref, 0));
    FAILS(RAYMPI_ERR_ARGUMENT, "timeout", raympi_waitset_wait(set, NAN, &other, NULL));
    FAILS(RAYMPI_ERR_TIMEOUT, "in time", raympi_waitset_wait(set, 0.001, &other, NULL));
    CHECK_OK(raympi_waitset_destroy(set));
    raympi_actor actor = raympi_actor_new(counter);
    FAILS(RAYMPI_ERR_ARGUMENT, "timeout", raympi_actor_ready(actor, NAN));
    raympi_release(actor);
    FAILS(RAYMPI_ERR_TIMEOUT, "not ready", raympi_get_timeout(ref, &view, 0));
    FAILS(RAYMPI_ERR_TIMEOUT, "not ready", raympi_get_timeout(ref, &view, 0.001));
    CHECK(raympi_wait(&ref, 1, 1, 0.001, NULL) == 0);
    CHECK_OK(raympi_seal(ref));
    CHECK_OK(raympi_get_timeout(ref, &view, INFINITY));
    CHECK_OK(raympi_view_end(&view));
    CHECK_OK(raympi_get_timeout(ref, &view, 1e300));
    CHECK_OK(raympi_view_end(&view));
    raympi_release(ref);
}

/* ---- options */

#define OPTION_FAILS(status, text, ...)                                                                      \
    REF_FAILS(status, text, raympi_call_opts(RAYMPI_OPTIONS(__VA_ARGS__), echo, 1))

static void options(void)
{
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".num_cpus", .num_cpus = 2);
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".num_cpus", .num_cpus = 0.5);
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".num_cpus", .num_cpus = NAN);
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".num_gpus", .num_gpus = 1);
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".memory", .memory = 1000);
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".resources", .resources = "ssd:1");
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".max_retries", .max_retries = 3);
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".timeout", .timeout = 1);
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".name", .name = "x");
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".gang", .gang = 2);
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".max_restarts", .max_restarts = 2);
    OPTION_FAILS(RAYMPI_ERR_UNSUPPORTED, ".max_concurrency", .max_concurrency = 2);
    OPTION_FAILS(RAYMPI_ERR_ARGUMENT, "num_returns 65", .num_returns = 65);
    OPTION_FAILS(RAYMPI_ERR_ARGUMENT, "num_returns -2", .num_returns = -2);
    OPTION_FAILS(RAYMPI_ERR_ARGUMENT, "strategy 9", .strategy = 9);
    OPTION_FAILS(RAYMPI_ERR_INFEASIBLE, "node 100000", .strategy = RAYMPI_STRATEGY_NODE, .node = 100000);
    OPTION_FAILS(RAYMPI_ERR_INFEASIBLE, "node -1", .strategy = RAYMPI_STRATEGY_NODE, .node = -1);
    raympi_options small = {.size = 8};
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "RAYMPI_OPTIONS()", raympi_call_opts(small, echo, 1));
    raympi_options none = {
        .size = sizeof none, .num_cpus = RAYMPI_NONE, .num_gpus = RAYMPI_NONE, .max_retries = RAYMPI_NONE};
    raympi_ref ref = raympi_call_opts(none, echo, 1);
    CHECK(raympi_wait(&ref, 1, 1, -1, NULL) == 1 && raympi_ref_status(ref) == RAYMPI_OK);
    raympi_release(ref);
    ACTOR_FAILS(RAYMPI_ERR_UNSUPPORTED, ".max_restarts",
                raympi_actor_new_opts(RAYMPI_OPTIONS(.max_restarts = 1), counter));
    ACTOR_FAILS(RAYMPI_ERR_UNSUPPORTED, ".max_concurrency",
                raympi_actor_new_opts(RAYMPI_OPTIONS(.max_concurrency = 2), counter));
    ACTOR_FAILS(
        RAYMPI_ERR_INFEASIBLE, "node 99999",
        raympi_actor_new_opts(RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = 99999), counter));
}

/* ---- calls from where none are allowed */

static _Atomic int handled, handler_status, thread_known;
static char handler_text[200];
static raympi_ref handler_ref;

static void on_signal(int number)
{
    (void)number;
    int status = raympi_release(null_ref);
    snprintf(handler_text, sizeof handler_text, "%s", raympi_detail());
    handler_status = status;
    handled++;
}

/* Sends signals to main() until one has arrived inside raympi_get(), and then ends that. */
static void *interrupt(void *arg)
{
    pthread_t *main_thread = arg;
    CHECK_OK(raympi_scope_begin()); /* raympi knows of a thread from its first call on */
    thread_known = 1;
    for (;;) {
        int before = handled;
        CHECK(pthread_kill(*main_thread, SIGUSR1) == 0);
        while (handled == before)
            continue;
        if (handler_status == RAYMPI_ERR_REENTRY)
            break;
    }
    CHECK_OK(raympi_seal(handler_ref));
    return NULL;
}

/* ThreadSanitizer keeps a signal back until the thread makes a call that it knows: never, in a sleep of ours.
 */
#if defined(__SANITIZE_THREAD__)
#define SIGNALS_COME false
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIGNALS_COME false
#endif
#endif
#ifndef SIGNALS_COME
#define SIGNALS_COME true
#endif

static void reentry(void)
{
    if (!SIGNALS_COME)
        return;
    raympi_view view;
    pthread_t self = pthread_self(), thread;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK((char *)raympi_create(1, &handler_ref) != NULL);
    raise(SIGUSR1);
    CHECK(handled == 1 && handler_status == RAYMPI_ERR_ARGUMENT); /* between two calls a handler may call */
    CHECK(pthread_create(&thread, NULL, interrupt, &self) == 0);
    while (!thread_known)
        continue;
    CHECK_OK(raympi_get(handler_ref, &view));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(handler_status == RAYMPI_ERR_REENTRY && strstr(handler_text, "signal handler that interrupted"));
    CHECK_OK(raympi_view_end(&view));
    raympi_release(handler_ref);
    raympi_ref ref = raympi_call(echo, 1); /* and nothing is broken by it */
    CHECK(raympi_wait(&ref, 1, 1, -1, NULL) == 1);
    raympi_release(ref);
}

RAYMPI_TASK(finalize_in_task)
{
    FAILS(RAYMPI_ERR_STATE, "outside of tasks", raympi_finalize());
    FAILS(RAYMPI_ERR_STATE, "called twice", raympi_init(NULL, NULL, NULL));
    CHECK((char *)raympi_self(ctx) == NULL);
    FAILS(RAYMPI_ERR_ARGUMENT, "for methods", raympi_actor_exit(ctx));
    CHECK(raympi_self_actor(ctx).handle == 0 && strstr(raympi_detail(), "for methods"));
    return raympi_return_int(ctx, 0, 1);
}

static void *finalize_in_thread(void *arg)
{
    (void)arg;
    FAILS(RAYMPI_ERR_STATE, "thread that called raympi_init", raympi_finalize());
    return NULL;
}

static void wrong_place(void)
{
    pthread_t thread;
    FAILS(RAYMPI_ERR_STATE, "called twice", raympi_init(NULL, NULL, NULL));
    raympi_ref ref = raympi_call(finalize_in_task);
    int64_t value;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    raympi_release(ref);
    CHECK(pthread_create(&thread, NULL, finalize_in_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    FAILS(RAYMPI_ERR_STATE, "without raympi_mpi_enter", raympi_mpi_leave());
    CHECK_OK(raympi_mpi_enter());
    FAILS(RAYMPI_ERR_STATE, "twice", raympi_mpi_enter());
    CHECK_OK(raympi_mpi_leave());
    FAILS(RAYMPI_ERR_STATE, "without raympi_mpi_enter", raympi_mpi_leave());
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"null pointers", null_pointers},
    {"null pointers in calls", null_calls},
    {"null contexts", null_context},
    {"null handles", null_handles},
    {"unknown and unregistered tasks", unknown_names},
    {"wrong number or kind of argument", wrong_arguments},
    {"arguments that are none", wrong_kinds},
    {"results not set, set twice, or wrong", wrong_results},
    {"getting one's own result", own_results},
    {"released refs", released_refs},
    {"released refs that are used late, anywhere", late_refs},
    {"foreign refs", foreign_refs},
    {"sealed twice", sealed_twice},
    {"negative counts, k > n", counts},
    {"oversize arguments", oversize},
    {"timeouts that are no numbers", timeouts},
    {"options that are not built yet, or wrong", options},
    {"re-entry from a signal handler", reentry},
    {"init twice, finalize in a task", wrong_place},
};

static void drive(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int before = test_failures;
        cases[i].run();
        if (raympi_rank() == 0 || test_failures != before)
            printf("  Test: %s ...%s\n", cases[i].name, test_failures == before ? "passed" : "FAILED");
    }
}

int main(int argc, char **argv)
{
    setenv("RAYMPI_STORE_BYTES", "64m", 1);
    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK)
        return EXIT_FAILURE;
    return test_end(test_drive(drive));
}
