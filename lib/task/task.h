/* Tasks, objects and refs of one node: records, ownership, dependencies, values, errors, scopes. */
#ifndef RAYMPI_TASK_H
#define RAYMPI_TASK_H

#include "base/base.h"
#include "net/net.h"
#include "place/place.h"
#include "sched/sched.h"
#include "store/store.h"
#include "task/task_refcount.h"
#include "trace/trace.h"

#include <stdlib.h>

/* Without memory an element is not added, and its hh.tbl is NULL; the default would end the process. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* ---- identity */

/** Logical identity: hash(id of the creating task, index of the child), the same on every attempt. */
struct task_id {
    uint64_t word[2];
};
struct task_id task_id_child(struct task_id parent, uint64_t index);
struct task_id task_id_root(uint64_t kind, uint64_t rank, uint64_t number);

#define TASK_HANDLE_ACTOR (UINT64_C(1) << 43) /* set in handles of actors */
static inline bool task_handle_is_actor(uint64_t handle)
{
    return (handle & TASK_HANDLE_ACTOR) != 0;
}

struct task_room;

/* ---- messages between nodes */

enum task_message_type {
    TASK_MESSAGE_TASK = 1, /* run this */
    TASK_MESSAGE_DONE,     /* to the owner: it has ended, results */
    TASK_MESSAGE_REF,      /* counting: REGISTER, RELEASE, ACK */
    TASK_MESSAGE_WANT,     /* to the owner: tell me the value when it is there */
    TASK_MESSAGE_VALUE,
    TASK_MESSAGE_FREE,  /* to the holder of a stored block */
    TASK_MESSAGE_STEAL, /* I am idle: give me tasks */
    TASK_MESSAGE_NO_WORK,
    TASK_MESSAGE_END, /* the job is at rest */
    TASK_MESSAGE_DEADLOCK,
    TASK_MESSAGE_ACTOR_NEW,
    TASK_MESSAGE_ACTOR_KILL,
    TASK_MESSAGE_DONE_SMALL, /* as DONE, for one result that is a few bytes */
    TASK_MESSAGE_ENDS,       /* several of those, with 8 bytes each */
    TASK_MESSAGE_BRING,      /* to a rank of this host: a value that only you can make readable here */
    TASK_MESSAGE_BROUGHT,    /* it is, or can not be */
    TASK_MESSAGE_PULL,       /* to the holder of a stored block, on another host: these bytes of it */
    TASK_MESSAGE_CHUNK,      /* some of them */
    TASK_MESSAGE_LEASED,     /* the block is pinned for you, at this offset of this host's segment */
    TASK_MESSAGE_ELSEWHERE,  /* another rank has a copy of it: ask there */
    TASK_MESSAGE_READ,       /* all were read */
    TASK_MESSAGE_CORRUPT,    /* they were, and are not what was sealed */
    TASK_MESSAGE_STALE,      /* a block is gone: copies of it are of no use */
    TASK_MESSAGE_ROOM,       /* to a rank of this host: give up memory of the store */
    TASK_MESSAGE_HUNGRY,  /* to the owner: does somebody wait for the result of this task? It waits for memory
                           */
    TASK_MESSAGE_AWAITED, /* somebody does, now */
};

/** net_send() of what somebody waits for and could not be told of: it waits for memory. NODE_DIED. */
int task_tell(struct task_room *room, int rank, enum task_message_type type, const struct net_piece *pieces,
              int count);

/* ---- registered functions */

/** A task without arguments whose plan has been looked at, and needs no second look. */
enum task_way {
    TASK_WAY_LONG = 0, /* it has not, or it does */
    TASK_WAY_HERE,     /* it is plain, the job has one rank, and that has it */
    TASK_WAY_THERE,    /* it runs on `node`, which can be */
};

