/* Refs that one thread releases while another looks them up: the other gets what they stood for, or is told
 * that they were released; never an object that has come to their place. */
#include "mpi_test.h"

#include <sched.h>
#include <stdatomic.h>

#define AT(rank) RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = (rank) % raympi_size())
#define DECOYS   6
#define DECOY    INT64_C(-77)
#define BIG      5000 /* bytes: in the store */

RAYMPI_TASK(number) /* the first bytes of what it is called with */
{
    int64_t value;
    size_t len;
    const void *bytes = raympi_arg(ctx, 0, &len);
    CHECK(bytes && len >= sizeof value);
    memcpy(&value, bytes, sizeof value);
    return raympi_return_int(ctx, 0, value);
}

RAYMPI_TASK(member) /* the same of a list of one */
{
    int64_t value;
    raympi_view view;
    if (raympi_get(raympi_arg_ref_at(ctx, 0, 0), &view) != RAYMPI_OK)
        return raympi_fail(ctx, 1, "%s", raympi_detail());
    CHECK(view.len >= sizeof value);
    memcpy(&value, view.data, sizeof value);
    return raympi_return_int(ctx, 0, value);
}

RAYMPI_TASK(nested) /* an object of this rank's, for another to borrow */
{
    int64_t value = raympi_arg_int(ctx, 0);
    raympi_ref ref = raympi_put(&value, sizeof value);
    raympi_wire_ref wire = raympi_wire(ref);
    void *bytes = raympi_return_nested(ctx, 0, sizeof wire, &ref, 1);
    if (bytes)
        memcpy(bytes, &wire, sizeof wire);
    return bytes ? RAYMPI_OK : RAYMPI_ERR_MEMORY;
}

RAYMPI_ACTOR(cell, int64_t)
RAYMPI_METHOD(cell, set)
{
    *(int64_t *)raympi_self(ctx) = raympi_arg_int(ctx, 0);
    return RAYMPI_OK;
}
RAYMPI_METHOD(cell, get)
{
    return raympi_return_int(ctx, 0, *(int64_t *)raympi_self(ctx));
}

/* ---- what is released */

enum kind { SMALL, LARGE, PENDING, UNSEALED, BORROWED, ACTOR, KINDS };

static raympi_ref borrow(int64_t value)
{
    raympi_view view;
    raympi_ref outer = raympi_call_opts(AT(raympi_rank() + 1), nested, value);
    CHECK_OK(raympi_get(outer, &view));
    raympi_ref ref = raympi_view_ref(&view, *(const raympi_wire_ref *)view.data);
    CHECK_OK(raympi_view_end(&view));
    CHECK_OK(raympi_release(outer));
    return ref;
}

static raympi_ref make(enum kind kind, int64_t value)
{
    static char big[BIG];
    raympi_ref ref = {0};
    raympi_actor actor;
    int64_t *place;
    switch (kind) {
    case SMALL:
        return raympi_put(&value, sizeof value);
    case LARGE:
        memcpy(big, &value, sizeof value);
        return raympi_put(big, sizeof big);
    case PENDING:
        return raympi_call_opts(AT(raympi_rank() + (int)value % 2), number, value);
    case UNSEALED:
        place = raympi_create(sizeof value, &ref);
        CHECK(place != NULL);
        if (place)
            *place = value;
        return ref;
    case BORROWED:
        return borrow(value);
    case ACTOR:
        actor = raympi_actor_new_opts(AT(raympi_rank() + (int)value % 2), cell);
        raympi_release(raympi_actor_call(actor, set, value));
        ref.handle = actor.handle;
        return ref;
    default:
        return ref;
    }
}

static void let_go(enum kind kind, raympi_ref ref, int64_t round)
{
    if (kind == ACTOR)
        CHECK_OK(raympi_release((raympi_actor){ref.handle}));
    else if (round % 3 == 0)
        CHECK_OK(raympi_release_all(&ref, 1));
    else if (round % 3 == 1)
        CHECK_OK(raympi_release(ref));
    /* else: with the scope */
}

