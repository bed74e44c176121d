/* Chains in a world that is made of a seed: messages that take their time, are lost and doubled, ranks that
 * sleep and die, views that leave out the living. What clients saw must be explicable (history.h), and in the
 * end all links hold the same. Views are made here, by one who knows all, and by the rules of
 * control_chain.h: a link that is left out may go on until its lease has ended, and nobody is told of the
 * next view before.
 *
 *   test_chain [FIRST LAST]      these seeds; prints what became of them */
#include "../unit.h"
#include "control/control_chain.h"
#include "history.h"

#include <string.h>
#include <utlist.h>

#define RANKS      6
#define LINKS      3
#define CLIENTS    3 /* with the ranks from RANKS on */
#define KEYS       3
#define OPERATIONS 34 /* of each client */
#define LEASE      200
#define PATIENCE   60
#define RETRY      150
#define COPY_BYTES 64
#define CALM       20000 /* time without faults, at the end */

struct letter {
    struct letter *prev, *next;
    uint64_t due;
    int from, to;
    struct chain_message message;
    char bytes[];
};

struct client {
    struct chain_view view; /* as it knows it */
    uint64_t serial, answered, asked, version[KEYS];
    int key, left;
    bool waits, reads;
    struct history_op *op;
    struct control_op change;
    char name[16];
};

struct world {
    uint64_t random, now, epoch_at; /* epoch_at: from when on the view may be told */
    struct chain *chains[RANKS];
    bool dead[RANKS], told[RANKS];
    uint64_t asleep[RANKS], leased[RANKS], apart[RANKS]; /* until; apart: is told of no view */
    struct chain_view view;
    struct letter *letters;
    struct client clients[CLIENTS];
    struct history_op ops[KEYS][HISTORY_MOST];
    uint64_t seen[KEYS][HISTORY_MOST][2];
    int count[KEYS];
    uint64_t versions[CLIENTS * OPERATIONS * 2]; /* of the write of that name */
    uint32_t names;
    uint32_t loss, twice; /* of 100 */
    int deaths, exclusions, joins, lost;
    bool calm, joined;
};

static uint32_t random_below(struct world *world, uint32_t most)
{
    world->random = world->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(world->random >> 33) % most;
}

/* ---- letters */

