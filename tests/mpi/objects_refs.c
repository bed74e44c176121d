/* Refs in objects, as results and in actors; see objects.c. */
#include "objects.h"

/* ---- nested refs */

struct node {
    int64_t depth;
    raympi_wire_ref next;
};

/* A chain of objects, each made on another rank and holding the next. */
RAYMPI_TASK(chain)
{
    int64_t depth = raympi_arg_int(ctx, 0);
    struct node node = {.depth = depth};
    if (depth == 0)
        return raympi_return_copy(ctx, 0, &node, sizeof node);
    raympi_ref next = raympi_call_opts(AT(raympi_rank() + 1), chain, depth - 1);
    node.next = raympi_wire(next);
    struct node *out = raympi_return_nested(ctx, 0, sizeof node, &next, 1);
    if (out)
        *out = node;
    return RAYMPI_OK;
}

/* Walks a chain from wherever it runs; the way leads over refs that only the objects hold. */
static int64_t walk(raympi_ref at)
{
    raympi_view view;
    for (int64_t steps = 0;; steps++) {
        if (raympi_get(at, &view) != RAYMPI_OK || view.len != sizeof(struct node))
            return -1;
        const struct node *node = view.data;
        if (node->depth == 0)
            return steps;
        at = raympi_view_ref(&view, node->next);
        if (raympi_view_end(&view) != RAYMPI_OK)
            return -2;
    }
}

RAYMPI_TASK(walk_argument)
{
    size_t len;
    const struct node *node = raympi_arg(ctx, 0, &len);
    if (len != sizeof *node)
        return raympi_fail(ctx, 3, "%zu bytes", len);
    if (node->depth == 0)
        return raympi_return_int(ctx, 0, 0);
    raympi_ref next = raympi_arg_nested(ctx, 0, node->next);
    if (raympi_rank() % 2) /* both ways of using it: look here, or hand it on */
        return raympi_return_ref(
            ctx, 0, raympi_call(add, raympi_call_opts(AT(raympi_rank() + 2), walk_argument, next), 1));
    return raympi_return_int(ctx, 0, walk(next) + 1);
}

void nested(void)
{
    raympi_view view;
    for (int depth = 0; depth < 7; depth++) {
        raympi_scope_begin();
        raympi_ref head = raympi_call_opts(AT(raympi_rank() + depth), chain, depth);
        CHECK(walk(head) == depth);
        for (int rank = 0; rank < raympi_size() && rank < 4; rank++)
            CHECK(value_of(raympi_call_opts(AT(rank), walk_argument, head)) == depth);
        raympi_scope_end();
    }
    raympi_scope_begin();
    raympi_ref inner[3], undeclared = raympi_put("u", 1);
    raympi_wire_ref wires[4];
    for (int i = 0; i < 3; i++) {
        inner[i] = i == 2 ? raympi_call_opts(AT(raympi_rank() + 1), make, 5000, 1) : raympi_put(&i, sizeof i);
        wires[i] = raympi_wire(inner[i]);
    }
    wires[3] = raympi_wire(undeclared);
    raympi_ref outer = raympi_put_nested(wires, sizeof wires, inner, 3);
    raympi_ref large = raympi_put_nested(wires, sizeof wires, inner, 3);
    CHECK_OK(raympi_release_all(inner, 3));
    CHECK_OK(raympi_get(outer, &view));
    raympi_ref found = raympi_view_ref(&view, wires[2]);
    CHECK_OK(raympi_release(outer));
    CHECK_OK(raympi_release(large));
    raympi_ref wrong = raympi_view_ref(&view, wires[3]);
    CHECK(raympi_ref_status(wrong) == RAYMPI_ERR_RELEASED);
    CHECK_OK(raympi_view_end(&view));
    CHECK_OK(raympi_get(found, &view));
    CHECK(view.len == 5000 && painted(view.data, 5000, 1));
    raympi_ref none = raympi_put_nested("x", 1, NULL, 2);
    CHECK(raympi_ref_status(none) == RAYMPI_ERR_ARGUMENT);
    raympi_scope_end();
}

/* The identity of an object is the same wherever its ref has come to: as an argument, in an object, as a
 * result. */
RAYMPI_TASK(identify)
{
    raympi_wire_ref wire = raympi_wire(raympi_arg_ref(ctx, 0));
    if (raympi_arg_int(ctx, 1) == 0)
        return raympi_return_copy(ctx, 0, wire.id, sizeof wire.id);
    raympi_wire_ref inside;
    memcpy(&inside, raympi_arg(ctx, 2, NULL), sizeof inside);
    raympi_ref nested = raympi_arg_nested(ctx, 2, inside);
    return raympi_return_ref(ctx, 0, raympi_call_opts(AT(raympi_rank() + 1), identify, nested, 0));
}

