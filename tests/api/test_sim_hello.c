/* Whole jobs on the sim transport: several nodes in one process, every run repeatable from its seed. */
#include "sim_job.h"

#include "base/base_spin.h"

#include <fcntl.h>

#define SIM_CHECK(condition)                                                                                 \
    do {                                                                                                     \
        bool holds_ = (condition);                                                                           \
        if (!holds_)                                                                                         \
            fprintf(stderr, "%s:%d: rank %d, seed %llu: %s does not hold (%s)\n", __FILE__, __LINE__,        \
                    raympi_rank(), (unsigned long long)seed, #condition, raympi_detail());                   \
        CU_ASSERT(holds_);                                                                                   \
    } while (0)

RAYMPI_TASK(greet)
{
    char text[100];
    int length = snprintf(text, sizeof text, "hello %s from rank %d of %d", raympi_arg_string(ctx, 0),
                          raympi_rank(), raympi_size());
    return raympi_return_copy(ctx, 0, text, (size_t)length + 1);
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
    for (int i = 0; i < raympi_arg_list_count(ctx, 0); i++)
        sum += *(const int64_t *)raympi_arg_at(ctx, 0, i, NULL);
    return raympi_return_int(ctx, 0, sum);
}

RAYMPI_TASK(forward)
{
    return raympi_return_ref(ctx, 0, raympi_call(add, raympi_arg_ref(ctx, 0), 1));
}

RAYMPI_TASK(broken)
{
    return raympi_fail(ctx, 42, "broken on purpose");
}

/* `n` words in the store, then their sum. */
RAYMPI_TASK(fill)
{
    int64_t n = raympi_arg_int(ctx, 0);
    int64_t *data = raympi_return(ctx, 0, (size_t)n * sizeof *data);
    for (int64_t i = 0; data && i < n; i++)
        data[i] = i;
    return RAYMPI_OK;
}

RAYMPI_TASK(sum_words)
{
    size_t length;
    const int64_t *data = raympi_arg(ctx, 0, &length);
    int64_t sum = 0;
    for (size_t i = 0; i < length / sizeof *data; i++)
        sum += data[i];
    return raympi_return_int(ctx, 0, sum);
}

struct counter {
    int64_t value;
};
RAYMPI_ACTOR(counter, struct counter)
RAYMPI_CONSTRUCTOR(counter)
{
    struct counter *self = raympi_self(ctx);
    self->value = raympi_arg_int(ctx, 0);
    return RAYMPI_OK;
}
RAYMPI_METHOD(counter, increment)
{
    struct counter *self = raympi_self(ctx);
    self->value += raympi_arg_int(ctx, 0);
    return raympi_return_int(ctx, 0, self->value);
}

/* Increments an actor that was passed on, and waits for it. */
RAYMPI_TASK(poke)
{
    int64_t now;
    raympi_ref done = raympi_actor_call(raympi_arg_actor(ctx, 0), increment, raympi_arg_int(ctx, 1));
    if (raympi_get_copy(done, &now, sizeof now))
        return raympi_fail(ctx, 1, "%s", raympi_detail());
    return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 1));
}

static raympi_options on(int rank)
{
    return RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = rank);
}

static int64_t value_of(raympi_ref ref)
{
    int64_t value = -1;
    return raympi_get_copy(ref, &value, sizeof value) == RAYMPI_OK ? value : -1;
}

/* ---- hello */

static void hello(int rank, uint64_t seed)
{
    static const char *const names[] = {"Ada", "Alan", "Barbara", "Edsger", "Grace", "Leslie"};
    raympi_ref answers[6];
    if (rank != 0)
        return;
    raympi_scope_begin();
    for (int i = 0; i < 6; i++)
        answers[i] = raympi_call_opts(on(i % raympi_size()), greet, names[i]);
    for (int i = 0; i < 6; i++) {
        char expected[100];
        raympi_view view;
        snprintf(expected, sizeof expected, "hello %s from rank %d of %d", names[i], i % raympi_size(),
                 raympi_size());
        SIM_CHECK(raympi_get(answers[i], &view) == RAYMPI_OK);
        SIM_CHECK(strcmp((const char *)view.data, expected) == 0);
    }
    raympi_release_all(answers, 6);
    raympi_actor there = raympi_actor_new_opts(on(raympi_size() - 1), counter, 10);
    SIM_CHECK(raympi_actor_node(there) == raympi_size() - 1);
    for (int i = 1; i <= 5; i++)
        SIM_CHECK(value_of(raympi_actor_call(there, increment, 1)) == 10 + i);
    raympi_scope_end();
}

