/* The host segment: one sparse file in shared memory, mapped by every rank of the host. Pages are committed
 * by fallocate before anybody touches them, so that a full /dev/shm is a status and never a SIGBUS. */
#include "base/base_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEGMENT_NAME_TRIES 16
#define SEGMENT_COOKIE     (2 * sizeof(uint64_t))

static uint64_t segment_page(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static void segment_clear(struct base_segment *segment)
{
    memset(segment, 0, sizeof *segment);
    segment->fd = -1;
}

static int segment_sizes_check(uint64_t size, uint64_t control_size)
{
    uint64_t page = segment_page();
    if (size == 0 || size % page != 0 || control_size % page != 0 || control_size < page ||
        control_size > size)
        return base_fail(
            RAYMPI_ERR_ARGUMENT,
            "host segment of %llu bytes with a control area of %llu: both must be multiples of the "
            "page size %llu, the control area at least one page and inside the segment",
            (unsigned long long)size, (unsigned long long)control_size, (unsigned long long)page);
    return RAYMPI_OK;
}

static int segment_map(struct base_segment *segment)
{
    void *write = mmap(NULL, segment->control_size, PROT_READ | PROT_WRITE, MAP_SHARED, segment->fd, 0);
    if (write == MAP_FAILED)
        goto fail;
    void *read = mmap(NULL, segment->size, PROT_READ, MAP_SHARED | MAP_NORESERVE, segment->fd, 0);
    if (read == MAP_FAILED)
        goto unmap_write;
    segment->write = write;
    segment->read = read;
    return RAYMPI_OK;

unmap_write:
    munmap(write, segment->control_size);
fail:
    return base_fail(
        RAYMPI_ERR_MEMORY,
        "can not map the host segment of %llu bytes: %s; raise the limit of address space (ulimit -v) "
        "or lower RAYMPI_STORE_BYTES",
        (unsigned long long)segment->size, strerror(errno));
}

/** A name nobody else uses: user and process for the reader of `ls /dev/shm`, the clock for a pid that comes
 * back or is that of another container. */
static void segment_name_make(char *name, size_t size, int attempt)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t draw = base_mix(((uint64_t)now.tv_sec << 30) ^ (uint64_t)now.tv_nsec ^ (uint64_t)attempt);
    snprintf(name, size, "/raympi-%ld-%ld-%016llx", (long)geteuid(), (long)getpid(),
             (unsigned long long)draw);
}

static int segment_file_create(struct base_segment *segment)
{
    for (int attempt = 0; attempt < SEGMENT_NAME_TRIES;) {
        segment_name_make(segment->name, sizeof segment->name, attempt);
        segment->fd = shm_open(segment->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (segment->fd >= 0)
            return RAYMPI_OK;
        if (errno == EINTR)
            continue;
        if (errno != EEXIST)
            break;
        attempt++;
    }
    return base_fail(
        RAYMPI_ERR_MEMORY,
        "can not create %s in /dev/shm: %s; mount a tmpfs on /dev/shm that this user may write to "
        "(mode 1777), in a container share the host's /dev/shm",
        segment->name, strerror(errno));
}

static int segment_file_resize(struct base_segment *segment)
{
    /* Past this limit ftruncate would raise SIGXFSZ, which ends the process. */
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < segment->size)
        return base_fail(
            RAYMPI_ERR_MEMORY,
            "the host segment takes %llu bytes, but files are limited to %llu; raise the limit of "
            "file size (ulimit -f) or lower RAYMPI_STORE_BYTES",
            (unsigned long long)segment->size, (unsigned long long)limit.rlim_cur);
    int result;
    do {
        result = ftruncate(segment->fd, (off_t)segment->size);
    } while (result != 0 && errno == EINTR);
    if (result != 0)
        return base_fail(RAYMPI_ERR_MEMORY, "can not give the host segment %s in /dev/shm %llu bytes: %s",
                         segment->name, (unsigned long long)segment->size, strerror(errno));
    return RAYMPI_OK;
}

int base_segment_create(struct base_segment *segment, uint64_t size, uint64_t control_size,
                        const uint64_t cookie[2])
{
    segment_clear(segment);
    int status = segment_sizes_check(size, control_size);
    if (status != RAYMPI_OK)
        return status;
    segment->size = size;
    segment->control_size = control_size;
    status = segment_file_create(segment);
    if (status != RAYMPI_OK)
        goto clear;
    status = segment_file_resize(segment);
    if (status != RAYMPI_OK)
        goto remove;
    status = base_segment_commit(segment, 0, SEGMENT_COOKIE);
    if (status != RAYMPI_OK)
        goto remove;
    status = segment_map(segment);
    if (status != RAYMPI_OK)
        goto remove;
    memcpy(segment->write, cookie, SEGMENT_COOKIE);
    return RAYMPI_OK;

remove:
    base_segment_unlink(segment);
    close(segment->fd);
clear:
    segment_clear(segment);
    return status;
}

/** Whether fd is the segment that the cookie belongs to. Read through the file, not a mapping: a stranger's
 * file may be too short or have no pages. */
