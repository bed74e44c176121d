/* Objects and refs: values of all sizes, views, waiting, nested refs, scopes, many releases; on every rank at
 * once. With an argument: one of the endings at the bottom, whose report the script looks at. */
#include "objects.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

_Atomic int test_failures;

static const size_t sizes[] = {
    0, 1, 8, 40, 41, 63, 64, 65, 512, 513, 4095, 4096, 4097, 65536, (1u << 20) + 1, 33u << 20};
#define SIZES (sizeof sizes / sizeof sizes[0])

static unsigned char byte_at(size_t i, int64_t seed)
{
    return (unsigned char)(i * 131 + (i >> 9) + (size_t)seed);
}

static void paint(unsigned char *bytes, size_t len, int64_t seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(i, seed);
}

bool painted(const unsigned char *bytes, size_t len, int64_t seed)
{
    size_t step = len > 4096 ? 509 : 1;
    for (size_t i = 0; i < len; i += step)
        if (bytes[i] != byte_at(i, seed))
            return false;
    return len == 0 || bytes[len - 1] == byte_at(len - 1, seed);
}

/* As a view is said to be: more so in the store. */
static bool aligned(const void *bytes, size_t len)
{
    return (uintptr_t)bytes % (len > 512 ? 64 : 8) == 0;
}

RAYMPI_TASK(add)
{
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + raympi_arg_int(ctx, 1));
}

RAYMPI_TASK(make)
{
    size_t len = (size_t)raympi_arg_int(ctx, 0);
    unsigned char *bytes = raympi_return(ctx, 0, len);
    CHECK(aligned(bytes, len));
    if (bytes)
        paint(bytes, len, raympi_arg_int(ctx, 1));
    return RAYMPI_OK;
}

RAYMPI_TASK(check)
{
    size_t len;
    const unsigned char *bytes = raympi_arg(ctx, 0, &len);
    if (len != (size_t)raympi_arg_int(ctx, 1) || !painted(bytes, len, raympi_arg_int(ctx, 2)) ||
        !aligned(bytes, len))
        return raympi_fail(ctx, 5, "%zu bytes came, or they are wrong", len);
    return raympi_return_int(ctx, 0, (int64_t)len);
}

RAYMPI_TASK(fail)
{
    return raympi_fail(ctx, 7, "on purpose");
}

int64_t value_of(raympi_ref ref)
{
    int64_t value = INT64_MIN;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    return value;
}

/* ---- values of all sizes */

static void put_and_get(void)
{
    int rank = raympi_rank();
    for (size_t s = 0; s < SIZES; s++) {
        size_t len = sizes[s];
        if (len > (2u << 20) && rank != 0)
            continue; /* 16 ranks with 33 MiB each: a test of the machine */
        raympi_scope_begin();
        unsigned char *bytes = malloc(len + 1);
        paint(bytes, len, rank);
        raympi_view view, second;
        raympi_ref ref = raympi_put(bytes, len);
        CHECK_OK(raympi_get(ref, &view));
        CHECK(view.len == len && painted(view.data, len, rank));
        CHECK(len ? view.data != (void *)bytes : view.data == NULL);
        CHECK_OK(raympi_get(ref, &second));
        CHECK(second.data == view.data); /* no copy: the same bytes */
        CHECK_OK(raympi_get_copy(ref, bytes, len));
        CHECK(painted(bytes, len, rank));
        CHECK(raympi_get_copy(ref, bytes, len + 1) == RAYMPI_ERR_TYPE);
        CHECK(value_of(raympi_call_opts(AT(rank + 1), check, ref, len, rank)) == (int64_t)len);
        raympi_ref made = raympi_call_opts(AT(rank + 1), make, len, rank + 3);
        CHECK(value_of(raympi_call_opts(AT(rank + 2), check, made, len, rank + 3)) == (int64_t)len);
        CHECK_OK(raympi_get(made, &second));
        CHECK(second.len == len && painted(second.data, len, rank + 3));
        CHECK(aligned(view.data, len) && aligned(second.data, len));
        free(bytes);
        raympi_scope_end();
    }
}

