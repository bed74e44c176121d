/* The irreducible work of A1, A2, A6 and A9 on one rank, with nothing around it: no errors, no trace, no
 * resources.
 *
 *   local async|sync|put|get|wait COUNT [WORKERS]      nanoseconds per task, put, get or scanned handle
 *
 * The deque is split: its young part is the owner's alone, its old part is for thieves, under a lock. A thief
 * gives the records of what it has run back to the owner, who takes them when it runs out of its own.
 */
#include "bare.h"

#include <pthread.h>
#include <semaphore.h>

#define PUBLIC_MIN  16 /* so many tasks are shown to thieves at least, where there are as many */
#define STEAL_BATCH 32

struct deque {
    struct record *task[SLOTS];
    unsigned young_end;                                   /* the owner's: [split, young_end) is private */
    _Atomic unsigned split __attribute__((aligned(128))); /* [top, split) is public; written under the lock */
    _Atomic unsigned top;
    _Atomic int lock;
};

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

static inline void run(struct record *record)
{
    complete(look_up(record->handle), record->function(record->argument));
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
    records_return(batch, n);
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

static API uint64_t submit(int64_t (*function)(int64_t), int64_t argument)
{
    struct record *record = record_new();
    struct entry *entry = entry_new(2);
    record->function = function;
    record->argument = argument;
    record->handle = entry->handle;
    push(record);
    return entry->handle;
}

/** Runs tasks until the one named has its result. */
static API int64_t take(uint64_t handle)
{
    struct entry *entry = look_up(handle);
    while (!is_ready(entry)) {
        struct record *next = pop();
        if (next != NULL) {
            run(next);
            record_free(next);
        }
    }
    return entry->result;
}

static double async(long count)
{
    if (workers > 1) {
        atomic_store(&stealing, 1);
        sem_post(&thief_go);
    }
    double start = bench_now();
    for (long i = 0; i < count; i++)
        handles[i] = submit(empty, 1);
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
        uint64_t handle = submit(empty, 1);
        bench_require(take(handle) == 1, "result");
        release(handle);
    }
    return (bench_now() - start) / (double)count;
}

static API uint64_t put(int64_t value)
{
    struct entry *entry = entry_new(READY + 1);
    entry->result = value;
    return entry->handle;
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
    handles = malloc((size_t)(count > 1000 ? count : 1000) * sizeof *handles);
    bench_require(handles != NULL, "memory");
    pool_init();
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