static bool segment_file_matches(int fd, uint64_t size, const uint64_t cookie[2])
{
    struct stat file;
    uint64_t found[2];
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || (uint64_t)file.st_size != size)
        return false;
    if (pread(fd, found, sizeof found, 0) != (ssize_t)sizeof found)
        return false;
    return memcmp(found, cookie, sizeof found) == 0;
}

int base_segment_attach(struct base_segment *segment, const char *name, uint64_t size, uint64_t control_size,
                        const uint64_t cookie[2], bool *same)
{
    segment_clear(segment);
    int status = segment_sizes_check(size, control_size);
    if (status != RAYMPI_OK)
        return status;
    int fd;
    do {
        fd = shm_open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
        return base_fail(RAYMPI_ERR_MEMORY, "can not open the host segment %s: %s", name, strerror(errno));
    if (fd < 0 || !segment_file_matches(fd, size, cookie)) {
        if (fd >= 0)
            close(fd);
        *same = false;
        return RAYMPI_OK;
    }
    segment->fd = fd;
    segment->size = size;
    segment->control_size = control_size;
    snprintf(segment->name, sizeof segment->name, "%s", name);
    status = segment_map(segment);
    if (status != RAYMPI_OK) {
        close(fd);
        segment_clear(segment);
        return status;
    }
    *same = true;
    return RAYMPI_OK;
}

void base_segment_unlink(struct base_segment *segment)
{
    if (segment->name[0] == '\0')
        return;
    shm_unlink(segment->name);
    segment->name[0] = '\0';
}

/** fallocate with all signals held back: a pending one makes older kernels give up and undo, so that a
 *  profiling timer would keep a large range from ever being done. 0 or an errno. */
static int segment_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
    sigset_t all, saved;
    int result;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    do {
        result = fallocate(fd, mode, (off_t)offset, (off_t)length) == 0 ? 0 : errno;
    } while (result == EINTR);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    return result;
}

static int segment_full(uint64_t length, uint64_t left, const char *where)
{
    return base_fail(
        RAYMPI_ERR_STORE_FULL,
        "no room for %llu bytes of the host segment in %s, %llu are left; release objects, enlarge it "
        "(mount -o remount,size=... /dev/shm; docker --shm-size; the memory of the batch job), or "
        "lower RAYMPI_STORE_BYTES",
        (unsigned long long)length, where, (unsigned long long)left);
}

int base_segment_commit(struct base_segment *segment, uint64_t offset, uint64_t length)
{
    if (offset > segment->size || length > segment->size - offset)
        return base_fail(RAYMPI_ERR_ARGUMENT, "commit of %llu bytes at %llu in a host segment of %llu",
                         (unsigned long long)length, (unsigned long long)offset,
                         (unsigned long long)segment->size);
    if (length == 0)
        return RAYMPI_OK;
    uint64_t page = segment_page();
    uint64_t begin = offset / page * page;
    uint64_t bytes = base_align_up(offset + length, page) - begin;
    /* The kernel answers a full tmpfs with ENOSPC, but a full cgroup or host with its out-of-memory killer.
     */
    uint64_t left = base_memory_available();
    if (bytes > left)
        return segment_full(bytes, left, "memory (/dev/shm, the cgroup, or the host)");
    int error = segment_fallocate(segment->fd, 0, begin, bytes);
    if (error == 0)
        return RAYMPI_OK;
    if (error == ENOSPC || error == ENOMEM || error == EDQUOT)
        return segment_full(bytes, base_shm_available(), "/dev/shm");
    return base_fail(RAYMPI_ERR_MEMORY, "fallocate of %llu bytes in /dev/shm: %s; it must be a tmpfs",
                     (unsigned long long)bytes, strerror(error));
}

void base_segment_decommit(struct base_segment *segment, uint64_t offset, uint64_t length)
{
    if (length == 0 || offset > segment->size || length > segment->size - offset)
        return;
    /* Inwards to whole pages: the bytes beside the range belong to somebody else. */
    uint64_t page = segment_page();
    uint64_t begin = base_align_up(offset, page);
    uint64_t end = (offset + length) / page * page;
    if (begin < end)
        segment_fallocate(segment->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, end - begin);
}

void *base_segment_map_write(struct base_segment *segment, uint64_t offset, uint64_t length)
{
    if (length == 0 || offset % segment_page() != 0 || offset > segment->size ||
        length > segment->size - offset)
        return NULL;
    void *memory =
        mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, segment->fd, (off_t)offset);
    return memory == MAP_FAILED ? NULL : memory;
}

const void *base_segment_map_read(const struct base_segment *segment)
{
    void *memory = mmap(NULL, segment->size, PROT_READ, MAP_SHARED | MAP_NORESERVE, segment->fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void base_segment_unmap_read(const void *memory, uint64_t size)
{
    munmap((void *)memory, size);
}

void base_segment_close(struct base_segment *segment)
{
    if (segment->fd < 0)
        return;
    munmap((void *)segment->read, segment->size);
    munmap(segment->write, segment->control_size);
    close(segment->fd);
    segment_clear(segment);
}
