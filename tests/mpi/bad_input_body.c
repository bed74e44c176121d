/* What a body may do wrong with its arguments and results; see bad_input.c. */
#include "bad_input.h"

/* ---- arguments of a body */

enum asking {
    ASK_INDEX,
    ASK_NEGATIVE,
    ASK_INT_OF_STRING,
    ASK_INT_OF_DOUBLE,
    ASK_INT_OF_BYTES,
    ASK_DOUBLE_OF_STRING,
    ASK_STRING_OF_INT,
    ASK_REF_OF_INT,
    ASK_ACTOR_OF_INT,
    ASK_MEMBER_OF_INT,
    ASK_MEMBER,
    ASK_NESTED_OF_INT,
    ASK_BYTES_OF_ACTOR,
};

/* Does something wrong with argument 1 and does not look: the task must fail all the same. */
RAYMPI_TASK(ask)
{
    switch ((enum asking)raympi_arg_int(ctx, 0)) {
    case ASK_INDEX:
        CHECK((const char *)raympi_arg(ctx, raympi_arg_count(ctx), NULL) == NULL);
        break;
    case ASK_NEGATIVE:
        CHECK(raympi_arg_string(ctx, -1) == NULL && raympi_arg_list_count(ctx, -1) == -1);
        break;
    case ASK_INT_OF_STRING:
    case ASK_INT_OF_DOUBLE:
    case ASK_INT_OF_BYTES:
        CHECK(raympi_arg_int(ctx, 1) == 0);
        break;
    case ASK_DOUBLE_OF_STRING:
        CHECK(raympi_arg_double(ctx, 1) == 0);
        break;
    case ASK_STRING_OF_INT:
        CHECK(raympi_arg_string(ctx, 1) == NULL);
        break;
    case ASK_REF_OF_INT:
        CHECK(raympi_arg_ref(ctx, 1).handle == 0);
        break;
    case ASK_ACTOR_OF_INT:
        CHECK(raympi_arg_actor(ctx, 1).handle == 0);
        break;
    case ASK_MEMBER_OF_INT:
        CHECK((const char *)raympi_arg_at(ctx, 1, 1, NULL) == NULL);
        break;
    case ASK_MEMBER:
        CHECK((const char *)raympi_arg_at(ctx, 1, raympi_arg_list_count(ctx, 1), NULL) == NULL);
        break;
    case ASK_NESTED_OF_INT:
        raympi_arg_nested(ctx, 1, (raympi_wire_ref){0});
        break;
    case ASK_BYTES_OF_ACTOR:
        CHECK((const char *)raympi_arg(ctx, 1, NULL) == NULL);
        break;
    }
    return raympi_return_int(ctx, 0, 1);
}

static void wrong_arguments_on(int rank)
{
    raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = rank};
    raympi_scope_begin();
    raympi_ref one = raympi_put("x", 1);
    raympi_actor actor = raympi_actor_new(counter);
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 was asked for, the call has 1",
              raympi_call_opts(there, ask, ASK_INDEX));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument -1", raympi_call_opts(there, ask, ASK_NEGATIVE));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is no number",
              raympi_call_opts(there, ask, ASK_INT_OF_STRING, "a text"));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is no number",
              raympi_call_opts(there, ask, ASK_INT_OF_STRING, "7 chars"));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is a double",
              raympi_call_opts(there, ask, ASK_INT_OF_DOUBLE, 1.5));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is no number: it has 3 bytes",
              raympi_call_opts(there, ask, ASK_INT_OF_BYTES, RAYMPI_BYTES("abc", 3)));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is no number: it has 1 bytes",
              raympi_call_opts(there, ask, ASK_INT_OF_BYTES, one));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is no number",
              raympi_call_opts(there, ask, ASK_DOUBLE_OF_STRING, "1.5"));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is no string", raympi_call_opts(there, ask, ASK_STRING_OF_INT, 1));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is no ref", raympi_call_opts(there, ask, ASK_REF_OF_INT, 1));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is no actor", raympi_call_opts(there, ask, ASK_ACTOR_OF_INT, 1));
    REF_FAILS(RAYMPI_ERR_TYPE, "member 1 of argument 1", raympi_call_opts(there, ask, ASK_MEMBER_OF_INT, 1));
    REF_FAILS(RAYMPI_ERR_TYPE, "member 1 of argument 1 was asked for, it has 1",
              raympi_call_opts(there, ask, ASK_MEMBER, RAYMPI_REFS(&one, 1)));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is no ref", raympi_call_opts(there, ask, ASK_NESTED_OF_INT, 1));
    REF_FAILS(RAYMPI_ERR_TYPE, "argument 1 is an actor",
              raympi_call_opts(there, ask, ASK_BYTES_OF_ACTOR, actor));
    raympi_scope_end();
}

