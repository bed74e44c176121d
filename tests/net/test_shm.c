/* The shm transport between forked ranks: order, long messages, sleeping, queues, rest, malformed input. */
#include "../unit.h"
#include "job.h"

#include "net/net_futex.h"
#include "net/net_shm.h"

#include <sched.h>

static int send_bytes(struct net *net, int peer, uint16_t type, const void *data, size_t length)
{
    const struct net_piece piece = {data, length};
    return net_send(net, peer, type, &piece, 1);
}

/** Polls, and sleeps when there is nothing, until *flag. */
static void serve_until(struct net *net, const _Atomic int *flag)
{
    while (!atomic_load(flag))
        if (net_poll(net, 64) == 0 && !atomic_load(flag))
            net_sleep(net, UINT64_MAX, NULL, NULL);
}

/** Keeps polling until nothing waits in a queue of this rank. */
static void drain(struct net *net)
{
    for (int peer = 0; peer < net_size(net); peer++)
        while (net_pending(net, peer) > 0)
            if (net_poll(net, 64) == 0 && net_pending(net, peer) > 0)
                net_sleep(net, UINT64_MAX, NULL, NULL);
}

/* ---- all to all: two sending threads per rank, random sizes */

enum { STRESS_DATA = 1, STRESS_END = 2 };
#define STRESS_THREADS 2

struct stress_head {
    uint64_t seed;
    uint32_t thread;
    uint32_t number; /* of this thread to this peer */
    uint32_t length;
    uint32_t unused;
};

struct stress {
    struct job *job;
    struct net *net;
    uint32_t expected[JOB_RANKS][STRESS_THREADS];
    int ended;
    _Atomic int done;
};

struct stress_thread {
    struct stress *stress;
    uint32_t number;
};

static void stress_fill(unsigned char *data, uint32_t length, uint64_t seed)
{
    for (uint32_t i = 0; i < length; i++)
        data[i] = (unsigned char)(seed + i * 13);
}

static uint32_t stress_length(uint64_t *state)
{
    uint64_t draw = job_random(state);
    if (draw % 500 == 0)
        return (uint32_t)(draw / 500 % 300000);
    return (uint32_t)(draw % 20 == 0 ? draw / 20 % 6000 : draw / 20 % 200);
}

static void *stress_send(void *arg)
{
    struct stress_thread *thread = arg;
    struct stress *stress = thread->stress;
    int size = net_size(stress->net);
    uint64_t state = stress->job->seed * 1000 + (uint64_t)net_rank(stress->net) * 10 + thread->number;
    uint32_t numbers[JOB_RANKS] = {0};
    static _Thread_local unsigned char data[300000];
    for (int i = 0; i < stress->job->arg; i++) {
        int peer = (int)(job_random(&state) % (uint64_t)size);
        struct stress_head head = {.seed = job_random(&state),
                                   .thread = thread->number,
                                   .number = numbers[peer]++,
                                   .length = stress_length(&state)};
        stress_fill(data, head.length, head.seed);
        const struct net_piece pieces[] = {{&head, sizeof head},
                                           {NULL, 0},
                                           {data, head.length / 3},
                                           {data + head.length / 3, head.length - head.length / 3}};
        JOB_CHECK(net_send(stress->net, peer, STRESS_DATA, pieces, 4) == RAYMPI_OK);
        while (net_pending(stress->net, peer) > 4000000)
            sched_yield();
    }
    for (int peer = 0; peer < size; peer++) {
        struct stress_head head = {.thread = thread->number, .number = numbers[peer]};
        JOB_CHECK(send_bytes(stress->net, peer, STRESS_END, &head, sizeof head) == RAYMPI_OK);
    }
    return NULL;
}

