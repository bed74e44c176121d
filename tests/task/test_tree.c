/* Many hosts that read one block: later readers are sent to earlier ones. Ranks 1 to 3 are on hosts of their
 * own. */
#define NODE_RANKS 4
#define NODE_STORE (48 << 20)
#include "far_ranks.h"

/* ---- the holder */

static void later_readers_are_sent_to_earlier_ones(void)
{
    void *data;
    begin();
    struct value value = own_value(TREE_BYTES, &data);
    const struct stored at = value.u.at;
    pull_by(1, &at, 0, 100, 11);
    pull_by(2, &at, 0, 100, 22);
    CU_ASSERT_EQUAL(far[1].got, 100);
    CU_ASSERT_EQUAL(far[2].got, 100);
    pull_by(3, &at, 0, 100, 33);
    pull_by(3, &at, 100, 100, 33); /* which was on its way */
    CU_ASSERT_EQUAL_FATAL(far[3].elsewheres, 1);
    CU_ASSERT_EQUAL(far[3].got, 0);
    CU_ASSERT_EQUAL(far[3].refusals, 0);
    CU_ASSERT_EQUAL(far[3].elsewhere.rank, 1);
    CU_ASSERT_EQUAL(far[3].elsewhere.serial, 11);
    pull_by(3, &at, 0, 100, 33); /* again: to the other one */
    CU_ASSERT_EQUAL(far[3].elsewheres, 2);
    CU_ASSERT_EQUAL(far[3].elsewhere.rank, 2);
    CU_ASSERT_EQUAL(far[3].elsewhere.serial, 22);
    pull_by(3, &at, 100, 100, 0); /* who has not got it there is served */
    CU_ASSERT_EQUAL(far[3].got, 100);
    for (int rank = 1; rank < NODE_RANKS; rank++) {
        node_receive_from(&node, rank, lease_on_read, &at, sizeof at);
        CU_ASSERT_FALSE(far[rank].wrong);
    }
    value_drop(node.room, &value, true);
    node_settle(&node);
    for (int rank = 1; rank < NODE_RANKS; rank++)
        CU_ASSERT_EQUAL(far[rank].stale, 1);
    CU_ASSERT_EQUAL(blocks(), 0);
    far_end();
}

static void who_is_sent_on_hears_of_the_end(void)
{
    void *data;
    begin();
    struct value value = own_value(TREE_BYTES, &data);
    const struct stored at = value.u.at;
    pull_by(1, &at, 0, 100, 11);
    pull_by(2, &at, 0, 100, 22);
    pull_by(3, &at, 0, 100, 33);
    value_drop(node.room, &value, true);
    pull_by(3, &at, 0, 100, 33); /* while others read it: it is freed, and lent to nobody else */
    CU_ASSERT_EQUAL(far[3].elsewheres, 1);
    CU_ASSERT_EQUAL(far[3].refusals, 1);
    CU_ASSERT_EQUAL(far[3].stale, 1);
    node_receive_from(&node, 1, lease_on_read, &at, sizeof at);
    node_receive_from(&node, 2, lease_on_read, &at, sizeof at);
    CU_ASSERT_EQUAL(blocks(), 0);
    far_end();
}

static void short_ones_and_few_readers_are_served(void)
{
    void *data;
    begin();
    struct value small = own_value(TREE_BYTES - 1, &data), large = own_value(TREE_BYTES, &data);
    for (int rank = 1; rank < NODE_RANKS; rank++)
        pull_by(rank, &small.u.at, 0, 100, 7);
    for (int rank = 1; rank < NODE_RANKS; rank++) { /* one after another */
        pull_by(rank, &large.u.at, 0, 100, 7);
        node_receive_from(&node, rank, lease_on_read, &large.u.at, sizeof large.u.at);
        CU_ASSERT_EQUAL(far[rank].elsewheres, 0);
        CU_ASSERT_EQUAL(far[rank].got, 200);
    }
    pull_by(1, &large.u.at, 0, 100, 0);
    pull_by(2, &large.u.at, 0, 100, 8);
    pull_by(3, &large.u.at, 0, 100, 8);
    CU_ASSERT_EQUAL(far[3].elsewhere.rank, 1); /* by its copy of before */
    CU_ASSERT_EQUAL(far[3].elsewhere.serial, 7);
    far_end();
}

