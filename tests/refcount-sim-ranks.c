/* Tables, channels, holds and arriving refs of the simulated ranks, and the truth beside them. */
#include "refcount-sim.h"

static struct letter letters[MAX_LETTERS];

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

static int object_of(uint64_t handle)
{
    return (int)(handle & ((1ull << REFCOUNT_SEQUENCE_BITS) - 1)) - 1;
}

struct refcount *sim_record_find(int rank, int object)
{
    return world.present[rank][object] ? &world.records[rank][object] : NULL;
}

unsigned sim_record_count(const struct refcount *record)
{
    return atomic_load_explicit(&record->count, memory_order_relaxed); /* one thread */
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

static void expect_ok(int status, const char *call, int rank, int object)
{
    if (status < 0)
        sim_violation(CHECK_STATUS, "%s of object %d at rank %d: %s", call, object, rank,
                      refcount_status_name(status));
}

/* ---- channels ---- */

static int letter_new(void)
{
    int letter = world.free_letter;

    if (letter >= 0)
        world.free_letter = letters[letter].next;
    else if (world.letter_count < MAX_LETTERS)
        letter = world.letter_count++;
    else
        sim_violation(CHECK_LIMIT, "more than %d messages under way", MAX_LETTERS);
    return letter;
}

static void letter_post(int from, int to, int letter)
{
    struct queue *queue = &world.queues[from * MAX_RANKS + to];

    letters[letter].next = -1;
    if (queue->length++ == 0)
        queue->head = letter;
    else
        letters[queue->tail].next = letter;
    queue->tail = letter;
    world.busy_queues |= 1u << (from * MAX_RANKS + to);
}

struct letter sim_letter_take(int from, int to, int position)
{
    struct queue *queue = &world.queues[from * MAX_RANKS + to];
    int previous = -1, letter = queue->head;

    for (; position > 0; position--) {
        previous = letter;
        letter = letters[letter].next;
    }
    if (previous < 0)
        queue->head = letters[letter].next;
    else
        letters[previous].next = letters[letter].next;
    if (queue->tail == letter)
        queue->tail = previous;
    if (--queue->length == 0)
        world.busy_queues &= ~(1u << (from * MAX_RANKS + to));
    letters[letter].next = world.free_letter;
    world.free_letter = letter;
    return letters[letter];
}

void sim_send_task(int from, int to, enum letter_kind kind, int task)
{
    int letter = letter_new();

    letters[letter].kind = kind;
    letters[letter].task = task;
    letter_post(from, to, letter);
}

static void send_counting(int from, const struct refcount_message *message)
{
    int letter = letter_new();

    sim_trace("  %d -> %d %s object %d", from, message->to, refcount_kind_name(message->kind),
              object_of(message->handle));
    letters[letter].kind = LETTER_COUNTING;
    expect_ok(refcount_encode(message, letters[letter].bytes, sizeof letters[letter].bytes), "encode", from,
              object_of(message->handle));
    letter_post(from, message->to, letter);
}

/* Broken rule: the REGISTER that follows takes an earlier RELEASE of the same object out of the channel. */
static void swallow_release(int from, const struct refcount_message *message)
{
    struct queue *queue = &world.queues[from * MAX_RANKS + message->to];
    int letter = queue->head;

    for (int position = 0; position < queue->length; position++, letter = letters[letter].next) {
        struct refcount_message earlier;

        if (letters[letter].kind != LETTER_COUNTING)
            continue;
        expect_ok(
            refcount_decode(letters[letter].bytes, REFCOUNT_WIRE_SIZE, world.ranks, message->to, &earlier),
            "decode", from, object_of(message->handle));
        if (earlier.kind == REFCOUNT_RELEASE && earlier.handle == message->handle) {
            sim_letter_take(from, message->to, position);
            return;
        }
    }
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
    expect_ok(status, "drop", rank, object);
    if (status == 0)
        return;
    if (sim_one_in(2) && world.zero_count < MAX_ZEROS)
        world.zeros[world.zero_count++] = (struct zero){rank, object};
    else
        sim_zero_check(rank, object);
}

void sim_drop_cover(int rank, int object)
{
    if (world.ended_early[rank][object] > 0)
        world.ended_early[rank][object]--;
    else
        sim_drop(rank, object);
}

void sim_drop_cover_early(int rank, int object)
{
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
        send_counting(rank, message);
    if (message->kind == REFCOUNT_REGISTER && sim_broken(RULE_RELEASE_KEPT))
        swallow_release(rank, message);
    send_counting(rank, message);
}

static void apply(int rank, int object, const struct refcount_output *output)
{
    switch (output->verdict) {
    case REFCOUNT_KEEP:
        break;
    case REFCOUNT_CREATE:
        sim_record_create(rank, object);
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
    if (output->drop)
        sim_drop_cover(rank, object_of(output->drop));
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
    expect_ok(refcount_reached_zero(record, rank, &output), "reached zero", rank, object);
    apply(rank, object, &output);
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

    expect_ok(refcount_decline(rank, forwarder, world.objects[token].handle, &output), "decline", rank,
              token);
    apply(rank, token, &output);
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
    expect_ok(refcount_accept(record, rank, world.objects[object].handle, forwarder,
                              world.objects[token].handle, &output),
              "accept", rank, object);
    is_new = output.verdict == REFCOUNT_CREATE;
    if (sim_broken(RULE_KNOWN_ACK) && world.objects[object].owner != rank && !is_new) {
        output.has_message = false;
        output.drop = 0;
    }
    if (sim_broken(RULE_REGISTER) && is_new)
        output.has_message = false;
    apply(rank, object, &output);
    if (is_new && (sim_broken(RULE_REGISTER) || sim_broken(RULE_EARLY_ACK)))
        sim_acknowledge(rank, forwarder, token);
    return is_new;
}

static void receive_counting(int rank, int from, const struct refcount_message *message)
{
    int object = object_of(message->handle);
    struct refcount *record = sim_record_find(rank, object);
    struct refcount_output output;
    struct refcount scratch;

    if (sim_broken(RULE_ACK) && message->kind == REFCOUNT_ACK)
        return;
    if (message->kind == REFCOUNT_ACK && world.ended_early[rank][object] > 0) {
        world.ended_early[rank][object]--;
        return;
    }
    if (sim_broken(RULE_HOLDERS) && message->kind == REFCOUNT_RELEASE)
        return;
    if (sim_broken(RULE_HOLDERS) && message->kind == REFCOUNT_REGISTER) {
        refcount_init(&scratch, message->handle, 1);
        expect_ok(refcount_receive(&scratch, rank, from, message, &output), "receive", rank, object);
        refcount_fini(&scratch);
    } else {
        expect_ok(refcount_receive(record, rank, from, message, &output), refcount_kind_name(message->kind),
                  rank, object);
    }
    if (sim_broken(RULE_EARLY_ACK) && message->kind == REFCOUNT_REGISTER)
        return; /* the new holder has told the forwarder */
    apply(rank, object, &output);
}

void sim_deliver_counting(int from, int to, const struct letter *letter)
{
    struct refcount_message message;

    expect_ok(refcount_decode(letter->bytes, REFCOUNT_WIRE_SIZE, world.ranks, to, &message), "decode", to,
              -1);
    sim_trace("%d -> %d %s of object %d arrives", from, to, refcount_kind_name(message.kind),
              object_of(message.handle));
    sim_cover(message.kind == REFCOUNT_REGISTER  ? BRANCH_REGISTER
              : message.kind == REFCOUNT_RELEASE ? BRANCH_RELEASE
                                                 : BRANCH_ACK);
    if (message.kind == REFCOUNT_REGISTER && message.forwarder != from)
        sim_cover(message.forwarder == to ? BRANCH_REGISTER_OWNER : BRANCH_REGISTER_THIRD);
    receive_counting(to, from, &message);
    if (sim_broken(RULE_EXACTLY_ONCE) && sim_one_in(8))
        receive_counting(to, from, &message);
}