void wrong_kinds(void)
{
    raympi_view view;
    raympi_value strange = {99, 0, {0}}, many[17];
    for (int i = 0; i < 17; i++)
        many[i] = raympi_value_int(i);
    raympi_actor actor = raympi_actor_new(counter);
    raympi_ref ref = raympi_put("x", 1), as_ref = {actor.handle};
    raympi_actor as_actor = {ref.handle};
    REF_FAILS(RAYMPI_ERR_TYPE, "unknown kind 99", raympi_submit(NULL, "echo", NULL, &strange, 1));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "17 arguments", raympi_submit(NULL, "echo", NULL, many, 17));
    REF_FAILS(RAYMPI_ERR_TYPE, "actor handle", raympi_call(echo, as_ref));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "no actor handle", raympi_call(echo, as_actor));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "actor handle", raympi_actor_call(as_actor, next));
    FAILS(RAYMPI_ERR_TYPE, "actor handle is no ref", raympi_get(as_ref, &view));
    FAILS(RAYMPI_ERR_TYPE, "1 bytes, 8 were asked for", raympi_get_copy(ref, &(int64_t){0}, 8));
    raympi_release(ref);
    raympi_release(actor);
}

/* ---- results of a body */

enum setting {
    SET_NOTHING,
    SET_TWICE,
    SET_INDEX,
    SET_NEGATIVE,
    SET_FROM_NULL,
    SET_NULL_REF,
    SET_ACTOR_AS_REF,
    SET_NULL_LIST,
    SET_NEGATIVE_LIST,
    SET_TOO_LARGE,
    SET_ALL_MEMORY,
};

RAYMPI_TASK(set)
{
    switch ((enum setting)raympi_arg_int(ctx, 0)) {
    case SET_NOTHING:
        return RAYMPI_OK;
    case SET_TWICE:
        raympi_return_int(ctx, 0, 1);
        return raympi_return_int(ctx, 0, 2);
    case SET_INDEX:
        raympi_return_int(ctx, 1, 1);
        break;
    case SET_NEGATIVE:
        raympi_return_int(ctx, -1, 1);
        break;
    case SET_FROM_NULL:
        raympi_return_copy(ctx, 0, NULL, 1);
        return RAYMPI_OK;
    case SET_NULL_REF:
        raympi_return_ref(ctx, 0, null_ref);
        return RAYMPI_OK;
    case SET_ACTOR_AS_REF:
        raympi_return_ref(ctx, 0, (raympi_ref){raympi_arg_actor(ctx, 1).handle});
        return RAYMPI_OK;
    case SET_NULL_LIST:
        CHECK((char *)raympi_return_nested(ctx, 0, 8, NULL, 2) == NULL);
        return RAYMPI_OK;
    case SET_NEGATIVE_LIST: {
        raympi_ref one = raympi_put("x", 1);
        CHECK((char *)raympi_return_nested(ctx, 0, 8, &one, (size_t)-1) == NULL);
        return RAYMPI_OK;
    }
    case SET_TOO_LARGE:
        CHECK((char *)raympi_return(ctx, 0, (size_t)1 << 40) == NULL);
        return RAYMPI_OK;
    case SET_ALL_MEMORY:
        CHECK((char *)raympi_return(ctx, 0, SIZE_MAX) == NULL);
        return RAYMPI_OK;
    }
    return raympi_return_int(ctx, 0, 1);
}