static void stress_data(void *arg, const struct net_message *message)
{
    struct stress *stress = arg;
    struct stress_head head;
    JOB_CHECK(message->length >= sizeof head);
    JOB_CHECK((uintptr_t)message->data % 8 == 0);
    memcpy(&head, message->data, sizeof head);
    JOB_CHECK(head.thread < STRESS_THREADS && message->length == sizeof head + head.length);
    JOB_CHECK(head.number == stress->expected[message->source][head.thread]++);
    const unsigned char *data = (const unsigned char *)message->data + sizeof head;
    for (uint32_t i = 0; i < head.length; i++)
        JOB_CHECK(data[i] == (unsigned char)(head.seed + i * 13));
}

static void stress_end(void *arg, const struct net_message *message)
{
    struct stress *stress = arg;
    struct stress_head head;
    memcpy(&head, message->data, sizeof head);
    JOB_CHECK(head.number == stress->expected[message->source][head.thread]);
    if (++stress->ended == net_size(stress->net) * STRESS_THREADS)
        atomic_store(&stress->done, 1);
}

static int stress_main(struct job *job, struct net *net, int rank)
{
    struct stress *stress = calloc(1, sizeof *stress);
    struct stress_thread threads[STRESS_THREADS];
    pthread_t ids[STRESS_THREADS];
    (void)rank;
    stress->job = job;
    stress->net = net;
    net_handle(net, STRESS_DATA, stress_data, stress);
    net_handle(net, STRESS_END, stress_end, stress);
    for (uint32_t i = 0; i < STRESS_THREADS; i++) {
        threads[i] = (struct stress_thread){stress, i};
        JOB_CHECK(pthread_create(&ids[i], NULL, stress_send, &threads[i]) == 0);
    }
    serve_until(net, &stress->done);
    /* Own threads wait for room that only the poller makes. */
    atomic_fetch_add(&job->shared[0], 1);
    while (atomic_load(&job->shared[0]) < (uint64_t)job->size)
        if (net_poll(net, 64) == 0)
            sched_yield();
    for (int i = 0; i < STRESS_THREADS; i++)
        pthread_join(ids[i], NULL);
    struct net_counters counters;
    net_counters(net, &counters);
    JOB_CHECK(counters.malformed == 0 && counters.bytes_received > 0);
    atomic_fetch_add(&job->shared[1], counters.sent - counters.received);
    free(stress);
    return 0;
}

static void stress_run(int size, int messages, int (*run)(struct job *, job_main *))
{
    struct job job;
    job_create(&job, size, (uint64_t)(size * 100 + messages));
    job.arg = messages;
    CU_ASSERT_EQUAL(run(&job, stress_main), 0);
    /* Over the whole job as many were received as sent. */
    CU_ASSERT_EQUAL(atomic_load(&job.shared[1]), 0);
    job_destroy(&job);
}

static void test_all_to_all(void)
{
    static const int sizes[] = {1, 2, 3, 5, 8, 16};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        stress_run(sizes[i], 4000, job_run);
}

static void test_all_to_all_threads(void)
{
    stress_run(3, 2000, job_run_threads);
}

/* ---- long messages */

struct whole {
    size_t lengths[8];
    int next;
    _Atomic int done;
};

static const size_t whole_lengths[] = {0, 1, 1999, 2001, 8192, 100000, 5000000, 7};
#define WHOLE_COUNT ((int)(sizeof whole_lengths / sizeof *whole_lengths))

static void whole_receive(void *arg, const struct net_message *message)
{
    struct whole *whole = arg;
    const unsigned char *data = message->data;
    JOB_CHECK(message->length == whole_lengths[whole->next]);
    for (size_t i = 0; i < message->length; i++)
        JOB_CHECK(data[i] == (unsigned char)(i * 11 + i / 4096));
    if (++whole->next == WHOLE_COUNT)
        atomic_store(&whole->done, 1);
}

