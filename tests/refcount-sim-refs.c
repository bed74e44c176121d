/* Refs and objects of the users of the simulated ranks. */
#include "refcount-sim.h"

/* ---- user refs and objects ---- */

void sim_user_ref_add(int rank, int object)
{
    if (world.user_ref_count[rank] == MAX_USER_REFS)
        sim_violation(CHECK_LIMIT, "more than %d user refs at rank %d", MAX_USER_REFS, rank);
    world.user_refs[rank][world.user_ref_count[rank]++] = object;
    sim_truth_add(object);
}

int sim_user_ref_pick(int rank)
{
    return world.user_refs[rank][sim_below((unsigned)world.user_ref_count[rank])];
}

bool sim_is_foreign_container(int rank, int object)
{
    return world.objects[object].owner != rank && world.objects[object].nested_count > 0;
}

int sim_user_ref_pick_container(int rank)
{
    int object = sim_user_ref_pick(rank);

    for (int tries = 8; tries > 0 && !sim_is_foreign_container(rank, object); tries--)
        object = sim_user_ref_pick(rank);
    return object;
}

void sim_user_ref_copy(int rank)
{
    int object = sim_user_ref_pick(rank);

    sim_trace("rank %d retains object %d", rank, object);
    sim_hold(rank, object);
    sim_user_ref_add(rank, object);
}

void sim_user_ref_release_at(int rank, int position)
{
    int object = world.user_refs[rank][position];

    sim_trace("rank %d releases object %d", rank, object);
    sim_check_access(rank, object);
    world.user_refs[rank][position] = world.user_refs[rank][--world.user_ref_count[rank]];
    sim_truth_remove(object);
    sim_drop(rank, object);
}

void sim_user_ref_release(int rank)
{
    sim_user_ref_release_at(rank, (int)sim_below((unsigned)world.user_ref_count[rank]));
}

void sim_user_ref_move(int rank, int object)
{
    if (!sim_one_in(world.moves))
        return;
    for (int position = world.user_ref_count[rank] - 1; position >= 0; position--)
        if (world.user_refs[rank][position] == object)
            sim_user_ref_release_at(rank, position);
}

/* A new object with one hold of its owner. */
int sim_object_create(int rank)
{
    int object = world.object_count++;

    world.objects[object] = (struct object){
        .owner = rank,
        .handle = (uint64_t)rank << REFCOUNT_SEQUENCE_BITS | (uint64_t)(object + 1),
        .stamp = ++world.clock,
        .holds_nested = true,
    };
    sim_record_create(rank, object);
    return object;
}

void sim_object_nest(int container, int object)
{
    struct object *y = &world.objects[container];

    y->nested[y->nested_count++] = object;
    sim_truth_nest(container, object);
}

void sim_put(int rank)
{
    int nested_count = world.user_ref_count[rank] ? (int)sim_below(MAX_REFS + 1) : 0;
    int object;

    if (world.object_count == MAX_OBJECTS)
        return;
    object = sim_object_create(rank);
    sim_trace("rank %d puts object %d", rank, object);
    world.objects[object].holds_nested = !sim_broken(RULE_NESTED_HOLD);
    for (int i = 0; i < nested_count; i++) {
        int nested = sim_user_ref_pick(rank);

        sim_trace("  nesting object %d", nested);
        if (world.objects[object].holds_nested)
            sim_hold(rank, nested);
        sim_object_nest(object, nested);
    }
    if (sim_one_in(2))
        world.objects[object].place = sim_block_make(rank, rank, object, false);
    for (int i = 0; i < nested_count; i++)
        sim_user_ref_move(rank, world.objects[object].nested[i]);
    sim_user_ref_add(rank, object);
}

void sim_extract(int rank, int container)
{
    struct object *y = &world.objects[container];
    int object;

    sim_check_access(rank, container);
    if (y->nested_count == 0 || sim_is_orphan(rank, container))
        return;
    object = y->nested[sim_below((unsigned)y->nested_count)];
    sim_trace("rank %d takes object %d out of %d", rank, object, container);
    sim_hold(rank, container);
    world.guards[rank][container][world.objects[object].owner]++;
    if (sim_accept(rank, object, rank, container) && sim_broken(RULE_GUARD))
        sim_drop_cover_early(rank, container);
    sim_user_ref_add(rank, object);
}
