/* Deaths of the simulated ranks: what dies with one, and what the others do about it, as the header of
 * lib/task/task_refcount.h says. */
#include "refcount-sim.h"

void sim_deaths_begin(void)
{
    for (int rank = 0; rank < world.ranks; rank++)
        world.members[rank] =
            (struct refcount_members){.member = world.member[rank], .ranks = world.ranks, .self = rank};
}

/* ---- a death, in truth */

/* While somebody who may look into a lost container does not know that it is lost, he can take refs out of
 * it. */
static void lost_containers(void)
{
    for (int object = 0; object < world.object_count; object++) {
        int owner = world.objects[object].owner;
        bool known = sim_is_dead(owner);

        for (int rank = 0; rank < world.ranks && known; rank++)
            known = sim_is_dead(rank) || sim_knows_dead(rank, owner);
        if (known)
            world.nested_masks[object] = 0;
    }
}

static void lose_tasks(int rank)
{
    for (int i = 0; i < MAX_TASKS; i++) {
        struct task *task = &world.tasks[i];

        if (task->executor == rank && task->state == TASK_RUNNING) {
            sim_task_lost(task);
        } else if (task->submitter == rank && task->state == TASK_LOST) {
            task->state = TASK_UNUSED;
            world.task_count--;
        }
    }
}

/* What it had sent may be lost from some message on; of what was sent to it everything. */
static void lose_letters(int rank, int epoch)
{
    for (int other = 0; other < world.ranks; other++) {
        int length = world.queues[rank * MAX_RANKS + other].length;

        sim_letters_cut(other, rank, 0);
        if (other == rank || sim_is_dead(other))
            continue;
        if (length > 0)
            sim_fault(FAULT_DEATH_LETTERS);
        sim_letters_cut(rank, other,
                        sim_one_in(3)   ? (int)sim_below((unsigned)length + 1)
                        : sim_one_in(2) ? length
                                        : 0);
        sim_send(rank, other, LETTER_DEATH, 0, 0, epoch, true);
    }
}

static void lose_refs(int rank)
{
    while (world.user_ref_count[rank] > 0)
        sim_truth_remove(world.user_refs[rank][--world.user_ref_count[rank]]);
    for (int object = 0; object < world.object_count; object++) {
        if (sim_record_find(rank, object))
            sim_record_erase(rank, object);
        if (world.objects[object].owner == rank)
            world.lost_mask |= 1ull << object;
    }
    for (int i = world.zero_count - 1; i >= 0; i--)
        if (world.zeros[i].rank == rank)
            world.zeros[i] = world.zeros[--world.zero_count];
}

/* Memory of the host stays as long as somebody there reads it; files have no name, and go. */
static void lose_blocks(int rank)
{
    for (int i = 0; i < world.blocks_used; i++) {
        struct block *block = &world.blocks[i];

        if (block->state == BLOCK_GONE)
            continue;
        if (sim_is_dead(block->holder)) {
            for (int other = 0; other < world.ranks; other++)
                block->pins[other] = sim_is_dead(other) ? 0 : block->pins[other];
            block->reading = false;
            if (world.objects[block->object].place == block->place)
                world.lost_mask |= 1ull << block->object;
            block->copy_on_disk = false;
            block->state = BLOCK_FREEING;
            sim_block_settle(block);
        }
    }
    world.copy_count[rank] = 0;
    sim_leases_end(rank, -1);
    for (int i = world.restore_count - 1; i >= 0; i--)
        if (world.restores[i].rank == rank)
            world.restores[i] = world.restores[--world.restore_count];
    for (int i = world.gift_count - 1; i >= 0; i--)
        if (world.gifts[i].giver == rank)
            world.gifts[i] = world.gifts[--world.gift_count];
}

static void die(int rank)
{
    int epoch = ++world.epoch_count;

    sim_trace("rank %d dies, epoch %d", rank, epoch);
    world.epoch_ranks[epoch] = rank;
    world.dead |= 1u << rank;
    lose_tasks(rank);
    lose_letters(rank, epoch);
    sim_reads_drop(rank);
    lose_refs(rank);
    lose_blocks(rank);
    lost_containers();
}

static int living(void)
{
    return world.ranks - __builtin_popcount(world.dead);
}

/* Somebody who has to do with a copy, or with a task on its way: there is more to break. */
static int concerned_copy(int rank)
{
    const struct copy *copy;

    if (world.copy_count[rank] == 0)
        return rank;
    copy = &world.copies[rank][sim_below((unsigned)world.copy_count[rank])];
    switch (sim_below(4)) {
    case 0:
        return rank;
    case 1:
        return sim_place_holder(copy->at);
    default:
        return world.objects[sim_place_object(copy->at)].owner;
    }
}

