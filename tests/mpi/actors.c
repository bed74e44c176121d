/* Actors: state, order, callers everywhere, handles that travel, ends and failures; on every rank at once.
 * `actors` does all that ends well; `actors MODE` one thing of its own: spread, end, cycle, deadlock, unseen.
 */
#include "actors.h"

_Atomic int test_failures;

static int64_t value_of(raympi_ref ref)
{
    int64_t value = INT64_MIN;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    return value;
}

static raympi_options on_node(int node)
{
    raympi_options options = {.size = sizeof options, .strategy = RAYMPI_STRATEGY_NODE};
    options.node = node % raympi_size();
    return options;
}

/* A ref of 8 bytes that is there once `seal` says so. */
static raympi_ref later(int64_t value)
{
    raympi_ref ref = {0};
    int64_t *data = raympi_create(sizeof *data, &ref);
    CHECK(data != NULL);
    *data = value;
    return ref;
}

static raympi_ref boxed(raympi_ref ref)
{
    raympi_wire_ref wire = raympi_wire(ref);
    return raympi_put_nested(&wire, sizeof wire, &ref, 1);
}

static void expect_error(raympi_ref ref, int code, const char *text, int line)
{
    raympi_view view;
    int status = raympi_get(ref, &view);
    if (status != code || !strstr(raympi_detail(), text)) {
        fprintf(stderr, "line %d: rank %d: %s, expected %d with '%s', detail '%s'\n", line, raympi_rank(),
                raympi_strerror(status), code, text, raympi_detail());
        test_failures++;
    }
}
#define EXPECT(ref, code, text) expect_error((ref), (code), (text), __LINE__)

static void state(void)
{
    raympi_actor a = raympi_actor_new(counter, 40), b = raympi_actor_new(counter);
    CHECK_OK(raympi_actor_ready(a, -1));
    CHECK(value_of(raympi_actor_call(a, add, 2)) == 42);
    CHECK(value_of(raympi_actor_call(a, add, -2)) == 40);
    CHECK(value_of(raympi_actor_call(b, add, 7)) == 7);
    raympi_view view;
    CHECK_OK(raympi_get(raympi_actor_call(a, poke), &view));
    CHECK(view.len == 0);
    CHECK(value_of(raympi_actor_call(a, calls)) == 3);
    raympi_actor plain = raympi_actor_new(bare);
    CHECK_OK(raympi_actor_ready(plain, -1));
}

static void constructor_arguments(void)
{
    raympi_ref pending = later(30);
    raympi_actor a = raympi_actor_new(counter, raympi_call(plus, pending, 5));
    raympi_ref sum = raympi_actor_call(a, add, 1);
    CHECK(raympi_actor_ready(a, 0) == RAYMPI_ERR_TIMEOUT);
    CHECK(raympi_ref_status(sum) == RAYMPI_ERR_TIMEOUT);
    CHECK_OK(raympi_seal(pending));
    CHECK(value_of(sum) == 36);
}

static void check_diary(raympi_actor diary, const int64_t *expected, size_t count)
{
    raympi_view view;
    CHECK_OK(raympi_get(raympi_actor_call(diary, read), &view));
    CHECK(view.len == count * sizeof *expected && !memcmp(view.data, expected, view.len));
}

static void caller_order(void)
{
    raympi_ref pending = later(1);
    raympi_actor log = raympi_actor_new_opts(on_node(raympi_rank() + 1), diary);
    raympi_actor_call(log, note, pending);
    raympi_actor_call(log, note, 2);
    raympi_ref third = raympi_actor_call(log, note, 3);
    CHECK(value_of(raympi_call(note_one, log, 100)) == 1); /* another caller is not held back */
    CHECK(raympi_ref_status(third) == RAYMPI_ERR_TIMEOUT);
    CHECK_OK(raympi_seal(pending));
    raympi_view view;
    CHECK_OK(raympi_get(third, &view));
    check_diary(log, (int64_t[]){100, 1, 2, 3}, 4);
}

/* An actor is one caller, whichever of its methods calls. */
static void actor_order(void)
{
    raympi_ref pending = later(1);
    raympi_view view;
    raympi_actor log = raympi_actor_new(diary), writer = raympi_actor_new(friend, log);
    CHECK_OK(raympi_get(raympi_actor_call(writer, dictate, boxed(pending)), &view));
    CHECK_OK(raympi_get(raympi_actor_call(writer, tell, 2), &view));
    CHECK(value_of(raympi_call(note_one, log, 100)) == 1);
    CHECK_OK(raympi_seal(pending));
    int64_t entry[3] = {0};
    do /* its notes have no refs that we could wait for */
        CHECK_OK(raympi_get(raympi_actor_call(log, read), &view));
    while (view.len < sizeof entry && !test_failures);
    check_diary(log, (int64_t[]){100, 1, 2}, 3);
}

