/* How much memory one may really use: what the host has left, what the cgroups above this process allow, and
 * what is left in /dev/shm. The parsers are pure; tests feed them recorded files. */
#include "base/base_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

const struct base_memory_roots base_memory_roots = {"/proc", "/sys/fs/cgroup", "/dev/shm"};

/* This is called on stacks of tasks, which may be short and used up: one text for all files, and paths that
 * are long enough for what batch systems and containers make. The files are short; of a long one (memory.stat
 * of new kernels, 3 KiB) the beginning is enough. */
#define MEMORY_FILE 4096
#define MEMORY_PATH 1024

static bool memory_file_read(const char *path, char *text, size_t size)
{
    int fd;
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return false;
    size_t length = 0;
    ssize_t got = 1;
    while (got != 0 && length < size - 1) {
        got = read(fd, text + length, size - 1 - length);
        if (got < 0 && errno != EINTR)
            break;
        length += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    text[length] = '\0';
    return length > 0;
}

/** The rest of the line that begins with `name` followed by `mark`; NULL when there is none. */
static const char *memory_line_find(const char *text, const char *name, char mark)
{
    size_t length = strlen(name);
    while (text != NULL && *text != '\0') {
        if (strncmp(text, name, length) == 0 && text[length] == mark)
            return text + length + 1;
        text = strchr(text, '\n');
        text = text == NULL ? NULL : text + 1;
    }
    return NULL;
}

uint64_t base_meminfo_bytes(const char *text, const char *name)
{
    const char *value = memory_line_find(text, name, ':');
    unsigned long long kibibytes;
    if (value == NULL || sscanf(value, " %llu kB", &kibibytes) != 1 || kibibytes > UINT64_MAX / 1024)
        return UINT64_MAX;
    return (uint64_t)kibibytes * 1024;
}

uint64_t base_cgroup_stat(const char *text, const char *name)
{
    const char *value = memory_line_find(text, name, ' ');
    return value == NULL ? 0 : strtoull(value, NULL, 10);
}

bool base_cgroup_number(const char *text, uint64_t *number)
{
    if (strncmp(text, "max", 3) == 0 && (text[3] == '\n' || text[3] == '\0')) {
        *number = UINT64_MAX;
        return true;
    }
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || (*end != '\n' && *end != '\0'))
        return false;
    *number = value;
    return true;
}

/** Whether `controller` is a member of the comma-separated list [list, end). */
static bool cgroup_list_has(const char *list, const char *end, const char *controller)
{
    size_t length = strlen(controller);
    if (length == 0)
        return list == end;
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        const char *stop = comma != NULL ? comma : end;
        if ((size_t)(stop - list) == length && memcmp(list, controller, length) == 0)
            return true;
        list = stop + 1;
    }
    return false;
}

bool base_cgroup_path(const char *text, const char *controller, char *path, size_t size)
{
    while (*text != '\0') {
        const char *line_end = strchrnul(text, '\n');
        const char *list = memchr(text, ':', (size_t)(line_end - text));
        const char *list_end = list == NULL ? NULL : memchr(list + 1, ':', (size_t)(line_end - list - 1));
        if (list_end != NULL && cgroup_list_has(list + 1, list_end, controller)) {
            size_t length = (size_t)(line_end - list_end - 1);
            if (length >= size)
                return false;
            memcpy(path, list_end + 1, length);
            path[length] = '\0';
            return true;
        }
        text = *line_end == '\0' ? line_end : line_end + 1;
    }
    return false;
}

