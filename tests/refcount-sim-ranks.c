/* Tables, holds and arriving refs of the simulated ranks, and the truth beside them. */
#include "refcount-sim.h"

/* ---- the truth ---- */

void sim_truth_add(int object)
{
    if (world.roots[object]++ == 0)
        world.root_mask |= 1ull << object;
}

void sim_truth_remove(int object)
{
    if (--world.roots[object] == 0)
        world.root_mask &= ~(1ull << object);
}

void sim_truth_nest(int container, int object)
{
    world.container_mask |= 1ull << container;
    world.nested_masks[container] |= 1ull << object;
}

uint64_t sim_truth_reachable(void)
{
    uint64_t reachable = world.root_mask;
    uint64_t todo = reachable & world.container_mask;

    while (todo) {
        uint64_t more = world.nested_masks[__builtin_ctzll(todo)] & ~reachable;

        reachable |= more;
        todo = (todo & (todo - 1)) | (more & world.container_mask);
    }
    return reachable;
}

void sim_check_reachable(void)
{
    uint64_t wrong = sim_truth_reachable() & world.freed_mask;

    if (wrong)
        sim_violation(CHECK_REACHABLE, "object %d is freed and still reachable", __builtin_ctzll(wrong));
}

void sim_check_access(int rank, int object)
{
    if (world.freed_mask & (1ull << object))
        sim_violation(CHECK_ACCESS, "rank %d uses object %d, which is freed", rank, object);
}

/* ---- tables ---- */

int sim_object_of(uint64_t handle)
{
    return (int)(handle & ((1ull << REFCOUNT_SEQUENCE_BITS) - 1)) - 1;
}

void sim_record_create(int rank, int object)
{
    world.present[rank][object] = true;
    refcount_init(&world.records[rank][object], world.objects[object].handle, 1);
}

void sim_record_erase(int rank, int object)
{
    refcount_fini(&world.records[rank][object]);
    world.present[rank][object] = false;
}

void sim_expect_ok(int status, const char *call, int rank, int object)
{
    if (status < 0)
        sim_violation(CHECK_STATUS, "%s of object %d at rank %d: %s", call, object, rank,
                      refcount_status_name(status));
}

/* ---- holds ---- */

void sim_hold(int rank, int object)
{
    struct refcount *record = sim_record_find(rank, object);

    sim_check_access(rank, object);
    if (!record || sim_record_count(record) == 0)
        sim_violation(CHECK_RECORD, "rank %d retains object %d without a hold", rank, object);
    refcount_retain(record);
}

void sim_drop(int rank, int object)
{
    struct refcount *record = sim_record_find(rank, object);
    int status;

    if (!record)
        sim_violation(CHECK_RECORD, "rank %d drops a hold on object %d and has no record", rank, object);
    status = refcount_drop(record);
    sim_expect_ok(status, "drop", rank, object);
    if (status == 0)
        return;
    if (sim_one_in(2) && world.zero_count < MAX_ZEROS)
        world.zeros[world.zero_count++] = (struct zero){rank, object};
    else
        sim_zero_check(rank, object);
}

/* An orphan's holds end with its owner (sim_deliver_death()), so none is taken for its refs on their way. */
void sim_cover_hold(int rank, int object, int to)
{
    if (sim_is_orphan(rank, object))
        return;
    sim_hold(rank, object);
    world.covers[rank][object][to]++;
}

static void cover_end(int rank, int object)
{
    if (world.ended_early[rank][object] > 0)
        world.ended_early[rank][object]--;
    else
        sim_drop(rank, object);
}

void sim_cover_drop(int rank, int object, int to)
{
    if (sim_is_orphan(rank, object))
        return;
    world.covers[rank][object][to]--;
    cover_end(rank, object);
}

static void guard_drop(int rank, int container, int owner)
{
    if (sim_is_orphan(rank, container))
        return;
    world.guards[rank][container][owner]--;
    cover_end(rank, container);
}

void sim_drop_cover_early(int rank, int object)
{
    if (sim_is_orphan(rank, object))
        return;
    world.ended_early[rank][object]++;
    sim_drop(rank, object);
}