static int whole_main(struct job *job, struct net *net, int rank)
{
    struct whole whole = {.next = 0};
    (void)job;
    net_handle(net, 5, whole_receive, &whole);
    if (rank == 0) {
        unsigned char *data = malloc(5000000);
        for (size_t i = 0; i < 5000000; i++)
            data[i] = (unsigned char)(i * 11 + i / 4096);
        for (int i = 0; i < WHOLE_COUNT; i++)
            JOB_CHECK(send_bytes(net, 1, 5, data, whole_lengths[i]) == RAYMPI_OK);
        free(data);
        drain(net);
        JOB_CHECK(send_bytes(net, 1, 5, NULL, NET_MESSAGE_MAX + 1) == RAYMPI_ERR_TOO_LARGE);
        JOB_CHECK(send_bytes(net, 2, 5, NULL, 0) == RAYMPI_ERR_ARGUMENT);
        JOB_CHECK(send_bytes(net, 1, NET_HANDLERS, NULL, 0) == RAYMPI_ERR_ARGUMENT);
    } else {
        serve_until(net, &whole.done);
    }
    return 0;
}

static void test_long_messages(void)
{
    struct job job;
    job_create(&job, 2, 1);
    CU_ASSERT_EQUAL(job_run(&job, whole_main), 0);
    job_destroy(&job);
}

/* ---- sleeping */

struct token {
    struct net *net;
    uint64_t rounds;
    _Atomic int done;
};

static void token_receive(void *arg, const struct net_message *message)
{
    struct token *token = arg;
    uint64_t left;
    memcpy(&left, message->data, sizeof left);
    if (left < (uint64_t)net_size(token->net))
        atomic_store(&token->done, 1);
    if (left == 0)
        return;
    left--;
    JOB_CHECK(send_bytes(token->net, (net_rank(token->net) + 1) % net_size(token->net), 1, &left,
                         sizeof left) == RAYMPI_OK);
}

/** One token goes round; everybody sleeps at once whenever there is nothing, so each hop is a wake-up. */
static int token_main(struct job *job, struct net *net, int rank)
{
    struct token token = {.net = net};
    net_handle(net, 1, token_receive, &token);
    uint64_t rounds = (uint64_t)job->arg;
    if (rank == 0)
        JOB_CHECK(send_bytes(net, 0, 1, &rounds, sizeof rounds) == RAYMPI_OK);
    serve_until(net, &token.done);
    return 0;
}

static void token_run(int size, int hops)
{
    struct job job;
    job_create(&job, size, 3);
    job.arg = hops;
    CU_ASSERT_EQUAL(job_run(&job, token_main), 0);
    job_destroy(&job);
}

static void test_sleep_wake(void)
{
    token_run(2, 30000);
    token_run(3, 30000);
    token_run(7, 20000);
}

/** Kernels without futex_waitv. */
static void test_sleep_without_vector(void)
{
    atomic_store(&net_futex_vector, false);
    token_run(2, 10000);
    token_run(4, 10000);
    atomic_store(&net_futex_vector, true);
}

#define WAKES 30000

struct waker {
    struct net *net;
    _Atomic int given, taken;
};

static void *waker_main(void *arg)
{
    struct waker *waker = arg;
    for (int i = 1; i <= WAKES; i++) {
        atomic_store_explicit(&waker->given, i, memory_order_relaxed);
        net_wake(waker->net);
        while (atomic_load_explicit(&waker->taken, memory_order_acquire) < i)
            sched_yield();
    }
    return NULL;
}

/** net_wake() ends this sleep or the next one, and what was done before it is seen after. */
static int waker_rank_main(struct job *job, struct net *net, int rank)
{
    struct waker waker = {.net = net};
    pthread_t thread;
    (void)job;
    (void)rank;
    JOB_CHECK(pthread_create(&thread, NULL, waker_main, &waker) == 0);
    int seen = 0;
    while (seen < WAKES) {
        net_sleep(net, UINT64_MAX, NULL, NULL);
        seen = atomic_load_explicit(&waker.given, memory_order_relaxed);
        atomic_store_explicit(&waker.taken, seen, memory_order_release);
    }
    pthread_join(thread, NULL);
    return 0;
}

