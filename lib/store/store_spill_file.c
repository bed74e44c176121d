/* Files of spilled blocks. Blocks are appended, many to a file; the slot of one that is freed is used again
 * or becomes a hole, and a file without slots is closed, which is its end: it has no name.
 *
 * A write is done when the system has accepted it; disks fail later. Who has read a block back therefore asks
 * whether the system had to give up what it accepted, and then trusts nothing in that file.
 *
 * What the system keeps of the files in its cache, and when it writes, is left to it: it takes clean pages
 * back before anything else, and limits dirty ones. To begin writing after each MiB (sync_file_range) made 1
 * MiB blocks a third slower, and restores read from the disk what was still in the cache. */
#include "store/store_spill.h"
#include "store/store_checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define AHEAD_BYTES   (UINT64_C(16) << 20) /* that a file has on the disk before they are written */
#define RETRY_SECONDS 5
#define BEYOND_FILES  ((off_t)1 << 62)
#define NANOSECONDS   UINT64_C(1000000000)

static uint64_t slot_align(uint64_t offset, uint64_t length)
{
    return base_align_up(offset, length < SPILL_SLOT_SMALL ? ARENA_GRANULE : SPILL_PAGE);
}

/* ---- files */

static struct spill_file *file_open(struct spill_files *files, struct spill_folder *folder)
{
    struct spill_file *file = calloc(1, sizeof *file);
    if (!file) {
        errno = ENOMEM;
        return NULL;
    }
    file->folder = folder;
    file->fd = spill_file_create(folder->path);
    if (file->fd < 0) {
        free(file);
        return NULL;
    }
    files->open++;
    return file;
}

static void file_close(struct spill_files *files, struct spill_file *file)
{
    if (file->folder->current == file)
        file->folder->current = NULL;
    close(file->fd);
    files->open--;
    free(file);
}

/* No bytes are appended any more: those it has ahead go back. */
static void file_leave(struct spill_files *files, struct spill_file *file)
{
    file->ahead = file->end;
    if (!file->slots && !file->holes)
        file_close(files, file);
    else if (ftruncate(file->fd, (off_t)file->end) != 0)
        base_log(BASE_LOG_DEBUG, "store", "a spill file keeps some bytes too many: %s", strerror(errno));
}

/* Blocks of the disk for what is appended up to `end`: the system writes into such a third faster than where
 * it has to reserve page by page (ext4, Linux 6.18). Where it can not, it does that. */
static void file_prepare(const struct spill_files *files, struct spill_file *file, uint64_t end)
{
    if (end <= file->ahead || file->unprepared)
        return;
    uint64_t ahead = base_align_up(end, AHEAD_BYTES);
    if (ahead > files->file_bytes)
        ahead = end;
    file->unprepared =
        fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)file->ahead, (off_t)(ahead - file->ahead)) != 0;
    if (!file->unprepared)
        file->ahead = ahead;
}

/* The file that the next `bytes` go to; NULL: errno says why. Where there can be no more files, the current
 * one grows past its size. */
static struct spill_file *file_for(struct spill_files *files, struct spill_folder *folder, uint64_t bytes)
{
    struct spill_file *file = folder->current;
    bool fits = file && (!file->end || file->end + bytes <= files->file_bytes) &&
                !atomic_load_explicit(&file->broken, memory_order_relaxed);
    if (fits || (file && files->open >= files->open_most))
        return file;
    struct spill_file *fresh = file_open(files, folder);
    if (!fresh)
        return errno == EMFILE || errno == ENFILE ? file : NULL;
    folder->current = fresh;
    if (file)
        file_leave(files, file);
    return fresh;
}

/* ---- writing */

/* One system call's part of it. */
static ssize_t vector_write_some(int fd, const struct iovec *vector, int count, uint64_t offset)
{
    uint64_t bytes = 0;
    int some = 0;
    while (some < count && bytes + vector[some].iov_len <= SPILL_WRITE_BYTES)
        bytes += vector[some++].iov_len;
    if (some)
        return pwritev(fd, vector, some, (off_t)offset);
    struct iovec part = {vector->iov_base, SPILL_WRITE_BYTES};
    return pwritev(fd, &part, 1, (off_t)offset);
}

