/* Leases on fabrics that pin memory: what is open is told with the lease, and closed with it; where it can
 * not be opened, or is not where the reader asks, values come in messages. Ranks 1 to 3 are on hosts of their
 * own. */
#define NODE_RANKS 4
#define NODE_STORE (48 << 20)
#include "far_ranks.h"

/* ---- the holder */

static void begin_one_sided(void)
{
    begin();
    one_sided = true;
}

static void a_lease_has_its_range_open(void)
{
    void *data;
    uint64_t offset, length;
    begin_one_sided();
    struct value value = own_value(TREE_BYTES, &data);
    const struct stored at = *value_stored(&value);
    pull_by(1, &at, 0, 0, 11);
    pull_by(2, &at, 0, 0, 22);
    CU_ASSERT_EQUAL(ranges_open, 2);
    for (int rank = 1; rank < 3; rank++) {
        const struct leased *leased = &far[rank].leased;
        CU_ASSERT_EQUAL_FATAL(far[rank].leases, 1);
        CU_ASSERT_EQUAL(leased->closed, 0);
        store_extents_of(node.room->store, at.place, &offset, &length);
        CU_ASSERT_EQUAL(leased->pass.offset, offset);
        CU_ASSERT_EQUAL(leased->pass.length, length);
        CU_ASSERT(offset <= leased->offset && leased->offset + TREE_BYTES <= offset + length);
        CU_ASSERT_EQUAL(leased->pass.key, 11);
        CU_ASSERT_EQUAL(leased->pass.base, 22);
    }
    pull_by(1, &at, 0, 0, 11); /* once more: what is open is told again */
    CU_ASSERT_EQUAL(far[1].leases, 2);
    CU_ASSERT_EQUAL(far[1].leased.pass.key, 11);
    CU_ASSERT_EQUAL(ranges_asked, 2);
    node_receive_from(&node, 1, lease_on_read, &at, sizeof at);
    CU_ASSERT_EQUAL(ranges_open, 1);
    value_drop(node.room, &value, true);
    CU_ASSERT_EQUAL(ranges_open, 1);
    node_receive_from(&node, 2, lease_on_read, &at, sizeof at);
    CU_ASSERT_EQUAL(ranges_open, 0);
    CU_ASSERT_EQUAL(blocks(), 0);
    far_end();
}

static void leases_that_are_left_are_closed_with_the_room(void)
{
    void *data;
    begin_one_sided();
    struct value value = own_value(TREE_BYTES, &data);
    pull_by(1, value_stored(&value), 0, 0, 11);
    CU_ASSERT_EQUAL(ranges_open, 1);
    far_end();
    CU_ASSERT_EQUAL(ranges_open, 0);
}

static void what_can_not_be_opened_is_served_in_messages(void)
{
    void *data;
    begin_one_sided();
    ranges_shut = true;
    struct value value = own_value(TREE_BYTES, &data);
    const struct stored at = *value_stored(&value);
    pull_by(1, &at, 0, 0, 11);
    CU_ASSERT_EQUAL(far[1].leases, 1);
    CU_ASSERT_EQUAL(far[1].leased.status, RAYMPI_OK);
    CU_ASSERT_EQUAL(far[1].leased.closed, 1);
    pull_by(1, &at, 0, RANGE_BYTES, 11);
    CU_ASSERT_EQUAL(far[1].got, RANGE_BYTES);
    CU_ASSERT_FALSE(far[1].wrong);
    node_receive_from(&node, 1, lease_on_read, &at, sizeof at);
    value_drop(node.room, &value, true);
    CU_ASSERT_EQUAL(blocks(), 0);
    far_end();
}

static void a_block_that_is_gone_opens_nothing(void)
{
    void *data;
    begin_one_sided();
    struct value value = own_value(TREE_BYTES, &data);
    const struct stored at = *value_stored(&value);
    value_drop(node.room, &value, true);
    pull_by(1, &at, 0, 0, 11);
    CU_ASSERT_EQUAL(far[1].leased.status, RAYMPI_ERR_LOST);
    CU_ASSERT_EQUAL(ranges_asked, 0);
    far_end();
}