static void object_free(int object)
{
    struct object *freed = &world.objects[object];

    sim_trace("  object %d is freed", object);
    sim_cover(BRANCH_FREED);
    world.freed_mask |= 1ull << object;
    sim_record_erase(freed->owner, object);
    if (sim_broken(RULE_NESTED_LIST) && sim_block_at(freed->place) &&
        sim_block_at(freed->place)->state != BLOCK_MEMORY)
        freed->holds_nested = false; /* the list is where the bytes are */
    if (freed->place)
        sim_block_release(freed->owner, freed->place);
    if (sim_broken(RULE_NESTED_DROP) || !freed->holds_nested)
        return;
    for (int i = 0; i < freed->nested_count; i++)
        sim_drop(freed->owner, freed->nested[i]);
}

static void apply_message(int rank, const struct refcount_message *message)
{
    if (message->kind == REFCOUNT_RELEASE && sim_broken(RULE_RELEASE))
        return;
    if (message->kind == REFCOUNT_RELEASE && sim_broken(RULE_RELEASE_ONCE))
        sim_send_counting(rank, message);
    if (message->kind == REFCOUNT_REGISTER && sim_broken(RULE_RELEASE_KEPT))
        sim_swallow_release(rank, message);
    if (!sim_knows_dead(rank, message->to))
        sim_send_counting(rank, message);
}

void sim_apply(int rank, int object, int accepter, const struct refcount_output *output)
{
    switch (output->verdict) {
    case REFCOUNT_KEEP:
        break;
    case REFCOUNT_CREATE:
        sim_record_create(rank, object);
        if (sim_is_orphan(rank, object))
            refcount_orphan(sim_record_find(rank, object));
        break;
    case REFCOUNT_ERASE:
        sim_cover(BRANCH_ERASED);
        world.was_holder[rank][object] = true;
        sim_record_erase(rank, object);
        break;
    case REFCOUNT_FREE:
        object_free(object);
        break;
    }
    if (output->has_message)
        apply_message(rank, &output->message);
    if (!output->drop)
        return;
    /* Of the two that end by a drop at once, the cover of a ref to itself has the object itself as its token.
     */
    if (sim_object_of(output->drop) == object)
        sim_cover_drop(rank, object, accepter);
    else
        guard_drop(rank, sim_object_of(output->drop), world.objects[object].owner);
}

void sim_zero_check(int rank, int object)
{
    struct refcount *record = sim_record_find(rank, object);
    struct refcount_output output;

    if (!record)
        sim_cover(BRANCH_ZERO_GONE);
    else if (sim_record_count(record) > 0)
        sim_cover(BRANCH_ZERO_KEPT);
    if (record && sim_broken(RULE_RECHECK))
        atomic_store_explicit(&record->count, 0, memory_order_relaxed); /* one thread */
    sim_expect_ok(refcount_reached_zero(record, rank, &output), "reached zero", rank, object);
    sim_apply(rank, object, rank, &output);
}

/* ---- refs that arrive ---- */

static void cover_accept(const struct refcount *record, int rank, int object, int forwarder)
{
    bool self = forwarder == rank;

    if (world.objects[object].owner == rank) {
        sim_cover(self ? BRANCH_ACCEPT_OWNER_SELF : BRANCH_ACCEPT_OWNER);
    } else if (record) {
        sim_cover(self ? BRANCH_ACCEPT_KNOWN_SELF : BRANCH_ACCEPT_KNOWN);
        if (sim_record_count(record) == 0)
            sim_cover(BRANCH_ACCEPT_REVIVED);
    } else {
        sim_cover(self ? BRANCH_ACCEPT_NEW_SELF : BRANCH_ACCEPT_NEW);
        if (world.was_holder[rank][object])
            sim_cover(BRANCH_ACCEPT_AGAIN);
    }
}

void sim_acknowledge(int rank, int forwarder, int token)
{
    struct refcount_output output;

    sim_expect_ok(refcount_decline(rank, forwarder, world.objects[token].handle, &output), "decline", rank,
                  token);
    sim_apply(rank, token, rank, &output);
}