/* Writes all of it; 0 or errno. */
static int vector_write(int fd, struct iovec *vector, int count, uint64_t offset)
{
    while (count) {
        ssize_t wrote = vector_write_some(fd, vector, count, offset);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wrote < 0 ? errno : EIO;
        offset += (uint64_t)wrote;
        for (; count && (size_t)wrote >= vector->iov_len; vector++, count--)
            wrote -= (ssize_t)vector->iov_len;
        if (count) {
            vector->iov_base = (char *)vector->iov_base + wrote;
            vector->iov_len -= (size_t)wrote;
        }
    }
    return 0;
}

/* Gives each block its slot, from `offset` on; returns the end of the last. */
static uint64_t slots_take(struct spill_file *file, struct spill_copy **copies, int count, uint64_t offset)
{
    for (int i = 0; i < count; i++) {
        copies[i]->file = file;
        copies[i]->offset = slot_align(offset, copies[i]->length);
        offset = copies[i]->offset + copies[i]->length;
    }
    return offset;
}

/* Blocks, and zeros between them. */
static int slots_write(struct spill_file *file, struct spill_copy **copies, int count)
{
    static const char zeros[SPILL_PAGE];
    struct iovec vector[2 * SPILL_BATCH];
    uint64_t end = file->end;
    int used = 0;
    for (int i = 0; i < count; i++) {
        if (copies[i]->offset > end)
            vector[used++] = (struct iovec){(void *)zeros, copies[i]->offset - end};
        if (copies[i]->length)
            vector[used++] = (struct iovec){copies[i]->memory, copies[i]->length};
        end = copies[i]->offset + copies[i]->length;
    }
    return vector_write(file->fd, vector, used, file->end);
}

/* At the end of a file. */
static int folder_append(struct spill_files *files, struct spill_folder *folder, struct spill_copy **copies,
                         int count)
{
    uint64_t bytes = slots_take(NULL, copies, count, 0);
    struct spill_file *file = file_for(files, folder, bytes);
    if (!file)
        return errno;
    uint64_t end = slots_take(file, copies, count, file->end);
    file_prepare(files, file, end);
    int error = slots_write(file, copies, count);
    if (error) {
        file_leave(files, file); /* what was written of it would take space from the others */
        return error;
    }
    file->end = end;
    file->slots += (uint64_t)count;
    return 0;
}

/* In place of a block that was freed; else false. */
static bool hole_write(struct spill_files *files, struct spill_copy *copy)
{
    if (!spill_hole_take(files, copy))
        return false;
    struct iovec vector = {copy->memory, copy->length};
    if (vector_write(copy->file->fd, &vector, 1, copy->offset) == 0)
        return true;
    copy->file->slots--;
    return false;
}

static int folder_write(struct spill_files *files, struct spill_folder *folder, struct spill_copy **copies,
                        int count)
{
    int error = folder_append(files, folder, copies, count);
    if ((error != ENOSPC && error != EDQUOT) || !files->holes)
        return error;
    while (spill_hole_return(files))
        continue;
    return folder_append(files, folder, copies, count);
}

static void folder_failed(struct spill_folder *folder, int error)
{
    /* Relaxed, here and below: see spill_folders_failed(). */
    atomic_store_explicit(&folder->retry, base_now() + RETRY_SECONDS * NANOSECONDS, memory_order_relaxed);
    atomic_store_explicit(&folder->error, error, memory_order_relaxed);
    if (folder->told == error)
        return;
    folder->told = error;
    base_log(BASE_LOG_WARN, "store", "the spill folder %s can not be written to: %s; objects stay in memory",
             folder->path, strerror(error));
}

static int files_append(struct spill_files *files, struct spill_copy **copies, int count)
{
    int error = 0;
    for (int tried = 0; tried < files->count; tried++) {
        struct spill_folder *folder = &files->folders[files->turn++ % files->count];
        int before = atomic_load_explicit(&folder->error, memory_order_relaxed);
        if (before && base_now() < atomic_load_explicit(&folder->retry, memory_order_relaxed)) {
            error = before;
            continue;
        }
        error = folder_write(files, folder, copies, count);
        if (!error) {
            atomic_store_explicit(&folder->error, 0, memory_order_relaxed);
            return 0;
        }
        folder_failed(folder, error);
    }
    return error;
}