/* ---- the reader */

static void the_pass_is_shown(void)
{
    begin_one_sided();
    struct value value = fetched(STEPS);
    lease_as(1, (struct leased){.ready = STEPS, .pass = {4096, STEPS, 33, 44}});
    for (uint64_t at = 0; at < STEPS; at += STEP_BYTES) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(reading);
        CU_ASSERT_EQUAL(reading->pass.key, 33);
        CU_ASSERT_EQUAL(reading->pass.base, 44);
        CU_ASSERT_EQUAL(reading->pass.length, STEPS);
        read_ends(1, at, STEPS - at < STEP_BYTES ? STEPS - at : STEP_BYTES, RAYMPI_OK);
    }
    CU_ASSERT(is_here(&value));
    far_end();
}

static void memory_is_open_while_something_comes(void)
{
    begin_one_sided();
    struct value value = fetched(STEPS);
    CU_ASSERT_EQUAL(memory_open, 0);
    lease(1, STEPS);
    for (uint64_t at = 0; at < STEPS; at += STEP_BYTES) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(reading);
        CU_ASSERT_EQUAL(memory_open, 1);
        CU_ASSERT_PTR_EQUAL(reading->into.region, &memory_open);
        CU_ASSERT(memory_at <= (char *)reading->to);
        CU_ASSERT((char *)reading->to + reading->length <= memory_at + memory_length);
        read_ends(1, at, STEPS - at < STEP_BYTES ? STEPS - at : STEP_BYTES, RAYMPI_OK);
    }
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(memory_open, 0);
    far_end();
}

/* Unless late bytes may still come there. */
static void memory_is_closed_when_nothing_comes_any_more(void)
{
    static const int causes[] = {RAYMPI_ERR_MPI, RAYMPI_ERR_NODE_DIED};
    for (int i = 0; i < 2; i++) {
        begin_one_sided();
        struct value value = fetched(STEPS);
        lease(1, STEPS);
        read_ends(1, 0, STEP_BYTES, causes[i]);
        CU_ASSERT_FALSE(is_here(&value));
        CU_ASSERT_EQUAL(memory_open, causes[i] == RAYMPI_ERR_NODE_DIED);
        far_end();
    }
}

/* All of it was asked for in ranges. */
static bool asked_in_ranges(const struct far *of, int first, uint64_t from, uint64_t to)
{
    for (int i = first; i < of->pulled; i++) {
        if (of->pulls[i].offset != from || of->pulls[i].length == 0)
            return false;
        from += of->pulls[i].length;
    }
    return from == to;
}

static void what_is_closed_comes_in_messages(void)
{
    begin_one_sided();
    struct value value = fetched(SMALL);
    CU_ASSERT_EQUAL(far[1].pulls[0].length, 0);
    lease_as(1, (struct leased){.ready = SMALL, .closed = 1});
    CU_ASSERT_PTR_NULL(reading);
    CU_ASSERT(asked_in_ranges(&far[1], 1, 0, SMALL));
    int kept = quiet_begin();
    lease(1, SMALL); /* which nobody has asked for */
    quiet_end(kept);
    CU_ASSERT_PTR_NULL(reading);
    chunks(1, 0, SMALL);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(far[1].reads, 1);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    task_make_room(node.room, SMALL);
    value = fetched(SMALL); /* the next time it is asked one-sidedly again */
    CU_ASSERT_EQUAL(far[1].pulls[far[1].pulled - 1].length, 0);
    far_end();
}

static void what_can_not_come_one_sidedly_comes_in_messages(void)
{
    begin_one_sided();
    memory_shut = true;
    struct value value = fetched(SMALL);
    lease(1, SMALL);
    CU_ASSERT_PTR_NULL(reading);
    CU_ASSERT(asked_in_ranges(&far[1], 1, 0, SMALL));
    chunks(1, 0, SMALL);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(far[1].reads, 1);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    CU_ASSERT_EQUAL(atomic_load(&node.room->present->pending), 0);
    far_end();
}

