/* The irreducible work of A1, A2, A6 and A9 on one rank, with nothing around it: no errors, no trace, no
 * resources.
 *
 *   local async|sync|put|get|wait COUNT [WORKERS]      nanoseconds per task, put, get or scanned handle
 *
 * A task is a record from a pool, with function pointer, argument and result inside; the table of results is
 * the pool's own array, looked at through handles that carry slot and generation. The deque is split: its
 * young part is the owner's alone, its old part is for thieves, under a lock.
 */
#include "../bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#define SLOTS       (1u << 17)
#define SLOT_BITS   24
#define PUBLIC_MIN  16 /* so many tasks are shown to thieves at least, where there are as many */
#define STEAL_BATCH 32

struct record {
    uint64_t handle;        /* generation and slot */
    _Atomic uint64_t state; /* holds, and READY */
    int64_t (*function)(int64_t argument);
    int64_t argument;
    int64_t result;
    uint64_t fill[11]; /* as large as a record with names, waiters and a result of 40 bytes */
} __attribute__((aligned(128)));
_Static_assert(sizeof(struct record) == 128, "two cache lines");

/* A task has two holds on its record, the submitter's and its own, since either may end first, on any thread.
 */
#define READY (UINT64_C(1) << 32)

struct deque {
    struct record *task[SLOTS];
    unsigned young_end;                                   /* the owner's: [split, young_end) is private */
    _Atomic unsigned split __attribute__((aligned(128))); /* [top, split) is public; written under the lock */
    _Atomic unsigned top;
    _Atomic int lock;
};

static struct record *table;
static uint32_t *free_slots;
static unsigned free_count;
static struct deque deque;
static uint64_t *handles;
static int workers;
static _Atomic int stealing;
static sem_t thief_go, thief_done;

static void lock(void)
{
    while (atomic_exchange_explicit(&deque.lock, 1, memory_order_acquire) != 0)
        while (atomic_load_explicit(&deque.lock, memory_order_relaxed) != 0)
            bench_pause();
}

static void unlock(void)
{
    atomic_store_explicit(&deque.lock, 0, memory_order_release);
}

static int64_t empty(int64_t argument)
{
    return argument;
}

static inline struct record *record_new(void)
{
    bench_require(free_count > 0, "pool is empty");
    struct record *record = &table[free_slots[--free_count]];
    atomic_store_explicit(&record->state, 2, memory_order_relaxed);
    return record;
}

/** The object of a handle, if that is still the one it names. */
static inline struct record *look_up(uint64_t handle)
{
    struct record *record = &table[handle & ((1u << SLOT_BITS) - 1)];
    bench_require(record->handle == handle, "stale handle");
    return record;
}

static inline int is_ready(struct record *record)
{
    /* acquire: the result before READY */
    return atomic_load_explicit(&record->state, memory_order_acquire) >= READY;
}

/** Lets go of the submitter's hold. Here tasks have always ended by then, so this is the last. */
static inline void release(uint64_t handle)
{
    struct record *record = look_up(handle);
    bench_require(atomic_load_explicit(&record->state, memory_order_acquire) == READY + 1, "holds");
    record->handle += 1u << SLOT_BITS;
    free_slots[free_count++] = (uint32_t)(record - table);
}

static inline void run(struct record *record)
{
    record->result = record->function(record->argument);
    /* ready, and the task's own hold goes; release: the result before that */
    atomic_fetch_add_explicit(&record->state, READY - 1, memory_order_release);
}

/** Shows half of the private tasks to thieves. */
static void publish(unsigned split)
{
    lock();
    atomic_store_explicit(&deque.split, split + (deque.young_end - split + 1) / 2, memory_order_release);
    unlock();
}

static inline void push(struct record *record)
{
    unsigned split = atomic_load_explicit(&deque.split, memory_order_relaxed);
    deque.task[deque.young_end++ % SLOTS] = record;
    if (workers > 1 && deque.young_end - split >= 2 * PUBLIC_MIN &&
        split - atomic_load_explicit(&deque.top, memory_order_relaxed) < PUBLIC_MIN)
        publish(split);
}

/** Takes back half of what thieves have left. */
static int unpublish(void)
{
    lock();
    unsigned top = atomic_load_explicit(&deque.top, memory_order_relaxed);
    unsigned split = atomic_load_explicit(&deque.split, memory_order_relaxed);
    atomic_store_explicit(&deque.split, top + (split - top) / 2, memory_order_relaxed);
    unlock();
    return split != top;
}

static inline struct record *pop(void)
{
    if (deque.young_end == atomic_load_explicit(&deque.split, memory_order_relaxed) &&
        (workers == 1 || !unpublish()))
        return NULL;
    return deque.task[--deque.young_end % SLOTS];
}

