#include "base/base.h"
#include "base/base_fiber_tools.h"

void __tsan_acquire(void *address);
void __tsan_release(void *address);

void base_order_release(void *at)
{
    if (FIBER_TSAN)
        __tsan_release(at);
    (void)at;
}

void base_order_acquire(void *at)
{
    if (FIBER_TSAN)
        __tsan_acquire(at);
    (void)at;
}
