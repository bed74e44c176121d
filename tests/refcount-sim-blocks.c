/* Blocks of the stores of the simulated hosts: pins, frees, the disk (lib/store, and restores in
 * lib/task/task_present.c). */
#include "refcount-sim.h"

int sim_block_make(int holder, int owner, int object, bool copy)
{
    struct block *block = world.blocks;

    while (block < world.blocks + MAX_BLOCKS && block->state != BLOCK_GONE)
        block++;
    if (block == world.blocks + MAX_BLOCKS)
        return 0;
    *block = (struct block){
        .state = BLOCK_MEMORY,
        .place = sim_place(++world.generation, (int)(block - world.blocks), object, holder),
        .object = object,
        .holder = (signed char)holder,
        .owner = (signed char)(copy ? -1 : owner),
        .sealed = true,
        .container = world.objects[object].nested_count > 0,
    };
    if (block - world.blocks >= world.blocks_used)
        world.blocks_used = (int)(block - world.blocks) + 1;
    sim_trace("  rank %d has block %d of object %d", holder, block->place, object);
    return block->place;
}

/* NULL: it is gone, and what is there now is another one. */
struct block *sim_block_at(int place)
{
    struct block *block = &world.blocks[sim_place_slot(place)];

    return place && block->state != BLOCK_GONE && block->place == place ? block : NULL;
}

bool sim_block_pinned(const struct block *block)
{
    for (int rank = 0; rank < world.ranks; rank++)
        if (block->pins[rank])
            return true;
    return false;
}

/* What is freed goes when nobody reads it, and the disk is not at it. */
void sim_block_settle(struct block *block)
{
    if (block->state != BLOCK_FREEING || block->reading)
        return;
    if (sim_block_pinned(block) && !sim_broken(RULE_FREE_PINNED))
        return;
    if (block->copy_on_disk && sim_broken(RULE_DISK_FREE))
        world.disk_leaks++;
    sim_trace("  block %d is gone", block->place);
    block->state = BLOCK_GONE;
}

enum pinned sim_block_pin(int rank, int place)
{
    struct block *block = sim_block_at(place);

    if (!block && place && sim_broken(RULE_GENERATION) &&
        world.blocks[sim_place_slot(place)].state == BLOCK_MEMORY)
        block = &world.blocks[sim_place_slot(place)];
    if (!block)
        return PIN_LOST;
    if (block->state != BLOCK_MEMORY && block->pins[rank] == 0)
        return block->state == BLOCK_DISK ? PIN_ON_DISK : PIN_LOST;
    block->pins[rank]++;
    return PIN_OK;
}

void sim_block_unpin(int rank, int place)
{
    struct block *block = sim_block_at(place);

    if (!block && sim_broken(RULE_GENERATION))
        block = &world.blocks[sim_place_slot(place)];
    if (!block || block->pins[rank] == 0)
        sim_violation(CHECK_BLOCK, "rank %d lets go of block %d, which it does not read", rank, place);
    block->pins[rank]--;
    sim_block_settle(block);
}

/* ---- frees */

static void check_free(int rank, const struct block *block)
{
    int object = block->object;

    if (block->owner < 0 || world.objects[object].place != block->place || world.lost_mask & (1ull << object))
        return;
    if (sim_truth_reachable() & (1ull << object))
        sim_violation(CHECK_BLOCK, "rank %d frees block %d of object %d, which is reachable", rank,
                      block->place, object);
}

static void cover_free(const struct block *block)
{
    if (sim_is_leased(block->place))
        sim_fault(FAULT_RACE_FREE_LEASED);
    else if (sim_block_pinned(block))
        sim_fault(FAULT_RACE_FREE_PINNED);
    if (block->reading)
        sim_fault(FAULT_RACE_FREE_READING);
}

