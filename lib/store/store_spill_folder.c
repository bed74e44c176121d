/* Folders for spilled blocks: which can be used, and why not. */
#include "store/store_spill.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FILE_BYTES  (UINT64_C(256) << 20)
#define BATCH_BYTES SPILL_WRITE_BYTES
#define FILES_PART  8 /* of the descriptors that the process may have */
#define FILES_LEAST 4
#define FILES_MOST  1024
#define FOLDER_CURE "name folders on a disk in RAYMPI_SPILL_DIR, or none (RAYMPI_SPILL_DIR=) to spill nothing"
#define FOLDER_TEXT 512

/* ---- files without a name */

/* Where the file system knows no files without a name: one that nobody guesses, and that is gone at once. */
static int file_create_named(const char *path)
{
    char name[4096];
    int length = snprintf(name, sizeof name, "%s/raympi-spill-XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0)
        unlink(name);
    return fd;
}

int spill_file_create(const char *path)
{
    int fd = open(path, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL))
        return fd;
    return file_create_named(path);
}

/* ---- which can be used */

static bool in_memory(const char *path)
{
    struct statfs system;
    if (statfs(path, &system) != 0)
        return false;
    return system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC || system.f_type == HUGETLBFS_MAGIC;
}

/* NULL, or why the folder can not be used. */
static const char *folder_fault(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return errno == ENOENT ? "it does not exist" : strerror(errno);
    if (!S_ISDIR(about.st_mode))
        return "it is not a folder";
    if (in_memory(path))
        return "it is on a file system in memory (tmpfs), where nothing is gained";
    int fd = spill_file_create(path);
    if (fd < 0)
        return errno == EACCES ? "this user may not write there" : strerror(errno);
    close(fd);
    return NULL;
}

/* Appends a sentence about a folder that is left out. */
static void fault_note(char *text, size_t size, const char *path, const char *fault)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%scan not spill objects to %s: %s", used ? "; " : "", path, fault);
}

static int folder_add(struct spill_files *files, const char *path)
{
    struct spill_folder *folders = realloc(files->folders, ((size_t)files->count + 1) * sizeof *folders);
    if (!folders)
        return base_fail(RAYMPI_ERR_MEMORY, "no private memory for the list of spill folders");
    files->folders = folders;
    char *copy = strdup(path);
    if (!copy)
        return base_fail(RAYMPI_ERR_MEMORY, "no private memory for the list of spill folders");
    memset(&folders[files->count], 0, sizeof *folders);
    folders[files->count++].path = copy;
    return RAYMPI_OK;
}

/* Goes through the list, which it cuts into its parts; notes what can not be used. */
static int folders_take(struct spill_files *files, char *list, char *faults, size_t size)
{
    char *rest = NULL;
    int status = RAYMPI_OK;
    for (char *path = strtok_r(list, ":", &rest); path && status == RAYMPI_OK;
         path = strtok_r(NULL, ":", &rest)) {
        const char *fault = folder_fault(path);
        if (fault)
            fault_note(faults, size, path, fault);
        else
            status = folder_add(files, path);
    }
    return status;
}

static void limits_take(struct spill_files *files)
{
    struct rlimit limit;
    files->file_bytes = FILE_BYTES;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < files->file_bytes)
        files->file_bytes = limit.rlim_cur;
    /* Half: there may be gaps between blocks. */
    files->batch_bytes = BATCH_BYTES < files->file_bytes / 2 ? BATCH_BYTES : files->file_bytes / 2;
    files->open_most = FILES_MOST;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / FILES_PART < FILES_MOST)
        files->open_most = (int)(limit.rlim_cur / FILES_PART);
    if (files->open_most < FILES_LEAST)
        files->open_most = FILES_LEAST;
}

int spill_folders_open(struct spill_files *files, const char *list, bool asked_for, bool warn)
{
    char faults[FOLDER_TEXT] = "";
    char *parts = strdup(list);
    if (!parts)
        return base_fail(RAYMPI_ERR_MEMORY, "no private memory for the list of spill folders");
    pthread_mutex_init(&files->breaking, NULL);
    limits_take(files);
    int status = folders_take(files, parts, faults, sizeof faults);
    free(parts);
    if (status == RAYMPI_OK && faults[0] && asked_for)
        status = base_fail(RAYMPI_ERR_ARGUMENT, "%s: %s", faults, FOLDER_CURE);
    else if (status == RAYMPI_OK && faults[0] && warn)
        base_log(BASE_LOG_WARN, "store", "%s: %s%s", faults,
                 files->count ? "" : "objects will have to fit in memory; ", FOLDER_CURE);
    if (status != RAYMPI_OK)
        spill_folders_close(files);
    return status;
}

void spill_folders_close(struct spill_files *files)
{
    for (int i = 0; i < files->count; i++)
        free(files->folders[i].path);
    free(files->folders);
    files->folders = NULL;
    files->count = 0;
}

/* ---- which can be used now */

static void failure_print(const struct spill_folder *folder, int error, char *text, size_t size)
{
    bool full = error == ENOSPC || error == EDQUOT;
    if (full)
        snprintf(text, size,
                 "the spill folder %s is full (%s): free space there, or add a folder to RAYMPI_SPILL_DIR",
                 folder->path, strerror(error));
    else
        snprintf(
            text, size,
            "the spill folder %s can not be written to (%s): mend it, or name another in RAYMPI_SPILL_DIR",
            folder->path, strerror(error));
}

/* Relaxed, here and below: whoever looks too early asks for a write that fails. */
static int error_of(const struct spill_folder *folder)
{
    return atomic_load_explicit(&folder->error, memory_order_relaxed);
}

bool spill_folders_work(const struct spill_files *files)
{
    for (int i = 0; i < files->count; i++)
        if (!error_of(&files->folders[i]))
            return true;
    return false;
}

void spill_folders_print(const struct spill_files *files, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < files->count && used + 3 < size; i++) {
        const struct spill_folder *folder = &files->folders[i];
        int error = error_of(folder);
        if (!error)
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s", used ? "; " : "");
        failure_print(folder, error, text + used, size - used);
        used += strlen(text + used);
    }
}

bool spill_folders_failed(const struct spill_files *files, char *text, size_t size)
{
    text[0] = 0;
    for (int i = 0; i < files->count; i++) {
        const struct spill_folder *folder = &files->folders[i];
        if (!error_of(folder) || base_now() >= atomic_load_explicit(&folder->retry, memory_order_relaxed))
            return false;
    }
    spill_folders_print(files, text, size);
    return true;
}
