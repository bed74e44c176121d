/* Who reads stored values (lib/task/task_present.c): pins, waiting for what is not here, views. */
#include "refcount-sim.h"

static bool is_near(int rank, int place)
{
    return world.host[rank] == world.host[sim_place_holder(place)];
}

bool sim_is_far(int rank, int object)
{
    int place = world.objects[object].place;

    return place && !is_near(rank, place);
}

/* The rank of this host that keeps its copy of the block, as far as is known here: among the living. */
static int who_brings(int rank, int place)
{
    int locals[MAX_RANKS], count = 0;

    if (is_near(rank, place))
        return sim_place_holder(place);
    for (int i = 0; i < world.ranks; i++)
        if (world.host[i] == world.host[rank] && !sim_knows_dead(rank, i))
            locals[count++] = i;
    return locals[place / 8 / MAX_OBJECTS % count];
}

static void bring(int rank, int place, int want)
{
    if (is_near(rank, place))
        sim_block_restore(rank, place, want);
    else
        sim_copy_bring(rank, place, want);
}

/* Whom it asked. */
static int ask(int rank, int place)
{
    int asked = who_brings(rank, place);

    if (asked == rank)
        bring(rank, place, rank);
    else if (!sim_knows_dead(rank, asked))
        sim_send(rank, asked, LETTER_BRING, place, 0, 0, true);
    return asked;
}

/* Who asks may know of a death that we do not, or not of one that we know: he is not sent away. */
void sim_deliver_bring(int rank, int from, int place)
{
    if (sim_broken(RULE_OTHER_KEEPER) && who_brings(rank, place) != rank)
        return;
    bring(rank, place, from);
}

void sim_tell_brought(int rank, unsigned wants, int place, int local, bool ok)
{
    for (int want = 0; want < world.ranks; want++) {
        if (!(wants >> want & 1))
            continue;
        if (want == rank)
            sim_brought(rank, place, local, ok);
        else if (!sim_knows_dead(rank, want))
            sim_send(rank, want, LETTER_BROUGHT, place, local, 0, ok);
    }
}

/* ---- reads */

static void read_end(struct read *read)
{
    int rank = read->rank, object = read->object, task = read->task;

    read->state = READ_UNUSED;
    world.reads_used--;
    if (task >= 0) {
        world.tasks[task].reads--;
    } else if (!sim_broken(RULE_READ_HOLD)) {
        sim_truth_remove(object);
        sim_drop(rank, object);
    }
}

/* A value that can not be read has to be one that is lost. */
void sim_check_lost(int rank, int object, int place)
{
    bool private = place != world.objects[object].place;

    if (world.lost_mask >> object & 1 || sim_is_dead(sim_place_holder(place)) ||
        (private && (world.private_lost || world.epoch_count > 0)))
        return;
    sim_violation(CHECK_LOST, "rank %d can not read object %d, and nothing is lost", rank, object);
}

static void read_lost(struct read *read)
{
    sim_trace("rank %d can not read object %d", read->rank, read->object);
    sim_check_lost(read->rank, read->object, read->place);
    read_end(read);
}

static void read_check(const struct read *read)
{
    int place = read->far ? read->local : read->place;
    const struct block *block = sim_block_at(place);

    if (!block || block->state == BLOCK_DISK || block->object != read->object)
        sim_violation(CHECK_CONTENT, "rank %d reads object %d, and block %d is not there any more",
                      read->rank, read->object, place);
}

static void read_unpin(struct read *read)
{
    if (read->far)
        sim_copy_unpin(read->rank, read->place, read->local);
    else
        sim_block_unpin(read->rank, read->place);
}

/* One question is enough for all of a rank that wait for the same. */
static void await(struct read *read)
{
    for (int i = 0; i < MAX_READS; i++) {
        const struct read *other = &world.reads[i];

        if (other->state == READ_AWAIT && other->rank == read->rank && other->place == read->place) {
            read->asked = other->asked;
            read->state = READ_AWAIT;
            return;
        }
    }
    read->state = READ_AWAIT;
    read->asked = who_brings(read->rank, read->place);
    ask(read->rank, read->place);
}

