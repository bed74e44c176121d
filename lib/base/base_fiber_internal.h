/*
 * What base_fiber.c needs from the machine. The build links exactly one of base_fiber_x86_64.S,
 * base_fiber_aarch64.S and base_fiber_ucontext.c.
 */
#ifndef BASE_FIBER_INTERNAL_H
#define BASE_FIBER_INTERNAL_H

#include <stddef.h>

typedef void fiber_context_fn(void *arg);

/* Prepares an unused stack so that the first switch to it calls entry(arg); entry must not return. */
void *fiber_context_make(void *stack, size_t bytes, fiber_context_fn *entry, void *arg);

/* Saves the running context on its own stack and its place in *save, then continues load. */
void fiber_context_switch(void **save, void *load);

#endif
