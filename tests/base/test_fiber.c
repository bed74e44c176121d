/*
 * Fibers: switching, stacks, floating-point control, the pool. Linked once with the machine's own context
 * switch and once with base_fiber_ucontext.c. FIBER_TEST_STANDALONE builds it without CUnit, for cross
 * compilers.
 */

#include "base/base_fiber.h"

#include <execinfo.h>
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef FIBER_TEST_STANDALONE
static unsigned failures;
#define CU_ASSERT(condition)                                                                                 \
    ((condition) ? (void)0 : (void)(failures++, printf("line %d: %s\n", __LINE__, #condition)))
#define CU_ASSERT_FATAL(condition) ((condition) ? (void)0 : (printf("line %d\n", __LINE__), exit(1)))
#else
#include <CUnit/Basic.h>
#endif

enum { STACK_BYTES = 64 * 1024, FLOCK = 1000, ROUNDS = 10, EXIT_GUARD_SEEN = 42, THREADS = 4 };

/* One fiber under test and the thread's fiber that it talks to. */
struct partner {
    struct fiber *self;
    struct fiber *thread;
    int count;
    int bytes;
    bool ok;
};

static struct fiber_pool *pool_of(unsigned max_fibers)
{
    struct fiber_pool *pool = fiber_pool_create(STACK_BYTES, max_fibers);

    CU_ASSERT_FATAL(pool != NULL);
    return pool;
}

static struct fiber *acquired(struct fiber_pool *pool, fiber_fn *fn, void *arg)
{
    struct fiber *fiber = fiber_acquire(pool, fn, arg);

    CU_ASSERT_FATAL(fiber != NULL);
    return fiber;
}

static void count_and_leave(void *arg)
{
    struct partner *partner = arg;

    for (;;) {
        partner->count++;
        fiber_switch(partner->self, partner->thread);
    }
}

static void test_ping_pong(void)
{
    struct fiber_pool *pool = pool_of(1);
    struct fiber thread;
    struct partner partner = {.thread = &thread};

    fiber_init_thread(&thread);
    partner.self = acquired(pool, count_and_leave, &partner);
    for (int i = 1; i <= 1000; i++) {
        fiber_switch(&thread, partner.self);
        CU_ASSERT(partner.count == i);
    }
    fiber_release(pool, partner.self);
    fiber_fini_thread(&thread);
    fiber_pool_destroy(pool);
}

/* Two fibers that switch to each other, not through the thread. */
struct ring {
    struct fiber *fibers[2];
    struct fiber *thread;
    int log[2 * ROUNDS];
    int logged;
};

static void ring_member(struct ring *ring, int me)
{
    while (ring->logged < 2 * ROUNDS) {
        ring->log[ring->logged++] = me;
        fiber_switch(ring->fibers[me], ring->fibers[1 - me]);
    }
    fiber_exit_to(ring->fibers[me], ring->thread);
}

static void ring_first(void *arg)
{
    ring_member(arg, 0);
}

static void ring_second(void *arg)
{
    ring_member(arg, 1);
}

static void test_between_fibers(void)
{
    struct fiber_pool *pool = pool_of(2);
    struct fiber thread;
    struct ring ring = {.thread = &thread};

    fiber_init_thread(&thread);
    ring.fibers[0] = acquired(pool, ring_first, &ring);
    ring.fibers[1] = acquired(pool, ring_second, &ring);
    fiber_switch(&thread, ring.fibers[0]);
    CU_ASSERT(ring.logged == 2 * ROUNDS);
    for (int i = 0; i < ring.logged; i++) {
        CU_ASSERT(ring.log[i] == i % 2);
    }
    fiber_release(pool, ring.fibers[0]);
    fiber_release(pool, ring.fibers[1]);
    fiber_fini_thread(&thread);
    fiber_pool_destroy(pool);
}

/* Keeps many values alive over a switch: more than fit in the registers that a callee saves. */
__attribute__((noinline)) static uint64_t mix_over_switch(struct fiber *from, struct fiber *to, uint64_t seed)
{
    uint64_t a = seed * 3, b = seed * 5, c = seed * 7, d = seed * 11, e = seed * 13, f = seed * 17;
    double x = (double)seed + 0.5, y = (double)seed + 0.25, z = (double)seed * 2;

    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    fiber_switch(from, to);
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    return a + b + c + d + e + f + (uint64_t)(4 * (x + y + z));
}

static uint64_t mix(uint64_t seed)
{
    return seed * (3 + 5 + 7 + 11 + 13 + 17) + 4 * seed + 2 + 4 * seed + 1 + 8 * seed;
}

static void mix_and_exit(void *arg)
{
    struct partner *partner = arg;
    uint64_t seed = (uint64_t)partner->count;

    partner->ok = mix_over_switch(partner->self, partner->thread, seed) == mix(seed);
    fiber_exit_to(partner->self, partner->thread);
}

static void test_many(void)
{
    static struct partner partners[FLOCK];
    struct fiber_pool *pool = pool_of(FLOCK);
    struct fiber thread;
    int kept = 0;

    fiber_init_thread(&thread);
    for (int i = 0; i < FLOCK; i++) {
        partners[i] = (struct partner){.thread = &thread, .count = i};
        partners[i].self = acquired(pool, mix_and_exit, &partners[i]);
        fiber_switch(&thread, partners[i].self);
    }
    CU_ASSERT(fiber_pool_in_use(pool) == FLOCK);
    for (int i = FLOCK - 1; i >= 0; i--) {
        CU_ASSERT(mix_over_switch(&thread, partners[i].self, (uint64_t)i) == mix((uint64_t)i));
        kept += partners[i].ok;
        fiber_release(pool, partners[i].self);
    }
    CU_ASSERT(kept == FLOCK);
    CU_ASSERT(fiber_pool_in_use(pool) == 0);
    CU_ASSERT(fiber_pool_peak(pool) == FLOCK);
    fiber_fini_thread(&thread);
    fiber_pool_destroy(pool);
}

/* Fills and reads back about this many bytes of stack: the real one, not what AddressSanitizer may put in its
 * place. */
__attribute__((noinline, no_sanitize_address)) static bool fill_stack(int bytes)
{
    volatile unsigned char frame[512];
    bool ok = true;

    for (size_t i = 0; i < sizeof frame; i++) {
        frame[i] = (unsigned char)(i + (size_t)bytes + 1);
    }
    if (bytes > (int)sizeof frame) {
        ok = fill_stack(bytes - (int)sizeof frame);
    }
    for (size_t i = 0; i < sizeof frame; i++) {
        ok = ok && frame[i] == (unsigned char)(i + (size_t)bytes + 1);
    }
    return ok;
}

static void use_stack(void *arg)
{
    struct partner *partner = arg;

    for (;;) {
        partner->ok = fill_stack(partner->bytes);
        fiber_switch(partner->self, partner->thread);
    }
}

static void test_stack_and_high_water(void)
{
    struct fiber_pool *pool = fiber_pool_create(1024 * 1024, 2);
    struct fiber thread;
    struct partner shallow = {.thread = &thread, .bytes = 512};
    struct partner deep = {.thread = &thread, .bytes = 512};
    size_t before;

    CU_ASSERT_FATAL(pool != NULL);
    fiber_init_thread(&thread);
    CU_ASSERT(fiber_high_water(&thread) == 0);
    CU_ASSERT(fiber_pool_high_water(pool) == 0);
    shallow.self = acquired(pool, use_stack, &shallow);
    deep.self = acquired(pool, use_stack, &deep);
    fiber_switch(&thread, shallow.self);
    fiber_switch(&thread, deep.self);
    CU_ASSERT(shallow.ok && deep.ok);
    before = fiber_high_water(deep.self);
    CU_ASSERT(before >= 512 && before < 64 * 1024);
    deep.bytes = 300 * 1024;
    fiber_switch(&thread, deep.self);
    CU_ASSERT(deep.ok);
    CU_ASSERT(fiber_high_water(deep.self) >= 300 * 1024);
    CU_ASSERT(fiber_high_water(deep.self) <= 1024 * 1024);
    CU_ASSERT(fiber_high_water(shallow.self) < 64 * 1024);
    CU_ASSERT(fiber_pool_high_water(pool) == fiber_high_water(deep.self));
    fiber_release(pool, deep.self);
    fiber_release(pool, shallow.self);
    CU_ASSERT(fiber_pool_high_water(pool) >= 300 * 1024);
    fiber_fini_thread(&thread);
    fiber_pool_destroy(pool);
}

/* Double and long double may be computed by different units; fegetround() looks at one of them. */
static bool rounds_up(void)
{
    volatile double one = 1.0, three = 3.0;

    return one / three > 0x1.5555555555555p-2; /* the nearest double is below 1/3 */
}

static bool long_double_rounds_up(void)
{
    volatile long double one = 1.0L, three = 3.0L;
    volatile long double up = one / three, down = -one / three;

    return up > -down;
}

/* What the thread itself sees after fesetround(FE_UPWARD): both, but none under Valgrind. */
static bool can_round_up, long_double_can_round_up;

static bool all_round_up(void)
{
    return fegetround() == FE_UPWARD && rounds_up() == can_round_up &&
           long_double_rounds_up() == long_double_can_round_up;
}

static bool none_rounds_up(void)
{
    return fegetround() == FE_TONEAREST && !rounds_up() && !long_double_rounds_up();
}

static void round_up_inside(void *arg)
{
    struct partner *partner = arg;

    partner->ok = none_rounds_up();
    fesetround(FE_UPWARD);
    for (;;) {
        fiber_switch(partner->self, partner->thread);
        partner->ok = all_round_up();
    }
}

static void test_floating_point_control(void)
{
    struct fiber_pool *pool = pool_of(1);
    struct fiber thread;
    struct partner partner = {.thread = &thread};

    fesetround(FE_UPWARD);
    can_round_up = rounds_up();
    long_double_can_round_up = long_double_rounds_up();
    fesetround(FE_TONEAREST);
    fiber_init_thread(&thread);
    partner.self = acquired(pool, round_up_inside, &partner);
    for (int i = 0; i < 3; i++) {
        partner.ok = false;
        fiber_switch(&thread, partner.self);
        CU_ASSERT(partner.ok);
        CU_ASSERT(none_rounds_up());
    }
    fiber_release(pool, partner.self);
    fiber_fini_thread(&thread);
    fiber_pool_destroy(pool);
}

static void test_cap(void)
{
    struct fiber_pool *pool = pool_of(2);
    struct fiber *first = acquired(pool, count_and_leave, NULL);
    struct fiber *second = acquired(pool, count_and_leave, NULL);

    CU_ASSERT(fiber_acquire(pool, count_and_leave, NULL) == NULL);
    CU_ASSERT(fiber_pool_in_use(pool) == 2);
    fiber_release(pool, first);
    CU_ASSERT(fiber_acquire(pool, count_and_leave, NULL) == first);
    CU_ASSERT(fiber_acquire(pool, count_and_leave, NULL) == NULL);
    fiber_release(pool, second);
    fiber_release(pool, first);
    CU_ASSERT(fiber_pool_in_use(pool) == 0);
    CU_ASSERT(fiber_pool_peak(pool) == 2);
    fiber_pool_destroy(pool);
}

static void test_last_released_first(void)
{
    struct fiber_pool *pool = pool_of(0);
    struct fiber *fibers[3];

    for (int i = 0; i < 3; i++) {
        fibers[i] = acquired(pool, count_and_leave, NULL);
    }
    for (int i = 0; i < 3; i++) {
        fiber_release(pool, fibers[i]);
    }
    for (int i = 2; i >= 0; i--) {
        CU_ASSERT(fiber_acquire(pool, count_and_leave, NULL) == fibers[i]);
    }
    fiber_pool_destroy(pool);
}

/* A dropped fiber's stack starts afresh, and its old frames do not disturb the new one. */
static void test_drop_and_reuse(void)
{
    struct fiber_pool *pool = pool_of(1);
    struct fiber thread;

    fiber_init_thread(&thread);
    for (int i = 0; i < 100; i++) {
        struct partner partner = {.thread = &thread, .bytes = 512 + i * 97, .count = i};

        partner.self = acquired(pool, i % 2 ? use_stack : mix_and_exit, &partner);
        fiber_switch(&thread, partner.self);
        CU_ASSERT(partner.ok == (i % 2 == 1));
        fiber_release(pool, partner.self);
    }
    CU_ASSERT(fiber_pool_peak(pool) == 1);
    fiber_fini_thread(&thread);
    fiber_pool_destroy(pool);
}

static void test_no_memory(void)
{
    struct fiber_pool *pool = fiber_pool_create(SIZE_MAX / 4, 1);

    CU_ASSERT(fiber_pool_create(SIZE_MAX, 1) == NULL);
    CU_ASSERT_FATAL(pool != NULL);
    CU_ASSERT(fiber_acquire(pool, count_and_leave, NULL) == NULL);
    CU_ASSERT(fiber_pool_in_use(pool) == 0);
    fiber_pool_destroy(pool);
    fiber_pool_destroy(NULL);
}

/* Runs body(pool) in a child that _exits; returns the wait status. */
static int status_of_child(void (*body)(struct fiber_pool *pool), struct fiber_pool *pool)
{
    int status = -1;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        body(pool);
        _exit(0);
    }
    CU_ASSERT_FATAL(child > 0 && waitpid(child, &status, 0) == child);
    return status;
}

static const struct fiber_pool *guarded_pool;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    _exit(fiber_pool_in_guard(guarded_pool, info->si_addr) ? EXIT_GUARD_SEEN : 1);
}

static void catch_faults(const struct fiber_pool *pool)
{
    static char alternate[64 * 1024];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    guarded_pool = pool;
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

static void overflow_body(struct fiber_pool *pool)
{
    struct fiber thread;
    struct partner partner = {.thread = &thread, .bytes = 4 * STACK_BYTES};

    catch_faults(pool);
    fiber_init_thread(&thread);
    partner.self = fiber_acquire(pool, use_stack, &partner);
    fiber_switch(&thread, partner.self);
}

/* Another fault of a fiber is not taken for an overflow. */
static void write_read_only(void *arg)
{
    struct partner *partner = arg;
    volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *page = 1;
    fiber_exit_to(partner->self, partner->thread);
}

static void other_fault_body(struct fiber_pool *pool)
{
    struct fiber thread;
    struct partner partner = {.thread = &thread};

    catch_faults(pool);
    fiber_init_thread(&thread);
    partner.self = fiber_acquire(pool, write_read_only, &partner);
    fiber_switch(&thread, partner.self);
}

static void test_guard(void)
{
    struct fiber_pool *pool = pool_of(3);
    struct fiber *fiber = acquired(pool, count_and_leave, NULL);
    int status;

    CU_ASSERT(fiber_pool_in_guard(pool, fiber->stack - 1));
    CU_ASSERT(!fiber_pool_in_guard(pool, fiber->stack));
    CU_ASSERT(!fiber_pool_in_guard(pool, &status));
    CU_ASSERT(!fiber_pool_in_guard(pool, NULL));
    status = status_of_child(overflow_body, pool);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_GUARD_SEEN);
    status = status_of_child(other_fault_body, pool);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    fiber_release(pool, fiber);
    fiber_pool_destroy(pool);
}

static void return_at_once(void *arg)
{
    (void)arg;
}

static void return_body(struct fiber_pool *pool)
{
    struct fiber thread;

    signal(SIGILL, SIG_DFL);
    signal(SIGTRAP, SIG_DFL);
    fiber_init_thread(&thread);
    fiber_switch(&thread, fiber_acquire(pool, return_at_once, NULL));
}

static void test_return_traps(void)
{
    struct fiber_pool *pool = pool_of(1);
    int status = status_of_child(return_body, pool);

    CU_ASSERT(WIFSIGNALED(status) && (WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGTRAP));
    fiber_pool_destroy(pool);
}

static void unwind_and_exit(void *arg)
{
    struct partner *partner = arg;
    void *frames[64];

    partner->count = backtrace(frames, 64);
    fiber_exit_to(partner->self, partner->thread);
}

/* A backtrace ends at the fiber's first frame: this function, fiber_entry, and the machine's start. */
static void test_backtrace_ends(void)
{
    struct fiber_pool *pool = pool_of(1);
    struct fiber thread;
    struct partner partner = {.thread = &thread};
    void *frame;

    backtrace(&frame, 1); /* loads the unwinder on the large stack */
    fiber_init_thread(&thread);
    partner.self = acquired(pool, unwind_and_exit, &partner);
    fiber_switch(&thread, partner.self);
    CU_ASSERT(partner.count >= 2 && partner.count <= 6);
    fiber_release(pool, partner.self);
    fiber_fini_thread(&thread);
    fiber_pool_destroy(pool);
}

static void *thread_body(void *arg)
{
    struct fiber_pool *pool = arg;
    struct fiber thread;
    intptr_t good = 0;

    fiber_init_thread(&thread);
    for (int i = 0; i < 200; i++) {
        struct partner partner = {.thread = &thread, .bytes = 1024};

        partner.self = fiber_acquire(pool, use_stack, &partner);
        if (partner.self) {
            fiber_switch(&thread, partner.self);
            good += partner.ok;
            fiber_release(pool, partner.self);
        }
    }
    fiber_fini_thread(&thread);
    return (void *)good;
}

static void test_threads_share_a_pool(void)
{
    struct fiber_pool *pool = pool_of(THREADS);
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        CU_ASSERT_FATAL(!pthread_create(&threads[i], NULL, thread_body, pool));
    }
    for (int i = 0; i < THREADS; i++) {
        void *good = NULL;

        CU_ASSERT(!pthread_join(threads[i], &good));
        CU_ASSERT((intptr_t)good == 200);
    }
    CU_ASSERT(fiber_pool_in_use(pool) == 0);
    CU_ASSERT(fiber_pool_peak(pool) >= 1 && fiber_pool_peak(pool) <= THREADS);
    fiber_pool_destroy(pool);
}

