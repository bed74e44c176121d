/* The clock, and the hash that turns names into numbers. */
#include "base/base.h"

#include <time.h>

uint64_t base_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t base_hash_name(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const unsigned char *byte = (const unsigned char *)name; *byte != '\0'; byte++)
        hash = (hash ^ *byte) * UINT64_C(0x100000001b3);
    hash = base_mix(hash);
    return hash != 0 ? hash : 1; /* 0 means "no name" */
}