static uint64_t run(int size, uint64_t seed, void (*body)(int rank, uint64_t seed))
{
    struct sim_job job;
    sim_job_run(&job, size, seed, body);
    for (int rank = 0; rank < size; rank++)
        CU_ASSERT_EQUAL(job.nodes[rank].status, RAYMPI_OK);
    return job.history;
}

static void hello_runs_on_two_nodes(void)
{
    for (int size = 1; size <= SIM_NODES; size++)
        run(size, 7, hello);
}

static void one_seed_is_one_run(void)
{
    int different = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        uint64_t history = run(2, seed, hello);
        CU_ASSERT_EQUAL(run(2, seed, hello), history);
        different += run(2, seed + 1000, hello) != history;
    }
    CU_ASSERT(different >= 5); /* two seeds may happen to draw the same order of so few messages */
}

/* ---- any mixture of everything */

enum { REFS = 8, STEPS = 25 };

struct mixture {
    uint64_t random;
    raympi_ref refs[REFS];
    int64_t expected[REFS];
    raympi_actor actor;
    int64_t counted;
};

static int draw(struct mixture *mixture, int below)
{
    mixture->random += UINT64_C(0x9e3779b97f4a7c15);
    return (int)(base_mix(mixture->random) % (uint64_t)below);
}

static void put(struct mixture *mixture, int slot, raympi_ref ref, int64_t expected)
{
    raympi_release(mixture->refs[slot]);
    mixture->refs[slot] = ref;
    mixture->expected[slot] = expected;
}

static void mixture_sum(struct mixture *mixture, int slot)
{
    raympi_ref members[3];
    int64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        int from = draw(mixture, REFS);
        members[i] = mixture->refs[from];
        sum += mixture->expected[from];
    }
    put(mixture, slot, raympi_call(sum_list, RAYMPI_REFS(members, 3)), sum);
}

static void mixture_large(struct mixture *mixture, int slot)
{
    int64_t words = 200 + draw(mixture, 2000);
    raympi_ref data = raympi_call_opts(on(draw(mixture, raympi_size())), fill, words);
    put(mixture, slot, raympi_call_opts(on(draw(mixture, raympi_size())), sum_words, data),
        words * (words - 1) / 2);
    raympi_release(data);
}

static void mixture_error(uint64_t seed)
{
    raympi_view view;
    raympi_ref failed = raympi_call(broken), behind = raympi_call(add, failed, 1);
    SIM_CHECK(raympi_get(behind, &view) == 42);
    SIM_CHECK(strstr(raympi_detail(), "broken on purpose") != NULL);
    raympi_release(failed);
    raympi_release(behind);
}

static void mixture_step(struct mixture *mixture, uint64_t seed)
{
    static const int64_t fibs[] = {0, 1, 1, 2, 3, 5, 8, 13};
    int slot = draw(mixture, REFS), from = draw(mixture, REFS), n = draw(mixture, 8);
    switch (draw(mixture, 10)) {
    case 0:
    case 1:
        put(mixture, slot, raympi_call(add, mixture->refs[from], n), mixture->expected[from] + n);
        break;
    case 2:
        put(mixture, slot, raympi_call_opts(on(draw(mixture, raympi_size())), add, mixture->refs[from], n),
            mixture->expected[from] + n);
        break;
    case 3:
        put(mixture, slot, raympi_call(fib, n), fibs[n]);
        break;
    case 4:
        mixture_sum(mixture, slot);
        break;
    case 5:
        put(mixture, slot, raympi_call_opts(on(draw(mixture, raympi_size())), forward, mixture->refs[from]),
            mixture->expected[from] + 1);
        break;
    case 6:
        mixture_large(mixture, slot);
        break;
    case 7:
        mixture->counted += n;
        put(mixture, slot, raympi_actor_call(mixture->actor, increment, n), mixture->counted);
        break;
    case 8:
        SIM_CHECK(value_of(mixture->refs[from]) == mixture->expected[from]);
        break;
    default:
        mixture_error(seed);
    }
}