/** What the options of a call come to. */
struct task_plan {
    int status;      /* of the definition's options: not OK: they are looked at again for the error's text */
    int num_returns; /* 1 to TASK_RETURNS_MAX */
    int node;        /* must run there, if on_node; else -1 */
    bool on_node;
    bool plain;   /* a task with one result that may run anywhere */
    bool there;   /* one with one result that runs on `node` */
    uint8_t way;  /* enum task_way; atomic */
    bool spread;  /* round robin over the ranks that have it */
    bool is_void; /* num_returns = NONE: the one ref tells the end only */
};

/** A task, class or method as this process knows it. */
struct task_function {
    const char *full_name; /* first: the label of what it makes; "class.method" for methods */
    uint64_t hash;         /* of the name; what travels */
    const char *name;
    raympi_body *body;                   /* NULL: not registered in this binary */
    const raympi_definition *definition; /* NULL likewise */
    uint64_t full_hash;            /* of the full name: for timelines and for what a rank shows as running */
    struct task_function *methods; /* of a class, by hash */
    uint8_t *ranks;                /* bit per rank that has it; NULL: all */
    bool is_class;
    _Atomic bool waits;    /* some have waited for memory here; see task_aside.c */
    struct task_plan plan; /* of a call without options */
    UT_hash_handle hh;
};
/** Puts the registered definitions of this process in a table. Once per process; ARGUMENT for duplicate
 * names. */
int task_functions_build(void);
void task_functions_clear(void);
/** Those looked for last, by the low bits of the hash: messages name few functions, and often the same. */
#define TASK_FUNCTIONS_RECENT 64
extern _Atomic(struct task_function *) task_functions_recent[TASK_FUNCTIONS_RECENT];
struct task_function *task_function_find_any(uint64_t hash);
static inline struct task_function *task_function_find(uint64_t hash)
{
    /* relaxed: what it points to was there before anybody looked, and goes when nobody does any more */
    struct task_function *function =
        atomic_load_explicit(&task_functions_recent[hash % TASK_FUNCTIONS_RECENT], memory_order_relaxed);
    return base_likely(function && function->hash == hash) ? function : task_function_find_any(hash);
}
struct task_function *task_function_named(const char *name);
struct task_function *task_method_find(const struct task_function *klass, uint64_t hash);
bool task_function_on(const struct task_function *function, int rank);
/** Names of all tasks and classes ("t name" or "c name", NUL separated), to be exchanged. Caller frees. */
char *task_functions_names(size_t *length);
/** Notes that `rank` of `size` has these names. MEMORY. */
int task_functions_merge(const char *names, size_t length, int rank, int size);
/** Name behind a full hash, NULL when unknown. Reads only: usable in a signal handler. */
const char *task_function_shown(uint64_t full_hash);
/** Calls visit for every task and method. */
void task_functions_each(void (*visit)(void *arg, const struct task_function *function), void *arg);
/** Fails with UNKNOWN, naming `name` and the nearest registered one. */
int task_function_unknown(const char *name);

#include "task/task_value.h"

/* ---- objects */

#define OBJECT_WAITED REFCOUNT_MARK_A /* somebody waits or has waited */
#define OBJECT_READY  REFCOUNT_MARK_B

/** Called once, when the object has become ready; may free itself. `fired` is the last thing to set for
 * waiters that live on a stack. */
struct waiter {
    struct waiter *next;
    void (*fire)(struct waiter *waiter, struct object *object);
    struct object *object; /* set by object_wait_add() */
};

enum task_flags {
    TASK_VOID = 1,         /* num_returns = NONE: its one ref has no value */
    TASK_FOREIGN = 2,      /* submitted by another rank */
    TASK_SENT = 4,         /* the submitter's record while it runs elsewhere */
    TASK_NEXT_IN_LANE = 8, /* a method call whose arguments are there, behind one whose are not */
    TASK_NUMBERS = 16,     /* foreign: its arguments are nothing but numbers */
    TASK_POOLED = 32,      /* its record is the pool's: it has no result here */
    TASK_CALL = 64,        /* of a method */
    TASK_NO_REST = 128,    /* a call that was sent at once: of its rest it has `called` only */
};