bool sim_accept(int rank, int object, int forwarder, int token)
{
    struct refcount *record = sim_record_find(rank, object);
    struct refcount_output output;
    bool is_new;

    sim_trace("  rank %d accepts object %d from %d, token %d", rank, object, forwarder, token);
    sim_check_access(rank, object);
    cover_accept(record, rank, object, forwarder);
    if (sim_broken(RULE_OWNER_COUNT) && world.objects[object].owner == rank) {
        sim_acknowledge(rank, forwarder, token);
        return false;
    }
    sim_expect_ok(refcount_accept(record, rank, world.objects[object].handle, forwarder,
                                  world.objects[token].handle, &output),
                  "accept", rank, object);
    is_new = output.verdict == REFCOUNT_CREATE;
    if (sim_broken(RULE_KNOWN_ACK) && world.objects[object].owner != rank && !is_new) {
        output.has_message = false;
        output.drop = 0;
    }
    if (is_new && sim_is_orphan(rank, object) && forwarder == rank) {
        output.has_message = false;
        guard_drop(rank, token, world.objects[object].owner); /* nobody will acknowledge */
    }
    if (sim_broken(RULE_REGISTER) && is_new)
        output.has_message = false;
    sim_apply(rank, object, rank, &output);
    if (is_new && (sim_broken(RULE_REGISTER) || sim_broken(RULE_EARLY_ACK)))
        sim_acknowledge(rank, forwarder, token);
    return is_new;
}

/* Notes whose cover, or which guard, it ends; false: there is nothing to count for it. */
static bool ack_taken(int rank, int from, const struct refcount_message *message)
{
    int object = sim_object_of(message->handle), accepter = message->forwarder;

    if (sim_broken(RULE_ACK))
        return false;
    if (sim_is_orphan(rank, object) && !sim_broken(RULE_ORPHAN_ACK))
        return false;
    if (sim_broken(RULE_ACCEPTER) && accepter != rank)
        accepter = from; /* who sends it is taken for who has accepted */
    if (accepter == rank)
        world.guards[rank][object][from]--;
    else
        world.covers[rank][object][accepter]--;
    if (world.ended_early[rank][object] > 0) {
        world.ended_early[rank][object]--;
        return false;
    }
    return true;
}

static void receive_counting(int rank, int from, const struct refcount_message *message)
{
    int object = sim_object_of(message->handle);
    struct refcount *record = sim_record_find(rank, object);
    struct refcount_output output;
    struct refcount scratch;

    if (message->kind == REFCOUNT_ACK && !ack_taken(rank, from, message))
        return;
    if (sim_broken(RULE_HOLDERS) && message->kind == REFCOUNT_RELEASE)
        return;
    if (sim_broken(RULE_HOLDERS) && message->kind == REFCOUNT_REGISTER) {
        refcount_init(&scratch, message->handle, 1);
        sim_expect_ok(refcount_receive(&scratch, rank, from, message, &output), "receive", rank, object);
        refcount_fini(&scratch);
    } else {
        sim_expect_ok(refcount_receive(record, rank, from, message, &output),
                      refcount_kind_name(message->kind), rank, object);
    }
    if (sim_broken(RULE_EARLY_ACK) && message->kind == REFCOUNT_REGISTER)
        return; /* the new holder has told the forwarder */
    sim_apply(rank, object, from, &output);
}

void sim_deliver_counting(int from, int to, const struct letter *letter)
{
    struct refcount_message message;

    sim_expect_ok(refcount_decode(letter->bytes, REFCOUNT_WIRE_SIZE, world.ranks, to, &message), "decode", to,
                  -1);
    sim_trace("%d -> %d %s of object %d arrives", from, to, refcount_kind_name(message.kind),
              sim_object_of(message.handle));
    sim_cover(message.kind == REFCOUNT_REGISTER  ? BRANCH_REGISTER
              : message.kind == REFCOUNT_RELEASE ? BRANCH_RELEASE
                                                 : BRANCH_ACK);
    if (message.kind == REFCOUNT_REGISTER && message.forwarder != from)
        sim_cover(message.forwarder == to ? BRANCH_REGISTER_OWNER : BRANCH_REGISTER_THIRD);
    receive_counting(to, from, &message);
    if (sim_broken(RULE_EXACTLY_ONCE) && sim_one_in(8))
        receive_counting(to, from, &message);
}
