/*
 * raympi: tasks, actors, futures and a shared object store on top of MPI.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Conventions that hold for every function unless its comment says otherwise:
 *  - A function that can fail returns a status: RAYMPI_OK (0) or a negative RAYMPI_ERR_*; outputs come last
 * and are set only on success. raympi_detail() then says what happened, where, and what to do.
 *  - A function that makes a ref or an actor handle never fails visibly: on error it returns a ref that holds
 * the error, which raympi_get() reports. Handles are values: copy, pass and return them freely.
 *  - Any function may be called from tasks, actor methods, main() and threads of the user's own, unless it
 * says "collective" or "task only". Sizes are bytes, times are seconds; a negative timeout waits for ever.
 *  - "Blocking" functions suspend the calling task only: its worker runs other tasks meanwhile. main() is
 * worker 0: blocked in raympi it runs tasks; while it computes, tasks that had blocked on worker 0 wait for
 * it.
 *  - Threads of the user's take part from their first call on; raympi_finalize() waits for their end.
 */
#ifndef RAYMPI_H
#define RAYMPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAYMPI_VERSION_MAJOR 0
#define RAYMPI_VERSION_MINOR 1
#define RAYMPI_VERSION_PATCH 0
#define RAYMPI_VERSION       "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* The library is built with hidden visibility; what this header declares is seen. */
#pragma GCC visibility push(default)

/* -------------------------------------------------------------------------------- status codes */

/** Status codes, grouped by what is permanently hurt. A task's own error codes are positive. */
enum raympi_status {
    RAYMPI_OK = 0,
    /* the call: nothing is hurt, correct it and call again */
    RAYMPI_ERR_ARGUMENT = -1,    /**< null pointer, wrong size, negative count, k > n */
    RAYMPI_ERR_STATE = -2,       /**< before init, after finalize, twice, in a forked child */
    RAYMPI_ERR_UNSUPPORTED = -3, /**< an option or a setup that this version does not have */
    RAYMPI_ERR_TIMEOUT = -4,     /**< time was up; the operation itself goes on */
    RAYMPI_ERR_UNKNOWN = -5,     /**< no task, class or method of that name is registered */
    RAYMPI_ERR_TYPE = -6,        /**< wrong number or kind of argument */
    RAYMPI_ERR_RELEASED = -7,    /**< the ref or handle was released, or never was one of this job */
    RAYMPI_ERR_REENTRY = -8,     /**< called from a signal handler that interrupted a raympi call */
    RAYMPI_ERR_TOO_LARGE = -9,   /**< can never fit, whatever is freed */
    RAYMPI_ERR_CONFIG = -10,     /**< a malformed or impossible RAYMPI_* variable */
    RAYMPI_ERR_INFEASIBLE = -11, /**< no node of the job can ever satisfy the request */
    RAYMPI_ERR_MEMORY = -12,     /**< out of private memory, threads or descriptors */
    RAYMPI_ERR_MPI = -13,        /**< MPI failed, or was initialised at too low a thread level */
    RAYMPI_ERR_DEADLOCK = -14,   /**< nothing in the job can move and this wait can never end */
    /* the task */
    RAYMPI_ERR_TASK = -100,      /**< the task failed (generic code for raympi_fail) */
    RAYMPI_ERR_NO_RESULT = -101, /**< the task returned without setting one of its results */
    RAYMPI_ERR_UNSEEN = -102,    /**< from finalize: a task failed and nobody ever looked at its error */
    /* the object */
    RAYMPI_ERR_STORE_FULL = -200, /**< the object store had no room within the deadline */
    RAYMPI_ERR_LOST = -201,       /**< no copy of the object is left */
    /* the actor */
    RAYMPI_ERR_ACTOR_DEAD = -300, /**< the actor was killed, has exited, or its constructor failed */
    /* the node and the job */
    RAYMPI_ERR_NODE_DIED = -400,
    RAYMPI_ERR_MISMATCH = -500, /**< ranks differ in library version, settings or host */
};