/** Where a task that no rank was asked for goes: anywhere, or to the next rank in turn. */
enum { TASK_ANYWHERE = -1, TASK_IN_TURN = -2 };

/** What a task has besides its identity, which is that of its first result, and its function, which is the
 * label of that. It lies where the value will be, and begins as that does. */
struct task {
    union {
        struct {
            uint8_t kind; /* VALUE_TASK */
            uint8_t flags;
            uint8_t returns;
            uint8_t arg_count;
            union {
                int node;   /* must run there; < 0: see TASK_ANYWHERE */
                int runner; /* sent: where to */
            };
        };
        uint32_t shape; /* the first four: see task_shape() */
        uint64_t head;  /* all of these */
    };
    union {
        struct sched_item item;
        struct task *next; /* lane, mailbox */
    };
    struct task_room *room;
    union {
        struct task_rest *rest; /* NULL for most */
        struct object *called;  /* TASK_NO_REST: the rest's actor_object */
    };
};

struct arg {
    uint8_t kind;     /* enum raympi_value_kind */
    uint8_t accepted; /* run elsewhere than submitted: the ref was taken over from the submitter */
    uint32_t count;   /* members of a list */
    struct task *task;
    uint64_t handle;       /* of a ref or actor */
    struct object *object; /* submitter: its record, one hold; runner: its record once accepted */
    struct arg *list;
    union {
        struct waiter waiter; /* submitter */
        struct task_id id;    /* foreign task: its identity */
    };
    struct value value; /* integer and double in place; bytes; elsewhere: the ref's value */
};

#define OBJECT_BORROWED UINT32_MAX /* `parent` is the object's own identity, as it was told */

/** One object as this rank knows it: as its owner (in a type-stable slot) or as a borrower (in a hash). While
 * the first result of a task is on its way, the record is also the task's: that lies where the value will be.
 */
struct object {
    _Alignas(BASE_CACHE_LINE) struct refcount count; /* first: handle, holds, names, holders */
    _Atomic uintptr_t waiters;
    _Atomic uint32_t first;       /* see object_producer(); borrowed: OBJECT_BORROWED */
    _Atomic uint32_t scope_index; /* where the scope that got it last keeps it; a hint */
    uint32_t child;               /* logical identity: parent and index */
    uint16_t result;
    uint16_t attempt;
    union {
        struct {
            int status;         /* once ready: OK or the error's code */
            uint8_t seen;       /* somebody has looked at the error; atomic */
            union {             /* atomic */
                uint8_t wanted; /* borrower: the owner was asked */
                uint8_t waits;  /* owner: the task, for its arguments */
            };
            uint8_t unsealed;    /* raympi_create without raympi_seal yet */
            uint8_t nested_held; /* the owner holds the nested refs */
        };
        uint64_t special; /* all of these: 0 for most */
    };
    union {
        const char *const *label;       /* where what made it is named: "put", or in the function: */
        struct task_function *function; /* of a task and its results; of a foreign task NULL if unknown */
        struct object *next_batch;      /* of the first free slot of a batch */
    };
    union {
        struct task_id parent;
        struct {
            uint64_t handle; /* the one to come */
            struct object *next;
        } free; /* of a free slot, of which the rest is as a new object has it: see object_slot_free() */
        struct object *next_doomed; /* of those to be destroyed */
    };
    union {
        struct value value;
        struct task task; /* as long as value.kind says so */
    };
};
_Static_assert(sizeof(struct object) == 2 * BASE_CACHE_LINE, "an object is two cache lines");
_Static_assert(sizeof(struct task) == sizeof(struct value), "a task is no larger than what it makes");
_Static_assert(offsetof(struct task, kind) == offsetof(struct value, kind),
               "one of the two tells which it is");
_Static_assert(offsetof(struct task_function, full_name) == 0, "a function is a label");

/** What few tasks have: those with arguments, with several results, and calls of methods. A line of the
 * pool's, or with up to TASK_ARGS_INLINE arguments a record of another one. */
