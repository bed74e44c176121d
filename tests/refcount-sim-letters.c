/* The channels between the simulated ranks: first in, first out. What was sent to a rank that is dead is
 * gone. */
#include "refcount-sim.h"

static struct letter letters[MAX_LETTERS];

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

/* What is in a letter that never arrives. */
static void letter_lost(int from, int to, const struct letter *letter)
{
    struct task *task = &world.tasks[letter->task];

    if (letter->kind == LETTER_TASK)
        sim_task_lost(task);
    else if (letter->kind == LETTER_DONE)
        sim_done_lost(task);
    else
        sim_trace("  a message from %d to %d is lost", from, to);
}

static void letter_forget(int letter)
{
    letters[letter].next = world.free_letter;
    world.free_letter = letter;
}

static void letter_post(int from, int to, int letter)
{
    if (sim_is_dead(to)) {
        letter_forget(letter);
        letter_lost(from, to, &letters[letter]);
        return;
    }
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
    letter_forget(letter);
    return letters[letter];
}

const struct letter *sim_letter_first(int from, int to)
{
    return &letters[world.queues[from * MAX_RANKS + to].head];
}

void sim_letters_cut(int from, int to, int keep)
{
    while (world.queues[from * MAX_RANKS + to].length > keep) {
        struct letter lost = sim_letter_take(from, to, keep);

        letter_lost(from, to, &lost);
    }
}

void sim_send(int from, int to, enum letter_kind kind, int place, int local, int value, bool ok)
{
    int letter = letter_new();

    letters[letter].kind = kind;
    letters[letter].task = 0;
    letters[letter].place = place;
    letters[letter].local = local;
    letters[letter].value = value;
    letters[letter].ok = ok;
    letter_post(from, to, letter);
}

void sim_send_task(int from, int to, enum letter_kind kind, int task)
{
    int letter = letter_new();

    letters[letter].kind = kind;
    letters[letter].task = task;
    letter_post(from, to, letter);
}

void sim_send_counting(int from, const struct refcount_message *message)
{
    int letter = letter_new();

    sim_trace("  %d -> %d %s object %d", from, message->to, refcount_kind_name(message->kind),
              sim_object_of(message->handle));
    letters[letter].kind = LETTER_COUNTING;
    sim_expect_ok(refcount_encode(message, letters[letter].bytes, sizeof letters[letter].bytes), "encode",
                  from, sim_object_of(message->handle));
    letter_post(from, message->to, letter);
}

/* Broken rule: the REGISTER that follows takes an earlier RELEASE of the same object out of the channel. */
void sim_swallow_release(int from, const struct refcount_message *message)
{
    struct queue *queue = &world.queues[from * MAX_RANKS + message->to];
    int letter = queue->head;

    for (int position = 0; position < queue->length; position++, letter = letters[letter].next) {
        struct refcount_message earlier;

        if (letters[letter].kind != LETTER_COUNTING)
            continue;
        sim_expect_ok(
            refcount_decode(letters[letter].bytes, REFCOUNT_WIRE_SIZE, world.ranks, message->to, &earlier),
            "decode", from, sim_object_of(message->handle));
        if (earlier.kind == REFCOUNT_RELEASE && earlier.handle == message->handle) {
            sim_letter_take(from, message->to, position);
            return;
        }
    }
}
