/* RAYMPI_CHECKSUM between hosts: a copy that is not what was sealed is never shown, is fetched again, and
 * given up in the end. Rank 1 is the other side, on a host of its own; what it sends, and what is read of it
 * one-sidedly, can be corrupt. */
#include "base/base_fiber_tools.h"
#include "store/store_checksum.h"
#include "store/store_internal.h"
#include "far_reads.h"
#include "far_values.h"

#include <sched.h>

#define BORROWED (((uint64_t)1 << REFCOUNT_SEQUENCE_BITS) + 77)
#define PULLS    64
#define LONG     (3 * RANGE_BYTES + 40) /* bytes: some ranges and a rest */
#define WAITERS  3
#define ALWAYS   1000
#define OFFSET   UINT64_C(8192) /* where rank 1 says that the block lies */

/* What rank 1 was asked for and told, and how often it lies. */
static struct {
    struct pull pulls[PULLS];
    int pulled, served;
    int tries; /* how often it was asked for the block from its beginning on */
    int lies;  /* so many of them give a wrong byte */
    int read, corrupt;
    struct chunk chunk; /* the last one that it got, */
    char byte;          /* its first byte */
    int chunks;
    struct leased leased;
} other;

static int checks;
static bool crowded; /* memory is wanted as soon as a copy is sealed */

/* Meanwhile the copy can not be read, and who wants to can say so: no lock is held. */
bool __real_store_seal_copy(struct store *store, struct store_place place, uint64_t checksum,
                            uint64_t *found);
bool __wrap_store_seal_copy(struct store *store, struct store_place place, uint64_t checksum, uint64_t *found)
{
    const void *data;
    uint64_t length;
    struct value value = {.kind = VALUE_STORE, .type = RAYMPI_KIND_BYTES, .length = 1};
    value.u.at = far_block;
    CU_ASSERT_EQUAL(value_pin_now(node.room, &value, &data, &length), STORE_ON_DISK);
    value_fetch(node.room, &value);
    checks++;
    bool sealed = __real_store_seal_copy(store, place, checksum, found);
    if (crowded) {
        uint64_t coming;
        int status;
        CU_ASSERT_EQUAL(store_make_room(store, LONG, &coming, &status), 0);
        CU_ASSERT_EQUAL(status, RAYMPI_OK);
        CU_ASSERT_EQUAL(coming, 0);
    }
    return sealed;
}

/* ---- rank 1 */

static void on_pull(void *arg, const struct net_message *message)
{
    (void)arg;
    CU_ASSERT_FATAL(message->length == sizeof other.pulls[0] && other.pulled < PULLS);
    memcpy(&other.pulls[other.pulled], message->data, message->length);
    other.tries += other.pulls[other.pulled++].offset == 0;
}

static void on_read(void *arg, const struct net_message *message)
{
    (void)arg;
    CU_ASSERT_FATAL(message->length == sizeof far_block);
    other.read++;
}

static void on_corrupt(void *arg, const struct net_message *message)
{
    (void)arg;
    CU_ASSERT_FATAL(message->length == sizeof far_block);
    CU_ASSERT_EQUAL(memcmp(message->data, &far_block, sizeof far_block), 0);
    other.corrupt++;
}

static void on_chunk(void *arg, const struct net_message *message)
{
    (void)arg;
    CU_ASSERT_FATAL(message->length > sizeof other.chunk);
    memcpy(&other.chunk, message->data, sizeof other.chunk);
    other.byte = ((const char *)message->data)[sizeof other.chunk];
    other.chunks++;
}

static void on_leased(void *arg, const struct net_message *message)
{
    (void)arg;
    CU_ASSERT_FATAL(message->length == sizeof other.leased);
    memcpy(&other.leased, message->data, sizeof other.leased);
}

/* False: a build without checksums. */
static bool begin(bool reads)
{
    if (!store_checksum_there()) {
        printf("(no xxHash here) ");
        return false;
    }
    far_begin(LONG);
    CU_ASSERT_FATAL(store_checksums_open(node.room->store) == RAYMPI_OK);
    memset(&other, 0, sizeof other);
    one_sided = reads;
    reading = NULL;
    checks = 0;
    crowded = false;
    net_handle(node.net[1], TASK_MESSAGE_PULL, on_pull, NULL);
    net_handle(node.net[1], TASK_MESSAGE_READ, on_read, NULL);
    net_handle(node.net[1], TASK_MESSAGE_CORRUPT, on_corrupt, NULL);
    net_handle(node.net[1], TASK_MESSAGE_CHUNK, on_chunk, NULL);
    net_handle(node.net[1], TASK_MESSAGE_LEASED, on_leased, NULL);
    return true;
}

