/* Rest: nobody of this rank can move any more unless a message comes. The net puts the ranks' answers
 * together. */
#include "sched/sched_internal.h"

#include <sys/stat.h>

/* Threads of this process now: a folder has two links and one more for each folder in it. */
static int threads_now(void)
{
    struct stat folder;
    return stat("/proc/self/task", &folder) == 0 ? (int)folder.st_nlink - 2 : 0;
}

void sched_threads_known(struct sched *sched)
{
    sched->threads_known = threads_now();
}

/* A thread of the user's that has not called raympi yet may do so at any moment, and end what main waits for.
 * Once main is in finalize such threads do not matter any more. */
static bool stranger_around(struct sched *sched)
{
    const struct net_board *board = sched->board;
    if (sched->config.cooperative || atomic_load(&((struct net_board *)board)->finalizing))
        return false;
    return threads_now() >
           sched->threads_known + atomic_load_explicit(&sched->spare_running, memory_order_relaxed);
}

void sched_active_add(struct sched *sched)
{
    base_spin_lock(&sched->rest_lock);
    if (sched->active++ == 0)
        net_idle_withdraw(sched->net);
    base_spin_unlock(&sched->rest_lock);
}

void sched_active_drop(struct sched *sched)
{
    enum net_rest rest = NET_REST_NO;
    base_spin_lock(&sched->rest_lock);
    bool stranger = --sched->active == 0 && stranger_around(sched);
    if (sched->active == 0 && !stranger)
        rest = net_idle_publish(sched->net);
    base_spin_unlock(&sched->rest_lock);
    atomic_store_explicit(&sched->stranger, stranger, memory_order_relaxed);
    if (stranger)
        progress_kick(sched);
    if (rest == NET_REST_NO)
        return;
    /* We move again, by saying so; what was found out once must not be found out twice. */
    sched_active_add(sched);
    if (sched->config.hooks.rest)
        sched->config.hooks.rest(sched->config.hooks.arg, rest);
    sched_active_drop(sched);
}

void sched_thread_attach(struct sched *sched)
{
    sched_active_add(sched);
    base_spin_lock(&sched->rest_lock);
    sched->threads_known++;
    base_spin_unlock(&sched->rest_lock);
}

void sched_thread_detach(struct sched *sched)
{
    base_spin_lock(&sched->rest_lock);
    sched->threads_known--;
    base_spin_unlock(&sched->rest_lock);
    sched_active_drop(sched);
}