/* ---- how it is looked up; each gives the value, or a negative status */

static int64_t value_of(raympi_ref ref)
{
    raympi_view view;
    int64_t value;
    int status = raympi_get(ref, &view);
    if (status != RAYMPI_OK)
        return status;
    CHECK(view.len >= sizeof value);
    sched_yield(); /* what the view shows stays */
    memcpy(&value, view.data, sizeof value);
    CHECK_OK(raympi_view_end(&view));
    return value;
}

static int64_t by_copy(raympi_ref ref, int64_t expected)
{
    int64_t value;
    int status = raympi_get_copy(ref, &value, sizeof value);
    return status == RAYMPI_OK ? value : status == RAYMPI_ERR_TYPE ? expected : status; /* LARGE */
}

static int64_t by_get(raympi_ref ref, int64_t expected)
{
    (void)expected;
    return value_of(ref);
}

static int64_t by_wait(raympi_ref ref, int64_t expected)
{
    bool ready = false;
    int found = raympi_wait(&ref, 1, 1, -1, &ready);
    CHECK(found < 0 || (found == 1 && ready));
    return found < 0 ? found : expected;
}

static int64_t by_status(raympi_ref ref, int64_t expected)
{
    int status = raympi_ref_status(ref);
    return status == RAYMPI_OK || status == RAYMPI_ERR_TIMEOUT ? expected : status;
}

static int64_t by_retain(raympi_ref ref, int64_t expected)
{
    (void)expected;
    raympi_ref own = raympi_retain(ref);
    if (!own.handle)
        return RAYMPI_ERR_RELEASED;
    int64_t value = value_of(own);
    CHECK_OK(raympi_release(own));
    return value;
}

static int64_t by_argument(raympi_ref ref, int64_t expected)
{
    (void)expected;
    raympi_ref result = raympi_call_opts(AT(raympi_rank() + (int)expected % 2), number, ref);
    int64_t value = value_of(result);
    CHECK_OK(raympi_release(result));
    return value;
}

static int64_t by_list(raympi_ref ref, int64_t expected)
{
    (void)expected;
    raympi_ref result = raympi_call(member, RAYMPI_REFS(&ref, 1));
    int64_t value = value_of(result);
    CHECK_OK(raympi_release(result));
    return value;
}

static int64_t by_nesting(raympi_ref ref, int64_t expected)
{
    raympi_view view;
    raympi_wire_ref wire = raympi_wire(ref);
    raympi_ref outer = raympi_put_nested(&wire, sizeof wire, &ref, 1);
    int64_t value = raympi_get(outer, &view);
    if (value == RAYMPI_OK) {
        raympi_ref inner = wire.handle ? raympi_view_ref(&view, wire) : (raympi_ref){0};
        value = wire.handle ? value_of(inner) : expected;
        if (wire.handle)
            CHECK_OK(raympi_release(inner));
        CHECK_OK(raympi_view_end(&view));
    }
    CHECK_OK(raympi_release(outer));
    return value;
}

static int64_t by_set(raympi_ref ref, int64_t expected)
{
    raympi_waitset *set;
    raympi_ref found;
    uint64_t tag = 0;
    CHECK_OK(raympi_waitset_create(&set));
    int status = raympi_waitset_add(set, ref, 5);
    if (status == RAYMPI_OK) {
        CHECK_OK(raympi_waitset_wait(set, -1, &found, &tag));
        CHECK(tag == 5 && found.handle == ref.handle);
    }
    CHECK_OK(raympi_waitset_destroy(set));
    return status == RAYMPI_OK ? expected : status;
}

static int64_t by_seal(raympi_ref ref, int64_t expected)
{
    int status = raympi_seal(ref);
    return status == RAYMPI_OK ? expected : status;
}

static int64_t by_call(raympi_ref ref, int64_t expected)
{
    (void)expected;
    raympi_ref result = raympi_actor_call((raympi_actor){ref.handle}, get);
    int64_t value = value_of(result);
    CHECK_OK(raympi_release(result));
    return value;
}