static void end(void)
{
    one_sided = false;
    far_end();
}

/* ---- what it sends */

/* One byte in the middle of what was asked for is wrong, as long as rank 1 lies. */
static void lie(char *bytes, uint64_t length)
{
    if (other.tries <= other.lies)
        bytes[length / 2] ^= 1;
}

static void send_range(const struct pull *pull, uint64_t extent)
{
    static char bytes[RANGE_BYTES];
    memcpy(bytes, content + pull->offset, pull->length);
    lie(bytes, pull->length);
    for (uint64_t at = 0; at < pull->length; at += 10000) {
        struct chunk chunk = {
            .at = far_block, .offset = pull->offset + at, .checksum = store_checksum(content, extent)};
        struct net_piece pieces[] = {{&chunk, sizeof chunk},
                                     {bytes + at, pull->length - at < 10000 ? pull->length - at : 10000}};
        CU_ASSERT_EQUAL(net_send(node.net[1], 0, TASK_MESSAGE_CHUNK, pieces, 2), RAYMPI_OK);
    }
    node_settle(&node);
}

static void be_read(uint64_t extent)
{
    struct leased leased = {
        .at = far_block, .offset = OFFSET, .ready = extent, .checksum = store_checksum(content, extent)};
    node_receive(&node, copy_on_leased, &leased, sizeof leased);
    struct net_read *read = reading;
    CU_ASSERT_PTR_NOT_NULL_FATAL(read);
    CU_ASSERT_EQUAL(read->offset, OFFSET);
    CU_ASSERT_EQUAL(read->length, extent);
    reading = NULL;
    memcpy(read->to, content, extent);
    lie(read->to, extent);
    read->done(read, RAYMPI_OK);
    node_settle(&node);
}

/* All that is asked for, and what is asked for then. */
static void serve(uint64_t extent)
{
    node_settle(&node);
    while (other.served < other.pulled) {
        const struct pull *pull = &other.pulls[other.served++];
        if (pull->length > 0)
            send_range(pull, extent);
        else
            be_read(extent);
    }
}

/* ---- the reader */

static void fetch(struct value *value)
{
    int kept = quiet_begin();
    value_fetch(node.room, value);
    serve(value->length);
    quiet_end(kept);
}

/* Nothing is left of what was fetched. */
static void nothing_is_left(void)
{
    struct task_copies copies;
    const struct task_present *present = node.room->present;
    task_copies_count(node.room, &copies);
    CU_ASSERT_EQUAL(blocks(), 0);
    CU_ASSERT_EQUAL(copies.bytes, 0);
    CU_ASSERT_PTR_NULL(present->copies);
    CU_ASSERT_PTR_NULL(present->asking);
    CU_ASSERT_PTR_NULL(present->idle);
    CU_ASSERT_EQUAL(present->ranges, 0);
    CU_ASSERT_EQUAL(atomic_load(&present->pending), 0);
}

static void comes_corrupt(bool reads, int lies)
{
    static const uint64_t lengths[] = {1, 70000, RANGE_BYTES, LONG};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct task_copies copies;
        if (!begin(reads))
            return;
        other.lies = lies;
        struct value value = far_value(lengths[i]);
        fetch(&value);
        CU_ASSERT(is_here(&value));
        CU_ASSERT_EQUAL(other.tries, lies + 1);
        CU_ASSERT_EQUAL(checks, lies + 1);
        CU_ASSERT_EQUAL(other.corrupt, lies);
        CU_ASSERT_EQUAL(other.read, 1);
        CU_ASSERT_EQUAL(blocks(), 1);
        task_copies_count(node.room, &copies);
        CU_ASSERT_EQUAL(copies.bytes, lengths[i]);
        CU_ASSERT_EQUAL(copies.fetched, lengths[i]);
        /* Who reads it from here gets the same checksum. */
        CU_ASSERT_EQUAL(store_checksum_of(node.room->store, (struct store_place){0, 0, 1}),
                        store_checksum(content, lengths[i]));
        end();
    }
}

static void a_copy_that_comes_corrupt_is_fetched_again(void)
{
    comes_corrupt(false, 0);
    comes_corrupt(false, 1);
    comes_corrupt(false, 2);
}

static void what_is_read_corrupt_is_read_again(void)
{
    comes_corrupt(true, 0);
    comes_corrupt(true, 1);
    comes_corrupt(true, 2);
}

static struct object *got_object;
static struct {
    int status;
    char text[512];
} got[WAITERS];
RAYMPI_TASK(waits)
{
    const void *data;
    uint64_t length;
    int64_t i = raympi_arg_int(ctx, 0);
    got[i].status = value_pin(node.room, &got_object->value, UINT64_MAX, &data, &length);
    snprintf(got[i].text, sizeof got[i].text, "%s", raympi_detail());
    if (got[i].status == RAYMPI_OK)
        value_unpin(node.room, &got_object->value);
    return raympi_return_int(ctx, 0, got[i].status);
}