static void test_wake(void)
{
    struct job job;
    job_create(&job, 1, 4);
    CU_ASSERT_EQUAL(job_run(&job, waker_rank_main), 0);
    CU_ASSERT_EQUAL(job_run_threads(&job, waker_rank_main), 0);
    job_destroy(&job);
}

static int deadline_main(struct job *job, struct net *net, int rank)
{
    (void)job;
    (void)rank;
    for (int i = 0; i < 20; i++) {
        uint64_t deadline = net_now(net) + 1000000;
        while (net_now(net) < deadline)
            net_sleep(net, deadline, NULL, NULL);
    }
    net_wake_all(net);
    net_sleep(net, UINT64_MAX, NULL, NULL); /* returns: the wake came before */
    return 0;
}

static void test_deadline(void)
{
    struct job job;
    job_create(&job, 1, 5);
    CU_ASSERT_EQUAL(job_run(&job, deadline_main), 0);
    atomic_store(&net_futex_vector, false);
    CU_ASSERT_EQUAL(job_run(&job, deadline_main), 0);
    atomic_store(&net_futex_vector, true);
    job_destroy(&job);
}

/* ---- a receiver that does not receive */

#define SLOW_MESSAGES 20000

struct slow {
    uint32_t next;
    _Atomic int done;
};

static void slow_receive(void *arg, const struct net_message *message)
{
    struct slow *slow = arg;
    uint32_t number;
    JOB_CHECK(message->length >= sizeof number || message->length == 0);
    if (message->length > 0) {
        memcpy(&number, message->data, sizeof number);
        JOB_CHECK(number == slow->next);
    }
    if (++slow->next == SLOW_MESSAGES)
        atomic_store(&slow->done, 1);
}

static int slow_main(struct job *job, struct net *net, int rank)
{
    struct slow slow = {.next = 0};
    net_handle(net, 2, slow_receive, &slow);
    if (rank == 0) {
        uint32_t data[256] = {0};
        for (data[0] = 0; data[0] < SLOW_MESSAGES; data[0]++)
            JOB_CHECK(send_bytes(net, 1, 2, data, data[0] % 7 == 0 ? 0 : 4 + data[0] % 1000) == RAYMPI_OK);
        JOB_CHECK(net_pending(net, 1) > 1000000);
        atomic_store(&job->shared[0], 1);
        drain(net); /* sleeps: the receiver has to wake it each time there is room */
    } else {
        while (!atomic_load(&job->shared[0]))
            sched_yield();
        serve_until(net, &slow.done);
    }
    return 0;
}

static void test_slow_receiver(void)
{
    struct job job;
    job_create(&job, 2, 6);
    CU_ASSERT_EQUAL(job_run(&job, slow_main), 0);
    atomic_store(&job.shared[0], 0);
    struct job threads;
    job_create(&threads, 2, 6);
    CU_ASSERT_EQUAL(job_run_threads(&threads, slow_main), 0);
    job_destroy(&threads);
    job_destroy(&job);
}

/* ---- rest */

enum { REST_PING = 1, REST_OVER = 2 };
enum { SHARED_FLYING, SHARED_ANSWERS, SHARED_ROUND, SHARED_WRONG };
#define REST_ROUNDS 300

struct rest {
    struct job *job;
    struct net *net;
    uint64_t random;
    _Atomic int done;
};

static void rest_send(struct rest *rest, uint32_t left)
{
    int peer = (int)(job_random(&rest->random) % (uint64_t)rest->job->size);
    atomic_fetch_add(&rest->job->shared[SHARED_FLYING], 1);
    JOB_CHECK(send_bytes(rest->net, peer, REST_PING, &left, sizeof left) == RAYMPI_OK);
}

static void rest_ping(void *arg, const struct net_message *message)
{
    struct rest *rest = arg;
    uint32_t left;
    memcpy(&left, message->data, sizeof left);
    for (; left > 0; left /= 2)
        if (job_random(&rest->random) % 2)
            rest_send(rest, left / 2);
    atomic_fetch_sub(&rest->job->shared[SHARED_FLYING], 1);
}