struct task_rest {
    _Atomic uint32_t unresolved; /* arguments */
    uint32_t places;             /* for so many */
    uint64_t actor;              /* a call: the actor's handle */
    struct object *actor_object; /* a call, submitter: a hold on it while the call is on its way */
    uint64_t name_hash;          /* a call, foreign: of the method */
    void *lane;                  /* a call, submitter: the actor room's */
    uint64_t *more;              /* if returns > 1: handles of the results but the first */
    struct arg args[];
};

_Static_assert(sizeof(struct task_rest) <= BASE_CACHE_LINE, "a rest without arguments is a line");

/** That of a task without a result here. */
struct task_record {
    struct object object;
    struct task_rest rest; /* used where it has no arguments */
};

/** A borrower's record. */
struct borrowed {
    struct object object;
    UT_hash_handle hh;
};

static inline uint64_t object_handle(const struct object *object)
{
    return object->count.handle;
}
/** Somebody has looked at its error, or is going to. */
static inline void object_see(struct object *object)
{
    __atomic_store_n(&object->seen, 1, __ATOMIC_RELAXED);
}
/** The name of what made it. */
static inline const char *object_label(const struct object *object)
{
    return *__atomic_load_n(&object->label, __ATOMIC_RELAXED);
}
/** Does a task lie in the record? Anybody may look, at any moment. */
static inline bool object_has_task(const struct object *object)
{
    return __atomic_load_n(&object->value.kind, __ATOMIC_RELAXED) == VALUE_TASK;
}
static inline bool object_ready(const struct object *object)
{
    /* Acquire: the value is seen complete. */
    return (atomic_load_explicit(&((struct object *)object)->count.count, memory_order_acquire) &
            OBJECT_READY) != 0;
}

static inline void object_retain(struct object *object)
{
    refcount_retain(&object->count);
}
/** Completes with an error value. */
void object_fail(struct task_room *room, struct object *object, int code, const char *task,
                 const char *message);
/** False when the object is ready already: the waiter is not added then. */
bool object_wait_add(struct object *object, struct waiter *waiter);
/** Does somebody wait for it who can go on then: other than as an argument of a task that nobody waits for?
 * Of so many tasks that wait for each other one is taken for awaited. */
bool object_awaited(struct object *object, int depth);
/** False when it was not there any more: it fires or has fired. */
bool object_wait_remove(struct object *object, struct waiter *waiter);
/** A borrower asks the owner for the value, once. */
void object_want(struct task_room *room, struct object *object);
/** A ref arrived and is kept here; see refcount_accept(). Gives one hold. NULL: out of memory or released
 * (detail). */
struct object *object_accept(struct task_room *room, uint64_t handle, struct task_id id, int forwarder,
                             uint64_t token);
/** One more hold on a record that may just be going: NULL when nobody holds it any more. */
struct object *object_retain_alive(struct task_room *room, uint64_t handle);
struct task_id object_id(const struct object *object);
/** The record of an actor handle, made by its host (count 1 for `holder`, who may be the host itself). */
struct object *object_actor_new(struct task_room *room, uint64_t handle, int holder,
                                const char *const *label);
/** A holder's record of an actor handle that this rank has just invented for another host. */
struct object *object_actor_borrow(struct task_room *room, uint64_t handle, const char *const *label);

/* ---- contexts: what a running task, a method, main() or a thread of the user's holds */

#define VIEWS_INLINE 4
#define VIEW_LEANS   ((uintptr_t)1)