/* ---- who has a copy, or a part of it */

static void what_has_come_is_served(void)
{
    begin();
    struct value value = fetched(SMALL);
    uint64_t serial = far[1].pulls[0].serial;
    for (uint64_t from = 0; from < SMALL; from += RANGE_BYTES)
        pull_by(2, &far_block, from, SMALL - from < RANGE_BYTES ? SMALL - from : RANGE_BYTES, serial);
    CU_ASSERT_EQUAL(far[2].got, 0);
    chunks(1, 0, RANGE_BYTES - 1);
    CU_ASSERT_EQUAL(far[2].got, 0);
    chunks(1, RANGE_BYTES - 1, 2 * RANGE_BYTES);
    CU_ASSERT_EQUAL(far[2].got, 2 * RANGE_BYTES);
    node_receive(&node, copy_on_stale, &far_block.place, sizeof far_block.place);
    chunks(1, 2 * RANGE_BYTES, SMALL);
    CU_ASSERT_EQUAL(far[2].got, SMALL);
    CU_ASSERT_FALSE(far[2].wrong);
    CU_ASSERT(is_here(&value)); /* as long as rank 2 reads it */
    task_make_room(node.room, SMALL);
    CU_ASSERT_EQUAL(blocks(), 1);
    node_receive_from(&node, 2, lease_on_read, &far_block, sizeof far_block);
    CU_ASSERT_EQUAL(blocks(), 0);
    far_end();
}

static void a_copy_that_is_here_is_lent(void)
{
    begin();
    struct value value = fetched(SMALL);
    uint64_t serial = far[1].pulls[0].serial;
    chunks(1, 0, SMALL);
    pull_by(2, &far_block, 0, 1000, serial);
    CU_ASSERT_EQUAL(far[2].got, 1000);
    task_make_room(node.room, SMALL);
    CU_ASSERT(is_here(&value));
    node_receive_from(&node, 2, lease_on_read, &far_block, sizeof far_block);
    task_make_room(node.room, SMALL);
    CU_ASSERT_FALSE(is_here(&value));
    pull_by(2, &far_block, 0, 1000, serial);
    CU_ASSERT_EQUAL(far[2].refusals, 1);
    value = fetched(SMALL); /* another copy: whoever waits for the one before must not wait for it */
    pull_by(2, &far_block, 0, 1000, serial);
    CU_ASSERT_EQUAL(far[2].refusals, 2);
    CU_ASSERT_EQUAL(far[2].got, 1000);
    far_end();
}

static void who_reads_a_copy_that_fails_is_told(void)
{
    begin();
    struct value value = fetched(SMALL);
    uint64_t serial = far[1].pulls[0].serial;
    pull_by(2, &far_block, 0, 1000, serial);
    pull_by(2, &far_block, RANGE_BYTES, 1000, serial);
    chunks(1, 0, RANGE_BYTES);
    CU_ASSERT_EQUAL(far[2].got, 1000);
    chunk(1, RANGE_BYTES, 0);
    CU_ASSERT_EQUAL(far[2].refusals, 1);
    CU_ASSERT_FALSE(is_here(&value));
    CU_ASSERT_EQUAL(blocks(), 0);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    far_end();
}

/* ---- who is sent elsewhere */