static void rest_over(void *arg, const struct net_message *message)
{
    (void)message;
    atomic_store(&((struct rest *)arg)->done, 1);
}

/** The rank that was told of the rest starts the next traffic, or ends the job. */
static void rest_answer(struct rest *rest, enum net_rest answer, enum net_rest expected)
{
    struct job *job = rest->job;
    if (answer != expected || atomic_load(&job->shared[SHARED_FLYING]) != 0)
        atomic_fetch_add(&job->shared[SHARED_WRONG], 1);
    uint64_t answers = atomic_fetch_add(&job->shared[SHARED_ANSWERS], 1) + 1;
    net_idle_withdraw(rest->net);
    if (answers < REST_ROUNDS) {
        for (uint64_t left = 1 + job_random(&rest->random) % 20; left > 0; left--)
            rest_send(rest, (uint32_t)(job_random(&rest->random) % 64));
        return;
    }
    for (int peer = 0; peer < job->size; peer++)
        JOB_CHECK(send_bytes(rest->net, peer, REST_OVER, NULL, 0) == RAYMPI_OK);
}

static int rest_main(struct job *job, struct net *net, int rank)
{
    struct rest rest = {.job = job, .net = net, .random = job->seed + (uint64_t)rank};
    enum net_rest expected = job->arg ? NET_REST_DEADLOCK : NET_REST_DONE;
    net_handle(net, REST_PING, rest_ping, &rest);
    net_handle(net, REST_OVER, rest_over, &rest);
    atomic_store(&net_board(net, rank)->finalizing, job->arg != 2 || rank != 0);
    atomic_store(&net_board(net, rank)->waiting, job->arg == 1 && rank == 0);
    while (!atomic_load(&rest.done)) {
        if (net_poll(net, 16) > 0)
            continue;
        enum net_rest answer = net_idle_publish(net);
        if (answer != NET_REST_NO)
            rest_answer(&rest, answer, expected);
        else
            net_sleep(net, UINT64_MAX, NULL, NULL);
        net_idle_withdraw(net);
    }
    return 0;
}

static void rest_run(int size, int kind, int (*run)(struct job *, job_main *))
{
    struct job job;
    job_create(&job, size, (uint64_t)(size * 10 + kind));
    job.arg = kind;
    CU_ASSERT_EQUAL(run(&job, rest_main), 0);
    CU_ASSERT_EQUAL(atomic_load(&job.shared[SHARED_ANSWERS]), REST_ROUNDS);
    CU_ASSERT_EQUAL(atomic_load(&job.shared[SHARED_WRONG]), 0);
    job_destroy(&job);
}

static void test_rest_done(void)
{
    for (int size = 1; size <= 6; size++)
        rest_run(size, 0, job_run);
    rest_run(3, 0, job_run_threads);
}

static void test_rest_deadlock(void)
{
    for (int size = 1; size <= 4; size++) {
        rest_run(size, 1, job_run);
        rest_run(size, 2, job_run);
    }
}

/* ---- malformed input */

struct raw {
    int received;
};

static void raw_receive(void *arg, const struct net_message *message)
{
    (void)message;
    ((struct raw *)arg)->received++;
}