typedef int64_t look_function(raympi_ref ref, int64_t expected);
static look_function *const looks[] = {by_copy,     by_get,  by_wait,    by_status, by_retain,
                                       by_argument, by_list, by_nesting, by_set};
#define LOOKS ((int64_t)(sizeof looks / sizeof *looks))

/* ---- the two threads */

static struct {
    _Atomic uint64_t handle;
    _Atomic int64_t round; /* the last one that there is a handle for; -1: the end */
    _Atomic int64_t begun, done;
    enum kind kind;
    raympi_ref stop; /* sealed by the thread at its end */
} shared;

static look_function *look_of(enum kind kind, int64_t round)
{
    return kind == ACTOR ? by_call : kind == UNSEALED ? by_seal : looks[round % LOOKS];
}

static void await_round(_Atomic int64_t *what, int64_t round)
{
    while (atomic_load(what) < round)
        sched_yield();
}

static void *looker(void *arg)
{
    (void)arg;
    CHECK_OK(raympi_scope_begin());
    for (int64_t round = 1;; round++) {
        int64_t last;
        while ((last = atomic_load(&shared.round)) < round && last >= 0)
            sched_yield();
        if (last < 0)
            break;
        raympi_ref ref = {atomic_load(&shared.handle)};
        atomic_store(&shared.begun, round);
        int64_t value = look_of(shared.kind, round)(ref, round);
        if (value != round && value != RAYMPI_ERR_RELEASED)
            fprintf(stderr, "kind %d, look %d, round %d: %d, %s\n", (int)shared.kind, (int)(round % LOOKS),
                    (int)round, (int)value, raympi_detail());
        CHECK(value == round || value == RAYMPI_ERR_RELEASED);
        atomic_store(&shared.done, round);
    }
    CHECK_OK(raympi_scope_end());
    CHECK_OK(raympi_seal(shared.stop));
    return NULL;
}

static void race(enum kind kind, int64_t round)
{
    raympi_ref decoys[DECOYS];
    int64_t decoy = DECOY;
    CHECK_OK(raympi_scope_begin());
    raympi_ref ref = make(kind, round);
    atomic_store(&shared.handle, ref.handle);
    atomic_store(&shared.round, round);
    await_round(&shared.begun, round);
    for (volatile int i = 0; i < (int)(round * 7 % 400); i++)
        continue;
    let_go(kind, ref, round);
    if (round % 3 == 2) {
        CHECK_OK(raympi_scope_end());
        CHECK_OK(raympi_scope_begin());
    }
    for (int i = 0; i < DECOYS; i++) /* what takes its place */
        decoys[i] = raympi_put(&decoy, sizeof decoy);
    await_round(&shared.done, round);
    for (int i = 0; i < DECOYS; i++)
        CHECK(value_of(decoys[i]) == DECOY);
    CHECK_OK(raympi_scope_end());
}

static void races(enum kind kind, int64_t rounds)
{
    pthread_t thread;
    raympi_view view;
    atomic_store(&shared.round, 0);
    atomic_store(&shared.begun, 0);
    atomic_store(&shared.done, 0);
    shared.kind = kind;
    CHECK(raympi_create(0, &shared.stop) != NULL);
    CHECK(pthread_create(&thread, NULL, looker, NULL) == 0);
    for (int64_t round = 1; round <= rounds; round++)
        race(kind, round);
    atomic_store(&shared.round, -1);
    CHECK_OK(raympi_get(shared.stop, &view));
    CHECK_OK(raympi_view_end(&view));
    CHECK_OK(raympi_release(shared.stop));
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
    int64_t rounds = argc > 1 ? atoi(argv[1]) : 0;
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    if (rounds == 0)
        rounds = 40 + 400 / raympi_size();
    for (int kind = 0; kind < KINDS; kind++)
        races((enum kind)kind, rounds);
    return test_end(raympi_finalize());
}
