/* The threads that read and write: one each, so that a restore waits for no write. They are made when they
 * are needed first; a job that never spills has none. */
#include "store/store_spill.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define READ_BYTES (UINT64_C(16) << 20) /* that the system is asked for at once */

int spill_queue_open(struct spill_queue *queue)
{
    *queue = (struct spill_queue){.end = &queue->first};
    if (pthread_mutex_init(&queue->lock, NULL) != 0)
        return base_fail(RAYMPI_ERR_MEMORY, "no lock for the queue of spilled blocks");
    if (pthread_cond_init(&queue->filled, NULL) == 0)
        return RAYMPI_OK;
    pthread_mutex_destroy(&queue->lock);
    return base_fail(RAYMPI_ERR_MEMORY, "no condition for the queue of spilled blocks");
}

void spill_queue_close(struct spill_queue *queue)
{
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->lock);
}

/* ---- the threads' side */

static struct spill_copy *queue_pop(struct spill_queue *queue)
{
    struct spill_copy *copy = queue->first;
    queue->first = copy->next;
    if (!queue->first)
        queue->end = &queue->first;
    return copy;
}

/* Sleeps until there is something; false when the thread is to end. Lock held. */
static bool queue_wait(struct spill_queue *queue)
{
    while (!queue->first && !queue->stopping)
        pthread_cond_wait(&queue->filled, &queue->lock);
    return !queue->stopping;
}

/* The next request, and those behind it of its kind, as long as it is not many bytes. Lock held. */
static int batch_pop(struct spill_queue *queue, struct spill_copy **batch, uint64_t most)
{
    int count = 0;
    uint64_t bytes = 0;
    do {
        batch[count] = queue_pop(queue);
        bytes += batch[count++]->length;
    } while (count < SPILL_BATCH && batch[0]->phase != SPILL_FORGOTTEN && queue->first &&
             queue->first->phase == batch[0]->phase && bytes + queue->first->length <= most);
    return count;
}

static void batch_serve(struct store *store, struct spill_copy **batch, int count)
{
    struct spill_files *files = &store->spill->files;
    if (batch[0]->phase == SPILL_FORGOTTEN) {
        spill_file_forget(files, batch[0]);
        return;
    }
    int error = spill_files_write(files, batch, count);
    spill_written(store, batch, count, error);
}

/* As long as nothing is asked for. Lock held. */
static void holes_return(struct store *store, struct spill_queue *queue)
{
    bool more = true;
    while (more && !queue->first && !queue->stopping) {
        pthread_mutex_unlock(&queue->lock);
        more = spill_hole_return(&store->spill->files);
        pthread_mutex_lock(&queue->lock);
    }
}

static void *writer_main(void *arg)
{
    struct store *store = arg;
    struct spill_queue *queue = &store->spill->writes;
    struct spill_copy *batch[SPILL_BATCH];
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        holes_return(store, queue);
        if (!queue_wait(queue))
            break;
        int count = batch_pop(queue, batch, store->spill->files.batch_bytes);
        pthread_mutex_unlock(&queue->lock);
        batch_serve(store, batch, count);
        pthread_mutex_lock(&queue->lock);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

/* The disk looks for the others while one is copied. */
static void batch_read(struct store *store, struct spill_copy **batch, int count)
{
    for (int i = 1; i < count; i++)
        spill_file_want(batch[i]);
    for (int i = 0; i < count; i++)
        spill_read(store, batch[i], spill_file_read(&store->spill->files, batch[i]));
}

static void *reader_main(void *arg)
{
    struct store *store = arg;
    struct spill_queue *queue = &store->spill->reads;
    struct spill_copy *batch[SPILL_BATCH];
    pthread_mutex_lock(&queue->lock);
    while (queue_wait(queue)) {
        int count = batch_pop(queue, batch, READ_BYTES);
        pthread_mutex_unlock(&queue->lock);
        batch_read(store, batch, count);
        pthread_mutex_lock(&queue->lock);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

/* ---- the askers' side */

/* Signals are the program's threads' business; a write past a limit of file size is an error, not SIGXFSZ. */
static int thread_start(struct store *store, struct spill_queue *queue)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&queue->thread, NULL,
                               queue == &store->spill->writes ? writer_main : reader_main, store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    queue->started = error == 0;
    if (error == 0)
        return RAYMPI_OK;
    return base_fail(RAYMPI_ERR_STORE_FULL,
                     "no thread to move objects between store and disk: %s (limits: ulimit -u, the job's "
                     "memory)",
                     strerror(error));
}

int spill_queue_put(struct store *store, struct spill_queue *queue, struct spill_copy *copy)
{
    int status = queue->started ? RAYMPI_OK : thread_start(store, queue);
    if (status != RAYMPI_OK)
        return status;
    copy->next = NULL;
    pthread_mutex_lock(&queue->lock);
    *queue->end = copy;
    queue->end = &copy->next;
    pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
    return RAYMPI_OK;
}

void spill_queue_stop(struct spill_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->stopping = true;
    pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
    if (queue->started)
        pthread_join(queue->thread, NULL);
    queue->started = false;
}
