/* The ground floor: status texts, log, configuration, clock, host segment, crash reports, fibers. */
#ifndef RAYMPI_BASE_H
#define RAYMPI_BASE_H

#include <raympi.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/base_defect.h"
#include "base/base_fence.h"
#include "base/base_fiber.h"
#include "base/base_pool.h"
#include "base/base_spin.h"

#define BASE_CACHE_LINE  64
#define base_likely(x)   __builtin_expect(!!(x), 1)
#define base_unlikely(x) __builtin_expect(!!(x), 0)
/** The struct of type `type` whose member `member` is at `pointer`. */
#define base_container(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline uint64_t base_align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

/* ---- status and detail (base_status.c) */

/** Records the detail text of a failure for this thread (raympi_detail) and returns `status`. */
int base_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *base_detail(void);
/** Replaces the calling thread's detail text; for fibers, whose text moves with the task. */
void base_detail_set(const char *text);

/* ---- log (base_log.c): one line `raympi: rank R: room: text` to stderr when level <= RAYMPI_LOG */

enum base_log_level { BASE_LOG_ERROR = 0, BASE_LOG_WARN, BASE_LOG_INFO, BASE_LOG_DEBUG };
extern _Atomic int base_log_threshold;
void base_log_write(enum base_log_level level, const char *room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** Rank shown by lines of the calling thread (-1: none) and of threads that set none. */
void base_log_rank(int rank);
#define base_log(level, room, ...)                                                                           \
    do {                                                                                                     \
        if ((int)(level) <= atomic_load_explicit(&base_log_threshold, memory_order_relaxed))                 \
            base_log_write(level, room, __VA_ARGS__);                                                        \
    } while (0)

/* ---- scarce memory (base_scarce.c) */

/** For an allocation whose failure could be told to nobody: the message of another rank, whose tasks would
 * wait for ever. Call it when a try has failed, then try again; `tries` begins at 0. After two seconds it
 * says that there is no memory for `what`, and ends the process: the other ranks see it die. */
void base_await_memory(int *tries, const char *room, const char *what);
/** malloc, with base_await_memory(): never NULL. */
void *base_alloc_sure(size_t bytes, const char *room, const char *what);

/* ---- configuration (base_config.c): every RAYMPI_* variable is a row of one table */

/** Who carries messages between hosts. */
enum base_net { BASE_NET_AUTO = 0, BASE_NET_OFI, BASE_NET_MPI };
/** How values come from other hosts: read one-sidedly through MPI's windows or libfabric, or asked for by
 * messages. */
enum base_fetch { BASE_FETCH_AUTO = 0, BASE_FETCH_RMA, BASE_FETCH_OFI, BASE_FETCH_PULL };

struct base_config {
    int workers;           /* RAYMPI_WORKERS, 0 = from topology */
    int log_level;         /* RAYMPI_LOG: error|warn|info|debug or 0..3 */
    int stats;             /* RAYMPI_STATS: 0|1 */
    int crash_handler;     /* RAYMPI_CRASH_HANDLER: 0|1 */
    int leaks;             /* RAYMPI_LEAKS: 0|1, report leaked refs at finalize */
    double watchdog;       /* RAYMPI_WATCHDOG, seconds without progress before a report; 0 = off */
    double create_timeout; /* RAYMPI_CREATE_TIMEOUT, seconds */
    double spin; /* RAYMPI_SPIN_US, microseconds of spinning before sleep; -1 = by oversubscription */
    uint64_t stack_bytes;  /* RAYMPI_STACK_BYTES (k, m, g suffixes) */
    uint64_t store_bytes;  /* RAYMPI_STORE_BYTES, per host; 0 = from memory */
    uint64_t inline_bytes; /* RAYMPI_INLINE_BYTES, values up to this size travel in messages */
    uint64_t backlog; /* RAYMPI_BACKLOG, unfinished tasks of this rank before submitters are slowed down */
    uint64_t trace_events;  /* RAYMPI_TRACE_EVENTS, events kept per thread */
    const char *trace_file; /* RAYMPI_TRACE, NULL = off */
    int net;                /* RAYMPI_NET: enum base_net */
    int fetch;              /* RAYMPI_FETCH: enum base_fetch */
    double
        host_timeout; /* RAYMPI_HOST_TIMEOUT, seconds without a sign of life until a host is lost; 0: never */
    double connect_timeout;    /* RAYMPI_CONNECT_TIMEOUT, seconds without any progress towards another host's
                                  rank */
    const char *ofi_provider;  /* RAYMPI_OFI_PROVIDER, NULL = the best there is */
    const char *ofi_interface; /* RAYMPI_OFI_INTERFACE, NULL = of the net that all hosts share */
    const char *spill_folders; /* RAYMPI_SPILL_DIR, else $TMPDIR, else /tmp; "" = none */
    bool spill_asked;          /* they were named by RAYMPI_SPILL_DIR */
    int checksum;              /* RAYMPI_CHECKSUM: 0|1 */
    int protect;               /* RAYMPI_PROTECT: 0|1 */
};
/** Reads the environment. CONFIG (with variable, value, what is allowed) for a malformed value and for a
 * RAYMPI_* variable that does not exist (a typing error is never ignored; the closest name is offered). */
int base_config_read(struct base_config *config);
/** The settings that all ranks must share (sizes, not log levels), NAME=VALUE, one a line, to be compared at
 * start. */
void base_config_common(const struct base_config *config, char *text, size_t size);
/** Calls row(name, value, default, origin, help) for every variable. */
void base_config_each(const struct base_config *config,
                      void (*row)(void *arg, const char *name, const char *value, const char *fallback,
                                  const char *origin, const char *help),
                      void *arg);

/* ---- clock and random */

/** Monotonic nanoseconds. */
uint64_t base_now(void);
/** 64-bit mix with full avalanche (splitmix64 finaliser, Steele et al. 2014). */
static inline uint64_t base_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}
/** FNV-1a of a string, mixed: names of tasks and methods; never 0. */
uint64_t base_hash_name(const char *name);

