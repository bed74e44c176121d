#include "base/base_fence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

bool base_fences_uneven;

void base_fences_open(void)
{
#if !defined(BASE_TSAN) && defined(SYS_membarrier)
    base_fences_uneven = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
                         syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}

void base_fence_heavy(void)
{
    base_fence();
#ifdef SYS_membarrier
    if (base_fences_uneven)
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
#endif
    base_fence();
}