static void read_try(struct read *read)
{
    enum pinned pinned =
        read->far ? sim_copy_pin(read->rank, read->place) : sim_block_pin(read->rank, read->place);

    if (pinned == PIN_OK) {
        read->state = READ_PINNED;
        read->local = read->far ? sim_copy_local(read->rank, read->place) : 0;
        sim_trace("rank %d reads object %d", read->rank, read->object);
        read_check(read);
        if (read->far)
            sim_death_ripe(sim_one_in(2) ? sim_place_holder(read->local) : world.objects[read->object].owner,
                           1);
    } else if (pinned == PIN_ON_DISK) {
        await(read);
    } else {
        read_lost(read);
    }
}

static void read_go_on(struct read *read)
{
    if (read->state == READ_TRY) {
        read_try(read);
        return;
    }
    read_check(read);
    if (!sim_one_in(world.views))
        return;
    read_unpin(read);
    read_end(read);
}

/* False: nobody reads, or all wait. */
bool sim_read_step(void)
{
    int start = (int)sim_below(MAX_READS);

    for (int i = 0; i < MAX_READS && world.reads_used > 0; i++) {
        struct read *read = &world.reads[(start + i) % MAX_READS];

        if (read->state != READ_TRY && read->state != READ_PINNED)
            continue;
        read_go_on(read);
        return true;
    }
    return false;
}

void sim_read_start(int rank, int object, int place, int task)
{
    struct read *read = world.reads;

    if (!place || world.reads_used == MAX_READS)
        return;
    while (read->state != READ_UNUSED)
        read++;
    sim_trace("rank %d is to read object %d, block %d", rank, object, place);
    *read = (struct read){.state = READ_TRY,
                          .rank = rank,
                          .object = object,
                          .place = place,
                          .task = task,
                          .far = !is_near(rank, place)};
    world.reads_used++;
    if (task >= 0) {
        world.tasks[task].reads++;
    } else if (!sim_broken(RULE_READ_HOLD)) {
        sim_hold(rank, object);
        sim_truth_add(object);
    }
}

void sim_reads_start(int object)
{
    for (int rank = 0; rank < world.ranks; rank++)
        for (int i = 0; i < world.user_ref_count[rank]; i++)
            if (world.user_refs[rank][i] == object) {
                if (!sim_one_in(4))
                    sim_read_start(rank, object, world.objects[object].place, -1);
                break;
            }
}

/* Asks and does not wait. */
void sim_prefetch(int rank, int object)
{
    int place = world.objects[object].place;

    if (sim_is_far(rank, object) && !sim_copy_find(rank, place))
        ask(rank, place);
}

void sim_brought(int rank, int place, int local, bool ok)
{
    bool learned = false;

    for (int i = 0; i < MAX_READS && world.reads_used > 0; i++) {
        struct read *read = &world.reads[i];

        if (read->state != READ_AWAIT || read->rank != rank || read->place != place)
            continue;
        if (ok && read->far && !learned)
            sim_copy_learn(rank, place, local);
        learned = true;
        if (ok)
            read->state = READ_TRY;
        else
            read_lost(read);
    }
}

/* ---- deaths */

void sim_reads_drop(int rank)
{
    for (int i = 0; i < MAX_READS && world.reads_used > 0; i++) {
        struct read *read = &world.reads[i];

        if (read->state == READ_UNUSED || read->rank != rank)
            continue;
        sim_fault(read->state == READ_PINNED ? FAULT_DEATH_VIEW : FAULT_DEATH_READER);
        read->state = READ_UNUSED;
        world.reads_used--;
        if (read->task < 0 && !sim_broken(RULE_READ_HOLD))
            sim_truth_remove(read->object);
    }
}

void sim_reads_ask_again(int rank, int dead)
{
    for (int i = 0; i < MAX_READS && world.reads_used > 0 && !sim_broken(RULE_DEAD_KEEPER); i++) {
        struct read *read = &world.reads[i];

        if (read->state == READ_AWAIT && read->rank == rank && read->asked == dead)
            read->state = READ_TRY;
    }
}
