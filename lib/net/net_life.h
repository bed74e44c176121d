/* Life words: how the ranks of a host learn that one of them died, in 0.1 ms, however large it was.
 *
 * A thread that does nothing else owns two words in the host segment as robust futexes. When the process
 * ends, the kernel marks them OWNER_DIED and wakes one waiter of each, before it tears down the memory
 * (pidfds and sockets tell only after that). There are two words because the one waiter could be dying too.
 * The list is registered with the kernel directly, on a thread of its own, so it does not meet glibc's list
 * of robust mutexes. */
#ifndef RAYMPI_NET_LIFE_H
#define RAYMPI_NET_LIFE_H

#include "base/base.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/types.h>

#define NET_LIFE_WORDS 2

/** In the host segment, one per rank. The links are addresses in the owner's process, followed by its kernel
 * only. */
struct net_life_word {
    struct robust_list link;
    _Atomic uint32_t word;
};
struct net_life_words {
    _Alignas(BASE_CACHE_LINE) struct net_life_word slots[NET_LIFE_WORDS];
};

/** The owner's side. */
struct net_life {
    struct net_life_words *words;
    struct robust_list_head head;
    pthread_t thread;
    pid_t process;          /* who started it: a forked child has no such thread */
    _Atomic uint32_t stage; /* 0 starting, 1 alive, 2 stop */
};

enum net_life_state { NET_LIFE_UNBORN = 0, NET_LIFE_ALIVE, NET_LIFE_LEFT, NET_LIFE_DIED };

/** MEMORY when there is no thread to be had. */
int net_life_start(struct net_life *life, struct net_life_words *words);
/** Says that the end of this process is no death, wakes the watchers and ends the thread. */
void net_life_stop(struct net_life *life);
/** Says only that the end of this process is no death. Async-signal-safe; any thread. */
void net_life_leave(struct net_life *life);
/** What a value of a life word means. */
enum net_life_state net_life_state(uint32_t word);

#endif