static void it_is_read_elsewhere(void)
{
    begin();
    struct value value = fetched(SMALL);
    sent_to(2, 77);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    CU_ASSERT(far[2].pulled > 0);
    CU_ASSERT_EQUAL(far[2].pulls[0].serial, 77);
    CU_ASSERT_EQUAL(far[2].pulls[0].offset, 0);
    int kept = quiet_begin();
    chunk(1, 0, 1000); /* from where it is not read any more */
    quiet_end(kept);
    chunks(2, 0, SMALL);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(far[2].reads, 1);
    CU_ASSERT_EQUAL(far[1].reads, 0);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    far_end();
}

static void where_it_is_gone_the_holder_is_asked_again(void)
{
    begin();
    struct value value = fetched(SMALL);
    sent_to(2, 77);
    chunks(2, 0, RANGE_BYTES + 500);
    int before = far[1].pulled;
    chunk(2, RANGE_BYTES + 500, 0);
    chunk(2, RANGE_BYTES + 500, 0); /* the other ranges */
    CU_ASSERT_FATAL(far[1].pulled > before);
    CU_ASSERT_EQUAL(far[1].pulls[before].serial, 0);
    CU_ASSERT_EQUAL(far[1].pulls[before].offset, RANGE_BYTES);
    int kept = quiet_begin();
    sent_to(3, 5); /* once more he may not */
    quiet_end(kept);
    CU_ASSERT_EQUAL(far[3].pulled, 0);
    chunks(1, RANGE_BYTES, SMALL);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(far[1].reads, 1);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    far_end();
}

/* ---- one-sidedly */

static void it_is_read_in_steps_and_lent_meanwhile(void)
{
    begin();
    one_sided = true;
    struct value value = fetched(STEPS);
    uint64_t serial = far[1].pulls[0].serial;
    lease(1, STEPS);
    pull_by(2, &far_block, 0, 0, serial);
    CU_ASSERT_EQUAL(far[2].leases, 0);
    read_ends(1, 0, STEP_BYTES, RAYMPI_OK);
    CU_ASSERT_EQUAL(far[2].leases, 1);
    CU_ASSERT_EQUAL(far[2].leased.status, RAYMPI_OK);
    CU_ASSERT_EQUAL(far[2].leased.ready, STEP_BYTES);
    pull_by(2, &far_block, STEP_BYTES, 0, serial);
    CU_ASSERT_EQUAL(far[2].leases, 1);
    read_ends(1, STEP_BYTES, STEP_BYTES, RAYMPI_OK);
    read_ends(1, 2 * STEP_BYTES, 40, RAYMPI_OK);
    CU_ASSERT_EQUAL(far[2].leases, 2);
    CU_ASSERT(far[2].leased.ready >= 2 * STEP_BYTES);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(far[1].pulled, 1);
    CU_ASSERT_EQUAL(far[1].reads, 1);
    node_receive_from(&node, 2, lease_on_read, &far_block, sizeof far_block);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    far_end();
}

/* From another rank than the holder as far as that has it, then it is asked again. */
static void it_is_read_as_far_as_it_has_come(void)
{
    begin();
    one_sided = true;
    struct value value = fetched(STEPS);
    sent_to(2, 77);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    lease(2, STEP_BYTES);
    read_ends(2, 0, STEP_BYTES, RAYMPI_OK);
    CU_ASSERT_EQUAL_FATAL(far[2].pulled, 2);
    CU_ASSERT_EQUAL(far[2].pulls[1].offset, STEP_BYTES);
    CU_ASSERT_EQUAL(far[2].pulls[1].serial, 77);
    lease(2, STEPS);
    read_ends(2, STEP_BYTES, STEP_BYTES, RAYMPI_OK);
    read_ends(2, 2 * STEP_BYTES, 40, RAYMPI_OK);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(far[2].reads, 1);
    far_end();
}