static const struct {
    const char *name;
    void (*run)(void);
} TESTS[] = {
    {"ping-pong with the thread", test_ping_pong},
    {"between fibers", test_between_fibers},
    {"a thousand fibers keep their registers", test_many},
    {"stack use and high water", test_stack_and_high_water},
    {"floating-point control", test_floating_point_control},
    {"cap", test_cap},
    {"last released is first reused", test_last_released_first},
    {"drop and reuse", test_drop_and_reuse},
    {"no memory", test_no_memory},
    {"guard", test_guard},
    {"a body that returns traps", test_return_traps},
    {"a backtrace ends", test_backtrace_ends},
    {"threads share a pool", test_threads_share_a_pool},
};

enum { NTESTS = sizeof TESTS / sizeof *TESTS };

#ifdef FIBER_TEST_STANDALONE
int main(void)
{
    for (int i = 0; i < NTESTS; i++) {
        unsigned before = failures;

        TESTS[i].run();
        printf("%s: %s\n", TESTS[i].name, failures == before ? "passed" : "FAILED");
    }
    return failures != 0;
}
#else
int main(void)
{
    CU_pSuite suite;
    unsigned failed = 1;

    if (CU_initialize_registry() != CUE_SUCCESS) {
        return EXIT_FAILURE;
    }
    suite = CU_add_suite("base_fiber", NULL, NULL);
    for (int i = 0; suite && i < NTESTS; i++) {
        if (!CU_add_test(suite, TESTS[i].name, TESTS[i].run)) {
            suite = NULL;
        }
    }
    if (suite) {
        CU_basic_set_mode(CU_BRM_VERBOSE);
        CU_basic_run_tests();
        failed = CU_get_number_of_failures();
    }
    CU_cleanup_registry();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
#endif