static int concerned_task(int rank)
{
    int start = (int)sim_below(MAX_TASKS);

    for (int i = 0; i < MAX_TASKS && world.task_count > 0; i++) {
        const struct task *task = &world.tasks[(start + i) % MAX_TASKS];

        if (task->state == TASK_SENT || task->state == TASK_RUNNING)
            return sim_one_in(2) ? task->submitter : task->executor;
    }
    return rank;
}

void sim_death_ripe(int rank, unsigned one_in)
{
    if (world.deaths_left > 0 && sim_one_in(one_in))
        world.ripe = rank + 1;
}

static void die_alone(int rank)
{
    world.deaths_left--;
    world.death_weight = 2 << sim_below(6); /* the next one perhaps while this one is not settled */
    sim_death_count(rank);
    die(rank);
}

static void die_together(int host)
{
    int locals = 0;

    for (int i = 0; i < world.ranks; i++)
        locals += world.host[i] == host && !sim_is_dead(i);
    if (living() <= locals)
        return;
    if (locals > 1)
        sim_fault(FAULT_DEATH_HOST);
    for (int i = 0; i < world.ranks; i++)
        if (world.host[i] == host && !sim_is_dead(i))
            die_alone(i);
}

void sim_death_step(void)
{
    int rank = world.ripe - 1;

    world.ripe = 0;
    if (rank < 0) {
        if (!sim_one_in((unsigned)world.death_weight))
            return;
        rank = (int)sim_below((unsigned)world.ranks);
        rank = sim_one_in(2) ? concerned_task(rank) : concerned_copy(rank);
    }
    if (sim_is_dead(rank) || living() < 2)
        return;
    if (sim_one_in(6))
        die_together(world.host[rank]);
    else
        die_alone(rank);
}

/* ---- what the others do */

void sim_gift_add(int giver, int to, int place)
{
    for (int i = world.gift_count - 1; i >= 0; i--)
        if (!sim_block_at(world.gifts[i].place))
            world.gifts[i] = world.gifts[--world.gift_count];
    if (world.gift_count == MAX_GIFTS)
        sim_violation(CHECK_LIMIT, "more than %d blocks are given away", MAX_GIFTS);
    world.gifts[world.gift_count++] = (struct gift){giver, to, place};
}

static void drop_many(int rank, int object, signed char *count)
{
    for (; *count > 0; --*count)
        sim_drop(rank, object);
    *count = 0;
}

/* Nobody will acknowledge what was passed on of a dead owner's object. An acknowledgement may be here before
 * the news that its task was handed on, so it is the sum that counts. */
static void covers_end(int rank, int object)
{
    signed char sum = 0;

    for (int other = 0; other < world.ranks; other++) {
        sum = (signed char)(sum + world.covers[rank][object][other]);
        world.covers[rank][object][other] = 0;
    }
    drop_many(rank, object, &sum);
}

static void unacknowledged_drop(int rank, int dead)
{
    for (int object = 0; object < world.object_count; object++) {
        if (!sim_broken(RULE_DEAD_GUARD))
            drop_many(rank, object, &world.guards[rank][object][dead]);
        if (world.objects[object].owner != dead)
            continue;
        covers_end(rank, object);
        for (int other = 0; other < world.ranks; other++)
            drop_many(rank, object, &world.guards[rank][object][other]);
    }
}

static void orphans_make(int rank, int dead)
{
    for (int object = 0; object < world.object_count; object++)
        if (world.objects[object].owner == dead && sim_record_find(rank, object))
            refcount_orphan(sim_record_find(rank, object));
}

static void tasks_take_over(int rank, int dead)
{
    for (int i = 0; i < MAX_TASKS; i++) {
        struct task *task = &world.tasks[i];

        if (task->submitter != dead || task->executor != rank)
            continue;
        if (task->state == TASK_SENT && !sim_broken(RULE_DEAD_TASK))
            sim_task_unroot(task);
        for (int j = 0; j < task->argument_count && task->state == TASK_RUNNING; j++)
            if (!sim_broken(RULE_DEAD_ACCEPT))
                sim_task_accept(task, j);
    }
}

static void pins_clear(int rank, int dead)
{
    for (int i = 0; i < world.blocks_used && !sim_broken(RULE_DEAD_PINS); i++) {
        struct block *block = &world.blocks[i];

        if (block->state == BLOCK_GONE || block->holder != rank)
            continue;
        block->pins[dead] = 0;
        sim_block_settle(block);
    }
}

static void tell_all(int rank, enum letter_kind kind, int epoch)
{
    for (int other = 0; other < world.ranks; other++)
        if (other != rank && !sim_knows_dead(rank, other))
            sim_send(rank, other, kind, 0, 0, epoch, true);
}

static void holders_forget(int rank, int dead)
{
    for (int object = 0; object < world.object_count; object++) {
        struct refcount *record = sim_record_find(rank, object);
        struct refcount_output output;

        if (!record || world.objects[object].owner != rank)
            continue;
        sim_expect_ok(refcount_holder_lost(record, rank, dead, &output), "holder lost", rank, object);
        sim_apply(rank, object, rank, &output);
    }
}