static void raw_put(struct net_ring_writer *writer, enum net_ring_kind kind, uint16_t type, uint32_t size,
                    uint32_t total)
{
    struct net_ring_record record = {.kind = kind, .type = type, .size = size, .total = total};
    char *room = net_ring_reserve(writer, size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(room);
    memset(room, 1, size);
    net_ring_publish(writer, &record);
}

static uint64_t malformed(const struct net *net)
{
    struct net_counters counters;
    net_counters(net, &counters);
    return counters.malformed;
}

static void test_malformed(void)
{
    struct job job;
    struct net *sender, *receiver;
    struct raw raw = {0};
    job_create(&job, 2, 8);
    base_log_threshold = BASE_LOG_ERROR;
    CU_ASSERT_EQUAL_FATAL(net_shm_open(&sender, &job.segment, 16, 0, 2), RAYMPI_OK);
    CU_ASSERT_EQUAL_FATAL(net_shm_open(&receiver, &job.segment, 16, 1, 2), RAYMPI_OK);
    net_handle(receiver, 1, raw_receive, &raw);
    CU_ASSERT_EQUAL(send_bytes(sender, 1, 1, "hello", 5), RAYMPI_OK);
    CU_ASSERT_EQUAL(net_poll(receiver, 100), 1);
    struct net_ring_writer *writer = &shm_of(sender)->out[1].lane->writer;

    raw_put(writer, NET_RING_MESSAGE, 2, 8, 8); /* nobody handles it */
    net_poll(receiver, 100);
    CU_ASSERT_EQUAL(malformed(receiver), 1);
    raw_put(writer, NET_RING_MESSAGE, 60000, 8, 8); /* no such type */
    net_poll(receiver, 100);
    CU_ASSERT_EQUAL(malformed(receiver), 2);
    raw_put(writer, NET_RING_MESSAGE, 1, 8, 16); /* lengths differ */
    net_poll(receiver, 100);
    CU_ASSERT_EQUAL(malformed(receiver), 3);
    raw_put(writer, NET_RING_NEXT, 1, 8, 16); /* no beginning */
    net_poll(receiver, 100);
    CU_ASSERT_EQUAL(malformed(receiver), 4);
    raw_put(writer, NET_RING_FIRST, 1, 8, UINT32_MAX); /* too long */
    net_poll(receiver, 100);
    CU_ASSERT_EQUAL(malformed(receiver), 5);
    raw_put(writer, NET_RING_FIRST, 1, 8, 24);
    raw_put(writer, NET_RING_NEXT, 1, 24, 24); /* more than announced */
    net_poll(receiver, 100);
    CU_ASSERT_EQUAL(malformed(receiver), 6);
    raw_put(writer, NET_RING_FIRST, 1, 8, 24);
    raw_put(writer, NET_RING_MESSAGE, 1, 8, 8); /* cuts the one before it short, is good itself */
    net_poll(receiver, 100);
    CU_ASSERT_EQUAL(malformed(receiver), 7);
    CU_ASSERT_EQUAL(raw.received, 2);
    raw_put(writer, NET_RING_FIRST, 1, 8, 16);
    raw_put(writer, NET_RING_NEXT, 1, 8, 16); /* good */
    net_poll(receiver, 100);
    CU_ASSERT_EQUAL(malformed(receiver), 7);
    CU_ASSERT_EQUAL(raw.received, 3);

    uint64_t nonsense = UINT64_C(0x1234567890abcdef);
    memcpy(writer->ring->data + writer->index, &nonsense, sizeof nonsense);
    net_poll(receiver, 100);
    net_poll(receiver, 100);
    CU_ASSERT_EQUAL(malformed(receiver), 8); /* once: its ring is closed */
    CU_ASSERT_EQUAL(send_bytes(receiver, 1, 1, "self", 4), RAYMPI_OK);
    CU_ASSERT_EQUAL(net_poll(receiver, 100), 1); /* others go on */
    net_close(sender);
    net_close(receiver);
    job_destroy(&job);
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"all to all, processes", test_all_to_all},
        {"all to all, threads of one process", test_all_to_all_threads},
        {"long messages are put together", test_long_messages},
        {"no wake-up is lost", test_sleep_wake},
        {"no wake-up is lost without futex_waitv", test_sleep_without_vector},
        {"net_wake ends this sleep or the next", test_wake},
        {"sleep ends at its deadline", test_deadline},
        {"what does not fit waits in order", test_slow_receiver},
        {"rest is found once: done", test_rest_done},
        {"rest is found once: deadlock", test_rest_deadlock},
        {"malformed messages are counted and dropped", test_malformed},
    };
    return UNIT_MAIN("net: shm", tests);
}