static void failed_in_order(void)
{
    raympi_actor log = raympi_actor_new(diary);
    raympi_ref bad = raympi_actor_call(log, note, raympi_call(refuse));
    raympi_actor_call(log, note, 1);
    EXPECT(bad, 11, "refused by rank");
    check_diary(log, (int64_t[]){1}, 1);
}

static void many(void)
{
    enum { N = 1500 };
    raympi_ref refs[N];
    for (int where = 0; where < 2; where++) {
        raympi_scope_begin();
        raympi_actor a = raympi_actor_new_opts(on_node(raympi_rank() + where), counter);
        for (int i = 0; i < N; i++)
            refs[i] = raympi_actor_call(a, add, 1);
        for (int i = 0; i < N; i++)
            CHECK(value_of(refs[i]) == i + 1);
        raympi_scope_end();
    }
}

static void many_callers(void)
{
    enum { TASKS = 12, EACH = 25 };
    raympi_ref done[TASKS];
    raympi_actor target = raympi_actor_new(counter), relay[4];
    for (int i = 0; i < 4; i++)
        relay[i] = raympi_actor_new(friend, target);
    for (int i = 0; i < TASKS; i++)
        done[i] = raympi_call_opts(on_node(i), add_times, target, EACH);
    for (int i = 0; i < 100; i++) {
        raympi_release(raympi_actor_call(relay[i % 4], pass, 1));
        raympi_release(raympi_actor_call(target, add, 1));
    }
    for (int i = 0; i < TASKS; i++)
        CHECK(value_of(done[i]) == 1);
    for (int i = 0; i < 4; i++)
        CHECK(value_of(raympi_actor_call(relay[i], pass, 0)) > 0);
    CHECK(value_of(raympi_actor_call(target, add, 0)) == TASKS * EACH + 200);
}

/* The handle is at a third rank before the news of the actor is on its own. */
static void fast_handles(void)
{
    int size = raympi_size();
    for (int i = 0; i < 20; i++) {
        raympi_scope_begin();
        raympi_actor a = raympi_actor_new_opts(on_node(raympi_rank() + 1 + i), counter);
        raympi_ref hops = raympi_call_opts(on_node(raympi_rank() + 2 + i), hand_on, a, size);
        CHECK(value_of(hops) > 0);
        CHECK(value_of(raympi_actor_call(a, add, 0)) == size + 1);
        raympi_scope_end();
    }
}

static void kept_handles(void)
{
    raympi_actor keeper = raympi_actor_new(friend);
    raympi_scope_begin();
    raympi_actor target = raympi_actor_new(counter, 10);
    raympi_view view;
    CHECK_OK(raympi_get(raympi_actor_call(keeper, meet, target), &view));
    CHECK_OK(raympi_release(target));
    raympi_scope_end();
    CHECK(value_of(raympi_actor_call(keeper, pass, 1)) == 11);
    CHECK(value_of(raympi_actor_call(keeper, ask, 1)) == 12);
}

static void call_backs(void)
{
    raympi_actor a = raympi_actor_new(friend), b = raympi_actor_new(friend, a);
    CHECK(value_of(raympi_actor_call(b, self_then)) == 9);
    raympi_actor here = raympi_actor_new_opts(on_node(0), counter);
    raympi_actor one = raympi_actor_new_opts(on_node(0), friend, here),
                 two = raympi_actor_new_opts(on_node(0), friend, here);
    raympi_ref asked[20];
    for (int i = 0; i < 20; i++)
        asked[i] = raympi_actor_call(i % 2 ? one : two, ask, 1);
    for (int i = 0; i < 20; i++)
        CHECK(value_of(asked[i]) > 0);
    CHECK(value_of(raympi_actor_call(here, add, 0)) == 20);
}

