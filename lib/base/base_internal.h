/* What the files of this room share, and what its tests reach into. */
#ifndef RAYMPI_BASE_INTERNAL_H
#define RAYMPI_BASE_INTERNAL_H

#include "base/base.h"

/** Where the kernel's view of memory is read; other folders in tests. */
struct base_memory_roots {
    const char *proc;   /* holds meminfo and self/cgroup */
    const char *cgroup; /* mount point of the cgroup trees */
    const char *shm;    /* a folder of the file system of the segment */
};
extern const struct base_memory_roots base_memory_roots;

/** Least of what the three places say; a place that cannot be read does not limit. */
uint64_t base_memory_available_in(const struct base_memory_roots *roots);
/** Bytes of one "Name:   123 kB" line of /proc/meminfo; UINT64_MAX when there is none. */
uint64_t base_meminfo_bytes(const char *text, const char *name);
/** Number behind "name " at the start of a line of a memory.stat; 0 when there is none. */
uint64_t base_cgroup_stat(const char *text, const char *name);
/** A limit or usage file: a number, or "max" for UINT64_MAX; false when malformed. */
bool base_cgroup_number(const char *text, uint64_t *number);
/** The path of the process in the tree of `controller` ("" for cgroup v2), from the text of
 * /proc/self/cgroup. */
bool base_cgroup_path(const char *text, const char *controller, char *path, size_t size);

/** Edits (insert, delete, replace a character) that turn one name into the other; looks at 63 characters of
 * b. */
unsigned base_edit_distance(const char *a, const char *b);

#endif