struct context {
    struct task_room *room;
    struct task_id id; /* if id_known: that of a task is worked out when it is needed */
    const char *name;
    raympi_ctx *run;  /* NULL for main and threads */
    uint64_t *held;   /* handles in scope; 0 = let go */
    uintptr_t *views; /* objects, each with a hold; marked VIEW_LEANS: with the hold that the scope has */
    uint32_t held_size, view_size;
    union {
        struct {
            union {
                struct {
                    uint32_t held_used, view_used;
                };
                uint64_t used; /* either */
            };
            uint32_t view_cursor; /* where the search for a free place goes on */
            union {
                struct {
                    uint32_t leaning; /* views that are marked so */
                    uint32_t indexed; /* there is a held_index */
                };
                uint64_t odd; /* either: to let go of a hold takes more than a look at the hint */
            };
            uint32_t children;
            uint32_t frame_used, frame_size;
            uint32_t held_floor; /* where the innermost scope began in held */
            bool id_known;
            bool grown;                    /* has memory besides this record */
            uint32_t *frames;              /* where each nested scope began in held and views: pairs */
            struct held_index *held_index; /* made when a hint was wrong and there are many */
            void *lanes;                   /* the actor room's: calls that wait for arguments */
        };
        char none[72]; /* all of them: at the beginning there is nothing */
    };
    uint64_t held_first[8];
    uintptr_t view_first[VIEWS_INLINE];
};
_Static_assert(offsetof(struct context, lanes) + sizeof(void *) == offsetof(struct context, none) + 72,
               "none covers what begins as nothing");
/** Puts one hold into the scope. MEMORY: the hold is still the caller's. */
int context_hold(struct context *context, struct object *object);
/** Does any of its scopes hold it? `near`: as far as a few looks tell. */
bool context_holds_anywhere(struct context *context, uint64_t handle);
bool context_holds_near(struct context *context, uint64_t handle);
/** Takes one hold out of the scope, without dropping it; it keeps its name. False: there is none. */
bool context_unhold_anywhere(struct context *context, uint64_t handle);
int context_scope_begin(struct context *context);
int context_scope_end(struct context *context);
int context_view_add(struct context *context, struct object *object, uint64_t *position);
int context_view_end(struct context *context, struct object *object, uint64_t position);
/** What the context's open view at that position shows, if it has that handle; else NULL. */
struct object *context_view_object(const struct context *context, uint64_t handle, uint64_t position);

/** Refs that were kept (raympi_keep): by an actor, or by the program. */
struct kept {
    uint64_t handle;
    uint32_t holds;
    UT_hash_handle hh;
};
struct kept_set {
    struct base_spin lock;
    struct kept *table;
};
int kept_add(struct kept_set *set, uint64_t handle);
bool kept_remove(struct kept_set *set, uint64_t handle);
/** One more hold on what is kept; NULL: it is not. */
struct object *kept_hold(struct task_room *room, struct kept_set *set, uint64_t handle);
void kept_drop_all(struct task_room *room, struct kept_set *set);

#define TASK_RETURNS_INLINE 2 /* results of a running task in its context */

struct result {
    bool set;
    uint64_t alias; /* raympi_return_ref */
    void *data;     /* of `value`, where that may nest refs */
    struct value value;
};

/** A running task. */
struct raympi_ctx {
    struct context context;
    struct task *task;
    void *self;
    void *actor;
    struct kept_set *kept;
    struct result results_inline[TASK_RETURNS_INLINE];
    struct result *results;
    uint64_t admitted; /* bytes in the store that its arguments have; 0: none have */
    uint32_t pinned;   /* arguments */
    int failed;        /* a call inside the body has failed in a way that fails the task */
    bool begun;        /* the timeline knows of it; if not: */
    uint64_t begin;
    char message[512];
    bool exit_actor;
};

/** The end of a task of another rank's, with 8 bytes as its result, as it travels. */
struct task_end {
    uint64_t handle;
    uint32_t length; /* 8 */
    uint32_t type;   /* enum raympi_value_kind */
    char bytes[8];
};
#define TASK_ENDS 8
/** Some of one rank's that travel together: task_ends.c. */
struct task_ends {
    _Atomic int busy; /* the thread is in */
    _Atomic int late; /* the progress thread is, or will be as soon as the other has left */
    int owner;
    _Atomic uint32_t count; /* by who is in; the progress thread looks at it before */
    _Atomic uint32_t added; /* so far */
    struct task_end end[TASK_ENDS];
    uint32_t seen; /* the progress thread's: `added` at its last tick */
};