static void nested_handles(void)
{
    struct team team;
    raympi_ref nested[3];
    raympi_scope_begin();
    for (int i = 0; i < 3; i++) {
        raympi_actor member = raympi_actor_new(counter, 10 * i);
        nested[i] = raympi_actor_as_nested(member);
        team.member[i] = raympi_wire(member);
    }
    CHECK(team.member[0].id[0] != team.member[1].id[0]);
    raympi_ref object = raympi_put_nested(&team, sizeof team, nested, 3);
    raympi_keep(object);
    raympi_scope_end(); /* only the object holds them now */
    CHECK(value_of(raympi_call_opts(on_node(raympi_rank() + 1), use_team, object)) == 33);
    CHECK(value_of(raympi_call_opts(on_node(raympi_rank()), use_team, object)) == 36);
    raympi_view view;
    CHECK_OK(raympi_get(object, &view));
    raympi_actor first = raympi_view_actor(&view, team.member[0]);
    CHECK(value_of(raympi_actor_call(first, add, 0)) == 2);
    CHECK(raympi_view_actor(&view, (raympi_wire_actor){first.handle + 100000, {0, 0}}).handle == 0);
    EXPECT(raympi_view_ref(&view, (raympi_wire_ref){first.handle, {0, 0}}), RAYMPI_ERR_TYPE, "actor");
    CHECK_OK(raympi_view_end(&view));
    CHECK_OK(raympi_release(object));
    for (int rank = 0; rank < raympi_size(); rank++) {
        raympi_ref made = raympi_call_opts(on_node(rank), make_counter, rank);
        raympi_wire_actor wire;
        CHECK_OK(raympi_get(made, &view));
        memcpy(&wire, view.data, sizeof wire);
        raympi_actor actor = raympi_view_actor(&view, wire);
        CHECK_OK(raympi_view_end(&view));
        CHECK_OK(raympi_release(made));
        CHECK(value_of(raympi_actor_call(actor, add, 1)) == rank + 1);
    }
}

static void places(void)
{
    for (int rank = 0; rank < raympi_size(); rank++) {
        raympi_actor a = raympi_actor_new_opts(on_node(rank), counter);
        CHECK(raympi_actor_node(a) == rank);
        CHECK_OK(raympi_actor_ready(a, -1));
        CHECK_OK(raympi_release(a));
    }
}

/* Destructors tell a counter; we ask until all have. */
static void destructors(void)
{
    raympi_actor witness = raympi_actor_new(counter);
    raympi_actor released = raympi_actor_new(friend, witness, 1),
                 killed = raympi_actor_new(friend, witness, 10);
    raympi_actor exits = raympi_actor_new(friend, witness, 100);
    CHECK_OK(raympi_actor_ready(released, -1));
    CHECK_OK(raympi_actor_ready(killed, -1));
    CHECK_OK(raympi_release(released));
    CHECK_OK(raympi_actor_kill(killed));
    raympi_view view;
    CHECK_OK(raympi_get(raympi_actor_call(exits, stop), &view));
    EXPECT(raympi_actor_call(exits, pass, 1), RAYMPI_ERR_ACTOR_DEAD, "has exited");
    EXPECT(raympi_actor_call(killed, pass, 1), RAYMPI_ERR_ACTOR_DEAD, "was killed");
    CHECK(raympi_actor_ready(killed, -1) == RAYMPI_ERR_ACTOR_DEAD);
    int64_t sum;
    do
        sum = value_of(raympi_actor_call(witness, add, 0));
    while (sum < 111 && !test_failures);
    CHECK(sum == 111);
    CHECK_OK(raympi_actor_kill(killed)); /* again: no effect */
}

static void released_with_calls(void)
{
    raympi_ref sums[10];
    raympi_actor a = raympi_actor_new(counter);
    for (int i = 0; i < 10; i++)
        sums[i] = raympi_actor_call(a, add, 1);
    CHECK_OK(raympi_release(a));
    CHECK(value_of(sums[9]) == 10);
    EXPECT(raympi_actor_call(a, add, 1), RAYMPI_ERR_RELEASED, "released");
    CHECK(raympi_release(a) == RAYMPI_ERR_RELEASED);
}

static void killed_with_calls(void)
{
    raympi_ref pending = later(0), queued[5];
    raympi_actor a = raympi_actor_new(friend);
    CHECK_OK(raympi_actor_ready(a, -1));
    raympi_ref running = raympi_actor_call(a, linger, boxed(pending));
    for (int i = 0; i < 5; i++)
        queued[i] = raympi_actor_call(a, double_it, i);
    raympi_actor held_back = raympi_actor_new(friend);
    raympi_ref in_lane = raympi_actor_call(held_back, double_it, pending);
    CHECK_OK(raympi_actor_kill(held_back));
    CHECK_OK(raympi_actor_kill(a));
    for (int i = 0; i < 5; i++) /* at once, although the method is still running */
        EXPECT(queued[i], RAYMPI_ERR_ACTOR_DEAD, "was killed");
    CHECK_OK(raympi_seal(pending));
    raympi_view view;
    int status = raympi_get(running, &view);
    CHECK(status == RAYMPI_OK || status == RAYMPI_ERR_ACTOR_DEAD); /* it had begun, or had not */
    EXPECT(in_lane, RAYMPI_ERR_ACTOR_DEAD, "was killed");
}

