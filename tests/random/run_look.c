/* Operations that look at objects or wait for them. */
#include "script.h"

#include "value.h"

#include <stdio.h>
#include <stdlib.h>

void run_check(struct run *run, int op, int status, const char *what)
{
    if (status != RAYMPI_OK)
        complain(run->job, op, "%s gave %s (%s)", what, raympi_strerror(status), raympi_detail());
}

uint64_t run_see(struct run *run, int op, int slot, const void *data, size_t len)
{
    const struct expect *expect = plan_expect(run->plan, slot);
    uint64_t number = 0;
    if (!value_check(data, len, expect->members, &number))
        complain(run->job, op, "slot %d: %zu bytes that are no value", slot, len);
    if (expect->kind != EXPECT_VALUE || len != expect->length || number != expect->number)
        complain(run->job, op, "slot %d: number %016llx of %zu bytes, expected %016llx of %u", slot,
                 (unsigned long long)number, len, (unsigned long long)expect->number, expect->length);
    return number;
}

bool run_judge(struct run *run, int op, int slot, int status, bool sure)
{
    const struct expect *expect = plan_expect(run->plan, slot);
    char name[32];
    live_of(run, slot)->looked = true;
    if (expect->maybe && !sure && status == RAYMPI_ERR_ACTOR_DEAD)
        return false;
    int expected = expect->kind == EXPECT_ERROR ? expect->code : RAYMPI_OK;
    snprintf(name, sizeof name, "script %d failed", expect->culprit);
    if (status != expected)
        complain(run->job, op, "slot %d: %s (%s), expected %s", slot, raympi_strerror(status),
                 status ? raympi_detail() : "", raympi_strerror(expected));
    else if (status && expect->culprit != PLAN_NONE && !strstr(raympi_detail(), name))
        complain(run->job, op, "slot %d: \"%s\" does not say that %s", slot, raympi_detail(), name);
    return status == RAYMPI_OK;
}

static void digest(struct run *run, int slot, uint64_t number)
{
    if (!plan_expect(run->plan, slot)->maybe)
        run->digest = plan_join(run->digest, number);
}

void run_outcome(struct run *run, int op, int slot, int status, const raympi_view *view)
{
    bool sure = !run->plan->ops[op].dead;
    if (run_judge(run, op, slot, status, sure))
        digest(run, slot, run_see(run, op, slot, view->data, view->len));
    else
        digest(run, slot, (uint64_t)(int64_t)status);
}

void run_view_end(struct run *run, int op, raympi_view *view)
{
    run_check(run, op, raympi_view_end(view), "raympi_view_end");
}

void run_get(struct run *run, int op, int slot)
{
    raympi_view view;
    int status = raympi_get(ref_of(run, slot), &view);
    run_outcome(run, op, slot, status, &view);
    if (status == RAYMPI_OK)
        run_view_end(run, op, &view);
}

void run_look_before(struct run *run, int op, int slot)
{
    const struct expect *expect = plan_expect(run->plan, slot);
    struct live *live = live_of(run, slot);
    raympi_view view;
    if (live->looked)
        return;
    live->looked = true;
    if (expect->kind == EXPECT_ACTOR) {
        if (!run->plan->actors[expect->actor].fails)
            return;
        int status = raympi_actor_ready(actor_of(run, slot), -1);
        if (status != RAYMPI_ERR_ACTOR_DEAD)
            complain(run->job, op, "slot %d: an actor that can not be made is %s", slot,
                     raympi_strerror(status));
    } else if (expect->kind == EXPECT_ERROR || expect->maybe) {
        int status = raympi_get(ref_of(run, slot), &view);
        if (run_judge(run, op, slot, status, false)) {
            run_see(run, op, slot, view.data, view.len);
            run_view_end(run, op, &view);
        }
    }
}

void run_poll(struct run *run, int op)
{
    static const double timeouts[] = {0, 0.0001, 0.001};
    const struct op *o = &run->plan->ops[op];
    raympi_view view;
    int status = RAYMPI_ERR_TIMEOUT;
    for (int i = 0; i < 8 && status == RAYMPI_ERR_TIMEOUT; i++)
        status = raympi_get_timeout(ref_of(run, o->slot[0]), &view, timeouts[o->how]);
    if (status == RAYMPI_ERR_TIMEOUT)
        status = raympi_get(ref_of(run, o->slot[0]), &view);
    run_outcome(run, op, o->slot[0], status, &view);
    if (status == RAYMPI_OK)
        run_view_end(run, op, &view);
}

