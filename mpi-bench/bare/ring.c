/* The irreducible work of A3 to A5: tasks sent to another process through rings of messages in shared memory.
 *
 *   ring COUNT [IN_FLIGHT]      nanoseconds per task
 *
 * A message is a cache line; it is published by a mark in its own header, which is the lap of the ring, so
 * nothing has to be cleared. The receiver tells how far it has read once in a quarter of the ring.
 */
#include "../bench.h"

#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LINES     128u /* 8 KiB */
#define SLOTS     (1u << 15)
#define SLOT_BITS 24

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

struct record {
    uint64_t handle;
    uint32_t ready, holds;
    int64_t result;
    char fill[104];
} __attribute__((aligned(128)));

struct shared {
    struct ring ring[2];
    sem_t wake;
};

static struct record table[SLOTS];
static uint32_t free_slots[SLOTS];
static unsigned free_count;

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

/** The other process: runs what comes and sends the result back, until it is told to rest. */
static void serve(struct shared *shared)
{
    struct end end = {.out = &shared->ring[1], .in = &shared->ring[0]};
    for (;;) {
        struct message *message = arrived(&end);
        if (message == NULL) {
            bench_pause();
            continue;
        }
        uint32_t function = message->function;
        if (function == FUNCTION_REST) {
            consumed(&end);
            sem_wait(&shared->wake);
            continue;
        }
        if (!has_room(&end))
            continue;
        int64_t result = functions[function](message->value);
        send_message(&end, function, message->handle, result);
        consumed(&end);
    }
}

static inline struct record *look_up(uint64_t handle)
{
    struct record *record = &table[handle & ((1u << SLOT_BITS) - 1)];
    bench_require(record->handle == handle, "stale handle");
    return record;
}

/** Takes in results that have come, a bounded number. */
static inline int poll_results(struct end *end, int at_most)
{
    int n = 0;
    for (struct message *message; n < at_most && (message = arrived(end)) != NULL; n++) {
        struct record *record = look_up(message->handle);
        record->result = message->value;
        record->ready = 1;
        consumed(end);
    }
    return n;
}

static inline uint64_t submit(struct end *end)
{
    bench_require(free_count > 0, "pool is empty");
    struct record *record = &table[free_slots[--free_count]];
    record->ready = 0;
    record->holds = 1;
    while (!has_room(end))
        poll_results(end, 16);
    send_message(end, FUNCTION_WHERE, record->handle, 0);
    return record->handle;
}

static inline int64_t take(struct end *end, uint64_t handle)
{
    struct record *record = look_up(handle);
    while (!record->ready)
        if (poll_results(end, 16) == 0)
            bench_pause();
    return record->result;
}

static inline void release(uint64_t handle)
{
    struct record *record = look_up(handle);
    if (--record->holds > 0)
        return;
    record->handle += 1u << SLOT_BITS;
    free_slots[free_count++] = (uint32_t)(record - table);
}

static double repetition(struct shared *shared, struct end *end, long count, long in_flight)
{
    static uint64_t handles[SLOTS];
    sem_post(&shared->wake);
    bench_require(take(end, submit(end)) == 1, "result"); /* both are awake; this one is never released */
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
        poll_results(end, 16);
    send_message(end, FUNCTION_REST, 0, 0);
    return took / (double)((count + in_flight - 1) / in_flight * in_flight);
}

int main(int argc, char **argv)
{
    long count = bench_argument(argc, argv, 1, 10000), in_flight = bench_argument(argc, argv, 2, 1);
    bench_require(in_flight > 0 && in_flight < SLOTS / 2, "arguments");
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bench_require(shared != MAP_FAILED && sem_init(&shared->wake, 1, 0) == 0, "shared memory");
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
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        table[slot].handle = 1u << SLOT_BITS | slot;
        free_slots[SLOTS - 1 - slot] = slot;
    }
    free_count = SLOTS;
    struct end end = {.out = &shared->ring[0], .in = &shared->ring[1]};
    while (bench_asked())
        bench_answer(repetition(shared, &end, count, in_flight));
    return 0;
}
