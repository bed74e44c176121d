/* A random mix of everything, on all ranks and in tasks at once, with the results checked. Arguments: first
 * seed, number of seeds, operations of each rank for a seed. What a rank does depends on seed and rank only.
 */
#include "mpi_test.h"

#define AT(rank)                                                                                             \
    RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE,                                                         \
                   .node = (int)((uint64_t)(rank) % (uint64_t)raympi_size()))
#define POOL   48
#define DEPTH  2
#define FAILED 7 /* the only error there is */

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

static uint64_t seeded(uint64_t seed)
{
    uint64_t state = (seed + 1) * UINT64_C(0xbf58476d1ce4e5b9) | 1;
    for (int i = 0; i < 4; i++)
        draw(&state);
    return state;
}

/* Every value begins with its number; then a pattern, or wires of values whose numbers are number + 1 + i. */
struct head {
    int64_t number;
    int64_t nested;
};

static size_t some_size(uint64_t *random)
{
    static const size_t sizes[] = {0, 8, 24, 25, 100, 496, 497, 1000, 4096, 70000, 300000};
    return sizeof(struct head) + sizes[draw(random) % (sizeof sizes / sizeof sizes[0])];
}

static void write_value(void *to, size_t len, int64_t number)
{
    struct head head = {number, 0};
    memcpy(to, &head, sizeof head);
    memset((char *)to + sizeof head, (int)(number & 127), len - sizeof head);
}

static bool is_value(const void *data, size_t len, int64_t number)
{
    const struct head *head = data;
    const char *bytes = data;
    if (len < sizeof *head || head->number != number)
        return false;
    size_t payload = len - sizeof *head;
    return head->nested || payload == 0 ||
           (bytes[sizeof *head] == (number & 127) && bytes[len - 1] == (number & 127) &&
            bytes[sizeof *head + payload / 2] == (number & 127));
}

static int work(uint64_t *random, int operations, int depth);

RAYMPI_TASK(value) /* number, size */
{
    size_t len = (size_t)raympi_arg_int(ctx, 1);
    void *to = raympi_return(ctx, 0, len);
    if (to)
        write_value(to, len, raympi_arg_int(ctx, 0));
    return RAYMPI_OK;
}

RAYMPI_TASK(copy) /* a value */
{
    size_t len;
    const void *data = raympi_arg(ctx, 0, &len);
    return raympi_return_copy(ctx, 0, data, len < 1000 ? len : 1000);
}

RAYMPI_TASK(first_of) /* a list; the first member's value, after a look at all */
{
    int count = raympi_arg_list_count(ctx, 0);
    for (int i = 0; i < count; i++)
        if (!raympi_arg_at(ctx, 0, i, NULL))
            return raympi_fail(ctx, 3, "member %d is not there", i);
    return raympi_return_ref(ctx, 0, raympi_arg_ref_at(ctx, 0, 0));
}

RAYMPI_TASK(pass) /* a value, hops */
{
    raympi_ref ref = raympi_arg_ref(ctx, 0);
    int64_t hops = raympi_arg_int(ctx, 1);
    if (hops > 0)
        ref = raympi_call_opts(AT(raympi_rank() + hops), pass, ref, hops - 1);
    return raympi_return_ref(ctx, 0, ref);
}

RAYMPI_TASK(family) /* number, members: a value with nested ones, made here or elsewhere */
{
    int64_t number = raympi_arg_int(ctx, 0), count = raympi_arg_int(ctx, 1);
    raympi_ref refs[4];
    for (int64_t i = 0; i < count; i++)
        refs[i] =
            raympi_call_opts(AT(number + i), value, number + 1 + i, sizeof(struct head) + (size_t)(i * 700));
    struct head *to = raympi_return_nested(ctx, 0, sizeof *to + (size_t)count * sizeof(raympi_wire_ref), refs,
                                           (size_t)count);
    if (!to)
        return RAYMPI_OK;
    *to = (struct head){number, count};
    for (int64_t i = 0; i < count; i++)
        ((raympi_wire_ref *)(to + 1))[i] = raympi_wire(refs[i]);
    return RAYMPI_OK;
}