static void create_and_seal(void)
{
    raympi_view view;
    raympi_ref ref;
    for (size_t s = 0; s < SIZES - 1; s++) {
        raympi_scope_begin();
        unsigned char *bytes = raympi_create(sizes[s], &ref);
        CHECK(bytes != NULL);
        raympi_ref checks[3];
        for (int i = 0; i < 3; i++) /* they wait for it, here and elsewhere */
            checks[i] = raympi_call_opts(AT(raympi_rank() + i), check, ref, sizes[s], 9);
        CHECK(raympi_get_timeout(ref, &view, 0) == RAYMPI_ERR_TIMEOUT);
        CHECK(raympi_ref_status(ref) == RAYMPI_ERR_TIMEOUT);
        CHECK(raympi_wait(checks, 3, 3, 0.001, NULL) == 0);
        paint(bytes, sizes[s], 9);
        CHECK_OK(raympi_seal(ref));
        CHECK(raympi_seal(ref) == RAYMPI_ERR_ARGUMENT);
        for (int i = 0; i < 3; i++)
            CHECK(value_of(checks[i]) == (int64_t)sizes[s]);
        CHECK_OK(raympi_get(ref, &view));
        CHECK(view.data == (sizes[s] ? (void *)bytes : NULL) ||
              sizes[s] > 512); /* inline ones stay where they are */
        raympi_scope_end();
    }
    raympi_ref put = raympi_put("x", 1);
    CHECK(raympi_seal(put) == RAYMPI_ERR_ARGUMENT);
    raympi_release(put);
    CHECK(raympi_create(100000, &ref) != NULL); /* and away again, never sealed */
    CHECK_OK(raympi_release(ref));
}

/* A view stays when the ref goes, and ends by itself. */
static void views(void)
{
    for (size_t s = 1; s < SIZES - 1; s++) {
        raympi_scope_begin();
        raympi_view view, other;
        raympi_ref ref = raympi_call_opts(AT(raympi_rank() + 1), make, sizes[s], 4);
        CHECK_OK(raympi_get(ref, &view));
        CHECK_OK(raympi_release(ref));
        raympi_ref again = raympi_call_opts(AT(raympi_rank() + 1), make, sizes[s], 5);
        CHECK_OK(raympi_get(again, &other));
        CHECK(painted(view.data, view.len, 4) && painted(other.data, other.len, 5));
        CHECK(view.data != other.data);
        CHECK_OK(raympi_view_end(&view));
        CHECK(raympi_get(ref, &other) == RAYMPI_ERR_RELEASED);
        CHECK(raympi_view_end(&view) == RAYMPI_ERR_ARGUMENT);
        raympi_scope_end();
    }
    raympi_view none = {0};
    CHECK(raympi_view_end(&none) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_view_end(NULL) == RAYMPI_ERR_ARGUMENT);
}

/* Views that end first in, first out: the table of views must not grow with their number. */
static void sliding_views(void)
{
    raympi_view window[4];
    raympi_ref ref = raympi_put("window", 7);
    for (int i = 0; i < 100000; i++) {
        if (i >= 4)
            CHECK_OK(raympi_view_end(&window[i % 4]));
        CHECK_OK(raympi_get(ref, &window[i % 4]));
    }
    for (int i = 0; i < 4; i++)
        CHECK_OK(raympi_view_end(&window[i]));
    CHECK_OK(raympi_release(ref));
}

/* Objects of others can be read and not be written: a child tries. */
static void read_only(void)
{
    raympi_scope_begin();
    raympi_view view;
    raympi_ref theirs = raympi_call_opts(AT(raympi_rank() + 1), make, 100000, 1);
    CHECK_OK(raympi_get(theirs, &view));
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        *(volatile unsigned char *)(uintptr_t)(const void *)view.data = 1;
        _exit(0);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS));
    raympi_scope_end();
}

/* ---- waiting */

