/* Many hosts that read one block: later readers are sent to earlier ones. Ranks 1 to 3 are on hosts of their
 * own. */
#define NODE_RANKS 4
#define NODE_STORE (16 << 20)
#include "net/net_internal.h"
#include "task/task_present.h"
#include "task_node.h"

#define PULLS 16
#define SMALL (3 * RANGE_BYTES + 40) /* bytes: a copy that rank 0 fetches */

/* What a rank was asked for and told. */
struct far {
    struct pull pulls[PULLS];
    int pulled, reads, refusals, stale, elsewheres;
    struct elsewhere elsewhere;
    uint64_t got;
    bool wrong; /* bytes */
};

static struct task_node node;
static struct far far[NODE_RANKS];
static char *content;
static const struct stored far_block = {{0, 5, 3}, 1, 0};

static void on_pull(void *arg, const struct net_message *message)
{
    struct far *to = arg;
    CU_ASSERT_FATAL(message->length == sizeof *to->pulls && to->pulled < PULLS);
    memcpy(&to->pulls[to->pulled++], message->data, message->length);
}

static void on_chunk(void *arg, const struct net_message *message)
{
    struct far *to = arg;
    struct chunk chunk;
    uint64_t length = message->length - sizeof chunk;
    memcpy(&chunk, message->data, sizeof chunk);
    to->refusals += length == 0;
    to->got += length;
    if (length > 0 && memcmp((const char *)message->data + sizeof chunk, content + chunk.offset, length) != 0)
        to->wrong = true;
}

static void on_elsewhere(void *arg, const struct net_message *message)
{
    struct far *to = arg;
    CU_ASSERT_FATAL(message->length == sizeof to->elsewhere);
    memcpy(&to->elsewhere, message->data, message->length);
    to->elsewheres++;
}

static void on_read(void *arg, const struct net_message *message)
{
    (void)message;
    ((struct far *)arg)->reads++;
}

static void on_stale(void *arg, const struct net_message *message)
{
    (void)message;
    ((struct far *)arg)->stale++;
}

static void begin(void)
{
    static const int host_of[] = {0, 1, 2, 3}, ranks[] = {0}, local_of[] = {0, -1, -1, -1};
    static const struct net_map map = {
        .size = NODE_RANKS, .hosts = NODE_RANKS, .host_of = host_of, .locals = 1, .ranks = ranks};
    CU_ASSERT_FATAL(task_functions_build() == RAYMPI_OK);
    node_open(&node);
    node.net[0]->map = &map;
    node.net[0]->local_of = local_of;
    memset(far, 0, sizeof far);
    for (int rank = 1; rank < NODE_RANKS; rank++) {
        net_handle(node.net[rank], TASK_MESSAGE_PULL, on_pull, &far[rank]);
        net_handle(node.net[rank], TASK_MESSAGE_CHUNK, on_chunk, &far[rank]);
        net_handle(node.net[rank], TASK_MESSAGE_ELSEWHERE, on_elsewhere, &far[rank]);
        net_handle(node.net[rank], TASK_MESSAGE_READ, on_read, &far[rank]);
        net_handle(node.net[rank], TASK_MESSAGE_STALE, on_stale, &far[rank]);
    }
    content = malloc(TREE_BYTES);
    for (uint64_t i = 0; i < TREE_BYTES; i++)
        content[i] = (char)(i * 7 + i / 1000);
}

static void end(void)
{
    free(content);
    node_close(&node);
    task_functions_clear();
}

static uint64_t blocks(void)
{
    struct store_counters counters;
    store_collect(node.room->store);
    store_counters(node.room->store, &counters);
    return counters.blocks + counters.waiting;
}

static void pull(int rank, const struct stored *at, uint64_t offset, uint64_t length, uint64_t serial)
{
    const struct pull wish = {*at, offset, length, serial};
    node_receive_from(&node, rank, lease_on_pull, &wish, sizeof wish);
    node_settle(&node);
}

