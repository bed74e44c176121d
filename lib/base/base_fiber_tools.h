/*
 * Tells AddressSanitizer, LeakSanitizer, ThreadSanitizer and Valgrind about the fibers of base_fiber.c. All
 * of it folds to nothing in a build without them; Valgrind's requests cost a few instructions when a stack is
 * mapped.
 */
#ifndef BASE_FIBER_TOOLS_H
#define BASE_FIBER_TOOLS_H

#include "base_fiber.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(FIBER_ASAN)
#define FIBER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(FIBER_TSAN)
#define FIBER_TSAN 1
#endif
#ifndef FIBER_ASAN
#define FIBER_ASAN 0
#endif
#ifndef FIBER_TSAN
#define FIBER_TSAN 0
#endif

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(low, high) 0u
#define VALGRIND_STACK_DEREGISTER(id)      (void)(id)
#define VALGRIND_DISABLE_ERROR_REPORTING   (void)0
#define VALGRIND_ENABLE_ERROR_REPORTING    (void)0
#endif

/* Declared here, as not every compiler that has the sanitizers installs their headers. */
void __sanitizer_start_switch_fiber(void **fake_stack_save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **old_bottom, size_t *old_size);
void __asan_unpoison_memory_region(const volatile void *address, size_t size);
void __asan_handle_no_return(void);
void __lsan_register_root_region(const void *address, size_t size);
void __lsan_unregister_root_region(const void *address, size_t size);
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);

static inline void fiber_tools_stack_mapped(struct fiber *fiber)
{
    fiber->valgrind_id = VALGRIND_STACK_REGISTER(fiber->stack, fiber->stack + fiber->stack_bytes);
    /* What only a suspended fiber points to is no leak. */
    if (FIBER_ASAN) {
        __lsan_register_root_region(fiber->stack, fiber->stack_bytes);
    }
}

static inline void fiber_tools_stack_unmapped(struct fiber *fiber)
{
    VALGRIND_STACK_DEREGISTER(fiber->valgrind_id);
    if (FIBER_ASAN) {
        __lsan_unregister_root_region(fiber->stack, fiber->stack_bytes);
    }
}

static inline void fiber_tools_acquired(struct fiber *fiber)
{
    /* Frames of a dropped fiber have left their red zones behind. */
    if (FIBER_ASAN) {
        __asan_unpoison_memory_region(fiber->stack, fiber->stack_bytes);
    }
    if (FIBER_TSAN) {
        fiber->tsan_fiber = __tsan_create_fiber(0);
    }
}

static inline void fiber_tools_released(struct fiber *fiber)
{
    if (FIBER_TSAN) {
        __tsan_destroy_fiber(fiber->tsan_fiber);
    }
}

static inline void fiber_tools_thread(struct fiber *fiber)
{
    if (FIBER_TSAN) {
        fiber->tsan_fiber = __tsan_get_current_fiber();
    }
}

/*
 * The last thing before a switch. The first argument of ASan is null where the stack is left for good.
 * Inlined even without optimisation: TSan would book the return of a function that changes fibers on the
 * wrong one.
 */
__attribute__((always_inline)) static inline void fiber_tools_leave(struct fiber *from, struct fiber *to,
                                                                    bool for_good)
{
    if (FIBER_ASAN) {
        __sanitizer_start_switch_fiber(for_good ? NULL : &from->asan_fake_stack, to->stack, to->stack_bytes);
    }
    if (FIBER_ASAN && for_good) {
        from->asan_fake_stack = NULL;
    }
    if (FIBER_TSAN) {
        __tsan_switch_to_fiber(to->tsan_fiber, 0);
    }
}

/* The first thing after a switch. */
static inline void fiber_tools_enter(struct fiber *fiber)
{
    if (FIBER_ASAN) {
        __sanitizer_finish_switch_fiber(fiber->asan_fake_stack, NULL, NULL);
    }
}

/* Once in a fiber's life, after fiber_tools_enter(): forgets the fake frames of a dropped fiber. */
static inline void fiber_tools_start(void)
{
    if (FIBER_ASAN) {
        __asan_handle_no_return();
    }
}

#endif