static void get_many(void)
{
    enum { N = 50 };
    raympi_ref refs[N], unsealed;
    raympi_view open[N];
    raympi_scope_begin();
    for (int i = 0; i < N; i++)
        refs[i] = raympi_call_opts(AT(i), add, i, 1000);
    CHECK_OK(raympi_get_many(refs, N, open, -1));
    for (int i = 0; i < N; i++)
        CHECK(open[i].len == 8 && *(const int64_t *)open[i].data == i + 1000);
    for (int i = N; i-- > 0;)
        CHECK_OK(raympi_view_end(&open[i]));
    CHECK_OK(raympi_get_many(refs, 0, NULL, 0));
    CHECK(raympi_get_many(refs, 2, NULL, 0) == RAYMPI_ERR_ARGUMENT);
    raympi_ref kept = refs[N / 2];
    CHECK(raympi_create(8, &unsealed) != NULL);
    refs[N / 2] = unsealed;
    CHECK(raympi_get_many(refs, N, open, 0) == RAYMPI_ERR_TIMEOUT);
    CHECK(raympi_get_many(refs, N, open, 0.002) == RAYMPI_ERR_TIMEOUT);
    CHECK(raympi_view_end(&open[0]) == RAYMPI_ERR_ARGUMENT); /* none is open after an error */
    raympi_ref failing = raympi_call_opts(AT(raympi_rank() + 1), fail);
    refs[N / 2] = failing;
    CHECK(raympi_get_many(refs, N, open, -1) == 7);
    CHECK(strstr(raympi_detail(), "on purpose") != NULL);
    raympi_ref last = refs[N - 1];
    refs[N - 1] = unsealed; /* what comes after an error is not waited for */
    CHECK(raympi_get_many(refs, N, open, -1) == 7);
    refs[N - 1] = last;
    refs[N / 2] = kept;
    CHECK_OK(raympi_get_many(refs, N, open, 10));
    raympi_scope_end();
}

static void wait_some(void)
{
    enum { N = 20 };
    raympi_ref refs[N], held[N / 2];
    bool ready[N];
    raympi_scope_begin();
    for (int i = 0; i < N; i++)
        if (i % 2)
            refs[i] = raympi_call_opts(AT(i), add, i, 0);
        else
            CHECK(raympi_create(8, &refs[i]) != NULL);
    CHECK(raympi_wait(refs, N, N / 2, -1, ready) == N / 2);
    for (int i = 0; i < N; i++)
        CHECK(ready[i] == (i % 2));
    CHECK(raympi_wait(refs, N, N / 2 + 1, 0.002, ready) == N / 2);
    CHECK(raympi_wait(refs, N, 0, -1, ready) == N / 2);
    for (int i = 0; i < N / 2; i++)
        held[i] = refs[2 * i];
    CHECK(raympi_wait(held, N / 2, 1, 0, ready) == 0);
    CHECK_OK(raympi_seal(held[3]));
    CHECK(raympi_wait(held, N / 2, 1, -1, ready) == 1 && ready[3] && !ready[2]);
    CHECK(raympi_wait(refs, N, N + 1, 0, NULL) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_wait(NULL, 1, 1, 0, NULL) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_wait(NULL, 0, 0, 0, NULL) == 0);
    refs[0] = raympi_call_opts(AT(1), fail); /* an error is ready too */
    CHECK(raympi_wait(refs, 1, 1, -1, ready) == 1 && ready[0]);
    CHECK(raympi_ref_status(refs[0]) == 7);
    for (int i = 0; i < N / 2; i++)
        if (i != 3)
            CHECK_OK(raympi_seal(held[i]));
    raympi_scope_end();
}

/* Asking again and again, never waiting, gets there too. */
static void polling(void)
{
    raympi_scope_begin();
    raympi_view view;
    for (int i = 0; i < 3; i++) {
        raympi_ref a = raympi_call_opts(AT(raympi_rank() + i), add, 1, 2);
        while (raympi_wait(&a, 1, 1, 0, NULL) == 0)
            continue;
        raympi_ref b = raympi_call_opts(AT(raympi_rank() + i), add, a, 2);
        while (raympi_ref_status(b) == RAYMPI_ERR_TIMEOUT)
            continue;
        raympi_ref c = raympi_call_opts(AT(raympi_rank() + i), add, b, 2);
        int status;
        while ((status = raympi_get_timeout(c, &view, 0)) == RAYMPI_ERR_TIMEOUT)
            continue;
        CHECK_OK(status);
        CHECK(*(const int64_t *)view.data == 7);
    }
    raympi_scope_end();
}