/** A thread that may call raympi: a worker's, or one of the user's. */
struct task_thread {
    struct task_room *room;
    struct worker *worker;
    struct sched_front *front; /* the worker's; NULL: it is a thread of the user's */
    struct context *context;   /* what runs now */
    struct context root;
    struct raympi_ctx *free_run; /* own_run, as it begins, while no task uses it */
    struct raympi_ctx own_run; /* of the first task; those that run while that waits have one on the stack */
    struct object *free_objects; /* slots */
    struct object *free_batch;   /* OBJECT_SLOTS_BATCH more, or NULL */
    uint32_t free_object_count;  /* in the former */
    struct base_pool_cache tasks, args, lines;
    int in_call;        /* inside raympi: a signal handler must not come in */
    _Atomic int ending; /* an object, by plain stores: see object_end_begin() */
    bool follows;       /* another call follows directly on the one that runs */
    struct task_ends ends;
    struct trace_thread *trace;
    /* The clock of the timeline: see clock_due() in task_run.c. */
    uint64_t last_end;             /* of a task, in the trace's ticks */
    bool last_exact;               /* that was looked at */
    uint32_t looks;                /* at the clock */
    uint32_t unlooked;             /* tasks that may still go without */
    uint32_t tick;                 /* of the scheduler, at the last look */
    uint64_t brief;                /* hash of the function that was brief then */
    const _Atomic uint32_t *ticks; /* of the scheduler; NULL: none */
    _Atomic uint64_t *shown;       /* what runs: on the board, or where that has no place for this worker: */
    _Atomic uint64_t unshown;
    _Atomic uint64_t submitted, ended; /* tasks; written by this thread only */
    struct task_thread *next;
};
extern __thread struct task_thread *task_self __attribute__((tls_model("initial-exec")));
struct task_thread *task_thread_open(struct task_room *room, struct worker *worker, const char *name);
void task_thread_close(struct task_thread *thread);

/* ---- tasks */

#define TASK_ARGS_INLINE 4
#define TASK_RETURNS_MAX 64
#define TASK_ARGS_MAX    16

struct task_config {
    int rank, size;
    uint64_t inline_bytes;
    uint64_t backlog; /* 0: no bound */
    double create_timeout;
    bool report_leaks;
    struct trace *trace;
};

/** What the actor room does for tasks that are method calls. */
struct task_actor_hooks {
    void *arg;
    bool (*enter)(void *arg, struct task *task,
                  struct context *context);            /* on the submitter, in program order */
    void (*leave)(void *arg, struct context *context); /* a context with lanes ends */
    void (*send)(void *arg, struct task *task);        /* on the submitter, arguments are there */
    void (*arrive)(void *arg, struct task *task);      /* on the host, in a poll */
    void (*arrived)(void *arg);                        /* the poll ends */
    void (*handle_free)(void *arg, uint64_t handle);   /* the last handle is gone (on the host) */
    int (*unborn)(void *arg,
                  uint64_t handle); /* the rank whose news of this actor is on its way to us; -1: none */
    void (*end)(void *arg);         /* the job ends: destructors */
};

/** Tasks sent to one rank; numbers that go round. */
struct task_flight {
    _Atomic uint32_t sent;
    _Atomic uint32_t ended; /* written by the poller only */
    _Atomic bool reached;   /* messages can go there, now and later */
};

#define OBJECT_SLOT_BITS 24
#define OBJECT_SLAB      32768 /* objects: two huge pages */
#define OBJECT_SLABS     512
#define BORROWED_RECENT  64

/** Has a thread looked up a ref that another context holds? As long as none has, who drops the only hold of
 * an object needs no atomic operation for it. */
enum task_crossed {
    TASK_NEVER_CROSSED,
    TASK_CROSSING, /* some thread may still be ending an object without */
    TASK_CROSSED,
};

/** Which tasks may read how much of the store at once; see task_args.c. */
struct task_admission {
    struct base_spin lock;
    uint64_t bytes, most;
    struct admission_wait *waits;
};

