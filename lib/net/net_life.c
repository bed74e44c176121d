/* Life words: see net_life.h. */
#include "net/net_life.h"
#include "net/net_futex.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIFE_STACK (UINT64_C(128) << 10)
/* No thread id can be this (PID_MAX_LIMIT is 2^22), so the kernel never takes the word for one's own. */
#define LIFE_LEFT FUTEX_TID_MASK

enum life_stage { LIFE_STARTING = 0, LIFE_RUNNING, LIFE_STOPPING };

enum net_life_state net_life_state(uint32_t word)
{
    if (word == 0)
        return NET_LIFE_UNBORN;
    if (word & FUTEX_OWNER_DIED)
        return NET_LIFE_DIED;
    return word == LIFE_LEFT ? NET_LIFE_LEFT : NET_LIFE_ALIVE;
}

/** Makes the calling thread the owner of the words. The list is registered first and linked last: a death in
 * between is that of a rank that has not opened. */
static void life_own(struct net_life *life)
{
    struct net_life_words *words = life->words;
    life->head.list.next = &life->head.list;
    life->head.futex_offset = offsetof(struct net_life_word, word) - offsetof(struct net_life_word, link);
    life->head.list_op_pending = NULL;
    if (syscall(SYS_set_robust_list, &life->head, sizeof life->head) != 0)
        base_log(BASE_LOG_WARN, "net", "no robust futexes (%s): the death of this rank will not be noticed",
                 strerror(errno));
    /* With WAITERS set the kernel wakes whoever sleeps on the word. */
    uint32_t mine = ((uint32_t)syscall(SYS_gettid) & FUTEX_TID_MASK) | FUTEX_WAITERS;
    for (int slot = 0; slot < NET_LIFE_WORDS; slot++) {
        atomic_store(&words->slots[slot].word, mine);
        words->slots[slot].link.next =
            slot + 1 < NET_LIFE_WORDS ? &words->slots[slot + 1].link : &life->head.list;
    }
    /* The kernel reads the list when this thread ends, in this thread: program order is all it takes, and the
     * compiler must keep it. */
    atomic_signal_fence(memory_order_seq_cst);
    *(struct robust_list *volatile *)&life->head.list.next = &words->slots[0].link;
}

void net_life_leave(struct net_life *life)
{
    for (int slot = 0; slot < NET_LIFE_WORDS; slot++) {
        atomic_store(&life->words->slots[slot].word, LIFE_LEFT);
        net_futex_wake(&life->words->slots[slot].word, INT_MAX);
    }
}

/** Takes the words off the list; after this the end of the thread says nothing. */
static void life_disown(struct net_life *life)
{
    net_life_leave(life);
    *(struct robust_list *volatile *)&life->head.list.next = &life->head.list;
}

static void *life_main(void *arg)
{
    struct net_life *life = arg;
    life_own(life);
    atomic_store(&life->stage, LIFE_RUNNING);
    net_futex_wake(&life->stage, 1);
    const struct net_futex stop = {.word = &life->stage, .expected = LIFE_RUNNING};
    while (atomic_load(&life->stage) == LIFE_RUNNING)
        net_futex_wait_one(&stop);
    life_disown(life);
    return NULL;
}

static int life_thread_create(struct net_life *life)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return ENOMEM;
    int error = pthread_attr_setstacksize(&attributes, LIFE_STACK);
    if (error == 0)
        error = pthread_create(&life->thread, &attributes, life_main, life);
    /* A program with much thread-local data needs more than our small stack. */
    if (error == EINVAL)
        error = pthread_create(&life->thread, NULL, life_main, life);
    pthread_attr_destroy(&attributes);
    return error;
}

int net_life_start(struct net_life *life, struct net_life_words *words)
{
    *life = (struct net_life){.words = words, .process = getpid()};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = life_thread_create(life);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return base_fail(RAYMPI_ERR_MEMORY, "can not start the thread that owns the life words: %s",
                         strerror(error));
    const struct net_futex starting = {.word = &life->stage, .expected = LIFE_STARTING};
    while (atomic_load(&life->stage) == LIFE_STARTING)
        net_futex_wait_one(&starting);
    return RAYMPI_OK;
}

void net_life_stop(struct net_life *life)
{
    atomic_store(&life->stage, LIFE_STOPPING);
    net_futex_wake(&life->stage, 1);
    pthread_join(life->thread, NULL);
}
