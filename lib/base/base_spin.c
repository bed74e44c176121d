#include "base/base_spin.h"

#include <sched.h>

#define LOOKS 200 /* about a microsecond; no holder that runs needs longer */

void base_spin_wait(struct base_spin *spin)
{
    do
        for (int looks = 0; atomic_load_explicit(&spin->held, memory_order_relaxed); looks++)
            if (looks < LOOKS)
                ck_pr_stall();
            else
                sched_yield();
    /* Acquire: as in base_spin_lock(). */
    while (atomic_exchange_explicit(&spin->held, 1, memory_order_acquire));
}

static void await_state(_Atomic int *flag, bool set)
{
    /* Acquire: what the other did before it changed the flag is done. */
    for (int looks = 0; (atomic_load_explicit(flag, memory_order_acquire) != 0) != set; looks++)
        if (looks < LOOKS)
            ck_pr_stall();
        else
            sched_yield();
}

void base_spin_until(_Atomic int *flag)
{
    await_state(flag, true);
}

void base_spin_until_zero(_Atomic int *flag)
{
    await_state(flag, false);
}