/** Names of the files of one cgroup version. */
struct cgroup_files {
    const char *controller, *tree, *limit, *usage, *cache;
};
static const struct cgroup_files cgroup_versions[] = {
    {"", "", "memory.max", "memory.current", "inactive_file"},
    {"", "/unified", "memory.max", "memory.current", "inactive_file"},
    {"memory", "/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
};

/** Room in the one cgroup whose folder is `folder`; a folder without a limit does not limit. */
static uint64_t cgroup_folder_room(const char *folder, const struct cgroup_files *files,
                                   char text[MEMORY_FILE])
{
    char path[MEMORY_PATH];
    uint64_t limit, usage;
    snprintf(path, sizeof path, "%s/%s", folder, files->limit);
    if (!memory_file_read(path, text, MEMORY_FILE) || !base_cgroup_number(text, &limit) ||
        limit == UINT64_MAX)
        return UINT64_MAX;
    snprintf(path, sizeof path, "%s/%s", folder, files->usage);
    if (!memory_file_read(path, text, MEMORY_FILE) || !base_cgroup_number(text, &usage))
        return UINT64_MAX;
    /* Cached files count as usage but make room when asked to: a job that has read much is not full. */
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    uint64_t cache = memory_file_read(path, text, MEMORY_FILE) ? base_cgroup_stat(text, files->cache) : 0;
    usage = usage > cache ? usage - cache : 0;
    return limit > usage ? limit - usage : 0;
}

/** Least room in a cgroup and all above it. In a container the path may be the host's and lead nowhere: then
 * the walk upwards ends at the root of the mount, which is the container's own cgroup. */
static uint64_t cgroup_room(const struct base_memory_roots *roots, const struct cgroup_files *files,
                            char text[MEMORY_FILE])
{
    char path[MEMORY_PATH - 256], folder[MEMORY_PATH - 32];
    snprintf(folder, sizeof folder, "%s/self/cgroup", roots->proc);
    if (!memory_file_read(folder, text, MEMORY_FILE) ||
        !base_cgroup_path(text, files->controller, path, sizeof path))
        return UINT64_MAX;
    uint64_t room = UINT64_MAX;
    for (;;) {
        snprintf(folder, sizeof folder, "%s%s%s", roots->cgroup, files->tree, path);
        uint64_t here = cgroup_folder_room(folder, files, text);
        room = here < room ? here : room;
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            return room;
        *slash = '\0';
    }
}

static uint64_t memory_shm_room(const char *folder)
{
    struct statvfs files;
    if (statvfs(folder, &files) != 0)
        return 0;
    if (files.f_blocks == 0)
        return UINT64_MAX; /* a tmpfs mounted without a limit */
    return (uint64_t)files.f_bavail * files.f_frsize;
}

uint64_t base_memory_available_in(const struct base_memory_roots *roots)
{
    char path[MEMORY_PATH], text[MEMORY_FILE];
    uint64_t least = memory_shm_room(roots->shm);
    snprintf(path, sizeof path, "%s/meminfo", roots->proc);
    if (memory_file_read(path, text, sizeof text)) {
        uint64_t host = base_meminfo_bytes(text, "MemAvailable");
        least = host < least ? host : least;
    }
    for (size_t i = 0; i < sizeof cgroup_versions / sizeof cgroup_versions[0]; i++) {
        uint64_t room = cgroup_room(roots, &cgroup_versions[i], text);
        least = room < least ? room : least;
    }
    return least;
}

uint64_t base_memory_available(void)
{
    return base_memory_available_in(&base_memory_roots);
}

uint64_t base_shm_available(void)
{
    return memory_shm_room(base_memory_roots.shm);
}

#define HUGE_PAGE (UINT64_C(2) * 1024 * 1024)

/* More than is needed, and what lies before and behind the aligned part is given back. */
static void *map_huge(size_t bytes)
{
    char *memory = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    size_t before = (size_t)(base_align_up((uintptr_t)memory, HUGE_PAGE) - (uintptr_t)memory);
    if (before > 0)
        munmap(memory, before);
    if (before < HUGE_PAGE)
        munmap(memory + before + bytes, HUGE_PAGE - before);
    madvise(memory + before, bytes, MADV_HUGEPAGE);
    return memory + before;
}

static void *memory_from_heap(size_t bytes)
{
    void *memory = aligned_alloc(4096, base_align_up(bytes, 4096));
    return memory ? memset(memory, 0, bytes) : NULL;
}

void *base_memory_map(size_t bytes, bool huge)
{
    if (BASE_MEMORY_FROM_HEAP)
        return memory_from_heap(bytes);
    if (huge)
        return map_huge(bytes);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

void base_memory_unmap(void *memory, size_t bytes)
{
    if (BASE_MEMORY_FROM_HEAP)
        free(memory);
    else if (memory)
        munmap(memory, bytes);
}