RAYMPI_TASK(silent, .num_returns = RAYMPI_NONE)
{
    raympi_return_int(ctx, 0, 1);
    return RAYMPI_OK;
}

RAYMPI_TASK(half, .num_returns = 2)
{
    return raympi_return_int(ctx, 0, 1);
}

static void wrong_results_on(int rank)
{
    raympi_options there = {.size = sizeof there, .strategy = RAYMPI_STRATEGY_NODE, .node = rank};
    raympi_scope_begin();
    raympi_actor actor = raympi_actor_new(counter);
    REF_FAILS(RAYMPI_ERR_NO_RESULT, "without setting result 0", raympi_call_opts(there, set, SET_NOTHING));
    REF_FAILS(RAYMPI_ERR_NO_RESULT, "without setting result 1", raympi_call_opts(there, half));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "result 0 was set twice", raympi_call_opts(there, set, SET_TWICE));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "result 1 was set, the task has 1",
              raympi_call_opts(there, set, SET_INDEX));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "result -1 was set", raympi_call_opts(there, set, SET_NEGATIVE));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "result 0 was set, the task has 0", raympi_call_opts(there, silent));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "null pointer", raympi_call_opts(there, set, SET_FROM_NULL));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "ref is null", raympi_call_opts(there, set, SET_NULL_REF));
    REF_FAILS(RAYMPI_ERR_TYPE, "actor handle", raympi_call_opts(there, set, SET_ACTOR_AS_REF, actor));
    REF_FAILS(RAYMPI_ERR_ARGUMENT, "null array", raympi_call_opts(there, set, SET_NULL_LIST));
    REF_FAILS(RAYMPI_ERR_TOO_LARGE, "18446744073709551615 nested refs",
              raympi_call_opts(there, set, SET_NEGATIVE_LIST));
    REF_FAILS(RAYMPI_ERR_TOO_LARGE, "", raympi_call_opts(there, set, SET_TOO_LARGE));
    REF_FAILS(RAYMPI_ERR_TOO_LARGE, "", raympi_call_opts(there, set, SET_ALL_MEMORY));
    raympi_scope_end();
}

static _Atomic uint64_t own_result;

RAYMPI_TASK(get_own)
{
    raympi_view view;
    raympi_ref own = {0};
    while (!(own.handle = own_result))
        continue; /* another worker was faster than the caller */
    FAILS(RAYMPI_ERR_ARGUMENT, "get_own waits for its own result", raympi_get(own, &view));
    FAILS(RAYMPI_ERR_ARGUMENT, "get_own waits for its own result", raympi_wait(&own, 1, 1, -1, NULL));
    return raympi_return_int(ctx, 0, 7);
}

RAYMPI_TASK(return_own)
{
    raympi_ref own = {0};
    while (!(own.handle = own_result))
        continue;
    return raympi_return_ref(ctx, 0, own);
}

void own_results(void)
{
    int64_t value = 0;
    raympi_view view;
    own_result = 0;
    raympi_ref ref = raympi_call_opts(HERE, get_own);
    own_result = ref.handle;
    CHECK_OK(raympi_get_copy(ref, &value, sizeof value));
    CHECK(value == 7);
    raympi_release(ref);
    own_result = 0;
    ref = raympi_call_opts(HERE, return_own);
    own_result = ref.handle;
    FAILS(RAYMPI_ERR_DEADLOCK, "its own result", raympi_get(ref, &view));
    raympi_release(ref);
}

void wrong_arguments(void)
{
    for (int rank = 0; rank < raympi_size(); rank++)
        wrong_arguments_on(rank);
}

void wrong_results(void)
{
    for (int rank = 0; rank < raympi_size(); rank++)
        wrong_results_on(rank);
}
