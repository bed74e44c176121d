/* Contexts: what is held in scopes, let go in any order. */
#include "task_node.h"

enum { MANY = 3000 };

static struct task_node node;

/* An object that is ready, with one hold for a scope and one for the test. */
static struct object *make(void)
{
    static const char *const label = "test";
    struct object *object = object_new(node.room, 2, &label);
    CU_ASSERT_PTR_NOT_NULL_FATAL(object);
    object_complete(node.room, object);
    return object;
}

static uint32_t holds(const struct object *object)
{
    return refcount_holds(&object->count);
}

static void take_out(struct context *context, struct object *object)
{
    CU_ASSERT_TRUE(context_unhold(context, object));
    object_drop_named(node.room, object);
}

static void begin(struct context *context)
{
    node_open(&node);
    context_init(context, node.room, "test");
}

static void end(struct context *context)
{
    context_fini(context);
    node_close(&node);
}

static void refs_go_in_any_order(void)
{
    static struct object *objects[MANY];
    struct context context;
    for (int order = 0; order < 3; order++) {
        begin(&context);
        for (int i = 0; i < MANY; i++) {
            objects[i] = make();
            CU_ASSERT_EQUAL(context_hold(&context, objects[i]), RAYMPI_OK);
        }
        /* first to last, last to first, or by steps of a number that shares no factor with MANY */
        for (int i = 0; i < MANY; i++)
            take_out(&context, objects[order == 0 ? i : order == 1 ? MANY - 1 - i : i * 1009 % MANY]);
        for (int i = 0; i < MANY; i++) {
            CU_ASSERT_EQUAL(holds(objects[i]), 1);
            object_drop(node.room, objects[i]);
        }
        CU_ASSERT_EQUAL(context.held_used, 0);
        end(&context);
    }
}

static void what_is_not_held_can_not_be_let_go(void)
{
    struct context context;
    begin(&context);
    struct object *object = make();
    CU_ASSERT_FALSE(context_unhold(&context, object));
    CU_ASSERT_EQUAL(context_hold(&context, object), RAYMPI_OK);
    take_out(&context, object);
    CU_ASSERT_FALSE(context_unhold(&context, object));
    object_drop(node.room, object);
    end(&context);
}

/* A long loop that lets go what it got: the list does not grow with it. */
static void gaps_are_closed(void)
{
    struct context context;
    struct object *kept[10], *window[20] = {NULL};
    begin(&context);
    for (int i = 0; i < 10; i++) {
        kept[i] = make();
        context_hold(&context, kept[i]);
    }
    for (int i = 0; i < 50000; i++) {
        struct object **place = &window[i % 20];
        if (*place) {
            take_out(&context, *place);
            object_drop(node.room, *place);
        }
        *place = make();
        CU_ASSERT_EQUAL(context_hold(&context, *place), RAYMPI_OK);
    }
    CU_ASSERT(context.held_size <= 256);
    for (int i = 0; i < 10; i++) { /* hints were moved along */
        take_out(&context, kept[i]);
        object_drop(node.room, kept[i]);
    }
    for (int i = 0; i < 20; i++) {
        take_out(&context, window[i]);
        object_drop(node.room, window[i]);
    }
    end(&context);
}

static void a_scope_lets_go_of_its_own(void)
{
    struct context context;
    struct object *outer, *inner, *innermost;
    begin(&context);
    CU_ASSERT_EQUAL(context_scope_end(&context), RAYMPI_ERR_STATE);
    outer = make();
    context_hold(&context, outer);
    CU_ASSERT_EQUAL(context_scope_begin(&context), RAYMPI_OK);
    inner = make();
    context_hold(&context, inner);
    for (int i = 0; i < 100; i++) /* deep */
        CU_ASSERT_EQUAL(context_scope_begin(&context), RAYMPI_OK);
    innermost = make();
    context_hold(&context, innermost);
    CU_ASSERT_EQUAL(context_scope_end(&context), RAYMPI_OK);
    CU_ASSERT_EQUAL(holds(innermost), 1);
    for (int i = 1; i < 100; i++)
        CU_ASSERT_EQUAL(context_scope_end(&context), RAYMPI_OK);
    CU_ASSERT_EQUAL(holds(inner), 2);
    CU_ASSERT_EQUAL(context_scope_end(&context), RAYMPI_OK);
    CU_ASSERT_EQUAL(holds(inner), 1);
    CU_ASSERT_EQUAL(holds(outer), 2);
    context_fini(&context);
    CU_ASSERT_EQUAL(holds(outer), 1);
    object_drop(node.room, outer);
    object_drop(node.room, inner);
    object_drop(node.room, innermost);
    end(&context);
}

/* Out of an outer scope, from within: the inner one's beginning must not move. */
static void an_outer_ref_is_let_go_inside(void)
{
    struct context context;
    struct object *outer, *inner;
    begin(&context);
    outer = make();
    context_hold(&context, outer);
    context_scope_begin(&context);
    inner = make();
    context_hold(&context, inner);
    take_out(&context, outer);
    CU_ASSERT_EQUAL(holds(outer), 1);
    CU_ASSERT_EQUAL(context_scope_end(&context), RAYMPI_OK);
    CU_ASSERT_EQUAL(holds(inner), 1);
    object_drop(node.room, outer);
    object_drop(node.room, inner);
    end(&context);
}