static void letter_add(struct world *world, int from, int to, const struct chain_message *message)
{
    size_t key = message->op.key.length, value = message->op.value.length, bytes = message->bytes.length;
    struct letter *letter = calloc(1, sizeof *letter + key + value + bytes + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(letter);
    letter->from = from;
    letter->to = to;
    letter->due = world->now + 1 + random_below(world, random_below(world, 10) ? 20 : 200);
    letter->message = *message;
    if (key)
        memcpy(letter->bytes, message->op.key.data, key);
    if (value)
        memcpy(letter->bytes + key, message->op.value.data, value);
    if (bytes)
        memcpy(letter->bytes + key + value, message->bytes.data, bytes);
    letter->message.op.key.data = letter->bytes;
    letter->message.op.value.data = letter->bytes + key;
    letter->message.bytes.data = letter->bytes + key + value;
    DL_APPEND(world->letters, letter);
}

static void post(struct world *world, int from, int to, const struct chain_message *message)
{
    if (random_below(world, 100) < world->loss) {
        world->lost++;
        return;
    }
    letter_add(world, from, to, message);
    if (random_below(world, 100) < world->twice)
        letter_add(world, from, to, message);
}

struct sender {
    struct world *world;
    int rank;
};
static struct sender senders[RANKS];

static uint32_t value_name(struct control_bytes value);

/* What is committed is answered, whether that arrives or not. */
static void chain_sends(void *arg, int rank, const struct chain_message *message)
{
    struct sender *sender = arg;
    if (message->kind == CHAIN_ANSWER && message->status == RAYMPI_OK && message->reply.done &&
        message->op.kind != CONTROL_DELETE)
        sender->world->versions[value_name(message->op.value)] = message->reply.version;
    post(sender->world, sender->rank, rank, message);
}

static void chain_joined(void *arg, uint64_t epoch, int rank)
{
    struct world *world = ((struct sender *)arg)->world;
    if (epoch == world->view.epoch && rank == world->view.joiner)
        world->joined = true;
}

/* ---- clients */

/* The write that made a version. */
static uint32_t write_name(const struct world *world, uint64_t version)
{
    for (uint32_t name = 1; version && name <= world->names; name++)
        if (world->versions[name] == version)
            return name;
    return version ? HISTORY_ANY : HISTORY_ABSENT;
}

/* A value is the name of its write. */
static uint32_t value_name(struct control_bytes value)
{
    char text[16] = "";
    memcpy(text, value.data, value.length < 15 ? value.length : 15);
    return (uint32_t)atoi(text);
}

/* Two of an operation: the one it wants, and the one it was told. */
static uint64_t *versions_of(struct world *world, const struct history_op *op)
{
    int at = (int)(op - world->ops[0]);
    return world->seen[at / HISTORY_MOST][at % HISTORY_MOST];
}

static void client_ask(struct world *world, int i)
{
    struct client *client = &world->clients[i];
    const struct chain_view *view = &client->view;
    if (view->epoch == 0 || random_below(world, 4) == 0)
        client->view = world->view;
    int to = client->reads ? view->members[view->count - 1] : view->members[0];
    struct chain_message message = {.kind = client->reads ? CHAIN_READ : CHAIN_CHANGE,
                                    .epoch = view->epoch,
                                    .client = RANKS + i,
                                    .op = client->change};
    client->asked = world->now;
    post(world, RANKS + i, to, &message);
}

static void client_begin(struct world *world, int i)
{
    static const char *const keys[KEYS] = {"a", "b", "c"};
    struct client *client = &world->clients[i];
    client->key = (int)random_below(world, KEYS);
    client->reads = random_below(world, 3) == 0;
    client->waits = true;
    client->left--;
    client->op = &world->ops[client->key][world->count[client->key]++];
    *client->op = (struct history_op){
        .kind = HISTORY_GET, .answer = HISTORY_UNKNOWN, .begin = world->now, .end = HISTORY_OPEN};
    client->change = (struct control_op){.kind = (enum control_kind)(1 + random_below(world, CONTROL_KINDS)),
                                         .client = (uint64_t)i + 1,
                                         .serial = ++client->serial,
                                         .answered = client->answered,
                                         .key = {keys[client->key], 1}};
    if (!client->reads) {
        static const enum history_kind kinds[] = {0, HISTORY_PUT, HISTORY_PUT_IF_ABSENT,
                                                  HISTORY_COMPARE_AND_SET, HISTORY_DELETE};
        client->op->kind = kinds[client->change.kind];
        client->op->name = client->change.kind == CONTROL_DELETE ? 0 : ++world->names;
        snprintf(client->name, sizeof client->name, "%u", world->names);
        client->change.value = (struct control_bytes){client->name, (uint32_t)strlen(client->name)};
        client->change.version = client->version[client->key];
        *versions_of(world, client->op) = client->change.version;
    }
    client_ask(world, i);
}

static void client_answer(struct world *world, int i, const struct chain_message *message)
{
    struct client *client = &world->clients[i];
    if (!client->waits || message->op.serial != client->serial || message->status != RAYMPI_OK ||
        (message->kind == CHAIN_VALUE) != client->reads)
        return;
    client->waits = false;
    client->answered = client->serial;
    client->op->end = world->now;
    client->op->answer = client->reads || message->reply.done ? HISTORY_DONE : HISTORY_NOT;
    client->version[client->key] = message->reply.version;
    if (client->reads)
        client->op->seen = message->reply.done ? value_name(message->bytes) : HISTORY_ABSENT;
    else
        versions_of(world, client->op)[1] = message->reply.version;
}

/* Versions become the names of their writes, when all are known. */
static void histories_name(struct world *world)
{
    for (int key = 0; key < KEYS; key++)
        for (int i = 0; i < world->count[key]; i++) {
            struct history_op *op = &world->ops[key][i];
            if (op->kind == HISTORY_COMPARE_AND_SET)
                op->wanted = write_name(world, versions_of(world, op)[0]);
            if (op->answer == HISTORY_NOT)
                op->seen = write_name(world, versions_of(world, op)[1]);
            else if (op->kind == HISTORY_DELETE)
                op->seen = HISTORY_ANY;
        }
}

/* ---- views */

static int rank_free(struct world *world)
{
    int rank = (int)random_below(world, RANKS);
    for (int i = 0; i < RANKS; i++, rank = (rank + 1) % RANKS) {
        bool used = world->dead[rank];
        for (int j = 0; j < world->view.count; j++)
            used |= world->view.members[j] == rank;
        if (!used)
            return rank;
    }
    return -1;
}

static void view_next(struct world *world)
{
    world->view.epoch++;
    world->joined = false;
    world->view.joiner = world->view.count < LINKS ? rank_free(world) : -1;
    memset(world->told, 0, sizeof world->told);
}

/* A link, dead or taken for dead, is left out; the next view waits for its lease. */
static void view_leave_out(struct world *world, int place)
{
    int rank = world->view.members[place];
    if (world->leased[rank] > world->epoch_at)
        world->epoch_at = world->leased[rank];
    for (int i = place; i + 1 < world->view.count; i++)
        world->view.members[i] = world->view.members[i + 1];
    world->view.count--;
    view_next(world);
}

static void view_look(struct world *world)
{
    struct chain_view *view = &world->view;
    if (world->now < world->epoch_at)
        return;
    if (world->joined && view->joiner >= 0) {
        view->members[view->count++] = view->joiner;
        world->joins++;
        view_next(world);
        return;
    }
    for (int i = 0; i < view->count; i++)
        if (world->dead[view->members[i]] && view->count > 1) {
            view_leave_out(world, i);
            return;
        }
    if (view->joiner >= 0 && world->dead[view->joiner])
        view_next(world);
}

/* Each rank is told some time; and has its lease renewed while it is in the view. */
static void view_tell(struct world *world, int rank)
{
    if (world->now < world->epoch_at || world->dead[rank] || world->now < world->asleep[rank] ||
        world->now < world->apart[rank])
        return;
    if (!world->told[rank] && random_below(world, 10) == 0) {
        CU_ASSERT_EQUAL(chain_view(world->chains[rank], &world->view, world->now), RAYMPI_OK);
        world->told[rank] = true;
    }
    for (int i = 0; world->told[rank] && i < world->view.count; i++)
        if (world->view.members[i] == rank) {
            world->leased[rank] = world->now + LEASE;
            chain_lease(world->chains[rank], world->view.epoch, world->now + LEASE);
        }
}

/* ---- faults */

static int alive(const struct world *world)
{
    int count = 0;
    for (int i = 0; i < world->view.count; i++)
        count += !world->dead[world->view.members[i]];
    return count;
}

static void fault(struct world *world)
{
    const struct chain_view *view = &world->view;
    int place = (int)random_below(world, (uint32_t)view->count), rank = view->members[place];
    switch (random_below(world, 3)) {
    case 0: /* one link at least lives, and it has all */
        if (alive(world) > 1 && world->deaths < RANKS - LINKS + 1) {
            world->dead[rank] = true;
            world->deaths++;
        }
        break;
    case 1:
        world->asleep[rank] = world->now + random_below(world, 2 * LEASE);
        break;
    default:
        if (alive(world) > 1 && world->now >= world->epoch_at && !(alive(world) == 1 && !world->dead[rank])) {
            int others = alive(world) - !world->dead[rank];
            if (others > 0) {
                world->exclusions += !world->dead[rank];
                world->apart[rank] = world->now + random_below(world, 10 * LEASE);
                view_leave_out(world, place);
            }
        }
    }
}

/* ---- time */

static void letters_deliver(struct world *world)
{
    struct letter *letter, *next;
    DL_FOREACH_SAFE (world->letters, letter, next) {
        if (letter->due > world->now)
            continue;
        if (letter->to < RANKS && world->now < world->asleep[letter->to])
            continue;
        DL_DELETE(world->letters, letter);
        if (letter->to >= RANKS)
            client_answer(world, letter->to - RANKS, &letter->message);
        else if (!world->dead[letter->to])
            CU_ASSERT_EQUAL(
                chain_receive(world->chains[letter->to], letter->from, &letter->message, world->now),
                RAYMPI_OK);
        free(letter);
    }
}

static void clients_go(struct world *world)
{
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &world->clients[i];
        if (client->waits && world->now - client->asked > RETRY)
            client_ask(world, i);
        else if (!client->waits && client->left > 0 && random_below(world, 20) == 0 &&
                 world->count[0] < HISTORY_MOST && world->count[1] < HISTORY_MOST &&
                 world->count[2] < HISTORY_MOST)
            client_begin(world, i);
    }
}