static void wait_sets(void)
{
    enum { N = 1000 };
    raympi_waitset *set;
    raympi_ref ref;
    uint64_t tag, sum = 0;
    raympi_scope_begin();
    CHECK_OK(raympi_waitset_create(&set));
    CHECK(raympi_waitset_wait(set, 0, &ref, &tag) == RAYMPI_ERR_ARGUMENT);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            ref = raympi_call(add, i, 1);
            CHECK_OK(raympi_waitset_add(set, ref, (uint64_t)i));
            CHECK_OK(raympi_release(ref)); /* the set's hold is enough */
        }
        CHECK(raympi_waitset_size(set) == N);
        for (int i = 0; i < N; i++) {
            CHECK_OK(raympi_waitset_wait(set, -1, &ref, &tag));
            CHECK(value_of(ref) == (int64_t)tag + 1);
            CHECK_OK(raympi_release(ref));
            sum += tag;
        }
        CHECK(raympi_waitset_size(set) == 0);
    }
    CHECK(sum == 3 * (uint64_t)N * (N - 1) / 2);
    CHECK(raympi_create(8, &ref) != NULL);
    CHECK_OK(raympi_waitset_add(set, ref, 5));
    CHECK(raympi_waitset_wait(set, 0, &ref, &tag) == RAYMPI_ERR_TIMEOUT);
    CHECK(raympi_waitset_wait(set, 0.002, &ref, &tag) == RAYMPI_ERR_TIMEOUT);
    CHECK_OK(raympi_waitset_destroy(set)); /* with a member that is not ready */
    CHECK(raympi_waitset_destroy(NULL) == RAYMPI_ERR_ARGUMENT);
    raympi_scope_end();
}

/* ---- scopes */

static void scopes(void)
{
    raympi_ref outside = raympi_put("o", 1), inside, innermost;
    raympi_view view;
    CHECK(raympi_scope_end() == RAYMPI_ERR_STATE);
    CHECK_OK(raympi_scope_begin());
    inside = raympi_put("i", 1);
    CHECK_OK(raympi_scope_begin());
    innermost = raympi_put("j", 1);
    raympi_ref kept = raympi_keep(raympi_put("k", 1));
    raympi_ref retained = raympi_retain(outside);
    CHECK(retained.handle == outside.handle);
    CHECK_OK(raympi_get(outside, &view));
    CHECK_OK(raympi_scope_end());
    CHECK(raympi_view_end(&view) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_ref_status(innermost) == RAYMPI_ERR_RELEASED);
    CHECK_OK(raympi_ref_status(inside));
    CHECK_OK(raympi_ref_status(kept));
    CHECK_OK(raympi_release(outside)); /* from an inner scope */
    CHECK(raympi_ref_status(outside) == RAYMPI_ERR_RELEASED);
    CHECK(raympi_release(outside) == RAYMPI_ERR_RELEASED);
    CHECK_OK(raympi_scope_end());
    CHECK(raympi_ref_status(inside) == RAYMPI_ERR_RELEASED);
    CHECK_OK(raympi_release(kept));
    CHECK(raympi_release(kept) == RAYMPI_ERR_RELEASED);
    CHECK(raympi_release((raympi_ref){0}) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_keep((raympi_ref){0}).handle == 0);
    CHECK(raympi_retain((raympi_ref){0}).handle == 0);
}

RAYMPI_TASK(holder) /* lets everything go by returning, an open view and a scope included */
{
    raympi_view view;
    raympi_put("p", 1);
    raympi_scope_begin();
    if (raympi_get(raympi_call(add, 1, 1), &view) != RAYMPI_OK)
        return 1;
    raympi_call(add, 2, 2);
    return raympi_arg_int(ctx, 0) ? raympi_fail(ctx, 9, "with things held") : raympi_return_int(ctx, 0, 1);
}

static void scope_of_task(void)
{
    raympi_view view;
    raympi_scope_begin();
    for (int i = 0; i < 20; i++) {
        CHECK(value_of(raympi_call_opts(AT(i), holder, 0)) == 1);
        CHECK(raympi_get(raympi_call_opts(AT(i), holder, 1), &view) == 9);
    }
    raympi_scope_end();
}

