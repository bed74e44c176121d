/*
 * C++ exceptions in interleaved fibers: each fiber has its own stack of caught exceptions and its own count
 * of exceptions in flight. Fails when a switch leaves the runtime's per-thread state as it is.
 */
extern "C" {
#include "base/base_fiber.h"
}

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

namespace
{
enum { STACK_BYTES = 128 * 1024, NFIBERS = 2 };

struct fiber thread_fiber;
struct fiber *fibers[NFIBERS];
int failures;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            std::printf("line %d, fiber %d: %s\n", __LINE__, me, #condition);                                \
            failures++;                                                                                      \
        }                                                                                                    \
    } while (0)

void other(int me)
{
    fiber_switch(fibers[me], fibers[1 - me]);
}

/* Its destructor leaves the fiber while an exception passes through. */
struct leaves_while_unwinding {
    int me;
    ~leaves_while_unwinding()
    {
        CHECK(std::uncaught_exceptions() == 1);
        other(me);
        CHECK(std::uncaught_exceptions() == 1);
    }
};

/* Both fibers are inside their catch blocks at once; each rethrows its own exception. */
void rethrow_own(int me, const std::string &name)
{
    try {
        try {
            throw std::runtime_error(name);
        } catch (const std::exception &) {
            other(me);
            throw;
        }
    } catch (const std::exception &error) {
        CHECK(name == error.what());
        other(me);
        CHECK(std::current_exception() != nullptr);
    }
    CHECK(std::current_exception() == nullptr);
}

/* The first fiber stays in the middle of an unwinding while the second one throws and catches. */
void unwind_interleaved(int me, const std::string &name)
{
    CHECK(std::uncaught_exceptions() == 0);
    try {
        leaves_while_unwinding leaves{me};
        throw std::runtime_error(name);
    } catch (const std::exception &error) {
        CHECK(name == error.what());
    }
    CHECK(std::uncaught_exceptions() == 0);
}

void body(void *arg)
{
    int me = *static_cast<int *>(arg);
    std::string name = me ? "second" : "first";

    for (int i = 0; i < 100; i++) {
        rethrow_own(me, name);
        unwind_interleaved(me, name);
    }
    fiber_exit_to(fibers[me], me ? &thread_fiber : fibers[1]);
}
} // namespace

int main()
{
    struct fiber_pool *pool = fiber_pool_create(STACK_BYTES, NFIBERS);
    int numbers[NFIBERS] = {0, 1};

    if (!pool) {
        return 1;
    }
    fiber_init_thread(&thread_fiber);
    for (int i = 0; i < NFIBERS; i++) {
        fibers[i] = fiber_acquire(pool, body, &numbers[i]);
    }
    /* The thread's own exception is in flight while the fibers run, and still there afterwards. */
    try {
        throw std::logic_error("thread");
    } catch (...) {
        fiber_switch(&thread_fiber, fibers[0]);
        try {
            throw;
        } catch (const std::exception &error) {
            failures += std::string("thread") != error.what();
        }
    }
    for (int i = 0; i < NFIBERS; i++) {
        fiber_release(pool, fibers[i]);
    }
    fiber_fini_thread(&thread_fiber);
    fiber_pool_destroy(pool);
    std::printf("%d failures\n", failures);
    return failures != 0;
}