static void failed_constructors(void)
{
    raympi_actor a = raympi_actor_new(broken, "alpha");
    EXPECT(raympi_actor_call(a, work), RAYMPI_ERR_ACTOR_DEAD, "the disk of alpha is full");
    CHECK(raympi_actor_ready(a, -1) == RAYMPI_ERR_ACTOR_DEAD &&
          strstr(raympi_detail(), "the disk of alpha is full"));
    for (int rank = 0; rank < raympi_size(); rank++)
        EXPECT(raympi_call_opts(on_node(rank), call_broken, a), RAYMPI_ERR_ACTOR_DEAD,
               "the disk of alpha is full");
    raympi_ref pending = later(1);
    raympi_actor b = raympi_actor_new(counter, raympi_call(plus, pending, raympi_call(refuse)));
    raympi_ref early = raympi_actor_call(b, add, 1);
    CHECK_OK(raympi_seal(pending));
    EXPECT(early, RAYMPI_ERR_ACTOR_DEAD, "refused by rank");
    EXPECT(raympi_actor_call(b, add, 1), RAYMPI_ERR_ACTOR_DEAD, "refused by rank");
}

static void bad_input(void)
{
    raympi_actor none = {0}, a = raympi_actor_new(counter);
    raympi_method_name constructor = RAYMPI_METHOD_NAME(""), null = RAYMPI_METHOD_NAME(NULL);
    EXPECT(raympi_actor_call(none, add, 1), RAYMPI_ERR_ARGUMENT, "null");
    EXPECT(raympi_actor_call((raympi_actor){raympi_call(plus, 1, 2).handle}, add, 1), RAYMPI_ERR_ARGUMENT,
           "handle");
    EXPECT(raympi_actor_call(a, no_such_method), RAYMPI_ERR_UNKNOWN, "no such method");
    EXPECT(raympi_actor_submit(a, &constructor, NULL, NULL, 0), RAYMPI_ERR_UNKNOWN, "no method");
    EXPECT(raympi_actor_submit(a, &null, NULL, NULL, 0), RAYMPI_ERR_ARGUMENT, "null");
    EXPECT(raympi_actor_call(a, add, "seven"), RAYMPI_ERR_TYPE, "argument 0");
    EXPECT(raympi_actor_call(a, add, a), RAYMPI_ERR_TYPE, "argument 0");
    EXPECT(raympi_actor_call(a, fails, 3), 77, "no luck with 3");
    EXPECT(raympi_call(plus, (raympi_ref){a.handle}, 1), RAYMPI_ERR_TYPE, "actor");
    EXPECT(raympi_call(note_one, none, 1), RAYMPI_ERR_ARGUMENT, "actor");
    EXPECT((raympi_ref){a.handle}, RAYMPI_ERR_TYPE, "actor");
    CHECK(raympi_actor_kill(none) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_actor_node(none) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_actor_ready(none, -1) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_release(none) == RAYMPI_ERR_ARGUMENT);
    CHECK(raympi_wire((raympi_actor){raympi_call(plus, 1, 2).handle}).handle == 0);
    /* What could not be made says why at every call. */
    raympi_actor unknown = raympi_actor_create(NULL, "conuter", NULL, NULL, 0);
    CHECK(raympi_actor_ready(unknown, -1) == RAYMPI_ERR_UNKNOWN && strstr(raympi_detail(), "conuter"));
    EXPECT(raympi_actor_call(unknown, add, 1), RAYMPI_ERR_UNKNOWN, "counter");
    raympi_actor no_class = raympi_actor_create(NULL, "plus", NULL, NULL, 0);
    CHECK(raympi_actor_ready(no_class, -1) == RAYMPI_ERR_TYPE);
    raympi_actor nowhere =
        raympi_actor_new_opts(RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = 9999), counter);
    CHECK(raympi_actor_ready(nowhere, -1) == RAYMPI_ERR_INFEASIBLE);
    raympi_actor named = raympi_actor_new_opts(RAYMPI_OPTIONS(.name = "x"), counter);
    CHECK(raympi_actor_ready(named, -1) == RAYMPI_ERR_UNSUPPORTED);
    raympi_actor bad_args = raympi_actor_new(counter, (raympi_ref){0});
    CHECK(raympi_actor_ready(bad_args, -1) == RAYMPI_ERR_ARGUMENT);
    EXPECT(raympi_call_name("counter", 1), RAYMPI_ERR_TYPE, "class");
    CHECK(value_of(raympi_actor_call(a, add, 1)) == 1); /* nothing of this has hurt it */
}

