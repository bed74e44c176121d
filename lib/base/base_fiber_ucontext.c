/*
 * Context switch by POSIX ucontext, for machines without an assembly file. Slower, as every switch also saves
 * and sets the signal mask by a system call. A context lies on its own stack.
 */

#include "base_fiber_internal.h"

#include <stdint.h>
#include <ucontext.h>

enum { CONTEXT_ALIGN = 64 };

/* makecontext() passes ints, so the pointers come in halves. */
static void context_start(unsigned entry_high, unsigned entry_low, unsigned arg_high, unsigned arg_low)
{
    fiber_context_fn *entry = (fiber_context_fn *)(uintptr_t)((uint64_t)entry_high << 32 | entry_low);

    entry((void *)(uintptr_t)((uint64_t)arg_high << 32 | arg_low));
}

void *fiber_context_make(void *stack, size_t bytes, fiber_context_fn *entry, void *arg)
{
    uintptr_t top = (uintptr_t)stack + bytes - sizeof(ucontext_t);
    ucontext_t *context = (ucontext_t *)(top / CONTEXT_ALIGN * CONTEXT_ALIGN);
    uint64_t entry_bits = (uintptr_t)entry;
    uint64_t arg_bits = (uintptr_t)arg;

    getcontext(context);
    context->uc_link = NULL;
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = (size_t)((char *)context - (char *)stack);
    context->uc_stack.ss_flags = 0;
    makecontext(context, (void (*)(void))context_start, 4, (unsigned)(entry_bits >> 32), (unsigned)entry_bits,
                (unsigned)(arg_bits >> 32), (unsigned)arg_bits);
    return context;
}

void fiber_context_switch(void **save, void *load)
{
    ucontext_t here;

    /* swapcontext() leaves these alone, and AddressSanitizer would clear the shadow of whatever they name. */
    here.uc_link = NULL;
    here.uc_stack.ss_sp = NULL;
    here.uc_stack.ss_size = 0;
    *save = &here;
    swapcontext(&here, load);
    *save = NULL; /* here is gone after this */
}