static void covers_forget(int rank, int dead)
{
    for (int object = 0; object < world.object_count; object++) {
        if (sim_is_orphan(rank, object))
            continue;
        if (world.covers[rank][object][dead] < 0)
            sim_violation(CHECK_COUNT, "rank %d has more acknowledgements of object %d than refs sent to %d",
                          rank, object, dead);
        drop_many(rank, object, &world.covers[rank][object][dead]);
    }
}

static void blocks_forget(int rank, int dead)
{
    for (int i = 0; i < world.blocks_used && !sim_broken(RULE_DEAD_OWNER); i++) {
        struct block *block = &world.blocks[i];

        if (block->holder == rank && block->owner == dead &&
            (block->state == BLOCK_MEMORY || block->state == BLOCK_DISK))
            sim_block_free(rank, block->place);
    }
    for (int i = 0; i < world.gift_count && !sim_broken(RULE_DEAD_GIFT); i++)
        if (world.gifts[i].giver == rank && world.gifts[i].to == dead)
            sim_block_release(rank, world.gifts[i].place);
}

static void forget(int rank, int dead)
{
    sim_trace("rank %d forgets rank %d", rank, dead);
    if (!sim_broken(RULE_DEAD_HOLDER))
        holders_forget(rank, dead);
    if (!sim_broken(RULE_DEAD_COVER))
        covers_forget(rank, dead);
    for (int i = 0; i < MAX_TASKS; i++) {
        struct task *task = &world.tasks[i];

        if (task->state != TASK_UNUSED && task->submitter == rank &&
            (task->known_runner == dead || task->known_giver == dead))
            sim_task_end_lost(task);
    }
    blocks_forget(rank, dead);
}

static void forget_all(int rank)
{
    for (uint32_t epoch = 1; epoch <= world.members[rank].epoch; epoch++)
        forget(rank, world.epoch_ranks[epoch]);
}

/* Broken rule: each death for itself. */
static void rounds_single(int rank)
{
    struct refcount_members *members = &world.members[rank];

    for (uint32_t epoch = 1; epoch <= members->epoch; epoch++) {
        struct refcount_members single = *members;
        enum refcount_round round;

        single.epoch = epoch;
        while ((round = refcount_members_next(&single)) != REFCOUNT_ROUND_NONE)
            if (round == REFCOUNT_ROUND_SETTLED)
                tell_all(rank, LETTER_SETTLED, (int)epoch);
            else
                forget(rank, world.epoch_ranks[epoch]);
        members->forgotten = single.forgotten;
    }
}

static void rounds(int rank)
{
    struct refcount_members *members = &world.members[rank];
    enum refcount_round round;

    if (sim_broken(RULE_LATEST_EPOCH)) {
        rounds_single(rank);
        return;
    }
    while ((round = refcount_members_next(members)) != REFCOUNT_ROUND_NONE) {
        if (round == REFCOUNT_ROUND_SETTLED)
            tell_all(rank, LETTER_SETTLED, (int)members->epoch);
        if (sim_broken(RULE_SECOND_ROUND) ? round == REFCOUNT_ROUND_SETTLED : round == REFCOUNT_ROUND_FORGET)
            forget_all(rank);
    }
}

bool sim_death_ready(int rank, const struct letter *letter)
{
    return letter->kind != LETTER_DEATH || (uint32_t)letter->value == world.members[rank].epoch + 1;
}

void sim_deliver_death(int rank, int epoch)
{
    int dead = world.epoch_ranks[epoch];

    sim_trace("rank %d knows that rank %d is dead", rank, dead);
    orphans_make(rank, dead);
    sim_expect_ok(refcount_members_lost(&world.members[rank], dead, (uint32_t)epoch), "death", rank, dead);
    unacknowledged_drop(rank, dead);
    tasks_take_over(rank, dead);
    if (!sim_broken(RULE_DEAD_READER))
        sim_leases_end(rank, dead);
    pins_clear(rank, dead);
    sim_copies_lost(rank, dead);
    sim_reads_ask_again(rank, dead);
    lost_containers();
    tell_all(rank, LETTER_EPOCH, epoch);
    sim_death_ripe(rank, 6);
    if (sim_broken(RULE_FIRST_ROUND))
        forget_all(rank);
    rounds(rank);
}

void sim_deliver_epoch(int rank, int from, int epoch)
{
    sim_expect_ok(refcount_members_acknowledged(&world.members[rank], from, (uint32_t)epoch), "epoch", rank,
                  from);
    rounds(rank);
}

void sim_deliver_settled(int rank, int from, int epoch)
{
    sim_expect_ok(refcount_members_settled(&world.members[rank], from, (uint32_t)epoch), "settled", rank,
                  from);
    rounds(rank);
}