void sim_block_free(int rank, int place)
{
    struct block *block = sim_block_at(place);

    if (!block || block->state == BLOCK_FREEING) {
        if (world.epoch_count == 0) /* a dead rank's blocks may be freed by two who know of them */
            sim_violation(CHECK_BLOCK, "rank %d frees block %d, which is gone", rank, place);
        return;
    }
    sim_trace("rank %d frees block %d", rank, place);
    check_free(rank, block);
    cover_free(block);
    for (int reader = 0; reader < world.ranks; reader++)
        if (block->told >> reader & 1 && !sim_broken(RULE_STALE) && !sim_knows_dead(rank, reader))
            sim_send(rank, reader, LETTER_STALE, place, 0, 0, true);
    block->told = 0;
    sim_leases_freed(place);
    block->state = BLOCK_FREEING;
    sim_block_settle(block);
}

void sim_block_release(int rank, int place)
{
    const struct block *block = sim_block_at(place);
    int holder = block ? block->holder : rank;

    if (holder == rank)
        sim_block_free(rank, place);
    else if (!sim_knows_dead(rank, holder) && !sim_broken(RULE_FREE_HOLDER))
        sim_send(rank, holder, LETTER_FREE, place, 0, 0, true);
}

/* ---- the disk */

static void cover_spill(const struct block *block)
{
    if (block->owner < 0)
        sim_fault(FAULT_SPILL_COPY);
    else if (block->container)
        sim_fault(FAULT_SPILL_CONTAINER);
    else
        sim_fault(block->told ? FAULT_SPILL_READ : FAULT_SPILL_UNREAD);
    for (int i = 0; i < MAX_READS && world.reads_used; i++)
        if (world.reads[i].state == READ_TRY && world.reads[i].place == block->place) {
            sim_fault(FAULT_SPILL_WANTED);
            return;
        }
}

/* Memory is wanted: some block that nobody reads leaves it. */
void sim_spill(void)
{
    struct block *block;

    if (!world.blocks_used)
        return;
    block = &world.blocks[sim_below((unsigned)world.blocks_used)];
    if (block->state != BLOCK_MEMORY || !block->sealed)
        return;
    if (sim_block_pinned(block) && !sim_broken(RULE_DROP_PINNED)) {
        sim_fault(FAULT_SPILL_PINNED); /* it was marked, and is put back */
        return;
    }
    cover_spill(block);
    sim_trace("block %d goes to disk", block->place);
    block->state = BLOCK_DISK;
    block->copy_on_disk = true;
}

/* Brings a block of this rank's back. */
void sim_block_restore(int rank, int place, int want)
{
    struct restore *restore = world.restores;

    while (restore < world.restores + world.restore_count &&
           (restore->rank != rank || restore->place != place))
        restore++;
    if (restore == world.restores + MAX_RESTORES)
        sim_violation(CHECK_LIMIT, "more than %d blocks come from disk", MAX_RESTORES);
    if (restore == world.restores + world.restore_count) {
        world.restore_count++;
        *restore = (struct restore){.rank = rank, .place = place};
    }
    if (want >= 0)
        restore->wants |= (unsigned char)(1u << want);
}

/* The block can not be read back. */
static void disk_fails(struct block *block)
{
    sim_fault(FAULT_DISK);
    if (world.objects[block->object].place == block->place)
        world.lost_mask |= 1ull << block->object;
    else if (block->owner >= 0)
        world.private_lost = true;
}

void sim_disk_step(void)
{
    int i = (int)sim_below((unsigned)world.restore_count);
    struct restore restore = world.restores[i];
    struct block *block = sim_block_at(restore.place);
    bool failed = false;

    if (block && block->state == BLOCK_DISK && !restore.reading) {
        world.restores[i].reading = block->reading = true;
        return;
    }
    if (block && restore.reading) {
        block->reading = false;
        if (block->state == BLOCK_DISK && sim_one_in(world.disk_fails)) {
            disk_fails(block);
            failed = true;
        } else if (block->state == BLOCK_DISK) {
            block->state = BLOCK_MEMORY;
        }
        sim_block_settle(block);
    }
    world.restores[i] = world.restores[--world.restore_count];
    bool ok = !failed && block && block->state == BLOCK_MEMORY;
    sim_trace("block %d %s", restore.place, ok ? "is back from disk" : "does not come back");
    sim_leases_restored(restore.rank, restore.place, ok);
    if (!sim_broken(RULE_RESTORE_TOLD))
        sim_tell_brought(restore.rank, restore.wants, restore.place, restore.place, ok);
}