/* Late bytes of a rank that has died may still come: the holder's go elsewhere. */
static void who_dies_is_replaced_by_the_holder(void)
{
    begin();
    one_sided = true;
    struct value value = fetched(STEPS);
    uint64_t serial = far[1].pulls[0].serial;
    sent_to(2, 77);
    lease(2, STEPS);
    const char *before = reading->to;
    pull_by(3, &far_block, 0, 0, serial);
    read_ends(2, 0, STEP_BYTES, RAYMPI_ERR_NODE_DIED);
    CU_ASSERT_EQUAL(far[3].leases, 1); /* who reads this copy asks the holder, too */
    CU_ASSERT_EQUAL(far[3].leased.status, RAYMPI_ERR_LOST);
    for (int tries = 0; tries < 1000 && far[1].pulled < 2; tries++) {
        task_present_look(node.room);
        node_settle(&node);
    }
    CU_ASSERT_EQUAL_FATAL(far[1].pulled, 2);
    CU_ASSERT_EQUAL(far[1].pulls[1].serial, 0);
    CU_ASSERT_EQUAL(far[1].pulls[1].offset, 0);
    lease(1, STEPS);
    CU_ASSERT(reading->to != before);
    read_ends(1, 0, STEP_BYTES, RAYMPI_OK);
    read_ends(1, STEP_BYTES, STEP_BYTES, RAYMPI_OK);
    read_ends(1, 2 * STEP_BYTES, 40, RAYMPI_OK);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    far_end();
}

static void a_lease_of_nothing_is_a_refusal(void)
{
    begin();
    one_sided = true;
    struct value value = fetched(STEPS);
    sent_to(2, 77);
    lease(2, STEPS + 1);
    CU_ASSERT_EQUAL_FATAL(far[1].pulled, 2);
    lease(1, 0);
    CU_ASSERT_PTR_NULL(reading);
    CU_ASSERT_FALSE(is_here(&value));
    CU_ASSERT_EQUAL(blocks(), 0);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    far_end();
}

static void wrong_words_are_ignored(void)
{
    static const struct stored unknown = {{0, 6, 3}, 1, 0};
    const struct elsewhere wrong[] = {
        {unknown, 7, 2, 0},   {far_block, 0, 2, 0},          {far_block, 7, 0, 0},
        {far_block, 7, 1, 0}, {far_block, 7, NODE_RANKS, 0}, {far_block, 7, -1, 0}};
    const struct elsewhere right = {far_block, 7, 2, 0};
    begin();
    struct value value = fetched(SMALL);
    int kept = quiet_begin();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        node_receive(&node, copy_on_elsewhere, &wrong[i], sizeof wrong[i]);
    node_receive(&node, copy_on_elsewhere, &right, sizeof right - 1);
    node_receive_from(&node, 3, copy_on_elsewhere, &right, sizeof right); /* not its holder */
    chunks(1, 0, 20000);
    node_receive(&node, copy_on_elsewhere, &right, sizeof right); /* too late */
    quiet_end(kept);
    chunks(1, 20000, SMALL);
    CU_ASSERT(is_here(&value));
    CU_ASSERT_EQUAL(far[2].pulled, 0);
    far_end();
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"later readers are sent to earlier ones", later_readers_are_sent_to_earlier_ones},
        {"who is sent on hears of the end", who_is_sent_on_hears_of_the_end},
        {"short ones and few readers are served", short_ones_and_few_readers_are_served},
        {"what has come is served", what_has_come_is_served},
        {"a copy that is here is lent", a_copy_that_is_here_is_lent},
        {"who reads a copy that fails is told", who_reads_a_copy_that_fails_is_told},
        {"it is read elsewhere", it_is_read_elsewhere},
        {"where it is gone the holder is asked again", where_it_is_gone_the_holder_is_asked_again},
        {"it is read in steps, and lent meanwhile", it_is_read_in_steps_and_lent_meanwhile},
        {"it is read as far as it has come", it_is_read_as_far_as_it_has_come},
        {"who dies is replaced by the holder", who_dies_is_replaced_by_the_holder},
        {"a lease of nothing is a refusal", a_lease_of_nothing_is_a_refusal},
        {"wrong words are ignored", wrong_words_are_ignored},
    };
    return UNIT_MAIN("task: tree", tests);
}