RAYMPI_TASK(member) /* a family, which */
{
    const struct head *head = raympi_arg(ctx, 0, NULL);
    raympi_wire_ref wire;
    memcpy(&wire, (const raympi_wire_ref *)(head + 1) + raympi_arg_int(ctx, 1), sizeof wire);
    return raympi_return_ref(ctx, 0, raympi_arg_nested(ctx, 0, wire));
}

RAYMPI_TASK(broken)
{
    return raympi_fail(ctx, FAILED, "on purpose");
}

RAYMPI_TASK(nest) /* seed, operations, depth: the same mix again inside */
{
    uint64_t random = seeded((uint64_t)raympi_arg_int(ctx, 0));
    int bad = work(&random, (int)raympi_arg_int(ctx, 1), (int)raympi_arg_int(ctx, 2));
    if (bad)
        return raympi_fail(ctx, 1000 + bad, "%d checks failed inside", bad);
    size_t len = sizeof(struct head);
    write_value(raympi_return(ctx, 0, len), len, raympi_arg_int(ctx, 0));
    return RAYMPI_OK;
}

struct store {
    raympi_ref refs[8];
    int64_t numbers[8];
};
RAYMPI_ACTOR(keeper, struct store)
RAYMPI_METHOD(keeper, swap) /* a value, its number, place: keeps it, gives back what was there */
{
    struct store *self = raympi_self(ctx);
    int64_t place = raympi_arg_int(ctx, 2);
    raympi_ref before = self->refs[place];
    self->refs[place] = raympi_keep(raympi_arg_ref(ctx, 0));
    self->numbers[place] = raympi_arg_int(ctx, 1);
    if (!before.handle)
        return raympi_return_ref(ctx, 0, self->refs[place]);
    int status = raympi_return_ref(ctx, 0, before);
    raympi_release(before);
    return status;
}

/* ---- what a rank, or a task, does: a pool of refs whose results are known */

struct entry {
    raympi_ref ref;
    int64_t number;
    int64_t family; /* members of a family */
    bool fails;
};

struct mix {
    uint64_t *random;
    struct entry pool[POOL];
    int used, bad, depth;
    int64_t next;
    raympi_actor actor;
    int64_t kept[8];
    bool kept_any[8];
};

static void wrong(struct mix *mix, const char *what, int status)
{
    fprintf(stderr, "rank %d: %s: %s (%s)\n", raympi_rank(), what, raympi_strerror(status), raympi_detail());
    mix->bad++;
}

static struct entry *some(struct mix *mix)
{
    return mix->used ? &mix->pool[draw(mix->random) % (uint64_t)mix->used] : NULL;
}

static void look(struct mix *mix, struct entry *entry)
{
    raympi_view view;
    int status;
    switch (draw(mix->random) % 3) {
    case 0:
        while ((status = raympi_get_timeout(entry->ref, &view, 0.0002)) == RAYMPI_ERR_TIMEOUT)
            continue;
        break;
    case 1:
        while ((status = raympi_get_timeout(entry->ref, &view, 0)) == RAYMPI_ERR_TIMEOUT)
            continue;
        break;
    default:
        status = raympi_get(entry->ref, &view);
    }
    if (entry->fails) {
        if (status != FAILED || !strstr(raympi_detail(), "on purpose"))
            wrong(mix, "an error did not come through", status);
        return;
    }
    if (status != RAYMPI_OK) {
        wrong(mix, "get failed", status);
        return;
    }
    if (!is_value(view.data, view.len, entry->number))
        wrong(mix, "wrong value", RAYMPI_OK);
    for (int64_t i = 0; i < entry->family; i++) {
        raympi_wire_ref wire;
        memcpy(&wire, (const char *)view.data + sizeof(struct head) + (size_t)i * sizeof wire, sizeof wire);
        struct entry inner = {raympi_view_ref(&view, wire), entry->number + 1 + i, 0, false};
        if (draw(mix->random) % 2)
            look(mix, &inner);
        if ((status = raympi_release(inner.ref)) != RAYMPI_OK)
            wrong(mix, "release of a nested ref", status);
    }
    if ((status = raympi_view_end(&view)) != RAYMPI_OK)
        wrong(mix, "end of a view", status);
}