static void run_all(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {{"state", state},
                 {"constructor arguments", constructor_arguments},
                 {"caller order", caller_order},
                 {"actor order", actor_order},
                 {"failed in order", failed_in_order},
                 {"many", many},
                 {"many callers", many_callers},
                 {"fast handles", fast_handles},
                 {"kept handles", kept_handles},
                 {"call backs", call_backs},
                 {"nested handles", nested_handles},
                 {"places", places},
                 {"destructors", destructors},
                 {"released with calls", released_with_calls},
                 {"killed with calls", killed_with_calls},
                 {"failed constructors", failed_constructors},
                 {"bad input", bad_input}};
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        int before = test_failures;
        CHECK_OK(raympi_scope_begin());
        tests[i].run();
        CHECK_OK(raympi_scope_end());
        if (test_failures != before)
            fprintf(stderr, "rank %d: in \"%s\"\n", raympi_rank(), tests[i].name);
    }
}

/* ---- one thing each */

static void spread(void)
{
    raympi_actor a[10];
    int count[64] = {0}, most = 0, least = 10;
    if (raympi_rank() != 0)
        return;
    for (int rank = 0; rank < raympi_size(); rank++) /* a rank whose main has not come so far is no target */
        CHECK(value_of(raympi_call_opts(on_node(rank), plus, 1, rank)) == rank + 1);
    raympi_actor pinned =
        raympi_actor_new_opts(on_node(0), counter); /* was there and has gone: counts no more */
    CHECK_OK(raympi_actor_ready(pinned, -1));
    CHECK_OK(raympi_actor_kill(pinned));
    CHECK(raympi_actor_ready(pinned, -1) == RAYMPI_ERR_ACTOR_DEAD);
    for (int i = 0; i < 10; i++) {
        a[i] = raympi_actor_new(counter);
        count[raympi_actor_node(a[i])]++;
    }
    for (int rank = 0; rank < raympi_size(); rank++) {
        most = count[rank] > most ? count[rank] : most;
        least = count[rank] < least ? count[rank] : least;
    }
    CHECK(most - least <= 1);
    for (int i = 0; i < 10; i++)
        CHECK_OK(raympi_release(a[i]));
}

/* Held until the job ends: by main, by each other. The destructors run all the same; what they call is still
 * there. */
static void held_to_the_end(void)
{
    raympi_actor witness = raympi_actor_new(counter);
    raympi_actor last = raympi_actor_new(friend, witness, -1), a = raympi_actor_new(friend, witness, -2);
    raympi_actor speaks = raympi_actor_new(friend, witness, 5);
    CHECK_OK(raympi_actor_ready(last, -1));
    CHECK_OK(raympi_actor_ready(speaks, -1));
    raympi_keep(a);
}

static void cycle(void)
{
    raympi_scope_begin();
    raympi_actor a = raympi_actor_new(friend, raympi_actor_new(counter), -3),
                 b = raympi_actor_new(friend, a, -4);
    raympi_view view;
    CHECK_OK(raympi_get(raympi_actor_call(a, meet, b), &view));
    raympi_scope_end();
}

static void deadlock(void)
{
    raympi_view view;
    if (raympi_rank() != 0)
        return;
    raympi_actor a = raympi_actor_new(friend), b = raympi_actor_new(friend, a);
    CHECK_OK(raympi_get(raympi_actor_call(a, meet, b), &view));
    raympi_ref never = raympi_actor_call(a, circle, 3);
    CHECK(raympi_get(never, &view) == RAYMPI_ERR_DEADLOCK);
}

static void unseen(void)
{
    if (raympi_rank() == 0)
        raympi_release(raympi_actor_new(broken, "omega"));
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "all";
    void (*drive)(void) = run_all;
    int expected = RAYMPI_OK;
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    if (!strcmp(mode, "spread"))
        drive = spread;
    else if (!strcmp(mode, "end"))
        drive = held_to_the_end;
    else if (!strcmp(mode, "cycle"))
        drive = cycle;
    else if (!strcmp(mode, "deadlock"))
        drive = deadlock, expected = RAYMPI_ERR_DEADLOCK;
    else if (!strcmp(mode, "unseen"))
        drive = unseen, expected = RAYMPI_ERR_UNSEEN;
    int finalized = test_drive(drive);
    return test_end(finalized == expected    ? RAYMPI_OK
                    : finalized == RAYMPI_OK ? RAYMPI_ERR_STATE
                                             : finalized);
}