/* ---- host segment (base_segment.c): one sparse shared file per host */

/** A file in shared memory mapped by every rank of the host. Bytes are addressed by offset: a pointer is
 *  `base + offset` in a mapping of one's own. Pages exist only once committed. */
struct base_segment {
    int fd;
    uint64_t size;    /* bytes of address space; multiple of the page size */
    char *write;      /* PROT_READ|WRITE mapping of [0, control_size): control words, rings, descriptors */
    const char *read; /* PROT_READ mapping of the whole segment */
    uint64_t control_size;
    char name[64];
};
/** Creates the segment (shm_open, mode 0600, ftruncate) and maps it. `cookie` is written to its first 16
 * bytes. MEMORY with the cure when /dev/shm is missing or unwritable. */
int base_segment_create(struct base_segment *segment, uint64_t size, uint64_t control_size,
                        const uint64_t cookie[2]);
/** Maps the segment that another rank created. *same is false (and nothing stays open) when it cannot be
 * opened or its cookie is a different one: that rank is on another host or in another container. */
int base_segment_attach(struct base_segment *segment, const char *name, uint64_t size, uint64_t control_size,
                        const uint64_t cookie[2], bool *same);
/** Removes the name; mappings stay. Call once all have attached. */
void base_segment_unlink(struct base_segment *segment);
/** Reserves real memory for [offset, offset+length) by fallocate, so that touching it can not raise SIGBUS.
 *  STORE_FULL when /dev/shm (or the cgroup) has no room. Idempotent; thread and process safe. */
int base_segment_commit(struct base_segment *segment, uint64_t offset, uint64_t length);
/** Gives the memory of [offset, offset+length) back (hole punching). */
void base_segment_decommit(struct base_segment *segment, uint64_t offset, uint64_t length);
/** Maps [offset, offset+length) readable and writable a second time; NULL on failure. */
void *base_segment_map_write(struct base_segment *segment, uint64_t offset, uint64_t length);
/** Maps all of it readable a second time, for those who keep an address of their own; NULL on failure. Memory
 * must be committed before it is looked at: a page that is not there would be made. */
const void *base_segment_map_read(const struct base_segment *segment);
void base_segment_unmap_read(const void *memory, uint64_t size);
void base_segment_close(struct base_segment *segment);
/** Bytes that one may really use: the least of MemAvailable, the cgroup's room, and the room left in
 * /dev/shm. */
uint64_t base_memory_available(void);
/** Private memory of zeros, whole pages, that nothing touches before it is used; NULL: none. `huge`: aligned
 * to huge pages and on such where the system allows it, for what will be used up to its end. */
void *base_memory_map(size_t bytes, bool huge);
void base_memory_unmap(void *memory, size_t bytes);
/** Bytes left in /dev/shm. */
uint64_t base_shm_available(void);

/* ---- crash reports (base_crash.c) */

/** Where a crash text goes: `text` (size bytes) lies in the host segment so that survivors can read it.
 * `describe` writes what this thread was doing ("task f"), async-signal-safe; `overflow` tells whether an
 * address is a fiber guard page (async-signal-safe). */
struct base_crash_hooks {
    char *text;
    size_t size;
    int rank;
    size_t (*describe)(char *text, size_t size);
    bool (*overflow)(const void *address);
    /* says what it means that somebody has used that address (" wrote to ..."), or nothing (0) where it does
     * not know; async-signal-safe; may be NULL */
    size_t (*misuse)(const void *address, char *text, size_t size);
    /* called for SIGTERM (signal = SIGTERM) and from atexit (0) when the process leaves inside a job;
     * async-signal-safe; may be NULL */
    void (*terminated)(int signal);
};
/** Installs handlers for SIGSEGV SIGBUS SIGFPE SIGILL SIGABRT (and SIGTERM when hooks->terminated is set),
 * chained to those that were there, on alternate stacks. The handler prints name, signal and a backtrace to
 * stderr and hooks
 *  ->text, then restores the previous action and lets the process die of the signal. */
int base_crash_install(const struct base_crash_hooks *hooks);
/** Gives the calling thread an alternate signal stack; once per thread. */
int base_crash_thread_init(void);
void base_crash_thread_fini(void);
void base_crash_remove(void);

#endif
