/* Traces: their threads, names and counters. */
#include "trace/trace_internal.h"

#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define TRACE_CLOCK_TRIES 5

static const char *const kind_texts[TRACE_KINDS] = {
    [TRACE_TASK_BEGIN] = "task begin",
    [TRACE_TASK_END] = "task end",
    [TRACE_TASK_BLOCK] = "task block",
    [TRACE_TASK_RESUME] = "task resume",
    [TRACE_TASK] = "task",
    [TRACE_SLEEP_BEGIN] = "sleep begin",
    [TRACE_SLEEP_END] = "sleep end",
    [TRACE_SUBMIT] = "submit",
    [TRACE_SEND_TASK] = "send task",
    [TRACE_STEAL] = "steal",
    [TRACE_POLL] = "poll",
    [TRACE_SEND] = "send",
    [TRACE_RECEIVE] = "receive",
    [TRACE_STORE_CREATE] = "store create",
    [TRACE_STORE_SEAL] = "store seal",
    [TRACE_STORE_RELEASE] = "store release",
    [TRACE_STORE_WAIT] = "store wait",
    [TRACE_STORE_SPILL] = "store spill",
    [TRACE_STORE_RESTORE] = "store restore",
    [TRACE_STORE_FETCH] = "store fetch",
    [TRACE_STORE_EVICT] = "store evict",
    [TRACE_ACTOR_CREATE] = "actor create",
    [TRACE_ACTOR_END] = "actor end",
};

static const char *const counter_texts[TRACE_COUNTERS] = {
    [TRACE_COUNT_SUBMITTED] = "submitted",   [TRACE_COUNT_RUN] = "run",
    [TRACE_COUNT_FAILED] = "failed",         [TRACE_COUNT_BLOCKED] = "blocked",
    [TRACE_COUNT_SENT] = "sent away",        [TRACE_COUNT_STOLEN] = "stolen",
    [TRACE_COUNT_ACTORS] = "actors",         [TRACE_COUNT_PUTS] = "puts",
    [TRACE_COUNT_PUT_BYTES] = "put bytes",   [TRACE_COUNT_MESSAGES] = "messages",
    [TRACE_COUNT_MESSAGE_BYTES] = "bytes",   [TRACE_COUNT_FAR_MESSAGES] = "to other hosts",
    [TRACE_COUNT_FAR_BYTES] = "bytes there", [TRACE_COUNT_SLEEPS] = "sleeps",
    [TRACE_COUNT_MALFORMED] = "malformed",
};

const char *trace_kind_text(unsigned kind)
{
    return kind < TRACE_KINDS ? kind_texts[kind] : "?";
}

const char *trace_counter_text(unsigned counter)
{
    return counter < TRACE_COUNTERS ? counter_texts[counter] : "?";
}

/** Whether the processor's counter runs evenly in every sleep state and on every core. */
static bool trace_counter_usable(void)
{
#if defined(__x86_64__)
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) != 0 && (edx & 1u << 8) != 0;
#elif defined(__aarch64__)
    return true; /* the architecture promises it */
#else
    return false;
#endif
}

struct trace_moment trace_moment(bool counter_register)
{
    struct trace_moment best = {0, 0};
    uint64_t narrowest = UINT64_MAX;
    for (int i = 0; i < TRACE_CLOCK_TRIES; i++) {
        uint64_t before = trace_ticks(counter_register);
        uint64_t now = base_now();
        uint64_t width = trace_ticks(counter_register) - before;
        if (width < narrowest) {
            narrowest = width;
            best.ticks = before + width / 2;
            best.nanoseconds = now;
        }
    }
    return best;
}

int trace_open(struct trace **trace, int rank, uint64_t events_per_thread)
{
    struct trace *opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a trace");
    opened->rank = rank;
    opened->slots = 2;
    while (opened->slots < events_per_thread)
        opened->slots *= 2;
    opened->threads_end = &opened->threads;
    opened->counter_register = trace_counter_usable();
    opened->opened = trace_moment(opened->counter_register);
    pthread_mutex_init(&opened->lock, NULL);
    *trace = opened;
    return RAYMPI_OK;
}