static void drop(struct mix *mix, struct entry *entry)
{
    if (entry->fails)
        look(mix, entry); /* or it would be an error that nobody looked at */
    int status = raympi_release(entry->ref);
    if (status != RAYMPI_OK)
        wrong(mix, "release", status);
    *entry = mix->pool[--mix->used];
}

static void add(struct mix *mix, raympi_ref ref, int64_t number, int64_t family, bool fails)
{
    mix->pool[mix->used++] = (struct entry){ref, number, family, fails};
}

static void make_value(struct mix *mix)
{
    size_t len = some_size(mix->random);
    int64_t number = mix->next += 10;
    switch (draw(mix->random) % 4) {
    case 0: {
        char *own = malloc(len);
        write_value(own, len, number);
        add(mix, raympi_put(own, len), number, 0, false);
        free(own);
        break;
    }
    case 1: {
        raympi_ref ref;
        void *to = raympi_create(len, &ref);
        if (!to) {
            wrong(mix, "create", RAYMPI_ERR_MEMORY);
            return;
        }
        write_value(to, len, number);
        int status = raympi_seal(ref);
        if (status != RAYMPI_OK)
            wrong(mix, "seal", status);
        add(mix, ref, number, 0, false);
        break;
    }
    case 2:
        add(mix, raympi_call(value, number, len), number, 0, false);
        break;
    default:
        add(mix, raympi_call_opts(AT(draw(mix->random)), value, number, len), number, 0, false);
    }
}

static void use_value(struct mix *mix, struct entry entry)
{
    uint64_t where = draw(mix->random);
    switch (draw(mix->random) % 4) {
    case 0:
        if (!entry.family)
            add(mix, raympi_call_opts(AT(where), copy, entry.ref), entry.number, 0, entry.fails);
        break;
    case 1:
        add(mix, raympi_call_opts(AT(where), pass, entry.ref, draw(mix->random) % 4), entry.number,
            entry.family, entry.fails);
        break;
    case 2: {
        raympi_ref list[6];
        bool fails = entry.fails;
        list[0] = entry.ref;
        for (int i = 1; i < 6; i++) {
            struct entry *other = some(mix);
            list[i] = other->ref;
            fails |= other->fails;
        }
        add(mix, raympi_call_opts(AT(where), first_of, RAYMPI_REFS(list, 6)), entry.number, entry.family,
            fails);
        break;
    }
    default:
        if (entry.family)
            add(mix, raympi_call_opts(AT(where), member, entry.ref, entry.family - 1),
                entry.number + entry.family, 0, entry.fails);
        else
            add(mix, raympi_retain(entry.ref), entry.number, 0, entry.fails);
    }
}

static void wait_some(struct mix *mix)
{
    raympi_ref refs[POOL];
    bool ready[POOL];
    int n = mix->used, found;
    for (int i = 0; i < n; i++)
        refs[i] = mix->pool[i].ref;
    int k = (int)(draw(mix->random) % (uint64_t)(n + 1));
    if (draw(mix->random) % 2) {
        while ((found = raympi_wait(refs, (size_t)n, (size_t)k, 0.0003, ready)) >= 0 && found < k)
            continue;
    } else {
        found = raympi_wait(refs, (size_t)n, (size_t)k, -1, ready);
    }
    int flags = 0;
    for (int i = 0; i < n && found >= 0; i++)
        flags += ready[i];
    if (found < k || flags != found)
        wrong(mix, "wait", found < 0 ? found : RAYMPI_OK);
}

