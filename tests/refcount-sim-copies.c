/* Copies of blocks of other hosts (lib/task/task_copy.c): one a host, at the rank that keeps it. */
#include "refcount-sim.h"

enum { RANGES_ASKED = 2 }; /* that have not come, of one copy */

struct copy *sim_copy_find(int rank, int place)
{
    for (int i = 0; i < world.copy_count[rank]; i++)
        if (world.copies[rank][i].at == place)
            return &world.copies[rank][i];
    return NULL;
}

static struct copy *copy_new(int rank, int place)
{
    if (world.copy_count[rank] == MAX_COPIES)
        sim_violation(CHECK_LIMIT, "more than %d copies at rank %d", MAX_COPIES, rank);
    world.copies[rank][world.copy_count[rank]] = (struct copy){.at = place, .state = COPY_KNOWN};
    return &world.copies[rank][world.copy_count[rank]++];
}

static void copy_end(int rank, struct copy *copy)
{
    *copy = world.copies[rank][--world.copy_count[rank]];
}

static bool is_idle(const struct copy *copy)
{
    return copy->state == COPY_HERE && copy->users == 0 && copy->old_users == 0;
}

static void copy_give_up(int rank, struct copy *copy)
{
    int local = copy->local;

    copy_end(rank, copy);
    sim_block_free(rank, local);
}

enum pinned sim_copy_pin(int rank, int place)
{
    struct copy *copy = sim_copy_find(rank, place);

    if (!copy || copy->state == COPY_PLANNED || copy->state == COPY_COMING)
        return PIN_ON_DISK;
    enum pinned pinned = sim_block_pin(rank, copy->local);
    if (pinned != PIN_OK) {
        sim_fault(pinned == PIN_ON_DISK ? FAULT_RACE_ON_DISK : FAULT_RACE_EVICTED);
        if (copy->users == 0 && copy->state == COPY_KNOWN)
            copy_end(rank, copy);
        return PIN_ON_DISK;
    }
    copy->users++;
    return PIN_OK;
}

void sim_copy_unpin(int rank, int place, int local)
{
    struct copy *copy = sim_copy_find(rank, place);

    if (copy && copy->old_users > 0 && local == copy->old_local) {
        copy->old_users--;
        sim_block_unpin(rank, local);
        return;
    }
    if (!copy || copy->users == 0)
        sim_violation(CHECK_BLOCK, "rank %d lets go of a copy of block %d too often", rank, place);
    sim_block_unpin(rank, copy->local);
    if (--copy->users > 0)
        return;
    if (copy->state == COPY_KNOWN)
        copy_end(rank, copy);
    else if (copy->stale)
        copy_give_up(rank, copy);
}

int sim_copy_local(int rank, int place)
{
    const struct copy *copy = sim_copy_find(rank, place);

    return copy ? copy->local : 0;
}

void sim_copy_learn(int rank, int place, int local)
{
    struct copy *copy = sim_copy_find(rank, place);

    if (!copy)
        copy = copy_new(rank, place);
    if (copy->state == COPY_KNOWN && copy->users == 0)
        copy->local = local;
}

/* Those of a dead holder's are refused at once. */
void sim_copy_bring(int rank, int place, int want)
{
    struct copy *copy = sim_copy_find(rank, place);
    const struct block *local = copy && copy->state == COPY_HERE ? sim_block_at(copy->local) : NULL;

    if (copy && copy->state == COPY_HERE && (!local || local->state != BLOCK_MEMORY)) {
        copy_give_up(rank, copy); /* to read it from disk is not faster than from where it was */
        copy = NULL;
    }
    if (copy && copy->state == COPY_HERE) {
        sim_tell_brought(rank, 1u << want, place, copy->local, true);
        return;
    }
    if ((!copy || copy->state == COPY_KNOWN) && sim_knows_dead(rank, sim_place_holder(place))) {
        sim_tell_brought(rank, 1u << want, place, 0, false);
        return;
    }
    if (!copy)
        copy = copy_new(rank, place);
    copy->wants |= (unsigned char)(1u << want);
    if (copy->state != COPY_KNOWN)
        return;
    /* Who reads a copy of a dead keeper's, and keeps them himself now, reads the old one to the end. */
    copy->old_users = copy->users;
    copy->old_local = copy->local;
    copy->users = 0;
    copy->state = COPY_PLANNED;
}

static void copy_ask(int rank, struct copy *copy)
{
    while (copy->asked < copy->ranges && copy->asked - copy->got < RANGES_ASKED)
        sim_send(rank, sim_place_holder(copy->at), LETTER_PULL, copy->at, 0, copy->asked++, true);
}