static void is_always_corrupt(bool reads)
{
    raympi_ref refs[WAITERS];
    if (!begin(reads))
        return;
    got_object = object_accept(node.room, BORROWED, (struct task_id){{1, 2}}, 1, BORROWED);
    got_object->value = far_value(LONG);
    object_complete(node.room, got_object);
    other.lies = ALWAYS;
    int kept = quiet_begin();
    for (int64_t i = 0; i < WAITERS; i++) {
        got[i].status = 1;
        refs[i] = raympi_call(waits, i);
    }
    node_settle(&node);
    for (int i = 0; i < WAITERS; i++)
        CU_ASSERT_EQUAL(got[i].status, 1); /* all wait for the one fetch */
    serve(LONG);
    quiet_end(kept);
    CU_ASSERT_EQUAL(other.tries, 3);
    CU_ASSERT_EQUAL(other.corrupt + other.read, 3); /* each lease has ended */
    for (int i = 0; i < WAITERS; i++) {
        CU_ASSERT_EQUAL(got[i].status, RAYMPI_ERR_LOST);
        CU_ASSERT_PTR_NOT_NULL(strstr(got[i].text, "rank 1"));
        CU_ASSERT_PTR_NOT_NULL(strstr(got[i].text, reads ? "by rma" : "by pull"));
        CU_ASSERT_PTR_NOT_NULL(strstr(got[i].text, "corrupt"));
        CU_ASSERT_PTR_NOT_NULL(strstr(got[i].text, "RAYMPI_FETCH"));
        CU_ASSERT_EQUAL(raympi_release(refs[i]), RAYMPI_OK);
    }
    nothing_is_left();
    other.lies = 0; /* who asks later begins anew */
    fetch(&got_object->value);
    CU_ASSERT(is_here(&got_object->value));
    object_drop(node.room, got_object);
    end();
}

static void a_copy_that_is_always_corrupt_is_given_up(void)
{
    is_always_corrupt(false);
}

static void what_is_always_read_corrupt_is_given_up(void)
{
    is_always_corrupt(true);
}

static void a_corrupt_copy_of_a_block_that_is_gone(void)
{
    if (!begin(false))
        return;
    int kept = quiet_begin();
    struct value value = far_value(100);
    other.lies = 1;
    value_fetch(node.room, &value);
    node_settle(&node);
    send_range(&other.pulls[other.served++], 100);
    CU_ASSERT_EQUAL(other.pulled, 2);
    node_receive(&node, copy_on_stale, &far_block.place, sizeof far_block.place);
    serve(100);
    quiet_end(kept);
    CU_ASSERT_EQUAL(other.read, 1);
    nothing_is_left();
    end();
}

static void a_lease_that_is_malformed_is_dropped(void)
{
    struct leased leased = {.at = far_block, .offset = OFFSET, .checksum = 1};
    if (!begin(true))
        return;
    struct value value = far_value(100);
    int kept = quiet_begin();
    node_receive(&node, copy_on_leased, &leased, sizeof leased); /* nobody fetches it */
    value_fetch(node.room, &value);
    node_settle(&node);
    node_receive(&node, copy_on_leased, &leased, sizeof leased - 8);
    node_receive(&node, copy_on_leased, &leased, 0);
    quiet_end(kept);
    CU_ASSERT_PTR_NULL(reading);
    serve(100);
    CU_ASSERT(is_here(&value));
    end();
}

/* ---- the holder */

static void pull(const struct stored *at, uint64_t offset, uint64_t length)
{
    pull_by(1, at, offset, length, 0);
}

static void a_reader_is_told_what_was_sealed(void)
{
    void *data;
    if (!begin(false))
        return;
    struct value value = own_value(LONG, &data);
    const struct stored at = value.u.at;
    ((char *)data)[LONG / 2] ^= 1; /* after the seal, and before anybody reads it */
    const uint64_t checksum = store_checksum(content, LONG);
    pull(&at, 0, 8);
    CU_ASSERT_EQUAL(other.chunk.checksum, checksum);
    pull(&at, 0, 0);
    CU_ASSERT_EQUAL(other.leased.status, RAYMPI_OK);
    CU_ASSERT_EQUAL(other.leased.checksum, checksum);
    int kept = quiet_begin();
    node_receive(&node, lease_on_corrupt, &at, sizeof at); /* the only copy there is: it stays */
    quiet_end(kept);
    CU_ASSERT_EQUAL(store_checksum_of(node.room->store, at.place), checksum);
    CU_ASSERT_EQUAL(blocks(), 1);
    CU_ASSERT_PTR_NULL(node.room->present->leases);
    node_receive(&node, lease_on_corrupt, &at, sizeof at - 1);
    node_receive(&node, lease_on_corrupt, &far_block, sizeof far_block); /* none of this rank's */
    value_drop(node.room, &value, true);
    CU_ASSERT_EQUAL(blocks(), 0);
    end();
}