static bool all_done(const struct world *world)
{
    for (int i = 0; i < CLIENTS; i++)
        if (world->clients[i].waits || world->clients[i].left > 0)
            return false;
    return true;
}

static void world_step(struct world *world)
{
    world->now++;
    letters_deliver(world);
    for (int rank = 0; rank < RANKS; rank++)
        if (!world->dead[rank] && world->now >= world->asleep[rank])
            chain_tick(world->chains[rank], world->now);
    view_look(world);
    for (int rank = 0; rank < RANKS; rank++)
        view_tell(world, rank);
    clients_go(world);
    if (!world->calm && random_below(world, 400) == 0)
        fault(world);
}

/* ---- one seed */

static void world_open(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    world->random = seed;
    random_below(world, 2);
    world->loss = random_below(world, 10);
    world->twice = random_below(world, 10);
    world->view = (struct chain_view){.epoch = 1, .count = LINKS, .members = {0, 1, 2}, .joiner = -1};
    for (int rank = 0; rank < RANKS; rank++) {
        senders[rank] = (struct sender){world, rank};
        struct chain_config config = {.rank = rank,
                                      .patience = PATIENCE,
                                      .copy_bytes = COPY_BYTES,
                                      .output = {&senders[rank], chain_sends, chain_joined}};
        CU_ASSERT_EQUAL_FATAL(chain_open(&world->chains[rank], &config), RAYMPI_OK);
    }
    for (int i = 0; i < CLIENTS; i++)
        world->clients[i].left = OPERATIONS;
}