static void wait_set(struct mix *mix)
{
    raympi_waitset *set;
    raympi_ref ref;
    uint64_t tag;
    int status = raympi_waitset_create(&set);
    for (int i = 0; i < mix->used && status == RAYMPI_OK; i++)
        status = raympi_waitset_add(set, mix->pool[i].ref, (uint64_t)i);
    int take = (int)(draw(mix->random) % (uint64_t)(mix->used + 1));
    for (int i = 0; i < take && status == RAYMPI_OK; i++) {
        status = raympi_waitset_wait(set, -1, &ref, &tag);
        if (status == RAYMPI_OK && ref.handle != mix->pool[tag].ref.handle)
            wrong(mix, "wait set gave another ref", status);
        if (status == RAYMPI_OK)
            status = raympi_release(ref);
    }
    if (status != RAYMPI_OK)
        wrong(mix, "wait set", status);
    raympi_waitset_destroy(set);
}

static void actor_swap(struct mix *mix, struct entry entry)
{
    if (entry.fails || entry.family)
        return;
    if (!mix->actor.handle)
        mix->actor = raympi_actor_new_opts(AT(draw(mix->random)), keeper);
    int place = (int)(draw(mix->random) % 8);
    raympi_ref before = raympi_actor_call(mix->actor, swap, entry.ref, entry.number, place);
    add(mix, before, mix->kept_any[place] ? mix->kept[place] : entry.number, 0, false);
    mix->kept[place] = entry.number;
    mix->kept_any[place] = true;
}

static void nest_again(struct mix *mix)
{
    int64_t seed = (int64_t)draw(mix->random);
    raympi_ref ref = raympi_call_opts(AT(draw(mix->random)), nest, seed, 12, mix->depth + 1);
    add(mix, ref, seed, 0, false);
}

static void operation(struct mix *mix)
{
    uint64_t what = draw(mix->random) % 100;
    struct entry *entry = some(mix);
    if (mix->used > POOL - 2)
        drop(mix, entry);
    else if (what < 25 || !entry)
        make_value(mix);
    else if (what < 50)
        use_value(mix, *entry);
    else if (what < 62)
        look(mix, entry);
    else if (what < 78)
        drop(mix, entry);
    else if (what < 82)
        wait_some(mix);
    else if (what < 84)
        wait_set(mix);
    else if (what < 89) {
        int64_t number = mix->next += 10, count = (int64_t)(1 + draw(mix->random) % 4);
        add(mix, raympi_call_opts(AT(draw(mix->random)), family, number, count), number, count, false);
    } else if (what < 92)
        add(mix, raympi_call_opts(AT(draw(mix->random)), broken), 0, 0, true);
    else if (what < 97)
        actor_swap(mix, *entry);
    else if (mix->depth < DEPTH)
        nest_again(mix);
}

static int work(uint64_t *random, int operations, int depth)
{
    struct mix mix = {.random = random, .depth = depth, .next = (int64_t)(draw(random) << 16)};
    raympi_scope_begin();
    for (int i = 0; i < operations; i++)
        operation(&mix);
    while (mix.used)
        if (draw(random) % 2) {
            drop(&mix, some(&mix));
        } else {
            struct entry *entry = some(&mix);
            look(&mix, entry);
            drop(&mix, entry);
        }
    raympi_scope_end();
    return mix.bad;
}

static long first = 1, count = 3, operations = 300; /* seeds, and operations of each */

static void drive(void)
{
    for (long seed = first; seed < first + count; seed++) {
        uint64_t random = seeded((uint64_t)seed * 1000 + (uint64_t)raympi_rank());
        int bad = work(&random, (int)operations, 0);
        if (bad)
            fprintf(stderr, "rank %d: %d checks failed with seed %ld\n", raympi_rank(), bad, seed);
        test_failures += bad;
    }
}

int main(int argc, char **argv)
{
    CHECK_OK(raympi_init(&argc, &argv, NULL));
    first = argc > 1 ? atol(argv[1]) : first;
    count = argc > 2 ? atol(argv[2]) : count;
    operations = argc > 3 ? atol(argv[3]) : operations;
    return test_end(test_drive(drive));
}