void identities(void)
{
    raympi_scope_begin();
    raympi_ref refs[2] = {raympi_put("a", 1), raympi_call_opts(AT(raympi_rank() + 1), make, 9, 9)};
    for (int i = 0; i < 2; i++) {
        raympi_wire_ref wire = raympi_wire(refs[i]);
        uint64_t id[2];
        CHECK(wire.id[0] || wire.id[1]);
        raympi_ref outer = raympi_put_nested(&wire, sizeof wire, &refs[i], 1);
        for (int rank = 0; rank < raympi_size() && rank < 4; rank++)
            for (int way = 0; way < 2; way++) {
                raympi_ref found = raympi_call_opts(AT(rank), identify, refs[i], way, outer);
                CHECK_OK(raympi_get_copy(found, id, sizeof id));
                CHECK(id[0] == wire.id[0] && id[1] == wire.id[1]);
            }
    }
    raympi_scope_end();
}

/* A long list, let go at once: no recursion that deep. */
void deep(void)
{
    raympi_ref at = raympi_put("end", 4);
    for (int i = 0; i < 100000; i++) {
        raympi_wire_ref wire = raympi_wire(at);
        raympi_ref next = raympi_put_nested(&wire, sizeof wire, &at, 1);
        CHECK_OK(raympi_release(at));
        at = next;
    }
    CHECK_OK(raympi_release(at));
}

/* ---- results that are refs */

RAYMPI_TASK(tail)
{
    int64_t n = raympi_arg_int(ctx, 0);
    if (n == 0)
        return raympi_return_int(ctx, 0, 77);
    return raympi_return_ref(ctx, 0, raympi_call(tail, n - 1));
}

RAYMPI_TASK(relay) /* rank, further hops: the ref goes on and comes back as the result */
{
    int64_t hops = raympi_arg_int(ctx, 1);
    raympi_ref ref = raympi_arg_ref(ctx, 0);
    if (hops == 0)
        return raympi_return_ref(ctx, 0, ref);
    return raympi_return_ref(ctx, 0, raympi_call_opts(AT(raympi_rank() + 1), relay, ref, hops - 1));
}

void aliases(void)
{
    raympi_scope_begin();
    CHECK(value_of(raympi_call(tail, 2000)) == 77);
    CHECK(value_of(raympi_call_opts(AT(raympi_rank() + 1), tail, 100)) == 77);
    for (int hops = 0; hops < 6; hops++) {
        raympi_ref start = raympi_call_opts(AT(raympi_rank() + 2), make, 1000, 8);
        raympi_ref end = raympi_call_opts(AT(raympi_rank() + 1), relay, start, hops);
        CHECK_OK(raympi_release(start));
        raympi_ref again = raympi_call_opts(AT(raympi_rank() + 3), relay, end, hops);
        CHECK_OK(raympi_release(end));
        CHECK(value_of(raympi_call_opts(AT(hops), check, again, 1000, 8)) == 1000);
        raympi_ref failed = raympi_call_opts(AT(raympi_rank() + 1), relay,
                                             raympi_call_opts(AT(raympi_rank() + 2), fail), hops);
        raympi_view view;
        CHECK(raympi_get(failed, &view) == 7);
        CHECK(strstr(raympi_detail(), "on purpose") != NULL);
    }
    raympi_scope_end();
}

/* A long chain of tasks that depend on each other, whose first fails: the error reaches the last. */
void deep_error(void)
{
    raympi_view view;
    raympi_ref gate;
    int64_t *data = raympi_create(8, &gate);
    *data = 1;
    raympi_ref at = raympi_call(fail, gate);
    for (int i = 0; i < 5000; i++) {
        raympi_ref next = raympi_call(add, at, 1);
        CHECK_OK(raympi_release(at));
        at = next;
    }
    CHECK_OK(raympi_seal(gate));
    CHECK(raympi_get(at, &view) == 7);
    CHECK(strstr(raympi_detail(), "on purpose") != NULL);
    CHECK_OK(raympi_release(at));
    CHECK_OK(raympi_release(gate));
}

/* ---- refs kept by actors */

struct shelf {
    raympi_ref refs[16];
    int count;
};
RAYMPI_ACTOR(shelf, struct shelf)
RAYMPI_METHOD(shelf, store)
{
    struct shelf *self = raympi_self(ctx);
    self->refs[self->count++] = raympi_keep(raympi_arg_ref(ctx, 0));
    return RAYMPI_OK;
}
RAYMPI_METHOD(shelf, take)
{
    struct shelf *self = raympi_self(ctx);
    raympi_ref ref = self->refs[--self->count];
    int status = raympi_return_ref(ctx, 0, ref);
    return status == RAYMPI_OK ? raympi_release(ref) : status;
}

void actors(void)
{
    raympi_scope_begin();
    raympi_actor shelves[4];
    for (int i = 0; i < 4; i++)
        shelves[i] = raympi_actor_new_opts(AT(raympi_rank() + i), shelf);
    for (int i = 0; i < 16; i++) {
        raympi_ref ref = raympi_call_opts(AT(raympi_rank() + i), make, i * 300, i);
        raympi_release(raympi_actor_call(shelves[i % 4], store, ref));
        CHECK_OK(raympi_release(ref));
    }
    for (int i = 15; i >= 8; i--) { /* the others stay on the shelf until the actor ends */
        raympi_ref ref = raympi_actor_call(shelves[i % 4], take);
        CHECK(value_of(raympi_call_opts(AT(i), check, ref, i * 300, i)) == i * 300);
    }
    raympi_scope_end();
}