/* ---- many releases, in any order, with several holds: all at constant cost */

static uint64_t draw(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

RAYMPI_TASK(hold_list) /* takes a hold on every member, on the same records where it runs at home */
{
    int64_t sum = 0;
    for (int i = 0; i < raympi_arg_list_count(ctx, 0); i++) {
        raympi_ref ref = raympi_arg_ref_at(ctx, 0, i);
        sum += ref.handle != 0;
        if (i % 2)
            raympi_release(ref);
    }
    return raympi_return_int(ctx, 0, sum);
}

enum order { FIFO, LIFO, SHUFFLED, ORDERS };

static void release_in(enum order order, raympi_ref *refs, size_t count)
{
    uint64_t state = (uint64_t)raympi_rank() + 1;
    if (order == LIFO)
        for (size_t i = 0; i < count / 2; i++) {
            raympi_ref other = refs[i];
            refs[i] = refs[count - 1 - i];
            refs[count - 1 - i] = other;
        }
    for (size_t i = count; order == SHUFFLED && i > 1; i--) {
        size_t j = draw(&state) % i;
        raympi_ref other = refs[j];
        refs[j] = refs[i - 1];
        refs[i - 1] = other;
    }
    CHECK_OK(raympi_release_all(refs, count));
}

static void releases(size_t count)
{
    raympi_ref *refs = malloc(3 * count * sizeof *refs);
    for (enum order order = FIFO; order < ORDERS; order++) {
        raympi_scope_begin();
        for (size_t i = 0; i < count; i++)
            refs[i] = raympi_put(&i, sizeof i);
        for (size_t i = 0; i < count; i++)
            refs[count + i] = raympi_retain(refs[i]);
        for (size_t i = 0; i < count; i++)
            refs[2 * count + i] = raympi_retain(refs[0]);
        raympi_ref held = raympi_call_opts(AT(raympi_rank()), hold_list, RAYMPI_REFS(refs, count));
        CHECK(value_of(held) == (int64_t)count);
        release_in(order, refs, 3 * count);
        CHECK_OK(raympi_release(held));
        raympi_scope_end();
    }
    free(refs);
}

/* ---- endings that leave something behind */

static int leave(const char *what)
{
    if (strcmp(what, "leak") == 0) {
        for (int i = 0; i < 3; i++)
            raympi_call_opts(AT(raympi_rank() + 1), add, i, 1);
        raympi_keep(raympi_put("kept", 5));
        raympi_put(sizes, sizeof sizes);
        char name[] = "not there"; /* and by the end of the job it is not */
        CHECK(raympi_ref_status(raympi_submit(NULL, name, NULL, NULL, 0)) == RAYMPI_ERR_UNKNOWN);
        memset(name, 'X', sizeof name - 1);
    }
    if (strcmp(what, "unseen") == 0 && raympi_rank() == 0)
        raympi_release(raympi_call_opts(AT(1), fail));
    if (strcmp(what, "unseen-leaked") == 0 && raympi_rank() == raympi_size() - 1)
        raympi_call_opts(AT(0), fail);
    if (strcmp(what, "unsealed") == 0 && raympi_rank() == 0) {
        raympi_ref ref;
        raympi_view view;
        raympi_pointer data = raympi_create(8, &ref);
        (void)data;
        raympi_ref waits = raympi_call_opts(AT(1), add, ref, 1);
        raympi_release(ref); /* nobody can seal it any more, and a task waits for it */
        CHECK(raympi_get(waits, &view) == RAYMPI_ERR_DEADLOCK);
    }
    int status = raympi_finalize();
    printf("finalize: %s\n", raympi_strerror(status));
    return status == RAYMPI_OK && test_failures == 0 ? EXIT_SUCCESS : 3;
}

static void drive(void)
{
    put_and_get();
    create_and_seal();
    views();
    sliding_views();
    read_only();
    get_many();
    wait_some();
    polling();
    wait_sets();
    nested();
    identities();
    deep();
    aliases();
    deep_error();
    actors();
    scopes();
    scope_of_task();
    releases(raympi_rank() == 0 ? 100000 : 1000);
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    if (argc > 1)
        return leave(argv[1]);
    return test_end(test_drive(drive));
}