/** Name of a status, e.g. "RAYMPI_ERR_TIMEOUT: time was up"; static storage. Thread and signal safe. */
const char *raympi_strerror(int status);

/** What the last failed call of this thread or task had to say: what, where, and the cure. Never NULL; valid
 * until the next failing call of the same thread or task. */
const char *raympi_detail(void);

/** Library version, e.g. "0.1.0"; static storage. */
const char *raympi_version(void);

/* -------------------------------------------------------------------------------- basic types */

/** A future: names one object (a task's result or a put value). 0 = null. */
typedef struct raympi_ref {
    uint64_t handle;
} raympi_ref;

/** Names one actor. 0 = null. */
typedef struct raympi_actor {
    uint64_t handle;
} raympi_actor;

/** The context of the running task or method; passed to every body, valid until the body returns. */
typedef struct raympi_ctx raympi_ctx;

#ifdef __cplusplus
} /* extern "C" */
/* In C a void pointer converts by itself; in C++ these two do. */
struct raympi_pointer {
    void *p;
    template <class T> operator T *() const { return static_cast<T *>(p); }
};
struct raympi_const_pointer {
    const void *p;
    template <class T> operator const T *() const { return static_cast<const T *>(p); }
};
#define RAYMPI_DEFAULT_ZERO = 0
extern "C" {
#else
typedef void *raympi_pointer;
typedef const void *raympi_const_pointer;
#define RAYMPI_DEFAULT_ZERO
#endif

/** A read-only look at an object, straight into the store (zero copy). Valid until raympi_view_end(), the end
 * of the task that got it, or raympi_finalize(); independent of the ref. Aligned to 64 bytes when in the
 * store, else 8. */
typedef struct raympi_view {
    raympi_const_pointer data; /**< NULL only when len is 0 */
    size_t len;                /**< bytes */
    uint64_t internal[2];
} raympi_view;

/** A ref as it travels inside an object's bytes: make it with raympi_wire(), declare it with
 * raympi_put_nested() or raympi_return_nested(), read it back with raympi_view_ref() or raympi_arg_nested().
 */
typedef struct raympi_wire_ref {
    uint64_t handle;
    uint64_t id[2]; /**< logical identity: the same in every attempt to compute the object */
} raympi_wire_ref;

/** The same for an actor handle; declare it as raympi_actor_as_nested(), read it back with
 * raympi_view_actor() or raympi_arg_nested_actor(). */
typedef struct raympi_wire_actor {
    uint64_t handle;
    uint64_t id[2];
} raympi_wire_actor;

/** Explicitly none, where 0 means "the default": `.num_cpus = RAYMPI_NONE`. */
#define RAYMPI_NONE (-1)

/** Where a task or actor may run. DEFAULT: where it is best; SPREAD: round robin; NODE: on .node only. */
enum raympi_strategy { RAYMPI_STRATEGY_DEFAULT = 0, RAYMPI_STRATEGY_SPREAD, RAYMPI_STRATEGY_NODE };

/**
 * Options of a task, an actor class, or one call; a call's options override those of the definition, field by
 * field. 0 = default, RAYMPI_NONE = explicitly none. In C++17 name them in this order. An option that this
 * version does not implement answers RAYMPI_ERR_UNSUPPORTED and names it.
 */
typedef struct raympi_options {
    size_t size RAYMPI_DEFAULT_ZERO;           /**< sizeof(raympi_options); the macros set it */
    double num_cpus RAYMPI_DEFAULT_ZERO;       /**< default 1 for a task; now: RAYMPI_NONE or 1 */
    double num_gpus RAYMPI_DEFAULT_ZERO;       /**< not yet */
    int64_t memory RAYMPI_DEFAULT_ZERO;        /**< bytes; not yet */
    const char *resources RAYMPI_DEFAULT_ZERO; /**< "name:amount,..."; not yet */
    int num_returns RAYMPI_DEFAULT_ZERO;       /**< default 1; RAYMPI_NONE: the ref tells only the end */
    int max_retries RAYMPI_DEFAULT_ZERO;       /**< not yet, except RAYMPI_NONE */
    int max_restarts RAYMPI_DEFAULT_ZERO;      /**< actors; not yet, except RAYMPI_NONE */
    int max_concurrency RAYMPI_DEFAULT_ZERO;   /**< actors; not yet, except 1 */
    int strategy RAYMPI_DEFAULT_ZERO;          /**< enum raympi_strategy */
    int node RAYMPI_DEFAULT_ZERO;              /**< rank, for RAYMPI_STRATEGY_NODE */
    double timeout RAYMPI_DEFAULT_ZERO;        /**< not yet */
    const char *name RAYMPI_DEFAULT_ZERO;      /**< actors: global name; not yet */
    int gang RAYMPI_DEFAULT_ZERO;              /**< not yet */
} raympi_options;

/** Body of a task, constructor, method or destructor: RAYMPI_OK, or the task fails with the code it returns.
 */
typedef int raympi_body(raympi_ctx *ctx);

/** A registered task or actor class; made by the macros below, never by hand. */
typedef struct raympi_definition {
    const char *name;
    raympi_body *body;
    size_t state_size;
    raympi_options options;
    const char *file;
    void *internal[2];
} raympi_definition;

/** A registered constructor, method or destructor. */
typedef struct raympi_method_definition {
    const raympi_definition *owner;
    const char *name;
    raympi_body *body;
    struct raympi_method_definition *next;
} raympi_method_definition;

/** A method's name, and what the library remembers of it from the first call on. */
typedef struct raympi_method_name {
    const char *name;
    const void *internal;
    uint64_t generation;
} raympi_method_name;
/** Initialises one; static, best one for each place of the program that calls. */
#define RAYMPI_METHOD_NAME(string)                                                                           \
    {                                                                                                        \
        (string), NULL, 0                                                                                    \
    }

/** One argument of a call; made by RAYMPI_VALUE(). */
typedef struct raympi_value {
    int kind;
    size_t len; /* bytes, or number of list members */
    union {
        int64_t integer;
        double real;
        const void *pointer;
        uint64_t handle;
    } u;
} raympi_value;

enum raympi_value_kind {
    RAYMPI_KIND_NONE = 0,
    RAYMPI_KIND_INT,
    RAYMPI_KIND_DOUBLE,
    RAYMPI_KIND_BYTES,
    RAYMPI_KIND_STRING,
    RAYMPI_KIND_REF,
    RAYMPI_KIND_ACTOR,
    RAYMPI_KIND_REFS,
};

/** Bytes as an argument: copied when the call is made. */
typedef struct raympi_bytes {
    const void *data;
    size_t len;
} raympi_bytes;

/** A list of refs as one argument. */
typedef struct raympi_refs {
    const raympi_ref *refs;
    size_t count;
} raympi_refs;

/* -------------------------------------------------------------------------------- start and end */

/** Settings for raympi_init(); zero-initialise, set what you need. */
typedef struct raympi_config {
    size_t size;      /**< sizeof(raympi_config) */
    const void *comm; /**< address of the MPI_Comm whose ranks form the job; NULL: MPI_COMM_WORLD */
    int workers;      /**< workers of this rank; 0: RAYMPI_WORKERS or the default */
} raympi_config;

/**
 * Starts raympi. Collective over the ranks of the job. Initialises MPI (MPI_THREAD_SERIALIZED) when the
 * program has not; then raympi_finalize() also ends MPI. The calling thread becomes worker 0.
 * @param argc,argv  those of main, or NULL   @param config  may be NULL
 * Errors: STATE (called twice), MPI (thread level below SERIALIZED), CONFIG (environment variable), MISMATCH
 * (ranks differ: says who), MEMORY, STORE_FULL (/dev/shm), UNSUPPORTED (ranks of one host without a common
 * /dev/shm; more than 256 on one). On error the job is
 * not started on any rank. Blocking. From the main thread only.
 */
int raympi_init(int *argc, char ***argv, const raympi_config *config);

/**
 * Ends raympi: serves work for others until every rank is here and every submitted task has ended; then
 * reports leaked refs and errors that nobody looked at. Collective. Returns RAYMPI_OK, or on all ranks the
 * first of: UNSEEN (an error nobody looked at), DEADLOCK. From the thread that called raympi_init().
 */
int raympi_finalize(void);

/** True between a successful raympi_init() and raympi_finalize(). */
bool raympi_initialized(void);

/** Rank of this node in the job, or -1 before init. */
int raympi_rank(void);

/** Number of ranks, or -1 before init. */
int raympi_size(void);

/** Number of workers of this rank, or -1 before init. */
int raympi_workers(void);

/** Brackets the user's own MPI calls made while raympi runs: keeps them apart from each other and from
 * raympi's own (MPI_THREAD_SERIALIZED). Not recursive; no blocking raympi call in between. */
int raympi_mpi_enter(void);
int raympi_mpi_leave(void);

/* -------------------------------------------------------------------------------- objects */

/** Copies len bytes into a new immutable object. Large objects go to the shared store: may block while that
 * is full. The ref belongs to the current scope. Errors (in the ref): ARGUMENT, STORE_FULL, TOO_LARGE,
 * MEMORY. */
raympi_ref raympi_put(const void *data, size_t len);

/** As raympi_put(), and declares the refs whose wire forms the bytes contain, so that they live as long as
 * the object does. */
raympi_ref raympi_put_nested(const void *data, size_t len, const raympi_ref *refs, size_t count);

/** Create-then-seal: memory for an object of len bytes, to be filled by the caller and then sealed. NULL on
 * error (raympi_detail()). *ref stays pending until the seal; others may already wait on it. May block while
 * the store is full. The memory is the caller's until raympi_seal() or the ref's end. */
raympi_pointer raympi_create(size_t len, raympi_ref *ref);
/** Makes a created object immutable and visible. The pointer of raympi_create() is of no use after it: the
 * object may leave memory at any time; get a view. With RAYMPI_PROTECT=1 a write by it crashes. Errors:
 * ARGUMENT, RELEASED. */
int raympi_seal(raympi_ref ref);

/** The wire form of a ref or an actor handle; raympi_wire(x) takes either. */
raympi_wire_ref raympi_ref_wire(raympi_ref ref);
raympi_wire_actor raympi_actor_wire(raympi_actor actor);

/** An actor handle as a member of the list that raympi_put_nested() and raympi_return_nested() take, and as
 * nothing else: it is no ref that could be waited for. */
static inline raympi_ref raympi_actor_as_nested(raympi_actor actor)
{
    raympi_ref nested = {actor.handle};
    return nested;
}

/** Waits for the object and shows it; where it is on disk or on another host, brings it. Blocking. Returns
 * the error of the task (its own positive code, or a RAYMPI_ERR_*) when there is no object because that task,
 * or one it depends on, failed: raympi_detail() tells the original task, rank and message. Errors: ARGUMENT,
 * RELEASED, DEADLOCK; STORE_FULL (no room to bring it: open views keep what they show in memory), LOST (its
 * file can not be read). */
int raympi_get(raympi_ref ref, raympi_view *view);

/** As raympi_get(), for at most `timeout` seconds: TIMEOUT when time was up. 0 does not block. */
int raympi_get_timeout(raympi_ref ref, raympi_view *view, double timeout);

/** Waits for count objects; views has count entries. Returns the first error by index; then no view is open.
 */
int raympi_get_many(const raympi_ref *refs, size_t count, raympi_view *views, double timeout);

/** Waits, copies the object to `data` and keeps no view. TYPE when the object's length is not exactly len. */
int raympi_get_copy(raympi_ref ref, void *data, size_t len);

/** Ends a view: its data must not be touched any more. Errors: ARGUMENT (not an open view). */
int raympi_view_end(raympi_view *view);

/** The ref behind a wire form found in an object that the caller is looking at. It belongs to the current
 * scope. RELEASED (in the ref) when the object did not declare it. */
raympi_ref raympi_view_ref(const raympi_view *view, raympi_wire_ref wire);
/** The same for an actor handle; null (raympi_detail()) when the object did not declare it. */
raympi_actor raympi_view_actor(const raympi_view *view, raympi_wire_actor wire);

/**
 * Waits until k of count refs are ready (an error counts as ready) or time is up.
 * @param ready  count flags, set for every ref that is ready now; may be NULL
 * @return the number of ready refs (>= k unless time was up), or a negative error. Blocking.
 */
int raympi_wait(const raympi_ref *refs, size_t count, size_t k, double timeout, bool *ready);

/** A set of refs to wait on again and again, at constant cost per wait. Not thread safe. */
typedef struct raympi_waitset raympi_waitset;
int raympi_waitset_create(raympi_waitset **set);
/** Adds a ref (the set takes a hold of its own); tag comes back with it. */
int raympi_waitset_add(raympi_waitset *set, raympi_ref ref, uint64_t tag);
/** Takes one ready ref out of the set. Blocking; TIMEOUT; ARGUMENT when the set is empty. The ref taken
 * belongs to the current scope. */
int raympi_waitset_wait(raympi_waitset *set, double timeout, raympi_ref *ref, uint64_t *tag);
/** Number of refs still in the set. */
size_t raympi_waitset_size(const raympi_waitset *set);
int raympi_waitset_destroy(raympi_waitset *set);

/** Another hold on the same object or actor, to be released on its own. */
raympi_ref raympi_ref_retain(raympi_ref ref);
raympi_actor raympi_actor_retain(raympi_actor actor);
/** Lets go of one hold. RELEASED when the current scope does not hold it. */
int raympi_ref_release(raympi_ref ref);
int raympi_actor_release(raympi_actor actor);
/** Releases count refs; the first error is returned, all are tried. */
int raympi_release_all(const raympi_ref *refs, size_t count);
/** Moves one hold out of the current scope into the actor's state (or out of every scope, in a plain task or
 * main): it then lives until released. Returns the same handle. */
raympi_ref raympi_ref_keep(raympi_ref ref);
raympi_actor raympi_actor_keep(raympi_actor actor);

/** Opens and closes a scope: refs, handles and views obtained in between are let go at the end. Scopes nest.
 */
int raympi_scope_begin(void);
int raympi_scope_end(void);

/** The status of a ref without waiting: RAYMPI_OK when its object is there, TIMEOUT when it is not yet, or
 * its error. */
int raympi_ref_status(raympi_ref ref);

/** Where the bytes of an object are. */
typedef enum raympi_tier {
    RAYMPI_TIER_NONE,     /**< there are none: it is pending, failed, or empty */
    RAYMPI_TIER_PRIVATE,  /**< in private memory of this rank: it is small */
    RAYMPI_TIER_MEMORY,   /**< in this host's store: a get is a pointer */
    RAYMPI_TIER_DISK,     /**< in this host's spill folder (RAYMPI_SPILL_DIR) */
    RAYMPI_TIER_ELSEWHERE /**< in another host's store or spill folder */
} raympi_tier;

/** What raympi_object_info() tells. Set `size` before the call. */
struct raympi_object_info {
    size_t size;     /**< sizeof(struct raympi_object_info) */
    uint64_t bytes;  /**< of its value; 0 while it is pending */
    uint32_t nested; /**< refs that its bytes declare */
    uint32_t holds;  /**< of this rank: refs, arguments of tasks, views, other objects */
    int status;      /**< as raympi_ref_status() */
    int owner;       /**< the rank that counts its refs */
    int holder;      /**< the rank whose part of the store its bytes are in; -1: they are in none */
    raympi_tier tier;
    const char *made_by; /**< the task that made it, "put", ...; until raympi_finalize() */
};
/** Tells about an object, without waiting or fetching. Another rank's object is known as far as this rank was
 * told. Errors: ARGUMENT (size), RELEASED. Any thread. */
int raympi_object_info(raympi_ref ref, struct raympi_object_info *info);

/** What raympi_store_stats() tells: bytes, unless said otherwise. Set `size` before the call. */
struct raympi_store_stats {
    size_t size;          /**< sizeof(struct raympi_store_stats) */
    uint64_t capacity;    /**< of the host's store (RAYMPI_STORE_BYTES) */
    uint64_t extents;     /**< leased by this rank */
    uint64_t objects;     /**< number of this rank's blocks, in memory or on disk */
    uint64_t memory;      /**< of those that are in memory */
    uint64_t memory_peak; /**< the most of it so far */
    uint64_t disk;        /**< of those that are on disk only */
    uint64_t spilled;     /**< written to disk since the start */
    uint64_t restored;    /**< read back */
    uint64_t copies;      /**< of objects of other hosts, in memory here */
    uint64_t fetched;     /**< read from other hosts */
    uint64_t evicted;     /**< given up of such copies */
    uint64_t served;      /**< sent to other hosts from here, by messages */
    uint64_t relayed;     /**< of those fetched: from a host that had a copy, not from the holder */
};
/** Tells about this rank's part of the store. Errors: ARGUMENT (size). Any thread. */
int raympi_store_stats(struct raympi_store_stats *stats);

/** The stored objects that this rank owns, largest first, one line each: handle, bytes, tier, holder, who
 * pins it, who made it; then a line of sums. *report is to be freed by free(). May slow later releases down a
 * little. Errors: ARGUMENT, MEMORY. Any thread. */
int raympi_memory_report(char **report);

/* -------------------------------------------------------------------------------- inside a body */

/** Number of arguments; members of list argument i (1 for any other kind); -1 for a wrong index. Task only.
 */
int raympi_arg_count(raympi_ctx *ctx);
int raympi_arg_list_count(raympi_ctx *ctx, int i);

/** The bytes of argument i: of the object where a ref was passed. Read in place, valid until the body
 * returns, aligned as those of a view. NULL on a wrong index (the task then fails). len may be NULL. */
raympi_const_pointer raympi_arg(raympi_ctx *ctx, int i, size_t *len);
/** Member j of list argument i. */
raympi_const_pointer raympi_arg_at(raympi_ctx *ctx, int i, int j, size_t *len);
/** Argument i as a number: passed plainly, or a ref to an 8-byte object holding one. When it is neither, 0 is
 * returned and the task fails with RAYMPI_ERR_TYPE, named. */
int64_t raympi_arg_int(raympi_ctx *ctx, int i);
double raympi_arg_double(raympi_ctx *ctx, int i);
/** Argument i as a string (NUL terminated), or NULL and the task fails. */
const char *raympi_arg_string(raympi_ctx *ctx, int i);
/** The ref itself that was passed as argument i (member j of a list), as a hold in the task's scope. */
raympi_ref raympi_arg_ref(raympi_ctx *ctx, int i);
raympi_ref raympi_arg_ref_at(raympi_ctx *ctx, int i, int j);
/** The actor handle that was passed as argument i. */
raympi_actor raympi_arg_actor(raympi_ctx *ctx, int i);
/** The ref behind a wire form inside argument i. */
raympi_ref raympi_arg_nested(raympi_ctx *ctx, int i, raympi_wire_ref wire);
/** The actor behind a wire form inside argument i. */
raympi_actor raympi_arg_nested_actor(raympi_ctx *ctx, int i, raympi_wire_actor wire);

/** Memory for result i, len bytes, written straight into the store (zero copy); sealed when the body returns.
 * NULL on error, and the task fails with it. */
raympi_pointer raympi_return(raympi_ctx *ctx, int i, size_t len);
/** As raympi_return(), declaring the refs whose wire forms the result will contain. */
raympi_pointer raympi_return_nested(raympi_ctx *ctx, int i, size_t len, const raympi_ref *refs, size_t count);
/** Result i is a copy of len bytes / a number / whatever `ref` will be. */
int raympi_return_copy(raympi_ctx *ctx, int i, const void *data, size_t len);
int raympi_return_int(raympi_ctx *ctx, int i, int64_t value);
int raympi_return_double(raympi_ctx *ctx, int i, double value);
int raympi_return_ref(raympi_ctx *ctx, int i, raympi_ref ref);

/** Attaches a message to the task's failure and returns code: `return raympi_fail(ctx, 3, "bad block %d",
 * b);` */
int raympi_fail(raympi_ctx *ctx, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** The actor's state, zero-initialised before the constructor, 64-byte aligned. NULL in a plain task. */
raympi_pointer raympi_self(raympi_ctx *ctx);
/** The actor's own handle, in the scope of the method. */
raympi_actor raympi_self_actor(raympi_ctx *ctx);
/** Ends this actor after the running method: later calls answer ACTOR_DEAD. */
int raympi_actor_exit(raympi_ctx *ctx);
/** Name of the running task or "class.method". */
const char *raympi_task_name(raympi_ctx *ctx);
/** Logical identity of the running task; the same on every attempt. */
void raympi_task_id(raympi_ctx *ctx, uint64_t id[2]);

/* -------------------------------------------------------------------------------- calls */

/* The functions behind the macros. `definition` may be NULL: the task is then found by name, on whichever
 * rank has it. Arguments are copied before the call returns. `refs`, where given, has one entry per return.
 */
raympi_ref raympi_submit(const raympi_definition *definition, const char *name, const raympi_options *options,
                         const raympi_value *args, size_t count);
int raympi_submit_n(const raympi_definition *definition, const char *name, const raympi_options *options,
                    const raympi_value *args, size_t count, raympi_ref *refs, size_t nrefs);
raympi_actor raympi_actor_create(const raympi_definition *definition, const char *name,
                                 const raympi_options *options, const raympi_value *args, size_t count);
raympi_ref raympi_actor_submit(raympi_actor actor, raympi_method_name *method, const raympi_options *options,
                               const raympi_value *args, size_t count);

/** Ends an actor at once: queued calls answer ACTOR_DEAD, the running method is let finish, then the
 * destructor. */
int raympi_actor_kill(raympi_actor actor);
/** Waits until the actor's constructor has ended; its error if it failed. Blocking. */
int raympi_actor_ready(raympi_actor actor, double timeout);
/** Rank on which the actor lives. */
int raympi_actor_node(raympi_actor actor);

void raympi_register_task(raympi_definition *definition, raympi_body *body);
void raympi_register_class(raympi_definition *definition, const char *file);
void raympi_register_method(raympi_method_definition *method);

static inline raympi_value raympi_value_int(int64_t x)
{
    raympi_value v = {RAYMPI_KIND_INT, sizeof x, {0}};
    v.u.integer = x;
    return v;
}
static inline raympi_value raympi_value_double(double x)
{
    raympi_value v = {RAYMPI_KIND_DOUBLE, sizeof x, {0}};
    v.u.real = x;
    return v;
}
static inline raympi_value raympi_value_bytes(raympi_bytes x)
{
    raympi_value v = {RAYMPI_KIND_BYTES, x.len, {0}};
    v.u.pointer = x.data;
    return v;
}
static inline raympi_value raympi_value_string(const char *x)
{
    raympi_value v = {RAYMPI_KIND_STRING, 0, {0}};
    v.u.pointer = x;
    return v;
}
static inline raympi_value raympi_value_ref(raympi_ref x)
{
    raympi_value v = {RAYMPI_KIND_REF, sizeof x, {0}};
    v.u.handle = x.handle;
    return v;
}
static inline raympi_value raympi_value_actor(raympi_actor x)
{
    raympi_value v = {RAYMPI_KIND_ACTOR, sizeof x, {0}};
    v.u.handle = x.handle;
    return v;
}
static inline raympi_value raympi_value_refs(raympi_refs x)
{
    raympi_value v = {RAYMPI_KIND_REFS, x.count, {0}};
    v.u.pointer = x.refs;
    return v;
}
static inline raympi_bytes raympi_make_bytes(const void *data, size_t len)
{
    raympi_bytes b = {data, len};
    return b;
}
static inline raympi_refs raympi_make_refs(const raympi_ref *refs, size_t count)
{
    raympi_refs r = {refs, count};
    return r;
}

#pragma GCC visibility pop

#ifdef __cplusplus
} /* extern "C" */
#endif

#include "raympi_calls.h"

#endif /* RAYMPI_H */
