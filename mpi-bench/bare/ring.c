/* The irreducible work of A3 to A5: tasks sent to another process through rings of messages in shared memory.
 *
 *   ring COUNT [IN_FLIGHT]      nanoseconds per task
 *
 * A message is a cache line; it is published by a mark in its own header, which is the lap of the ring, so
 * nothing has to be cleared. The receiver tells how far it has read once in a quarter of the ring.
 */
#include "bare.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LINES         128u /* 8 KiB */
#define MAX_IN_FLIGHT 32768
#define BATCH         16 /* messages taken in at once */

enum { FUNCTION_REST, FUNCTION_WHERE };

struct message {
    _Atomic uint32_t mark;
    uint32_t function;
    uint64_t handle; /* whose result this is about */
    int64_t value;   /* argument or result */
    char fill[40];
} __attribute__((aligned(64)));

struct ring {
    struct message line[LINES];
    _Atomic uint32_t read __attribute__((aligned(128)));
};

/** One side's ends of the two rings. */
struct end {
    struct ring *out, *in;
    uint32_t written, known_read; /* of out; the latter as far as we have looked */
    uint32_t taken;               /* of in */
};

struct shared {
    struct ring ring[2];
    sem_t wake;
};

static inline uint32_t lap(uint32_t position)
{
    return position / LINES + 1;
}

/** The next message, or NULL. */
static inline struct message *arrived(struct end *end)
{
    struct message *message = &end->in->line[end->taken % LINES];
    /* acquire: what the sender wrote before the mark */
    return atomic_load_explicit(&message->mark, memory_order_acquire) == lap(end->taken) ? message : NULL;
}

static inline void consumed(struct end *end)
{
    end->taken++;
    if (end->taken % (LINES / 4) == 0) /* release: we have read these lines before they are written anew */
        atomic_store_explicit(&end->in->read, end->taken, memory_order_release);
}

static inline int has_room(struct end *end)
{
    if (end->written - end->known_read < LINES)
        return 1;
    end->known_read = atomic_load_explicit(&end->out->read, memory_order_acquire);
    return end->written - end->known_read < LINES;
}

static inline void send_message(struct end *end, uint32_t function, uint64_t handle, int64_t value)
{
    struct message *message = &end->out->line[end->written % LINES];
    message->function = function;
    message->handle = handle;
    message->value = value;
    /* release: the message before its mark */
    atomic_store_explicit(&message->mark, lap(end->written), memory_order_release);
    end->written++;
}

static int64_t where(int64_t argument)
{
    return argument + 1;
}
static int64_t (*const functions[])(int64_t) = {NULL, where};

/** Tasks that have come and are not yet run; the newest is taken first. */
static struct record *deque[LINES];
static unsigned deque_end;

/** Takes in tasks that have come; false when the other side wants to rest. */
static int receive(struct end *end)
{
    struct message *message;
    for (int n = 0; n < BATCH && deque_end < LINES && (message = arrived(end)) != NULL; n++) {
        if (message->function == FUNCTION_REST) {
            consumed(end);
            return 0;
        }
        struct record *record = record_new();
        record->function = functions[message->function];
        record->argument = message->value;
        record->handle = message->handle;
        consumed(end);
        deque[deque_end++] = record;
    }
    return 1;
}

/** The other process: runs what comes and sends the results back. */
static void serve(struct shared *shared)
{
    struct end end = {.out = &shared->ring[1], .in = &shared->ring[0]};
    for (;;) {
        if (!receive(&end))
            sem_wait(&shared->wake);
        if (deque_end == 0)
            bench_pause();
        while (deque_end > 0 && has_room(&end)) {
            struct record *record = deque[--deque_end];
            send_message(&end, FUNCTION_WHERE, record->handle, record->function(record->argument));
            record_free(record);
        }
    }
}

/** The submitter keeps a task until its result is there: what it takes to run it again. By slot of the
 * result. */
static struct record *kept[SLOTS];

/** Takes in results that have come. */
static inline int poll_results(struct end *end)
{
    struct message *message;
    int n = 0;
    for (; n < BATCH && (message = arrived(end)) != NULL; n++) {
        struct entry *entry = look_up(message->handle);
        record_free(kept[entry - table]);
        complete(entry, message->value);
        consumed(end);
    }
    return n;
}

static API uint64_t submit(struct end *end)
{
    struct entry *entry = entry_new(2);
    struct record *record = record_new();
    record->function = where;
    record->argument = 0;
    record->handle = entry->handle;
    kept[entry - table] = record;
    while (!has_room(end))
        poll_results(end);
    send_message(end, FUNCTION_WHERE, entry->handle, 0);
    return entry->handle;
}

static API int64_t take(struct end *end, uint64_t handle)
{
    struct entry *entry = look_up(handle);
    while (!is_ready(entry))
        if (poll_results(end) == 0)
            bench_pause();
    return entry->result;
}

static double repetition(struct shared *shared, struct end *end, long count, long in_flight)
{
    static uint64_t handles[MAX_IN_FLIGHT];
    sem_post(&shared->wake);
    bench_require(take(end, submit(end)) == 1, "result"); /* both are awake; never released */
    double start = bench_now();
    for (long done = 0; done < count; done += in_flight) {
        for (long i = 0; i < in_flight; i++)
            handles[i] = submit(end);
        for (long i = 0; i < in_flight; i++)
            bench_require(take(end, handles[i]) == 1, "result");
        for (long i = 0; i < in_flight; i++)
            release(handles[i]);
    }
    double took = bench_now() - start;
    while (!has_room(end))
        poll_results(end);
    send_message(end, FUNCTION_REST, 0, 0);
    return took / (double)((count + in_flight - 1) / in_flight * in_flight);
}

int main(int argc, char **argv)
{
    long count = bench_argument(argc, argv, 1, 10000), in_flight = bench_argument(argc, argv, 2, 1);
    bench_require(in_flight > 0 && in_flight <= MAX_IN_FLIGHT, "arguments");
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bench_require(shared != MAP_FAILED && sem_init(&shared->wake, 1, 0) == 0, "shared memory");
    pool_init();
    pid_t parent = getpid(), child = fork();
    bench_require(child >= 0, "fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bench_require(getppid() == parent, "the parent has gone");
        bench_pin(1);
        sem_wait(&shared->wake);
        serve(shared);
    }
    bench_pin(0);
    struct end end = {.out = &shared->ring[0], .in = &shared->ring[1]};
    while (bench_asked())
        bench_answer(repetition(shared, &end, count, in_flight));
    return 0;
}