/** Tasks that wait for memory in the store, as long as nobody waits for them; see task_create.c. */
struct task_create {
    struct base_spin lock;
    struct create_wait *waits; /* of others, here */
    struct create_rest *rests; /* until something comes free */
    _Atomic int resting;
    struct hungry *hungry;    /* of this rank's, elsewhere: their results */
    _Atomic int hungry_count; /* and of those put aside */
    int waiting;              /* tasks that wait here */
    _Atomic bool crowded;     /* enough of them: others are put aside; see task_aside.c */
    struct task *aside, **aside_end;
};

struct task_room {
    struct net *net;
    struct store *store;
    struct sched *sched;
    _Atomic int crossed; /* enum task_crossed */
    struct task_config config;
    struct task_actor_hooks actor;
    void *node; /* whose room this is; the api room's */
    _Atomic(struct object *) slabs[OBJECT_SLABS];
    struct base_spin slab_lock;
    uint32_t slab_used, slot_used; /* slots of the last slab that were given out */
    struct object *free_batches;   /* surplus of the threads */
    struct object *free_objects;   /* slots that came one by one */
    struct base_spin borrow_lock;  /* the hash, and every refcount call marked [locked] */
    struct borrowed *borrowed;
    struct borrowed *recent[BORROWED_RECENT]; /* some of them; under the same lock */
    struct base_pool tasks, args, lines;
    struct base_spin thread_lock;
    struct task_thread *threads;
    uint64_t thread_number, ended_threads_submitted, ended_threads_ended;
    struct task_flight *flights; /* to each rank */
    struct kept_set kept;
    struct task_admission admission;
    struct task_create create;
    struct task_present *present;               /* stored values that are brought here, and to others */
    _Atomic int stealing;                       /* a STEAL is on its way */
    _Atomic uint64_t sent_away, stolen, failed; /* tasks; for the statistics */
    _Atomic uint32_t spread_next;               /* whose turn it is */
    uint64_t backlog_mask; /* a thread looks at the backlog each time that these bits of its count are set */
    _Atomic int ended;     /* phases of the end that were announced */
    _Atomic int deadlocks;
    struct sched_parker *finalize_parker;
    struct base_spin finalize_lock;
    _Atomic int unseen; /* errors that nobody looked at */
};

/** Opens the room and registers its messages; `sched` is set by the caller before anything runs. */
int task_room_open(struct task_room **room, struct net *net, struct store *store,
                   const struct task_config *config);
void task_room_close(struct task_room *room);
void task_room_hooks(struct task_room *room, struct sched_hooks *hooks);

/** A task without a result here: one of another rank, or a destructor. Its record has a rest, unless it has
 * arguments. NULL: out of memory (detail set). */
struct task *task_new(struct task_room *room);
/** A rest for so many arguments, which are not initialised; without any, of a call or for results. MEMORY. */
int task_rest_new(struct task *task, uint32_t args);
/** The request behind the public calls. */
struct task_request {
    struct task_function *function;
    const char *name; /* for messages when function is NULL */
    const raympi_options *options;
    const raympi_value *args;
    size_t count;
    uint64_t actor; /* 0 = a plain task */
    struct object *actor_object;
};
/** Submits; gives the refs of its results (in the current scope). On error every ref holds it. */
int task_submit(struct task_room *room, const struct task_request *request, raympi_ref *refs, size_t count);
/** The same for a task without options whose definition's plan is `there`. Nothing has happened, and false,
 * where that has to be looked at first. */
bool task_submit_there(struct task_thread *thread, struct task_function *function, const raympi_value *args,
                       size_t count, raympi_ref *ref, int *status);
/** The same for a call of a method with one result; `object` is the record of the actor's handle. */
int task_submit_call(struct task_thread *thread, struct task_function *function, struct object *object,
                     const raympi_value *args, size_t count, raympi_ref *ref);
/** A ref that holds an error of this caller. */
raympi_ref task_error_ref(struct task_room *room, int code, const char *task, const char *message);

