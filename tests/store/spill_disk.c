#include "spill_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <sys/uio.h>
#include <sys/vfs.h>

struct gate {
    bool held, fails_once;
    int waiting, passed, error;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct gate writes, reads;
static _Atomic int later;
static int last_fd = -1;
static off_t last_offset;
static _Atomic bool forgets;

/* ---- the disk */

/* The errno to fail with, or 0. */
static int gate_pass(struct gate *gate)
{
    pthread_mutex_lock(&lock);
    gate->waiting++;
    pthread_cond_broadcast(&changed);
    while (gate->held)
        pthread_cond_wait(&changed, &lock);
    gate->waiting--;
    int error = gate->error;
    if (gate->fails_once) {
        gate->fails_once = false;
        gate->error = 0;
    }
    gate->passed++;
    pthread_mutex_unlock(&lock);
    return error;
}

ssize_t __real_pwritev(int fd, const struct iovec *vector, int count, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *vector, int count, off_t offset)
{
    int error = gate_pass(&writes);
    if (error) {
        errno = error;
        return -1;
    }
    ssize_t wrote = __real_pwritev(fd, vector, count, offset);
    pthread_mutex_lock(&lock);
    last_fd = fd;
    last_offset = offset + wrote - 1;
    pthread_mutex_unlock(&lock);
    return wrote;
}

ssize_t __real_preadv2(int fd, const struct iovec *vector, int count, off_t offset, int flags);
ssize_t __wrap_preadv2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    int error = flags && atomic_load(&forgets) ? EAGAIN : gate_pass(&reads);
    if (error) {
        errno = error;
        return -1;
    }
    /* Without the flag: the folder may be of a system that does not know it. */
    return __real_preadv2(fd, vector, count, offset, 0);
}

void disk_forget(bool forget)
{
    atomic_store(&forgets, forget);
}

/* The system tells once. */
int __wrap_sync_file_range(int fd, off_t offset, off_t length, unsigned flags)
{
    (void)fd, (void)offset, (void)length, (void)flags;
    errno = atomic_exchange(&later, 0);
    return errno ? -1 : 0;
}

void disk_fail_later(int error)
{
    atomic_store(&later, error);
}

static void gate_hold(struct gate *gate, bool hold)
{
    pthread_mutex_lock(&lock);
    gate->held = hold;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void gate_await(struct gate *gate)
{
    pthread_mutex_lock(&lock);
    while (!gate->waiting)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void gate_fail(struct gate *gate, int error)
{
    pthread_mutex_lock(&lock);
    gate->error = error;
    pthread_mutex_unlock(&lock);
}

static int gate_passed(struct gate *gate)
{
    pthread_mutex_lock(&lock);
    int passed = gate->passed;
    pthread_mutex_unlock(&lock);
    return passed;
}

void disk_hold_writes(bool hold)
{
    gate_hold(&writes, hold);
}
void disk_hold_reads(bool hold)
{
    gate_hold(&reads, hold);
}
void disk_await_write(void)
{
    gate_await(&writes);
}
void disk_await_read(void)
{
    gate_await(&reads);
}
void disk_fail_writes(int error)
{
    gate_fail(&writes, error);
}
void disk_fail_reads(int error)
{
    gate_fail(&reads, error);
}
void disk_fail_next_write(int error)
{
    pthread_mutex_lock(&lock);
    writes.error = error;
    writes.fails_once = true;
    pthread_mutex_unlock(&lock);
}

int disk_writes(void)
{
    return gate_passed(&writes);
}
int disk_reads(void)
{
    return gate_passed(&reads);
}

off_t disk_last(void)
{
    pthread_mutex_lock(&lock);
    off_t offset = last_offset;
    pthread_mutex_unlock(&lock);
    return offset;
}

bool disk_corrupt_last(void)
{
    char byte;
    if (pread(last_fd, &byte, 1, last_offset) != 1)
        return false;
    byte = (char)~byte;
    return pwrite(last_fd, &byte, 1, last_offset) == 1;
}

/* ---- the store */

bool spill_open(struct store *store, bool checksum)
{
    return spill_open_in(store, ".", checksum);
}

bool spill_open_in(struct store *store, const char *folders, bool checksum)
{
    struct store_spill_config config = {.directories = folders, .asked_for = true};
    int status = checksum ? store_checksums_open(store) : RAYMPI_OK;
    if (status == RAYMPI_OK)
        status = store_spill_open(store, &config);
    if (status != RAYMPI_OK)
        fprintf(stderr, "spill: %s\n", base_detail());
    return status == RAYMPI_OK;
}

bool spill_possible(void)
{
    struct statfs system;
    return statfs(".", &system) == 0 && system.f_type != TMPFS_MAGIC && system.f_type != RAMFS_MAGIC;
}

struct store_place spill_block(struct store *store, uint64_t length)
{
    struct store_place place = {0, 0, 0};
    void *data;
    if (store_create(store, length, &place, &data) != RAYMPI_OK)
        return (struct store_place){0, 0, 0};
    payload_fill(data, length, place_seed(place));
    store_seal(store, place);
    return place;
}

bool spill_block_right(struct store *store, struct store_place place)
{
    const void *data;
    uint64_t length;
    if (store_pin(store, place, &data, &length) != RAYMPI_OK)
        return false;
    bool right = payload_right(data, length, place_seed(place));
    store_unpin(store, place);
    return right;
}

int spill_told;
void spill_restored(void *arg, struct store_place place, int status)
{
    (void)arg, (void)place;
    spill_told = status;
}

void spill_settle(struct store *store)
{
    while (store_spill_busy(store)) {
        store_spill_poll(store, spill_restored, NULL);
        sched_yield();
    }
    store_spill_poll(store, spill_restored, NULL);
}

int spill_fetch(struct store *store, struct store_place place)
{
    int status;
    while ((status = store_restore(store, place)) == RAYMPI_ERR_STORE_FULL) {
        uint64_t coming;
        if (!store_make_room(store, MIB, &coming, &status) && !coming)
            return RAYMPI_ERR_STORE_FULL;
        spill_settle(store);
    }
    if (status != STORE_ON_DISK)
        return status;
    spill_told = 1;
    spill_settle(store);
    return spill_told;
}

void spill_everything(struct store *store)
{
    uint64_t coming = 1;
    int status = RAYMPI_OK;
    while (status == RAYMPI_OK && (store_make_room(store, UINT64_MAX / 4, &coming, &status) || coming))
        spill_settle(store);
}

struct store_counters spill_counters(struct store *store)
{
    struct store_counters counters;
    store_counters(store, &counters);
    return counters;
}

int spill_main(const char *suite, const struct unit_test *tests, size_t count)
{
    if (!spill_possible()) {
        printf("skipped: this folder is not on a disk\n");
        return 77;
    }
    return unit_main(suite, tests, count);
}
