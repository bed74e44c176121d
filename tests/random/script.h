/* What the files of the runner share: a script that runs, and its operations. */
#ifndef RANDOM_SCRIPT_H
#define RANDOM_SCRIPT_H

#include "run.h"

#include <string.h>

#define ARGS_FIRST 3 /* before a call's own arguments: seed, script and caller's rank, bytes */

struct run {
    struct job *job;
    struct plan *plan;
    struct script *script;
    int number;
    raympi_ctx *ctx; /* NULL: a driver */
    uint64_t digest; /* of all that it has seen */
    int scopes, code;
    bool set[PLAN_RETURNS]; /* its results */
};

RAYMPI_TASK_DECLARE(random_task);
RAYMPI_TASK_DECLARE(random_mail);
RAYMPI_ACTOR_DECLARE(random_actor);

static inline struct live *live_of(struct run *run, int slot)
{
    return &run->job->live[slot];
}
static inline raympi_ref ref_of(struct run *run, int slot)
{
    return (raympi_ref){live_of(run, slot)->handle};
}
static inline raympi_actor actor_of(struct run *run, int slot)
{
    return (raympi_actor){live_of(run, slot)->handle};
}
static inline bool is_actor(const struct run *run, int slot)
{
    return plan_expect(run->plan, slot)->kind == EXPECT_ACTOR;
}
/** The script has got a hold: it is the slot's. */
static inline void run_hold(struct run *run, int slot, uint64_t handle)
{
    *live_of(run, slot) = (struct live){.handle = handle, .held = true, .depth = (uint8_t)run->scopes};
}

/* run.c */
struct run run_of(struct job *job, int script, raympi_ctx *ctx);
void run_script(struct run *run);

/* run_look.c */
/** Complains unless the status is OK. */
void run_check(struct run *run, int op, int status, const char *what);
/** The bytes of a slot's object are compared; gives the number that they carry. */
uint64_t run_see(struct run *run, int op, int slot, const void *data, size_t len);
/** True when there is a value; complains about another outcome than expected. `sure`: the actor can not have
 * been killed yet. */
bool run_judge(struct run *run, int op, int slot, int status, bool sure);
/** Both, and the script has seen it. */
void run_outcome(struct run *run, int op, int slot, int status, const raympi_view *view);
void run_view_end(struct run *run, int op, raympi_view *view);
/** An error has to be looked at before the last ref to it goes. */
void run_look_before(struct run *run, int op, int slot);
void run_get(struct run *run, int op, int slot);
void run_get_copy(struct run *run, int op);
void run_poll(struct run *run, int op);
void run_get_many(struct run *run, int op);
void run_wait(struct run *run, int op);
void run_waitset(struct run *run, int op);
void run_status(struct run *run, int op);

/* run_make.c */
void run_put(struct run *run, int op);
void run_create(struct run *run, int op);
void run_seal(struct run *run, int op);
void run_nested(struct run *run, int op);
void run_return(struct run *run, int op);
void run_fail(struct run *run, int op);

/* run_call.c */
void run_call(struct run *run, int op);
void run_actor_new(struct run *run, int op);
void run_ready(struct run *run, int op);
void run_send(struct run *run, int op);

/* run_burst.c */
void run_burst(struct run *run, int op);

#endif