/** Options of definition and call merged; UNSUPPORTED names what is not built yet. */
int task_options_merge(raympi_options *merged, const raympi_options *definition, const raympi_options *call);
/** The plan of a call without options; `definition` may be NULL: all defaults. */
void task_plan_init(struct task_plan *plan, const raympi_options *definition);
/** The plan of a call. UNSUPPORTED, ARGUMENT, INFEASIBLE. */
int task_plan_make(struct task_plan *plan, const struct task_room *room, const struct task_request *request);

/** Copies of values of other hosts that this rank keeps, and what it reads for others: bytes. */
struct task_copies {
    uint64_t bytes; /* kept now */
    /* since the start; relayed: those fetched that came from another rank than the holder */
    uint64_t fetched, evicted, served, relayed;
};
void task_copies_count(struct task_room *room, struct task_copies *copies);
/** Calls visit for every object that this rank owns and some context has a name for, with a hold. */
void task_objects_each(struct task_thread *thread,
                       void (*visit)(void *arg, struct task_room *room, struct object *object), void *arg);

/** Sends a task to its runner. */
void task_send(struct task_room *room, struct task *task, int rank);
/** How a task ended, for whoever ran it. */
struct task_outcome {
    int status;
    bool exit_actor; /* the body asked for the end of its actor */
    char text[256];  /* the message of a failure, "" when there is none */
};
/** Runs a task on the calling worker (methods too: `self` is the state of `actor`). `outcome` may be NULL. */
void task_run(struct task *task, void *self, void *actor, struct kept_set *kept,
              struct task_outcome *outcome);
/** On the submitter a ref's value is in its record, elsewhere it came with the task. */
static inline struct value *task_arg_value(const struct task *task, struct arg *arg)
{
    bool record = arg->object && !(task->flags & TASK_FOREIGN) && arg->kind != RAYMPI_KIND_ACTOR;
    return record ? &arg->object->value : &arg->value;
}
/** Ends a task that has nothing to do and no result. */
void task_succeed(struct task *task);
/** Ends a task that can not run. */
void task_fail(struct task *task, int code, const char *message);
void task_propagate(struct task *task, const struct value *error);
/** The error of its first failed argument, or NULL. */
const struct value *task_failed_argument(struct task *task);
const char *task_name(const struct task *task);
/** Are all arguments there? */
bool task_ready(const struct task *task);

/** sched_park() of an attached thread: others have run on it meanwhile, and it gets its context back. */
int task_park(struct sched_parker *parker, uint64_t deadline);
/** Lets others go first, in the same way. */
void task_yield(struct task_thread *thread);
/** Tells the timeline that it has begun, if that does not know: before it is told of anything else. */
void run_show_begin(struct task_thread *thread, struct raympi_ctx *run);
/** Others have run on this thread, and it gets its context back. */
void task_resumed(struct task_thread *thread, struct context *context);

/** Waits for an object. OK (it is ready, perhaps with an error), TIMEOUT, DEADLOCK, MEMORY. */
int task_await(struct task_room *room, struct object *object, uint64_t deadline, const char *what);
/** Looks for messages for a short time, and only while there is nothing else to do here. True when the object
 * is ready after that. */
bool task_spin(struct task_room *room, struct object *object);
/** `timeout` in seconds as a deadline. */
uint64_t task_deadline(struct task_room *room, double timeout);
/** Fills the detail text from a failed object; marks it seen; returns its status. */
int task_object_error(struct object *object);

int task_wait(struct task_room *room, struct object **objects, size_t count, size_t k, uint64_t deadline);

struct raympi_waitset;
void task_quiesce_report(struct task_room *room, const char *why);
/** Tasks submitted by all threads of this rank so far, and those that have not ended. */
uint64_t task_submitted(struct task_room *room);
uint64_t task_outstanding(struct task_room *room);
/** The collective end: returns when every rank is here and nothing is left to do. */
int task_finalize(struct task_room *room);
/** Leaks and unseen errors, printed. Returns UNSEEN when there were errors nobody looked at. */
int task_report(struct task_room *room);

#include "task/task_inline.h"
#include "task/task_short.h" /* builds on it */

#endif