/* ---- the holder */

static struct value own_value(uint64_t length)
{
    struct value value;
    void *data;
    CU_ASSERT_FATAL(value_create(node.room, &value, length, 0, &data) == RAYMPI_OK);
    memcpy(data, content, length);
    value_seal(node.room, &value);
    return value;
}

static void later_readers_are_sent_to_earlier_ones(void)
{
    begin();
    struct value value = own_value(TREE_BYTES);
    const struct stored at = value.u.store.at;
    pull(1, &at, 0, 100, 11);
    pull(2, &at, 0, 100, 22);
    CU_ASSERT_EQUAL(far[1].got, 100);
    CU_ASSERT_EQUAL(far[2].got, 100);
    pull(3, &at, 0, 100, 33);
    pull(3, &at, 100, 100, 33); /* which was on its way */
    CU_ASSERT_EQUAL_FATAL(far[3].elsewheres, 1);
    CU_ASSERT_EQUAL(far[3].got, 0);
    CU_ASSERT_EQUAL(far[3].refusals, 0);
    CU_ASSERT_EQUAL(far[3].elsewhere.rank, 1);
    CU_ASSERT_EQUAL(far[3].elsewhere.serial, 11);
    pull(3, &at, 0, 100, 33); /* again: to the other one */
    CU_ASSERT_EQUAL(far[3].elsewheres, 2);
    CU_ASSERT_EQUAL(far[3].elsewhere.rank, 2);
    CU_ASSERT_EQUAL(far[3].elsewhere.serial, 22);
    pull(3, &at, 100, 100, 0); /* who has not got it there is served */
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
    end();
}

static void who_is_sent_on_hears_of_the_end(void)
{
    begin();
    struct value value = own_value(TREE_BYTES);
    const struct stored at = value.u.store.at;
    pull(1, &at, 0, 100, 11);
    pull(2, &at, 0, 100, 22);
    pull(3, &at, 0, 100, 33);
    value_drop(node.room, &value, true);
    pull(3, &at, 0, 100, 33); /* while others read it: it is freed, and lent to nobody else */
    CU_ASSERT_EQUAL(far[3].elsewheres, 1);
    CU_ASSERT_EQUAL(far[3].refusals, 1);
    CU_ASSERT_EQUAL(far[3].stale, 1);
    node_receive_from(&node, 1, lease_on_read, &at, sizeof at);
    node_receive_from(&node, 2, lease_on_read, &at, sizeof at);
    CU_ASSERT_EQUAL(blocks(), 0);
    end();
}

static void short_ones_and_few_readers_are_served(void)
{
    begin();
    struct value small = own_value(TREE_BYTES - 1), large = own_value(TREE_BYTES);
    for (int rank = 1; rank < NODE_RANKS; rank++)
        pull(rank, &small.u.store.at, 0, 100, 7);
    for (int rank = 1; rank < NODE_RANKS; rank++) { /* one after another */
        pull(rank, &large.u.store.at, 0, 100, 7);
        node_receive_from(&node, rank, lease_on_read, &large.u.store.at, sizeof large.u.store.at);
        CU_ASSERT_EQUAL(far[rank].elsewheres, 0);
        CU_ASSERT_EQUAL(far[rank].got, 200);
    }
    pull(1, &large.u.store.at, 0, 100, 0);
    pull(2, &large.u.store.at, 0, 100, 8);
    pull(3, &large.u.store.at, 0, 100, 8);
    CU_ASSERT_EQUAL(far[3].elsewhere.rank, 1); /* by its copy of before */
    CU_ASSERT_EQUAL(far[3].elsewhere.serial, 7);
    end();
}

/* ---- who has a copy, or a part of it */

static void chunk(int source, uint64_t offset, uint64_t length)
{
    struct chunk head = {.at = far_block, .offset = offset};
    struct net_piece pieces[] = {{&head, sizeof head}, {content + offset, length}};
    CU_ASSERT_EQUAL(net_send(node.net[source], 0, TASK_MESSAGE_CHUNK, pieces, 2), RAYMPI_OK);
    node_settle(&node);
}

