#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LIVE_SLOTS (1u << 20)

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *memory);
void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_mprotect(void *address, size_t length, int protection);
int __real_shm_open(const char *name, int flags, mode_t mode);
int __real_ftruncate(int fd, off_t length);
int __real_fallocate(int fd, int mode, off_t offset, off_t length);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *arg);
FILE *__real_open_memstream(char **text, size_t *size);

static struct fault private_words = {.rank = -1};
static struct fault *fault = &private_words;
static int own_rank;

struct fault *fault_open(void)
{
    const char *name = getenv("LIMITS_FAULT");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return fault;
    void *shared = __real_mmap(NULL, sizeof *fault, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared != MAP_FAILED)
        fault = shared;
    return fault;
}

void fault_rank(int rank)
{
    own_rank = rank;
}

void fault_arm(int rank, long n)
{
    fault->rank = rank;
    fault->fired = 0;
    fault->countdown = n;
}

void fault_starve(int rank)
{
    fault->starving = 1;
    fault_arm(rank, 1);
}

bool fault_disarm(void)
{
    fault->countdown = 0;
    return fault->fired > 0;
}

static void site_note(const char *what, void *caller)
{
    Dl_info place;
    bool known = dladdr(caller, &place) && place.dli_fbase;
    snprintf(fault->site, sizeof fault->site, "%s %s+%#lx", what,
             known && place.dli_sname ? place.dli_sname : "at",
             (unsigned long)((char *)caller - (char *)(known ? place.dli_fbase : NULL)));
}

static bool fails(const char *what, void *caller)
{
    if (fault->countdown <= 0 || fault->rank != own_rank ||
        (!fault->starving && atomic_fetch_sub(&fault->countdown, 1) != 1))
        return false;
    site_note(what, caller);
    fault->fired++;
    errno = ENOMEM;
    return true;
}

#define FAILS(what) fails(what, __builtin_return_address(0))

/* ---- what is not freed yet, by address */

static struct live {
    void *memory, *caller;
} live[LIVE_SLOTS];
static atomic_flag live_lock = ATOMIC_FLAG_INIT;
static long live_count;

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&live_lock, memory_order_acquire))
        continue;
}

static void unlock(void)
{
    atomic_flag_clear_explicit(&live_lock, memory_order_release);
}

static uint32_t live_home(const void *memory)
{
    return (uint32_t)(((uintptr_t)memory >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 44) % LIVE_SLOTS;
}

static void *live_add(void *memory, void *caller)
{
    if (!memory)
        return NULL;
    lock();
    uint32_t at = live_home(memory);
    while (live[at].memory)
        at = (at + 1) % LIVE_SLOTS;
    live[at] = (struct live){memory, caller};
    live_count++;
    unlock();
    return memory;
}

/* Closes the gap, so that those behind it are still found from their home. */
static void live_close(uint32_t gap)
{
    for (uint32_t at = (gap + 1) % LIVE_SLOTS; live[at].memory; at = (at + 1) % LIVE_SLOTS) {
        uint32_t home = live_home(live[at].memory);
        if ((at - home) % LIVE_SLOTS >= (at - gap) % LIVE_SLOTS) {
            live[gap] = live[at];
            gap = at;
        }
    }
    live[gap].memory = NULL;
}

static void live_drop(const void *memory)
{
    if (!memory)
        return;
    lock();
    uint32_t at = live_home(memory);
    while (live[at].memory && live[at].memory != memory)
        at = (at + 1) % LIVE_SLOTS;
    if (live[at].memory) {
        live_close(at);
        live_count--;
    }
    unlock();
}

long fault_live(bool print)
{
    int shown = 0;
    for (uint32_t at = 0; print && at < LIVE_SLOTS && shown < 8; at++) {
        if (!live[at].memory)
            continue;
        site_note("allocated by", live[at].caller);
        fprintf(stderr, "not freed: %s\n", fault->site);
        shown++;
    }
    return live_count;
}

/* ---- what the linker puts in place of the functions */

#define CALLER __builtin_return_address(0)

void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return FAILS("malloc") ? NULL : live_add(__real_malloc(size), CALLER);
}

void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return FAILS("calloc") ? NULL : live_add(__real_calloc(count, size), CALLER);
}

void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size)
{
    if (FAILS("realloc"))
        return NULL;
    live_drop(memory); /* before another thread can be given the address */
    return live_add(__real_realloc(memory, size), CALLER);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return FAILS("aligned_alloc") ? NULL : live_add(__real_aligned_alloc(alignment, size), CALLER);
}

char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
    return FAILS("strdup") ? NULL : live_add(__real_strdup(text), CALLER);
}

void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    live_drop(memory);
    __real_free(memory);
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    return FAILS("mmap") ? MAP_FAILED : __real_mmap(address, length, protection, flags, fd, offset);
}

int __wrap_mprotect(void *address, size_t length, int protection);
int __wrap_mprotect(void *address, size_t length, int protection)
{
    return FAILS("mprotect") ? -1 : __real_mprotect(address, length, protection);
}

int __wrap_shm_open(const char *name, int flags, mode_t mode);
int __wrap_shm_open(const char *name, int flags, mode_t mode)
{
    return FAILS("shm_open") ? -1 : __real_shm_open(name, flags, mode);
}

int __wrap_ftruncate(int fd, off_t length);
int __wrap_ftruncate(int fd, off_t length)
{
    return FAILS("ftruncate") ? -1 : __real_ftruncate(fd, length);
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
    return FAILS("fallocate") ? -1 : __real_fallocate(fd, mode, offset, length);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *arg)
{
    return FAILS("pthread_create") ? EAGAIN : __real_pthread_create(thread, attributes, body, arg);
}

FILE *__wrap_open_memstream(char **text, size_t *size);
FILE *__wrap_open_memstream(char **text, size_t *size)
{
    return FAILS("open_memstream") ? NULL : __real_open_memstream(text, size);
}
