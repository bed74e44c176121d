/* No wake-up is lost. What there is to deliver (`arrived` of the links) and the state are written by two: the
 * poller sets ON and then looks at `arrived` before it sleeps; the thread adds to `arrived` (under the wire
 * lock) and then sets OFF. Both change the state by a read-modify-write, which have one order for all,
 * acquire and release:
 *
 *   - the thread's OFF comes first: the poller's ON reads it, so it sees `arrived`, and does not sleep; and
 * it starts the thread again, since it found OFF;
 *   - the poller's ON comes first: the thread's OFF reads it, so it calls net_wake(), whose own protocol ends
 * that sleep, or the next one.
 *
 * What comes while the poller is awake (STALE) the thread leaves to it: the poller pumps the wire under its
 * lock after it has woken up, and before it sleeps again. And no event of the wire is lost: before each wait
 * for the descriptor the thread takes what there is and asks the wire, under its lock, whether it may sleep.
 * If another thread takes an event after that, then either the descriptor stays readable, or it was posted or
 * delivered by that thread, which wakes the poller itself where there is need to. */
#include "net/net_watch.h"

#include "net/net_futex.h"
#include "net/net_read.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Milliseconds. What is stuck is tried again that often: the descriptor may not tell of room. */
#define WATCH_STUCK 2
/* A descriptor that is readable though there is nothing to do, as it is for ever with libfabric's net of 1.17
 * and tcp of 1.18: we wait for it to become readable again, which it tells (that is why it is in an epoll,
 * edge-triggered), but not for long; longer each time that it was in vain. */
#define WATCH_DOUBTFUL      10
#define WATCH_DOUBTFUL_MOST 80
/* In case a provider forgets to signal at all. */
#define WATCH_ANYWAY 1000

static bool serves(const struct net_watch *watch)
{
    const struct net_reads *reads = watch->links->reads;
    return reads && reads_word(&reads->serving) > 0;
}

/* False: to be stopped. */
static bool await_start(struct net_watch *watch)
{
    const struct net_futex off = {.word = &watch->state, .expected = WATCH_OFF};
    while (atomic_load(&watch->state) == WATCH_OFF && !serves(watch) && !atomic_load(&watch->stop))
        net_futex_wait_one(&off);
    return !atomic_load(&watch->stop);
}

/* There is something to deliver: the poller is told, if it sleeps. */
static void ring(struct net_watch *watch)
{
    if (atomic_exchange(&watch->state, WATCH_OFF) == WATCH_ON)
        net_wake(watch->inner);
}

static int patience(struct net_watch *watch)
{
    const struct net_wire *wire = watch->links->wire;
    struct pollfd descriptor = {.fd = wire->operations->descriptor(wire), .events = POLLIN};
    if (net_links_stuck(watch->links))
        return WATCH_STUCK;
    if (poll(&descriptor, 1, 0) == 0)
        return WATCH_ANYWAY;
    int doubtful = watch->doubtful;
    watch->doubtful = doubtful < WATCH_DOUBTFUL_MOST ? 2 * doubtful : doubtful;
    return doubtful;
}

static void wait_for_wire(struct net_watch *watch)
{
    struct epoll_event event;
    uint32_t stale = WATCH_STALE;
    epoll_wait(watch->events, &event, 1, patience(watch));
    /* What has come is the poller's if it is awake. */
    atomic_compare_exchange_strong(&watch->state, &stale, WATCH_OFF);
}

static void *watch_main(void *arg)
{
    struct net_watch *watch = arg;
    while (await_start(watch)) {
        bool quiet = net_links_may_sleep(watch->links);
        bool ready = net_links_ready(watch->links);
        if (ready) {
            watch->doubtful = WATCH_DOUBTFUL;
            ring(watch);
        }
        /* What there is to deliver is the poller's; who reads here is not to wait for it. */
        if (quiet && (serves(watch) || !ready))
            wait_for_wire(watch);
    }
    return NULL;
}

/* Signals are the program's threads' business. */
static int thread_start(struct net_watch *watch)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&watch->thread, NULL, watch_main, watch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static int descriptors_open(struct net_watch *watch, int wire)
{
    struct epoll_event edge = {.events = EPOLLIN | EPOLLET}, level = {.events = EPOLLIN};
    watch->events = epoll_create1(EPOLL_CLOEXEC);
    watch->stopper = eventfd(0, EFD_CLOEXEC);
    if (watch->events < 0 || watch->stopper < 0)
        return base_fail(RAYMPI_ERR_MEMORY, "no descriptors to wait for other hosts (ulimit -n)");
    if (epoll_ctl(watch->events, EPOLL_CTL_ADD, wire, &edge) != 0 ||
        epoll_ctl(watch->events, EPOLL_CTL_ADD, watch->stopper, &level) != 0)
        return base_fail(RAYMPI_ERR_UNSUPPORTED, "libfabric's descriptor can not be waited for: %m");
    return RAYMPI_OK;
}

static void descriptors_close(const struct net_watch *watch)
{
    if (watch->events >= 0)
        close(watch->events);
    if (watch->stopper >= 0)
        close(watch->stopper);
}

int net_watch_open(struct net_watch *watch, struct net_links *links, struct net *inner)
{
    watch->links = links;
    watch->inner = inner;
    watch->doubtful = WATCH_DOUBTFUL;
    int status = descriptors_open(watch, links->wire->operations->descriptor(links->wire));
    if (status == RAYMPI_OK && thread_start(watch) != 0)
        status = base_fail(RAYMPI_ERR_MEMORY, "no thread that waits for other hosts");
    if (status != RAYMPI_OK) {
        descriptors_close(watch);
        return status;
    }
    watch->runs = true;
    return RAYMPI_OK;
}

void net_watch_close(struct net_watch *watch)
{
    const uint64_t one = 1;
    if (!watch->runs)
        return;
    atomic_store(&watch->stop, 1);
    atomic_store(&watch->state, WATCH_STALE);
    net_futex_wake(&watch->state, 1);
    while (write(watch->stopper, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(watch->thread, NULL);
    descriptors_close(watch);
    watch->runs = false;
}

/* A state that the thread does not wait in: should it be about to wait, it finds another one than OFF. */
void net_watch_serve(struct net_watch *watch)
{
    uint32_t off = WATCH_OFF;
    if (watch->runs && atomic_compare_exchange_strong(&watch->state, &off, WATCH_STALE))
        net_futex_wake(&watch->state, 1);
}

void net_watch_begin(struct net_watch *watch)
{
    if (atomic_exchange(&watch->state, WATCH_ON) == WATCH_OFF)
        net_futex_wake(&watch->state, 1);
}

void net_watch_end(struct net_watch *watch)
{
    uint32_t on = WATCH_ON;
    atomic_compare_exchange_strong(&watch->state, &on, WATCH_STALE);
}