/** One round of a thief: a batch of the oldest tasks. */
static void steal(void)
{
    struct record *batch[STEAL_BATCH];
    unsigned n = 0;
    if (atomic_load_explicit(&deque.top, memory_order_relaxed) ==
        atomic_load_explicit(&deque.split, memory_order_relaxed)) {
        bench_pause();
        return;
    }
    lock();
    unsigned top = atomic_load_explicit(&deque.top, memory_order_relaxed);
    unsigned split = atomic_load_explicit(&deque.split, memory_order_relaxed);
    for (; n < STEAL_BATCH && top != split; n++)
        batch[n] = deque.task[top++ % SLOTS];
    atomic_store_explicit(&deque.top, top, memory_order_relaxed);
    unlock();
    for (unsigned i = 0; i < n; i++)
        run(batch[i]);
}

static void *thief(void *unused)
{
    bench_pin(1);
    for (;;) {
        sem_wait(&thief_go);
        while (atomic_load_explicit(&stealing, memory_order_relaxed))
            steal();
        sem_post(&thief_done);
    }
    return unused;
}

static inline uint64_t submit(void)
{
    struct record *record = record_new();
    record->function = empty;
    record->argument = 1;
    push(record);
    return record->handle;
}

/** Runs tasks until the one named has its result. */
static inline int64_t take(uint64_t handle)
{
    struct record *record = look_up(handle);
    while (!is_ready(record)) {
        struct record *next = pop();
        if (next != NULL)
            run(next);
    }
    return record->result;
}

static double async(long count)
{
    if (workers > 1) {
        atomic_store(&stealing, 1);
        sem_post(&thief_go);
    }
    double start = bench_now();
    for (long i = 0; i < count; i++)
        handles[i] = submit();
    for (long i = 0; i < count; i++)
        bench_require(take(handles[i]) == 1, "result");
    for (long i = 0; i < count; i++)
        release(handles[i]);
    double took = bench_now() - start;
    if (workers > 1) {
        atomic_store(&stealing, 0);
        sem_wait(&thief_done);
    }
    return took / (double)count;
}

static double sync_(long count)
{
    double start = bench_now();
    for (long i = 0; i < count; i++) {
        uint64_t handle = submit();
        bench_require(take(handle) == 1, "result");
        release(handle);
    }
    return (bench_now() - start) / (double)count;
}

static uint64_t put(int64_t value)
{
    struct record *record = record_new();
    record->result = value;
    atomic_store_explicit(&record->state, READY + 1, memory_order_release);
    return record->handle;
}

static double objects(long count, int time_put)
{
    const long batch = 1000;
    double spent = 0;
    for (long done = 0; done < count; done += batch) {
        double start = bench_now();
        for (long i = 0; i < batch; i++)
            handles[i] = put(i);
        double middle = bench_now();
        for (long i = 0; i < batch; i++)
            bench_require(take(handles[i]) == i, "result");
        spent += time_put ? middle - start : bench_now() - middle;
        for (long i = 0; i < batch; i++)
            release(handles[i]);
    }
    return spent / (double)((count + batch - 1) / batch * batch);
}

static double wait_plain(long count)
{
    for (long i = 0; i < count; i++)
        handles[i] = put(i);
    double start = bench_now();
    for (long left = count; left > 0; left--) {
        long first = -1, n = 0;
        for (long i = left; i-- > 0;)
            if (is_ready(look_up(handles[i]))) {
                first = i;
                n++;
            }
        bench_require(n == left, "ready");
        uint64_t taken = handles[first];
        handles[first] = handles[left - 1];
        handles[left - 1] = taken;
    }
    double took = bench_now() - start;
    for (long i = 0; i < count; i++)
        release(handles[i]);
    return took / (0.5 * (double)count * (double)(count + 1));
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "async";
    long count = bench_argument(argc, argv, 2, 100000);
    pthread_t thread;
    workers = (int)bench_argument(argc, argv, 3, 1);
    bench_require(count > 0 && workers <= 2, "arguments");
    table = mmap(NULL, SLOTS * sizeof *table, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free_slots = malloc(SLOTS * sizeof *free_slots);
    handles = malloc((size_t)count * sizeof *handles + 1000 * sizeof *handles);
    bench_require(table != MAP_FAILED && free_slots != NULL && handles != NULL, "memory");
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        table[slot].handle = 1u << SLOT_BITS | slot;
        free_slots[SLOTS - 1 - slot] = slot;
    }
    free_count = SLOTS;
    sem_init(&thief_go, 0, 0);
    sem_init(&thief_done, 0, 0);
    if (workers > 1)
        bench_require(pthread_create(&thread, NULL, thief, NULL) == 0, "pthread_create");
    bench_pin(0);
    while (bench_asked()) {
        if (strcmp(mode, "async") == 0)
            bench_answer(async(count));
        else if (strcmp(mode, "sync") == 0)
            bench_answer(sync_(count));
        else if (strcmp(mode, "wait") == 0)
            bench_answer(wait_plain(count));
        else
            bench_answer(objects(count, strcmp(mode, "put") == 0));
    }
    return 0;
}