static bool same_tables(const struct world *world)
{
    char *first = NULL, *other;
    size_t first_length = 0, length;
    bool same = true;
    for (int i = 0; i < world->view.count; i++) {
        struct chain_state state;
        chain_state(world->chains[world->view.members[i]], &state);
        if (state.epoch != world->view.epoch || !state.table || state.committed != state.applied ||
            state.log > 0 || control_table_save(state.table, &other, &length) != RAYMPI_OK) {
            free(first);
            return false;
        }
        if (first)
            same &= length == first_length && memcmp(first, other, length) == 0;
        free(first);
        first = other;
        first_length = length;
    }
    free(first);
    return same;
}

static void world_close(struct world *world)
{
    struct letter *letter, *next;
    DL_FOREACH_SAFE (world->letters, letter, next)
        free(letter);
    for (int rank = 0; rank < RANKS; rank++)
        chain_close(world->chains[rank]);
}

static void world_print(const struct world *world)
{
    const struct chain_view *view = &world->view;
    printf("view %llu, joiner %d:", (unsigned long long)view->epoch, view->joiner);
    for (int i = 0; i < view->count; i++)
        printf(" %d", view->members[i]);
    printf("\n");
    for (int rank = 0; rank < RANKS; rank++) {
        struct chain_state state;
        chain_state(world->chains[rank], &state);
        printf("rank %d%s: epoch %llu, applied %llu, committed %llu, %llu in the log\n", rank,
               world->dead[rank] ? ", dead" : "", (unsigned long long)state.epoch,
               (unsigned long long)state.applied, (unsigned long long)state.committed,
               (unsigned long long)state.log);
    }
}

/* NULL: all is well; else what is not. */
static const char *seed_run(uint64_t seed, struct world *world)
{
    const char *wrong = NULL;
    world_open(world, seed);
    while (world->now < 6000 || (!all_done(world) && world->now < 6000 + CALM) ||
           (world->now < 6000 + CALM && !same_tables(world))) {
        if (world->now == 6000) {
            world->calm = true;
            world->loss = world->twice = 0;
        }
        world_step(world);
    }
    if (!all_done(world))
        wrong = "a client waits for ever";
    else if (!same_tables(world)) {
        wrong = "the links do not hold the same";
        world_print(world);
    }
    histories_name(world);
    for (int key = 0; key < KEYS && !wrong; key++)
        if (history_check(world->ops[key], world->count[key]) != HISTORY_FINE)
            wrong = "what clients saw can not be";
    world_close(world);
    return wrong;
}

static uint64_t seed_first = 1, seed_last = 300;

static void test_seeds(void)
{
    static struct world world;
    uint64_t deaths = 0, exclusions = 0, joins = 0, lost = 0;
    for (uint64_t seed = seed_first; seed <= seed_last; seed++) {
        const char *wrong = seed_run(seed, &world);
        if (wrong) {
            printf("seed %llu: %s\n", (unsigned long long)seed, wrong);
            CU_FAIL("a seed");
        }
        deaths += (uint64_t)world.deaths;
        exclusions += (uint64_t)world.exclusions;
        joins += (uint64_t)world.joins;
        lost += (uint64_t)world.lost;
    }
    printf("(%llu deaths, %llu left out alive, %llu joins, %llu messages lost) ", (unsigned long long)deaths,
           (unsigned long long)exclusions, (unsigned long long)joins, (unsigned long long)lost);
    CU_ASSERT(seed_last - seed_first < 100 ||
              (deaths > 100 && exclusions > 100 && joins > 100 && lost > 1000));
}

static const struct unit_test tests[] = {
    {"chain: seeds", test_seeds},
};

int main(int argc, char **argv)
{
    if (argc == 3) {
        seed_first = strtoull(argv[1], NULL, 10);
        seed_last = strtoull(argv[2], NULL, 10);
    }
    return UNIT_MAIN("control: chains", tests);
}
