/* Blocks that other hosts read, at their holder (lib/task/task_lease.c). Wishes that have waited for the disk
 * are served by another thread than the one that takes messages, so a step is one range. */
#include "refcount-sim.h"

static struct lease *lease_find(int holder, int reader, int place)
{
    for (int i = 0; i < world.lease_count; i++) {
        struct lease *lease = &world.leases[i];

        if (lease->holder == holder && lease->reader == reader && lease->place == place)
            return lease;
    }
    return NULL;
}

bool sim_is_leased(int place)
{
    for (int i = 0; i < world.lease_count; i++)
        if (world.leases[i].place == place && world.leases[i].pinned)
            return true;
    return false;
}

static struct lease *lease_new(int holder, int reader, int place)
{
    if (world.lease_count == MAX_LEASES)
        sim_violation(CHECK_LIMIT, "more than %d leases", MAX_LEASES);
    world.leases[world.lease_count] =
        (struct lease){.place = place, .holder = (signed char)holder, .reader = (signed char)reader};
    return &world.leases[world.lease_count++];
}

static void lease_end(struct lease *lease)
{
    struct lease ended = *lease;

    *lease = world.leases[--world.lease_count];
    if (ended.pinned && !sim_broken(RULE_LEASE_PIN))
        sim_block_unpin(ended.holder, ended.place);
}

static enum pinned lease_pin(struct lease *lease)
{
    enum pinned pinned;

    if (lease->pinned)
        return PIN_OK;
    /* A block that is freed stays for those that read it already, and for nobody else: who came now would get
     * a copy of which nobody tells him that it is stale. */
    if (lease->freed && !sim_broken(RULE_LEASE_FREED))
        return PIN_LOST;
    pinned = sim_block_pin(lease->holder, lease->place);
    if (pinned == PIN_OK && sim_broken(RULE_LEASE_PIN))
        sim_block_unpin(lease->holder, lease->place);
    if (pinned == PIN_OK) {
        lease->pinned = true;
        if (sim_block_at(lease->place))
            sim_block_at(lease->place)->told |= (unsigned char)(1u << lease->reader);
    }
    return pinned;
}

void sim_leases_freed(int place)
{
    for (int i = 0; i < world.lease_count; i++)
        if (world.leases[i].place == place)
            world.leases[i].freed = true;
}

static void serve(int holder, int reader, int place, int range, bool ok)
{
    const struct block *block = sim_block_at(place);

    if (!ok && sim_broken(RULE_REFUSE))
        return;
    if (ok && (!block || block->state == BLOCK_DISK))
        sim_violation(CHECK_CONTENT, "rank %d sends rank %d what is where block %d was", holder, reader,
                      place);
    if (!sim_knows_dead(holder, reader))
        sim_send(holder, reader, LETTER_CHUNK, place, 0, range, ok);
}

/* With all that waited: who asked for several ranges goes by the first that is refused. */
static void lease_refuse(struct lease *lease)
{
    struct lease refused = *lease;

    lease_end(lease);
    for (int i = 0; i < refused.wish_count; i++)
        serve(refused.holder, refused.reader, refused.place, refused.wishes[i], false);
}

void sim_deliver_pull(int rank, int reader, const struct letter *letter)
{
    struct lease *lease = lease_find(rank, reader, letter->place);
    const struct block *block = sim_block_at(letter->place);
    enum pinned pinned;

    if (!lease) {
        lease = lease_new(rank, reader, letter->place);
        lease->freed = block && block->state == BLOCK_FREEING;
    }
    pinned = lease_pin(lease);
    if (pinned == PIN_LOST) {
        sim_fault(FAULT_RACE_PULL_FREED);
        if (sim_broken(RULE_REFUSE_WISHES))
            lease->wish_count = 0;
        lease_refuse(lease);
        serve(rank, reader, letter->place, letter->value, false);
        return;
    }
    if (pinned == PIN_OK && (lease->wish_count == 0 || sim_broken(RULE_RANGE_ORDER))) {
        serve(rank, reader, letter->place, letter->value, true);
        return;
    }
    if (pinned == PIN_OK)
        sim_fault(FAULT_RACE_PULL_QUEUED);
    lease->wishes[lease->wish_count++] = (unsigned char)letter->value;
    if (pinned == PIN_ON_DISK)
        sim_block_restore(rank, letter->place, -1);
}

void sim_deliver_read(int rank, int reader, int place)
{
    struct lease *lease = lease_find(rank, reader, place);

    if (lease && !sim_broken(RULE_LEASE_END))
        lease_end(lease);
}

/* Pins a block for those who wait for it: they are served one after the other. */
void sim_leases_restored(int rank, int place, bool ok)
{
    for (int i = world.lease_count - 1; i >= 0; i--) {
        struct lease *lease = &world.leases[i];

        if (lease->holder != rank || lease->place != place || lease->pinned || lease->wish_count == 0)
            continue;
        enum pinned pinned = ok ? lease_pin(lease) : PIN_LOST;
        if (pinned == PIN_ON_DISK)
            sim_block_restore(rank, place, -1);
        else if (pinned == PIN_LOST)
            lease_refuse(lease);
    }
}

bool sim_serve_step(void)
{
    for (int i = 0; i < world.lease_count; i++) {
        struct lease *lease = &world.leases[i];
        int range = lease->wishes[0];

        if (!lease->pinned || lease->wish_count == 0)
            continue;
        lease->wish_count--;
        for (int j = 0; j < lease->wish_count; j++)
            lease->wishes[j] = lease->wishes[j + 1];
        serve(lease->holder, lease->reader, lease->place, range, true);
        return true;
    }
    return false;
}

/* The reader is dead; -1: the holder is. */
void sim_leases_end(int holder, int reader)
{
    for (int i = world.lease_count - 1; i >= 0; i--) {
        struct lease *lease = &world.leases[i];

        if (lease->holder != holder || (reader >= 0 && lease->reader != reader))
            continue;
        if (reader < 0)
            *lease = world.leases[--world.lease_count];
        else
            lease_end(lease);
    }
}