/* Bytes of the copy that rank 0 fetches, from `source`. */
static void chunks(int source, uint64_t from, uint64_t to)
{
    while (from < to) {
        uint64_t left = to - from, range = RANGE_BYTES - from % RANGE_BYTES;
        uint64_t length = left < range ? left : range;
        chunk(source, from, length < 10000 ? length : 10000);
        from += length < 10000 ? length : 10000;
    }
}

static struct value fetched(uint64_t length)
{
    struct value value = {.kind = VALUE_STORE, .type = RAYMPI_KIND_BYTES, .length = length};
    value.u.store.at = far_block;
    value_fetch(node.room, &value);
    node_settle(&node);
    CU_ASSERT_FATAL(far[1].pulled > 0);
    CU_ASSERT(far[1].pulls[0].serial != 0);
    return value;
}

static bool is_here(struct value *value)
{
    const void *data;
    uint64_t length;
    if (value_pin_now(node.room, value, &data, &length) != RAYMPI_OK)
        return false;
    bool right = length == value->length && memcmp(data, content, length) == 0;
    value_unpin(node.room, value);
    return right;
}

static void what_has_come_is_served(void)
{
    begin();
    struct value value = fetched(SMALL);
    uint64_t serial = far[1].pulls[0].serial;
    for (uint64_t from = 0; from < SMALL; from += RANGE_BYTES)
        pull(2, &far_block, from, SMALL - from < RANGE_BYTES ? SMALL - from : RANGE_BYTES, serial);
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
    end();
}

static void a_copy_that_is_here_is_lent(void)
{
    begin();
    struct value value = fetched(SMALL);
    uint64_t serial = far[1].pulls[0].serial;
    chunks(1, 0, SMALL);
    pull(2, &far_block, 0, 1000, serial);
    CU_ASSERT_EQUAL(far[2].got, 1000);
    task_make_room(node.room, SMALL);
    CU_ASSERT(is_here(&value));
    node_receive_from(&node, 2, lease_on_read, &far_block, sizeof far_block);
    task_make_room(node.room, SMALL);
    CU_ASSERT_FALSE(is_here(&value));
    pull(2, &far_block, 0, 1000, serial);
    CU_ASSERT_EQUAL(far[2].refusals, 1);
    value = fetched(SMALL); /* another copy: whoever waits for the one before must not wait for it */
    pull(2, &far_block, 0, 1000, serial);
    CU_ASSERT_EQUAL(far[2].refusals, 2);
    CU_ASSERT_EQUAL(far[2].got, 1000);
    end();
}

static void who_reads_a_copy_that_fails_is_told(void)
{
    begin();
    struct value value = fetched(SMALL);
    uint64_t serial = far[1].pulls[0].serial;
    pull(2, &far_block, 0, 1000, serial);
    pull(2, &far_block, RANGE_BYTES, 1000, serial);
    chunks(1, 0, RANGE_BYTES);
    CU_ASSERT_EQUAL(far[2].got, 1000);
    chunk(1, RANGE_BYTES, 0);
    CU_ASSERT_EQUAL(far[2].refusals, 1);
    CU_ASSERT_FALSE(is_here(&value));
    CU_ASSERT_EQUAL(blocks(), 0);
    CU_ASSERT_EQUAL(node.room->present->ranges, 0);
    end();
}

/* ---- who is sent elsewhere */

static void sent_to(int rank, uint64_t serial)
{
    const struct elsewhere elsewhere = {far_block, serial, rank, 0};
    node_receive(&node, copy_on_elsewhere, &elsewhere, sizeof elsewhere);
    node_settle(&node);
}

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
    end();
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
    end();
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
    end();
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
        {"wrong words are ignored", wrong_words_are_ignored},
    };
    return UNIT_MAIN("task: tree", tests);
}
