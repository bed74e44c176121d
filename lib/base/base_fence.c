#include "base/base_fence.h"

#include <sys/syscall.h>
#include <unistd.h>

/* Of <linux/membarrier.h>, which older systems lack, or lack some of. The kernel answers what it does not
 * know. */
enum {
    GLOBAL_EXPEDITED = 1 << 1,
    REGISTER_GLOBAL_EXPEDITED = 1 << 2,
    PRIVATE_EXPEDITED = 1 << 3,
    REGISTER_PRIVATE_EXPEDITED = 1 << 4,
};

bool base_fences_uneven;

void base_fences_open(void)
{
#if !defined(BASE_TSAN) && defined(SYS_membarrier)
    base_fences_uneven = syscall(SYS_membarrier, REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
                         syscall(SYS_membarrier, PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}

bool base_fences_suffice(void)
{
#ifdef BASE_TSAN
    return true;
#else
    return base_fences_uneven;
#endif
}

void base_fence_heavy(void)
{
    base_fence();
#ifdef SYS_membarrier
    if (base_fences_uneven)
        syscall(SYS_membarrier, PRIVATE_EXPEDITED, 0, 0);
#endif
    base_fence();
}

bool base_fences_open_shared(void)
{
#if !defined(BASE_TSAN) && defined(SYS_membarrier)
    return syscall(SYS_membarrier, REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0 &&
           syscall(SYS_membarrier, GLOBAL_EXPEDITED, 0, 0) == 0;
#else
    return false;
#endif
}

void base_fence_heavy_shared(void)
{
    base_fence();
#ifdef SYS_membarrier
    syscall(SYS_membarrier, GLOBAL_EXPEDITED, 0, 0);
#endif
    base_fence();
}