/* Some copy that waits for memory gets it; false: none waits. */
bool sim_plan_step(void)
{
    int start = (int)sim_below((unsigned)world.ranks);
    bool full = !sim_one_in(world.memory_waits);

    for (int i = 0; i < world.ranks; i++) {
        int rank = (start + i) % world.ranks;

        for (int j = 0; j < world.copy_count[rank]; j++) {
            struct copy *copy = &world.copies[rank][j];

            if (copy->state != COPY_PLANNED)
                continue;
            if (full)
                return true;
            copy->local = sim_block_make(rank, rank, sim_place_object(copy->at), true);
            if (!copy->local)
                continue;
            sim_block_at(copy->local)->sealed = false;
            copy->state = COPY_COMING;
            copy->asked = copy->got = 0;
            copy->ranges = sim_place_ranges(copy->at);
            copy_ask(rank, copy);
            return true;
        }
    }
    return false;
}

static void copy_came(int rank, struct copy *copy, bool ok)
{
    int place = copy->at, local = copy->local;
    unsigned wants = copy->wants;

    if (!sim_knows_dead(rank, sim_place_holder(place)))
        sim_send(rank, sim_place_holder(place), LETTER_READ, place, 0, 0, true);
    sim_block_at(copy->local)->sealed = true;
    copy->state = COPY_HERE;
    copy->wants = 0;
    copy->stale = copy->stale || !ok;
    if (copy->stale && is_idle(copy))
        copy_give_up(rank, copy);
    sim_tell_brought(rank, wants, place, local, ok);
}

void sim_deliver_chunk(int rank, const struct letter *letter)
{
    struct copy *copy = sim_copy_find(rank, letter->place);

    if (!copy || copy->state != COPY_COMING || letter->value != copy->got)
        return;
    if (!letter->ok) {
        copy_came(rank, copy, false);
        return;
    }
    copy->got++;
    copy_ask(rank, copy);
    if (copy->got == copy->ranges)
        copy_came(rank, copy, true);
}

void sim_deliver_stale(int rank, int place)
{
    struct copy *copy = sim_copy_find(rank, place);

    if (!copy) {
        sim_fault(FAULT_RACE_STALE_GONE);
        return;
    }
    if (is_idle(copy)) {
        copy_give_up(rank, copy);
        return;
    }
    sim_fault(copy->state == COPY_PLANNED  ? FAULT_RACE_STALE_PLANNED
              : copy->state == COPY_COMING ? FAULT_RACE_STALE_COMING
                                           : FAULT_RACE_STALE_USED);
    copy->stale = !sim_broken(RULE_STALE_COMING);
}

static void cover_evict(const struct copy *copy)
{
    if (sim_block_pinned(sim_block_at(copy->local)))
        sim_fault(FAULT_EVICT_SHARED);
    else
        sim_fault(FAULT_EVICT_IDLE);
    for (int i = 0; i < MAX_READS && world.reads_used; i++)
        if ((world.reads[i].state == READ_AWAIT || world.reads[i].state == READ_TRY) &&
            world.reads[i].place == copy->at) {
            sim_fault(FAULT_EVICT_TOLD);
            return;
        }
}

/* Memory is wanted: a rank gives up a copy that it does not read itself. */
void sim_evict(void)
{
    int rank = (int)sim_below((unsigned)world.ranks);
    struct copy *copy;

    if (world.copy_count[rank] == 0)
        return;
    copy = &world.copies[rank][sim_below((unsigned)world.copy_count[rank])];
    if (copy->state != COPY_HERE || (copy->users > 0 && !sim_broken(RULE_EVICT_USED)))
        return;
    sim_trace("rank %d gives up its copy of block %d", rank, copy->at);
    cover_evict(copy);
    copy_give_up(rank, copy);
}

/* What comes from a dead holder does not come, and nobody tells when it is stale. */
void sim_copies_lost(int rank, int dead)
{
    for (int i = world.copy_count[rank] - 1; i >= 0; i--) {
        struct copy *copy = &world.copies[rank][i];

        if (i >= world.copy_count[rank] || sim_place_holder(copy->at) != dead)
            continue;
        if (copy->state == COPY_COMING && !sim_broken(RULE_DEAD_SOURCE)) {
            copy_came(rank, copy, false);
        } else if (copy->state == COPY_PLANNED) {
            struct copy planned = *copy;

            copy_end(rank, copy);
            sim_tell_brought(rank, planned.wants, planned.at, 0, false);
        } else if (copy->state == COPY_HERE && !sim_broken(RULE_DEAD_COPIES)) {
            copy->stale = true;
            if (is_idle(copy))
                copy_give_up(rank, copy);
        }
    }
}
