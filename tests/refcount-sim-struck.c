/* In which states of the protocol a death strikes. */
#include "refcount-sim.h"

static void count_tasks(int rank)
{
    for (int i = 0; i < MAX_TASKS; i++) {
        const struct task *task = &world.tasks[i];

        if (task->state != TASK_SENT && task->state != TASK_RUNNING)
            continue;
        bool sent = task->state == TASK_SENT;
        if (task->submitter == rank)
            sim_fault(sent ? FAULT_DEATH_SUBMITTER_SENT : FAULT_DEATH_SUBMITTER);
        if (task->executor == rank)
            sim_fault(sent ? FAULT_DEATH_EXECUTOR_SENT : FAULT_DEATH_EXECUTOR);
        if (sent && task->hop > 0 && task->executor != rank && task->submitter != rank)
            sim_fault(FAULT_DEATH_GIVER);
    }
}

static void count_holds_of(int rank, int object)
{
    const struct refcount *record = sim_record_find(rank, object);

    if (record && world.objects[object].owner == rank && record->holder_count > 0)
        sim_fault(world.objects[object].nested_count > 0 ? FAULT_DEATH_CONTAINER : FAULT_DEATH_OWNER);
    else if (record && world.objects[object].owner != rank)
        sim_fault(FAULT_DEATH_HOLDER);
    for (int other = 0; other < world.ranks; other++) {
        if (world.covers[rank][object][other] > 0)
            sim_fault(FAULT_DEATH_FORWARDER);
        if (world.covers[other][object][rank] > 0)
            sim_fault(FAULT_DEATH_ACCEPTER);
        if (world.guards[rank][object][other] > 0)
            sim_fault(FAULT_DEATH_GUARD);
        if (world.guards[other][object][rank] > 0)
            sim_fault(FAULT_DEATH_GUARDED);
    }
}

/* Deaths before this one that are not forgotten yet. */
static void count_epochs(int rank)
{
    const struct refcount_members *members = &world.members[rank];

    if (world.epoch_count == 0)
        return;
    if (members->epoch < (uint32_t)world.epoch_count)
        sim_fault(FAULT_DEATH_UNKNOWN);
    else if (world.member[rank][rank].settled < members->epoch)
        sim_fault(FAULT_DEATH_ACKNOWLEDGED);
    else if (members->forgotten < members->epoch)
        sim_fault(FAULT_DEATH_SETTLED);
}

static bool is_shared(int rank, int place)
{
    const struct block *block = sim_block_at(place);

    for (int other = 0; other < world.ranks && block; other++)
        if (other != rank && block->pins[other])
            return true;
    return false;
}

static void count_copies(int rank)
{
    for (int i = 0; i < world.copy_count[rank]; i++) {
        const struct copy *copy = &world.copies[rank][i];

        if (copy->state == COPY_PLANNED)
            sim_fault(FAULT_DEATH_KEEPER_PLANNED);
        else if (copy->state == COPY_COMING)
            sim_fault(FAULT_DEATH_KEEPER_COMING);
        else if (copy->state == COPY_HERE)
            sim_fault(is_shared(rank, copy->local) ? FAULT_DEATH_KEEPER_SHARED : FAULT_DEATH_KEEPER_HERE);
    }
}

static void count_blocks(int rank)
{
    for (int i = 0; i < world.blocks_used; i++) {
        const struct block *block = &world.blocks[i];

        if (block->state == BLOCK_GONE || block->holder != rank)
            continue;
        if (sim_is_leased(block->place))
            sim_fault(FAULT_DEATH_LENDER);
        if (block->state == BLOCK_DISK)
            sim_fault(FAULT_DEATH_SPILLED);
    }
}

void sim_death_count(int rank)
{
    count_tasks(rank);
    for (int object = 0; object < world.object_count; object++)
        count_holds_of(rank, object);
    for (int i = 0; i < world.zero_count; i++)
        if (world.zeros[i].rank == rank)
            sim_fault(FAULT_DEATH_ZERO);
    count_epochs(rank);
    count_copies(rank);
    count_blocks(rank);
}