void trace_close(struct trace *trace)
{
    if (trace == NULL)
        return;
    struct trace_thread *next;
    for (struct trace_thread *thread = trace->threads; thread != NULL; thread = next) {
        next = thread->next;
        free(thread->slots);
        free(thread);
    }
    for (size_t i = 0; i < trace->names_count; i++)
        free(trace->names[i].name);
    free(trace->names);
    pthread_mutex_destroy(&trace->lock);
    free(trace);
}

static struct trace_thread *trace_thread_new(struct trace *trace, const char *name)
{
    struct trace_thread *thread = aligned_alloc(BASE_CACHE_LINE, sizeof *thread);
    if (thread == NULL)
        return NULL;
    memset(thread, 0, sizeof *thread);
    /* calloc takes fresh pages, which cost nothing until events fill them */
    thread->slots = calloc(trace->slots, sizeof *thread->slots);
    if (thread->slots == NULL) {
        free(thread);
        return NULL;
    }
    thread->mask = trace->slots - 1;
    thread->start = trace->opened.ticks;
    thread->counter_register = trace->counter_register;
    thread->in_use = true;
    strncpy(thread->name, name, sizeof thread->name - 1);
    *trace->threads_end = thread;
    trace->threads_end = &thread->next;
    return thread;
}

struct trace_thread *trace_thread_open(struct trace *trace, const char *name)
{
    if (trace == NULL)
        return NULL;
    pthread_mutex_lock(&trace->lock);
    struct trace_thread *thread = trace->threads;
    while (thread != NULL && (thread->in_use || strncmp(thread->name, name, sizeof thread->name - 1) != 0))
        thread = thread->next;
    if (thread != NULL)
        thread->in_use = true;
    else
        thread = trace_thread_new(trace, name);
    pthread_mutex_unlock(&trace->lock);
    if (thread == NULL)
        base_fail(RAYMPI_ERR_MEMORY, "no memory for the events of thread \"%s\"; lower RAYMPI_TRACE_EVENTS",
                  name);
    return thread;
}

void trace_thread_close(struct trace *trace, struct trace_thread *thread)
{
    if (thread == NULL)
        return;
    /* The lock hands ring and counters to the next owner. */
    pthread_mutex_lock(&trace->lock);
    thread->in_use = false;
    pthread_mutex_unlock(&trace->lock);
}

/** Room for one more name; the lock is held. */
static bool trace_names_reserve(struct trace *trace)
{
    if (trace->names_count < trace->names_room)
        return true;
    size_t room = trace->names_room > 0 ? 2 * trace->names_room : 64;
    struct trace_named *names = realloc(trace->names, room * sizeof *names);
    if (names == NULL)
        return false;
    trace->names = names;
    trace->names_room = room;
    return true;
}

static bool trace_name_add(struct trace *trace, uint64_t hash, const char *name)
{
    for (size_t i = 0; i < trace->names_count; i++)
        if (trace->names[i].hash == hash)
            return true;
    if (!trace_names_reserve(trace))
        return false;
    char *copy = strdup(name);
    if (copy == NULL)
        return false;
    trace->names[trace->names_count++] = (struct trace_named){hash, copy};
    return true;
}

int trace_name(struct trace *trace, uint64_t hash, const char *name)
{
    if (trace == NULL)
        return RAYMPI_OK;
    pthread_mutex_lock(&trace->lock);
    bool added = trace_name_add(trace, hash, name);
    pthread_mutex_unlock(&trace->lock);
    return added ? RAYMPI_OK
                 : base_fail(RAYMPI_ERR_MEMORY, "no memory for the name of %s in the trace", name);
}

uint64_t trace_counter_sum(struct trace *trace, enum trace_counter counter)
{
    uint64_t sum = 0;
    if (trace == NULL)
        return sum;
    pthread_mutex_lock(&trace->lock);
    for (struct trace_thread *thread = trace->threads; thread != NULL; thread = thread->next)
        sum += atomic_load_explicit(&thread->counters[counter], memory_order_relaxed); /* just a number */
    pthread_mutex_unlock(&trace->lock);
    return sum;
}

void trace_counters(struct trace *trace, uint64_t sums[TRACE_COUNTERS])
{
    for (unsigned counter = 0; counter < TRACE_COUNTERS; counter++)
        sums[counter] = trace_counter_sum(trace, counter);
}
