/* What each rank of a process has: boxes, and the programs it takes part in. Under mpirun that is one, on the
 * sim all.
 */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what each rank has */

#define NO_SEED UINT64_MAX

/* Jobs: this seed's and, while ranks still meet, the next one's. */
static struct here {
    struct {
        _Atomic uint64_t
            seed; /* who looks for another one has no business with the job, which may be going */
        _Atomic(struct job *) job;
    } jobs[2];
    unsigned prepared;
    _Atomic int box_objects;
} ranks[RANDOM_RANKS_MOST];
bool ranks_share_process;
uint64_t now_at;

static struct here *here(void)
{
    return &ranks[ranks_share_process ? raympi_rank() : 0];
}

_Atomic int *box_objects(void)
{
    return &here()->box_objects;
}

/* ---- boxes */

void box_init(struct box *box)
{
    memset(box, 0, sizeof *box);
    pthread_mutex_init(&box->lock, NULL);
}

void box_put(struct box *box, uint64_t content)
{
    pthread_mutex_lock(&box->lock);
    raympi_ref waiting = {box->waiting};
    box->content = content;
    box->full = true;
    box->waiting = 0;
    pthread_mutex_unlock(&box->lock);
    if (waiting.handle && raympi_seal(waiting) != RAYMPI_OK) {
        fprintf(stderr, "random-program: rank %d: seal: %s\n", raympi_rank(), raympi_detail());
        abort();
    }
}

static void box_wait(struct box *box)
{
    raympi_ref ref;
    raympi_view view;
    atomic_fetch_add(box_objects(), 1);
    raympi_create(8, &ref);
    pthread_mutex_lock(&box->lock);
    bool full = box->full;
    box->waiting = full ? 0 : ref.handle;
    pthread_mutex_unlock(&box->lock);
    if (full)
        raympi_seal(ref);
    int status = raympi_get(ref, &view);
    if (status != RAYMPI_OK) {
        fprintf(stderr, "random-program: seed %llu, rank %d waits in vain: %s (%s)\n",
                (unsigned long long)now_at, raympi_rank(), raympi_strerror(status), raympi_detail());
        _exit(1);
    }
    raympi_view_end(&view);
    raympi_release(ref);
    atomic_fetch_sub(box_objects(), 1);
}

uint64_t box_take(struct box *box)
{
    pthread_mutex_lock(&box->lock);
    while (!box->full) {
        pthread_mutex_unlock(&box->lock);
        box_wait(box);
        pthread_mutex_lock(&box->lock);
    }
    uint64_t content = box->content;
    box->full = false;
    pthread_mutex_unlock(&box->lock);
    return content;
}

/* ---- jobs */

struct job *job_of(uint64_t seed)
{
    struct here *rank = here();
    for (int i = 0; i < 2; i++)
        if (atomic_load(&rank->jobs[i].seed) == seed)
            return atomic_load(&rank->jobs[i].job);
    return NULL;
}

static void job_free(struct job *job)
{
    if (!job)
        return;
    free(job->live);
    free(job->boxes);
    plan_free(job->plan);
    free(job);
}

struct job *job_prepare(struct plan *plan)
{
    struct job *job = calloc(1, sizeof *job);
    job->plan = plan;
    job->live = calloc((size_t)plan->slot_count + 1, sizeof *job->live);
    job->boxes = calloc((size_t)plan->op_count + 1, sizeof *job->boxes);
    for (int i = 0; i < plan->op_count; i++)
        if (plan->ops[i].kind == OP_RECEIVE)
            box_init(&job->boxes[i]);
    struct here *rank = here();
    unsigned place = rank->prepared++ % 2;
    atomic_store(&rank->jobs[place].seed, NO_SEED);
    job_free(atomic_exchange(&rank->jobs[place].job, job));
    atomic_store(&rank->jobs[place].seed, plan->seed);
    return job;
}

void jobs_free(void)
{
    for (int rank = 0; rank < RANDOM_RANKS_MOST; rank++)
        for (int i = 0; i < 2; i++) {
            atomic_store(&ranks[rank].jobs[i].seed, NO_SEED);
            job_free(atomic_exchange(&ranks[rank].jobs[i].job, NULL));
        }
}

uint64_t plan_actors_made(const struct plan *plan)
{
    uint64_t made = 0;
    for (int i = 0; i < plan->actor_count; i++)
        made += plan->ops[plan->actors[i].creator].live && !plan->actors[i].fails &&
                plan->actors[i].klass != ACTOR_VICTIM;
    return made;
}