static void others_may_have_it_open(void)
{
    begin_one_sided();
    struct value value = fetched(SMALL);
    sent_to(2, 77);
    lease_as(2, (struct leased){.ready = SMALL, .closed = 1});
    CU_ASSERT(asked_in_ranges(&far[2], 1, 0, SMALL));
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    chunks(2, 0, RANGE_BYTES + 500);
    int before = far[1].pulled;
    chunk(2, RANGE_BYTES + 500, 0); /* its copy is gone */
    CU_ASSERT_EQUAL_FATAL(far[1].pulled, before + 1);
    CU_ASSERT_EQUAL(far[1].pulls[before].length, 0);
    lease(1, SMALL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(reading);
    read_ends(1, reading->offset - 4096, reading->length, RAYMPI_OK);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    far_end();
}

/* Rank 3 reads what rank 0 has of it, some of which was read one-sidedly. */
static void what_was_read_before_stays(void)
{
    begin_one_sided();
    struct value value = fetched(STEPS);
    uint64_t serial = far[1].pulls[0].serial, whole = STEP_BYTES - STEP_BYTES % RANGE_BYTES;
    lease(1, STEP_BYTES);
    pull_by(3, &far_block, 0, 0, serial);
    read_ends(1, 0, STEP_BYTES, RAYMPI_OK);
    CU_ASSERT_EQUAL(far[3].leased.ready, STEP_BYTES);
    int before = far[1].pulled;
    lease_as(1, (struct leased){.ready = STEPS, .closed = 1});
    CU_ASSERT_EQUAL(far[1].pulls[before].offset, whole);
    for (uint64_t at = whole; at < STEPS; at += RANGE_BYTES)
        chunks(1, at, STEPS - at < RANGE_BYTES ? STEPS : at + RANGE_BYTES);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(ranges_open, 1);
    node_receive_from(&node, 3, lease_on_read, &far_block, sizeof far_block);
    CU_ASSERT_EQUAL(ranges_open, 0);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    far_end();
}

/* A copy that has not come ends the lease of who reads it. */
static void a_lease_of_a_lost_copy_is_closed(void)
{
    begin_one_sided();
    struct value value = fetched(STEPS);
    lease(1, STEPS);
    pull_by(2, &far_block, 0, 0, far[1].pulls[0].serial);
    read_ends(1, 0, STEP_BYTES, RAYMPI_OK);
    CU_ASSERT_EQUAL(ranges_open, 1);
    pull_by(2, &far_block, STEP_BYTES, 0, far[1].pulls[0].serial);
    read_ends(1, STEP_BYTES, STEP_BYTES, RAYMPI_ERR_MPI);
    CU_ASSERT_EQUAL(far[2].leased.status, RAYMPI_ERR_LOST);
    CU_ASSERT_EQUAL(ranges_open, 0);
    CU_ASSERT_FALSE(is_here(&value));
    CU_ASSERT_EQUAL(blocks(), 0);
    far_end();
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"a lease has its range open", a_lease_has_its_range_open},
        {"leases that are left are closed with the room", leases_that_are_left_are_closed_with_the_room},
        {"what can not be opened is served in messages", what_can_not_be_opened_is_served_in_messages},
        {"a block that is gone opens nothing", a_block_that_is_gone_opens_nothing},
        {"the pass is shown", the_pass_is_shown},
        {"memory is open while something comes", memory_is_open_while_something_comes},
        {"memory is closed when nothing comes any more", memory_is_closed_when_nothing_comes_any_more},
        {"what is closed comes in messages", what_is_closed_comes_in_messages},
        {"what can not come one-sidedly comes in messages", what_can_not_come_one_sidedly_comes_in_messages},
        {"others may have it open", others_may_have_it_open},
        {"what was read before stays", what_was_read_before_stays},
        {"a lease of a lost copy is closed", a_lease_of_a_lost_copy_is_closed},
    };
    return UNIT_MAIN("task: ranges", tests);
}