/* Another task that gets the same object sets its hint, here to where the outer scope happens to have it. */
static void the_inner_hold_goes_first(void)
{
    struct context context, other;
    begin(&context);
    context_init(&other, node.room, "other");
    struct object *object = make();
    context_hold(&context, object);
    context_scope_begin(&context);
    for (int i = 0; i < 2; i++) {
        object_retain(object);
        context_hold(i == 0 ? &context : &other, object);
    }
    take_out(&context, object);
    CU_ASSERT_EQUAL(context_scope_end(&context), RAYMPI_OK);
    CU_ASSERT_EQUAL(holds(object), 3);
    take_out(&context, object);
    context_fini(&other);
    object_drop(node.room, object);
    end(&context);
}

static void one_object_may_be_held_often(void)
{
    struct context context;
    begin(&context);
    struct object *object = make();
    context_hold(&context, object);
    for (int i = 0; i < 1000; i++) {
        object_retain(object);
        CU_ASSERT_EQUAL(context_hold(&context, object), RAYMPI_OK);
    }
    for (int i = 0; i < 500; i++)
        take_out(&context, object);
    CU_ASSERT_EQUAL(holds(object), 502);
    context_fini(&context);
    CU_ASSERT_EQUAL(holds(object), 1);
    object_drop(node.room, object);
    end(&context);
}

static void views_end_once(void)
{
    struct context context;
    uint64_t position[MANY];
    begin(&context);
    struct object *object = make();
    for (int i = 0; i < MANY; i++)
        CU_ASSERT_EQUAL(context_view_add(&context, object, &position[i]), RAYMPI_OK);
    CU_ASSERT_EQUAL(holds(object), 2 + MANY);
    for (int i = 0; i < MANY; i += 2) {
        CU_ASSERT_EQUAL(context_view_end(&context, object, position[i]), RAYMPI_OK);
        CU_ASSERT_EQUAL(context_view_end(&context, object, position[i]), RAYMPI_ERR_ARGUMENT);
    }
    CU_ASSERT_EQUAL(context_view_end(&context, object, MANY + 5), RAYMPI_ERR_ARGUMENT);
    context_fini(&context);
    CU_ASSERT_EQUAL(holds(object), 2);
    object_drop(node.room, object);
    object_drop(node.room, object);
    end(&context);
}

/* The first views lean on the hold that the scope has, until that goes. */
static void views_outlive_the_ref(void)
{
    struct context context;
    uint64_t position[3];
    begin(&context);
    struct object *object = make();
    CU_ASSERT_EQUAL(context_hold(&context, object), RAYMPI_OK);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(context_view_add(&context, object, &position[i]), RAYMPI_OK);
    CU_ASSERT_EQUAL(holds(object), 2);
    CU_ASSERT_EQUAL(context_view_end(&context, object, position[1]), RAYMPI_OK);
    take_out(&context, object);
    CU_ASSERT_EQUAL(holds(object), 3);
    CU_ASSERT_EQUAL(context_view_end(&context, object, position[0]), RAYMPI_OK);
    CU_ASSERT_EQUAL(holds(object), 2);
    context_fini(&context);
    CU_ASSERT_EQUAL(holds(object), 1);
    object_drop(node.room, object);
    end(&context);
}

static void a_view_of_an_outer_scope_survives_the_inner_one(void)
{
    struct context context;
    uint64_t outer, inner;
    begin(&context);
    struct object *object = make();
    object_retain(object);
    CU_ASSERT_EQUAL(context_hold(&context, object), RAYMPI_OK);
    CU_ASSERT_EQUAL(context_view_add(&context, object, &outer), RAYMPI_OK);
    CU_ASSERT_EQUAL(context_scope_begin(&context), RAYMPI_OK);
    CU_ASSERT_EQUAL(context_hold(&context, object), RAYMPI_OK);
    CU_ASSERT_EQUAL(context_view_add(&context, object, &inner), RAYMPI_OK);
    CU_ASSERT_EQUAL(context_scope_end(&context), RAYMPI_OK);
    take_out(&context, object);
    CU_ASSERT_EQUAL(holds(object), 2);
    CU_ASSERT_EQUAL(context_view_end(&context, object, outer), RAYMPI_OK);
    CU_ASSERT_EQUAL(holds(object), 1);
    object_drop(node.room, object);
    end(&context);
}

static const struct unit_test tests[] = {
    {"refs go in any order", refs_go_in_any_order},
    {"what is not held can not be let go", what_is_not_held_can_not_be_let_go},
    {"gaps are closed", gaps_are_closed},
    {"a scope lets go of its own", a_scope_lets_go_of_its_own},
    {"an outer ref is let go inside", an_outer_ref_is_let_go_inside},
    {"the inner hold goes first", the_inner_hold_goes_first},
    {"one object may be held often", one_object_may_be_held_often},
    {"views end once", views_end_once},
    {"views outlive the ref", views_outlive_the_ref},
    {"a view of an outer scope survives the inner one", a_view_of_an_outer_scope_survives_the_inner_one},
};

int main(void)
{
    return UNIT_MAIN("task: contexts", tests);
}