/* What a reader gets of the middle of it. */
static char middle_read(const struct stored *at)
{
    int before = other.chunks;
    pull(at, LONG / 2, 1);
    while (other.chunks == before) {
        task_present_look(node.room);
        node_settle(&node);
        sched_yield();
    }
    return other.byte;
}

static void memory_that_is_wrong_is_read_again_from_disk(void)
{
    void *data;
    if (!begin(false))
        return;
    struct value value = own_value(LONG, &data);
    const struct stored at = value.u.at;
    struct store *store = node.room->store;
    if (node_spill(&node, at.place)) {
        CU_ASSERT_EQUAL(middle_read(&at), content[LONG / 2]); /* is in memory again, and on disk */
        store->write[store_offset(store, at.place) - store->data_offset + LONG / 2] ^= 1;
        CU_ASSERT_NOT_EQUAL(middle_read(&at), content[LONG / 2]);
        int kept = quiet_begin();
        node_receive(&node, lease_on_corrupt, &at, sizeof at);
        quiet_end(kept);
        CU_ASSERT_EQUAL(middle_read(&at), content[LONG / 2]);
        node_receive(&node, lease_on_corrupt, &at, sizeof at); /* it is right: it stays in memory */
        struct store_look look;
        store_look(store, at.place, &look);
        CU_ASSERT(look.in_memory);
    } else {
        printf("(no disk here) ");
    }
    value_drop(node.room, &value, true);
    end();
}

static void memory_that_is_wrong_when_it_is_written_is_found(void)
{
    void *data;
    if (!begin(false))
        return;
    struct value value = own_value(LONG, &data);
    const struct stored at = value.u.at;
    ((char *)data)[LONG / 2] ^= 1;
    if (node_spill(&node, at.place)) {
        node.got[TASK_MESSAGE_CHUNK].count = 0;
        net_handle(node.net[1], TASK_MESSAGE_CHUNK, node_other_got, &node);
        pull(&at, 0, 8);
        while (node.got[TASK_MESSAGE_CHUNK].count == 0) {
            task_present_look(node.room);
            node_settle(&node);
            sched_yield();
        }
        CU_ASSERT_EQUAL(node.got[TASK_MESSAGE_CHUNK].length, sizeof(struct chunk)); /* refused */
    } else {
        printf("(no disk here) ");
    }
    value_drop(node.room, &value, true);
    end();
}

/* Whoever reads it pins it only after the seal. */
static void a_copy_is_not_spilled_before_it_is_shown(void)
{
    const struct store_spill_config config = {.directories = ".", .asked_for = true};
    uint64_t coming = 0;
    int status;
    if (!begin(false))
        return;
    int kept = quiet_begin();
    crowded = store_spill_open(node.room->store, &config) == RAYMPI_OK;
    quiet_end(kept);
    if (crowded) {
        struct value value = far_value(LONG);
        fetch(&value);
        CU_ASSERT_EQUAL(checks, 1);
        CU_ASSERT(store_make_room(node.room->store, LONG, &coming, &status) + coming >
                  0); /* afterwards it is */
    } else {
        printf("(no disk here) ");
    }
    end();
}

int main(void)
{
    static const struct unit_test tests[] = {
        {"a copy is not spilled before it is shown", a_copy_is_not_spilled_before_it_is_shown},
        {"a copy that comes corrupt is fetched again", a_copy_that_comes_corrupt_is_fetched_again},
        {"what is read corrupt is read again", what_is_read_corrupt_is_read_again},
        {"a copy that is always corrupt is given up", a_copy_that_is_always_corrupt_is_given_up},
        {"what is always read corrupt is given up", what_is_always_read_corrupt_is_given_up},
        {"a corrupt copy of a block that is gone", a_corrupt_copy_of_a_block_that_is_gone},
        {"a lease that is malformed is dropped", a_lease_that_is_malformed_is_dropped},
        {"a reader is told what was sealed", a_reader_is_told_what_was_sealed},
        {"memory that is wrong is read again from disk", memory_that_is_wrong_is_read_again_from_disk},
        {"memory that is wrong when it is written is found",
         memory_that_is_wrong_when_it_is_written_is_found},
    };
    return UNIT_MAIN("task: sums", tests);
}
