/* Who may call: workers, and threads of the user's, which are attached by their first call. */
#include "api/api.h"

#include <pthread.h>
#include <sched.h>

static struct api_node *_Atomic attach_node;
/* Threads of the user's that are just being attached or detached. Both orders are sequentially consistent:
 * either such a thread sees that attach_node is NULL, or api_attach_close() sees the thread. */
static _Atomic int attach_crossing;
static pthread_key_t attach_key;
static bool attach_prepared; /* raympi_init()'s */

/* A user's thread ends: what it held is let go, and it no longer counts as one that may still call. */
static void thread_gone(void *arg)
{
    struct task_thread *thread = arg;
    atomic_fetch_add(&attach_crossing, 1);
    if (atomic_load(&attach_node) && task_self == thread) {
        struct sched *sched = thread->room->sched;
        task_thread_close(thread);
        sched_thread_detach(sched); /* may be what ends the job: main is on its way out then */
    }
    atomic_fetch_sub(&attach_crossing, 1);
}

/* In a forked child nothing of raympi works: it is one thread of a process that shares the job's memory. */
static void forked(void)
{
    atomic_store(&attach_node, NULL);
    task_self = NULL;
    sched_worker_assume(NULL);
}

static bool attach_prepare(void)
{
    if (pthread_key_create(&attach_key, thread_gone) != 0)
        return false;
    if (pthread_atfork(NULL, NULL, forked) == 0)
        return true;
    pthread_key_delete(attach_key);
    return false;
}

int api_attach_set(struct api_node *node)
{
    if (!attach_prepared && !(attach_prepared = attach_prepare()))
        return base_fail(RAYMPI_ERR_MEMORY,
                         "no key for data of threads is left in this process, or no memory for one");
    atomic_store(&attach_node, node);
    return RAYMPI_OK;
}

void api_attach_close(void)
{
    atomic_store(&attach_node, NULL);
    while (atomic_load(&attach_crossing) != 0) /* short: neither side of it waits */
        sched_yield();
}

struct api_node *api_attach_get(void)
{
    return atomic_load(&attach_node);
}

int api_not_running(void)
{
    return base_fail(RAYMPI_ERR_STATE, "raympi is not running here: call raympi_init() first, nothing after "
                                       "raympi_finalize(), and nothing in a forked child");
}

static int attach_to(struct api_node *node, struct task_thread **thread)
{
    if (!node)
        return api_not_running();
    *thread = task_thread_open(node->tasks, NULL, "thread");
    if (!*thread)
        return RAYMPI_ERR_MEMORY;
    if (pthread_setspecific(attach_key, *thread) != 0) { /* its end would not be noticed */
        task_thread_close(*thread);
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for a thread that calls raympi");
    }
    sched_thread_attach(node->sched);
    return RAYMPI_OK;
}

static int attach(struct task_thread **thread)
{
    atomic_fetch_add(&attach_crossing, 1);
    int status = attach_to(atomic_load(&attach_node), thread);
    atomic_fetch_sub(&attach_crossing, 1);
    return status;
}

int api_enter_first(struct task_thread **out)
{
    struct task_thread *thread = task_self;
    if (!thread) {
        int status = attach(&thread);
        if (status != RAYMPI_OK)
            return status;
    }
    if (thread->in_call)
        return base_fail(RAYMPI_ERR_REENTRY,
                         "called from a signal handler that interrupted a raympi call: set a flag "
                         "there, and call from the main flow");
    thread->in_call = 1;
    *out = thread;
    return RAYMPI_OK;
}