void run_get_copy(struct run *run, int op)
{
    int slot = run->plan->ops[op].slot[0];
    const struct expect *expect = plan_expect(run->plan, slot);
    raympi_view view = {0};
    size_t len = expect->length + (run->plan->ops[op].how == 2); /* one byte too many is an error */
    char *data = malloc(len + 1);
    int status = raympi_get_copy(ref_of(run, slot), data, len);
    view.data = data;
    view.len = len;
    if (expect->kind == EXPECT_VALUE && status == RAYMPI_ERR_TYPE && run->plan->ops[op].how == 2)
        run_get(run, op, slot);
    else
        run_outcome(run, op, slot, status, &view);
    free(data);
}

void run_get_many(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    raympi_ref refs[PLAN_OPERANDS] = {{0}};
    raympi_view views[PLAN_OPERANDS];
    int bad = PLAN_NONE;
    for (int i = o->count - 1; i >= 0; i--) {
        refs[i] = ref_of(run, o->slot[i]);
        if (plan_expect(run->plan, o->slot[i])->kind == EXPECT_ERROR)
            bad = o->slot[i];
    }
    int status = raympi_get_many(refs, o->count, views, -1);
    if (bad != PLAN_NONE || status != RAYMPI_OK) {
        run_outcome(run, op, bad != PLAN_NONE ? bad : o->slot[0], status, &views[0]);
        return;
    }
    for (int i = 0; i < o->count; i++)
        run_outcome(run, op, o->slot[i], status, &views[i]);
    for (int i = 0; i < o->count; i++)
        run_view_end(run, op, &views[i]);
}

void run_wait(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    raympi_ref refs[PLAN_OPERANDS] = {{0}};
    bool ready[PLAN_OPERANDS];
    int found, flags = 0;
    for (int i = 0; i < o->count; i++)
        refs[i] = ref_of(run, o->slot[i]);
    if (o->how == 2) {
        do
            found = raympi_wait(refs, o->count, (size_t)o->where, 0.0003, ready);
        while (found >= 0 && found < o->where);
    } else {
        found = raympi_wait(refs, o->count, (size_t)o->where, o->how ? -1 : 0, ready);
    }
    if (found < 0) {
        run_check(run, op, found, "raympi_wait");
        return;
    }
    for (int i = 0; i < o->count; i++) {
        flags += ready[i];
        if (ready[i] && raympi_ref_status(refs[i]) == RAYMPI_ERR_TIMEOUT)
            complain(run->job, op, "slot %d was ready and is not any more", o->slot[i]);
    }
    if (found != flags || (o->how && found < o->where) || found > o->count)
        complain(run->job, op, "waited for %d of %d: %d, with %d flags", o->where, o->count, found, flags);
}

void run_status(struct run *run, int op)
{
    int slot = run->plan->ops[op].slot[0];
    int status = raympi_ref_status(ref_of(run, slot));
    if (status != RAYMPI_ERR_TIMEOUT)
        run_judge(run, op, slot, status, false);
}

void run_waitset(struct run *run, int op)
{
    const struct op *o = &run->plan->ops[op];
    raympi_waitset *set;
    bool seen[PLAN_OPERANDS] = {false};
    int status = raympi_waitset_create(&set);
    run_check(run, op, status, "raympi_waitset_create");
    for (int i = 0; i < o->count; i++)
        run_check(run, op, raympi_waitset_add(set, ref_of(run, o->slot[i]), (uint64_t)i),
                  "raympi_waitset_add");
    for (int i = 0; i < o->where; i++) {
        raympi_ref ref;
        uint64_t tag = 0;
        do
            status = raympi_waitset_wait(set, o->how ? -1 : 0.0002, &ref, &tag);
        while (status == RAYMPI_ERR_TIMEOUT && !o->how);
        run_check(run, op, status, "raympi_waitset_wait");
        if (status != RAYMPI_OK)
            break;
        if (tag >= o->count || seen[tag] || ref.handle != ref_of(run, o->slot[tag]).handle)
            complain(run->job, op, "the wait set gave tag %llu", (unsigned long long)tag);
        else
            seen[tag] = true;
        run_check(run, op, raympi_release(ref), "release of a ref of a wait set");
    }
    if (raympi_waitset_size(set) != (size_t)(o->count - o->where))
        complain(run->job, op, "%zu are left in the wait set", raympi_waitset_size(set));
    run_check(run, op, raympi_waitset_destroy(set), "raympi_waitset_destroy");
}