static void mixture_run(int rank, uint64_t seed)
{
    raympi_scope_begin();
    struct mixture mixture = {.random = base_mix(seed) + (uint64_t)rank};
    mixture.actor = raympi_actor_new_opts(on(draw(&mixture, raympi_size())), counter, 0);
    for (int i = 0; i < REFS; i++) {
        mixture.refs[i] = raympi_call(add, i, rank);
        mixture.expected[i] = i + rank;
    }
    for (int i = 0; i < STEPS; i++)
        mixture_step(&mixture, seed);
    for (int i = 0; i < REFS; i++)
        SIM_CHECK(value_of(mixture.refs[i]) == mixture.expected[i]);
    raympi_release_all(mixture.refs, REFS);
    /* Others count too, in any order. */
    raympi_ref pokes[5];
    for (int i = 0; i < 5; i++) {
        pokes[i] = raympi_call_opts(on(i % raympi_size()), poke, mixture.actor, i);
        mixture.counted += i;
    }
    for (int i = 0; i < 5; i++)
        SIM_CHECK(value_of(pokes[i]) == i);
    raympi_release_all(pokes, 5);
    SIM_CHECK(value_of(raympi_actor_call(mixture.actor, increment, 0)) == mixture.counted);
    raympi_scope_end();
}

/* ThreadSanitizer makes and ends fibers slowly, and there is one thread only. */
#ifdef BASE_TSAN
#define SEEDS 20
#else
#define SEEDS 200
#endif

static void results_are_right_for_every_seed(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(2 + (int)(seed % 3), seed, mixture_run);
}

static void mixtures_are_repeatable(void)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        uint64_t history = run(3, seed, mixture_run);
        CU_ASSERT_EQUAL(run(3, seed, mixture_run), history);
        CU_ASSERT_NOT_EQUAL(run(3, seed + 1000, mixture_run), history);
    }
}

/* ---- a job that can not end is found out */

static void waits_for_ever(int rank, uint64_t seed)
{
    raympi_ref never;
    raympi_view view;
    if (rank != 1)
        return;
    SIM_CHECK(raympi_create(8, &never) != NULL);
    SIM_CHECK(raympi_get(raympi_call_opts(on(0), add, never, 1), &view) == RAYMPI_ERR_DEADLOCK);
}

static void a_deadlock_is_found(void)
{
    struct sim_job job;
    int out = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    fflush(stderr);
    dup2(null, STDERR_FILENO); /* the report of the deadlock is meant */
    for (uint64_t seed = 1; seed <= 5; seed++) {
        sim_job_run(&job, 3, seed, waits_for_ever);
        int told = 0;
        for (int rank = 0; rank < 3; rank++)
            told += job.nodes[rank].status == RAYMPI_ERR_DEADLOCK;
        CU_ASSERT(told >= 1);
    }
    fflush(stderr);
    dup2(out, STDERR_FILENO);
    close(null);
    close(out);
}

static const struct unit_test tests[] = {
    {"hello runs on nodes of one process", hello_runs_on_two_nodes},
    {"one seed is one run, another seed another", one_seed_is_one_run},
    {"results are right for every seed", results_are_right_for_every_seed},
    {"mixtures are repeatable", mixtures_are_repeatable},
    {"a deadlock is found", a_deadlock_is_found},
};

int main(void)
{
    unsetenv("RAYMPI_WORKERS");
    if (task_functions_build() != RAYMPI_OK)
        return EXIT_FAILURE;
    int result = UNIT_MAIN("api: sim", tests);
    task_functions_clear();
    return result;
}
