/* What must be so when nothing moves, and when all refs are gone. */
#include "refcount-sim.h"

/* Nothing can happen any more: has everybody what he waited for? */
void sim_check_hang(void)
{
    for (int i = 0; i < MAX_READS; i++)
        if (world.reads[i].state != READ_UNUSED)
            sim_violation(CHECK_HANG, "rank %d waits for block %d of object %d for ever", world.reads[i].rank,
                          world.reads[i].place, world.reads[i].object);
    for (int i = 0; i < MAX_TASKS; i++)
        if (world.tasks[i].state != TASK_UNUSED)
            sim_violation(CHECK_HANG, "task %d of rank %d never ends", i, world.tasks[i].submitter);
    for (int rank = 0; rank < world.ranks; rank++)
        if (!sim_is_dead(rank) && world.members[rank].forgotten != (uint32_t)world.epoch_count)
            sim_violation(CHECK_HANG, "rank %d never forgets the dead", rank);
}

static void check_covers(int rank, int object)
{
    if (sim_is_orphan(rank, object))
        return;
    for (int other = 0; other < world.ranks; other++)
        if (world.covers[rank][object][other] != 0 || world.guards[rank][object][other] != 0)
            sim_violation(CHECK_COUNT, "rank %d waits for an acknowledgement of object %d that does not come",
                          rank, object);
}

static unsigned expected_count(int rank, int object)
{
    unsigned count = 0;

    for (int i = 0; i < world.user_ref_count[rank]; i++)
        count += world.user_refs[rank][i] == object;
    for (int y = 0; y < world.object_count; y++) {
        const struct object *container = &world.objects[y];

        if (container->owner != rank || (world.freed_mask & (1ull << y)))
            continue;
        for (int i = 0; i < container->nested_count; i++)
            count += container->nested[i] == object;
    }
    if (world.objects[object].owner == rank && sim_record_find(rank, object))
        count += sim_record_find(rank, object)->holder_count;
    return count;
}

static void check_quiet_record(int rank, int object)
{
    int owner = world.objects[object].owner;
    const struct refcount *record = sim_record_find(rank, object);
    const struct refcount *owned = sim_record_find(owner, object);
    unsigned expected = expected_count(rank, object);

    check_covers(rank, object);
    if (expected != (record ? sim_record_count(record) : 0))
        sim_violation(CHECK_COUNT, "rank %d counts %u holds on object %d and has %u", rank,
                      record ? sim_record_count(record) : 0, object, expected);
    if (rank != owner && !sim_is_dead(owner) &&
        (record != NULL) != (owned && refcount_is_holder(owned, rank)))
        sim_violation(CHECK_HOLDER, "rank %d %s a record of object %d, its owner knows otherwise", rank,
                      record ? "has" : "has not", object);
}

static uint64_t owners_dead(void)
{
    uint64_t mask = 0;

    for (int object = 0; object < world.object_count && world.dead; object++)
        if (sim_is_dead(world.objects[object].owner))
            mask |= 1ull << object;
    return mask;
}

void sim_check_quiet(void)
{
    uint64_t made = world.object_count == 64 ? ~0ull : (1ull << world.object_count) - 1;
    uint64_t garbage = made & ~world.freed_mask & ~owners_dead() & ~sim_truth_reachable();

    sim_check_hang();
    if (garbage)
        sim_violation(CHECK_GARBAGE, "nothing reaches object %d and it lives", __builtin_ctzll(garbage));
    for (int object = 0; object < world.object_count; object++)
        for (int rank = 0; rank < world.ranks; rank++)
            if (!sim_is_dead(rank))
                check_quiet_record(rank, object);
}

static void check_blocks_empty(void)
{
    for (int i = 0; i < world.blocks_used; i++)
        if (world.blocks[i].state != BLOCK_GONE)
            sim_violation(CHECK_BLOCK_LEAK, "block %d of object %d is still at rank %d",
                          world.blocks[i].place, world.blocks[i].object, world.blocks[i].holder);
    if (world.disk_leaks > 0)
        sim_violation(CHECK_BLOCK_LEAK, "%d blocks are still on disk", world.disk_leaks);
    if (world.lease_count > 0)
        sim_violation(CHECK_BLOCK_LEAK, "rank %d still has a lease on a block of rank %d",
                      world.leases[0].reader, world.leases[0].holder);
    for (int rank = 0; rank < world.ranks; rank++)
        if (world.copy_count[rank] > 0)
            sim_violation(CHECK_BLOCK_LEAK, "rank %d still knows a copy of block %d", rank,
                          world.copies[rank][0].at);
}

void sim_check_empty(void)
{
    if (world.root_mask)
        sim_violation(CHECK_LEAK, "the truth still has a ref to object %d", __builtin_ctzll(world.root_mask));
    for (int object = 0; object < world.object_count; object++)
        for (int rank = 0; rank < world.ranks; rank++)
            if (sim_record_find(rank, object))
                sim_violation(CHECK_LEAK, "rank %d still has a record of object %d", rank, object);
    check_blocks_empty();
}