int spill_files_write(struct spill_files *files, struct spill_copy **copies, int count)
{
    struct spill_copy *rest[SPILL_BATCH];
    int left = 0;
    for (int i = 0; i < count; i++)
        if (!hole_write(files, copies[i]))
            rest[left++] = copies[i];
    return left ? files_append(files, rest, left) : 0;
}

void spill_files_close(struct spill_files *files)
{
    while (spill_hole_return(files))
        continue;
    for (int i = 0; i < files->count; i++)
        if (files->folders[i].current)
            file_close(files, files->folders[i].current);
    pthread_mutex_destroy(&files->breaking);
    spill_folders_close(files);
}

/* ---- reading */

/* The system tells once that it had to give up something of the file: of a range without data, where there is
 * nothing to wait for. */
static bool breaks(const struct spill_file *file)
{
    return sync_file_range(file->fd, BEYOND_FILES, 1, SYNC_FILE_RANGE_WAIT_BEFORE) != 0 &&
           (errno == EIO || errno == ENOSPC || errno == EDQUOT);
}

/* After the read: what was given up before it is told now, to whoever asks first. */
static bool file_broken(struct spill_files *files, struct spill_file *file)
{
    pthread_mutex_lock(&files->breaking);
    /* Relaxed: a flag for good; the writing thread only looks where to append. */
    if (!atomic_load_explicit(&file->broken, memory_order_relaxed) && breaks(file))
        atomic_store_explicit(&file->broken, true, memory_order_relaxed);
    bool broken = atomic_load_explicit(&file->broken, memory_order_relaxed);
    pthread_mutex_unlock(&files->breaking);
    return broken;
}

/* `flags`: of preadv2(). */
static int slot_read(const struct spill_copy *copy, int flags)
{
    for (uint64_t done = 0; done < copy->length;) {
        struct iovec rest = {copy->memory + done, copy->length - done};
        ssize_t got = preadv2(copy->file->fd, &rest, 1, (off_t)(copy->offset + done), flags);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : EIO;
        done += (uint64_t)got;
    }
    return 0;
}

static int slot_check(struct spill_files *files, const struct spill_copy *copy)
{
    if (file_broken(files, copy->file))
        return EIO;
    return !files->checksum || store_checksum(copy->memory, copy->length) == copy->checksum ? 0
                                                                                            : SPILL_CORRUPT;
}

int spill_file_read(struct spill_files *files, struct spill_copy *copy)
{
    int error = slot_read(copy, 0);
    return error ? error : slot_check(files, copy);
}

int spill_file_read_cached(struct spill_files *files, struct spill_copy *copy)
{
    /* Any error: the reading thread finds it again. A file system that can not tell what it has in memory
     * answers with one. */
    return slot_read(copy, RWF_NOWAIT) ? EAGAIN : slot_check(files, copy);
}

void spill_file_want(const struct spill_copy *copy)
{
    posix_fadvise(copy->file->fd, (off_t)copy->offset, (off_t)copy->length, POSIX_FADV_WILLNEED);
}

/* ---- giving back */

void spill_file_emptied(struct spill_files *files, struct spill_file *file)
{
    if (file->folder->current == file && ftruncate(file->fd, 0) == 0)
        file->end = file->ahead = 0;
    else
        file_close(files, file);
}

void spill_file_forget(struct spill_files *files, struct spill_copy *copy)
{
    struct spill_file *file = copy->file;
    file->slots--;
    /* There is room again. */
    atomic_store_explicit(&file->folder->retry, 0, memory_order_relaxed);
    if (copy->length >= SPILL_SLOT_SMALL) {
        spill_hole_add(files, copy);
        return;
    }
    free(copy);
    if (!file->slots && !file->holes)
        spill_file_emptied(files, file);
}
