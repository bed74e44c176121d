/* Rest: nobody of this rank can move any more unless a message comes. The net puts the ranks' answers together. */
#include "sched/sched_internal.h"

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
    if (--sched->active == 0)
        rest = net_idle_publish(sched->net);
    base_spin_unlock(&sched->rest_lock);
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
}

void sched_thread_detach(struct sched *sched)
{
    sched_active_drop(sched);
}
