/* A thread that waits for the wire while the poller sleeps at its doorbell. While the poller is awake it
 * costs nothing: it waits for a word to change, or is woken once by what the poller has not taken, and then
 * waits for the word. */
#ifndef RAYMPI_NET_WATCH_H
#define RAYMPI_NET_WATCH_H

#include "net/net_link.h"

#include <pthread.h>

enum watch_state {
    WATCH_OFF,   /* the thread waits for another state */
    WATCH_ON,    /* the poller sleeps, or is about to */
    WATCH_STALE, /* the poller is awake again, and the thread has not noticed */
};

struct net_watch {
    struct net_links *links;
    struct net *inner; /* whose poller it wakes */
    _Atomic uint32_t state;
    _Atomic int stop;
    int events;   /* an epoll of the wire's descriptor and of the next one */
    int stopper;  /* an eventfd */
    int doubtful; /* ms: how long to wait next for a descriptor that is readable in vain */
    pthread_t thread;
    bool runs;
};

/** For a wire that has a descriptor. MEMORY. */
int net_watch_open(struct net_watch *watch, struct net_links *links, struct net *inner);
void net_watch_close(struct net_watch *watch);

/** From here on net_wake(inner) is called once there is something to deliver; before the sleeper's last look.
 */
void net_watch_begin(struct net_watch *watch);
/** Others begin to read here: the wire is looked after whatever the poller does, until none does any more.
 * Any thread. */
void net_watch_serve(struct net_watch *watch);
/** The poller is awake. */
void net_watch_end(struct net_watch *watch);

#endif
