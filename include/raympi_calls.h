/* What a program writes in place of the functions of raympi.h: raympi_call() and its kin, which take plain
 * arguments, and the definitions of tasks and classes. Included by raympi.h only. */
#ifndef RAYMPI_CALLS_H
#define RAYMPI_CALLS_H

/** Wrappers for arguments. A `const char *` is a string by itself. */
#define RAYMPI_BYTES(data, len)   raympi_make_bytes((data), (len))
#define RAYMPI_REFS(array, count) raympi_make_refs((array), (count))

#ifdef __cplusplus
#include <type_traits>
template <class T,
          typename std::enable_if<std::is_integral<T>::value || std::is_enum<T>::value, int>::type = 0>
inline raympi_value raympi_value_of(T x)
{
    return raympi_value_int(static_cast<int64_t>(x));
}
inline raympi_value raympi_value_of(double x)
{
    return raympi_value_double(x);
}
inline raympi_value raympi_value_of(float x)
{
    return raympi_value_double(static_cast<double>(x));
}
/* One overload each for what C tells apart by _Generic. */
#define RAYMPI_OVERLOAD(result, name, type, function)                                                        \
    inline result name(type x)                                                                               \
    {                                                                                                        \
        return function(x);                                                                                  \
    }
RAYMPI_OVERLOAD(raympi_value, raympi_value_of, const char *, raympi_value_string)
RAYMPI_OVERLOAD(raympi_value, raympi_value_of, raympi_ref, raympi_value_ref)
RAYMPI_OVERLOAD(raympi_value, raympi_value_of, raympi_actor, raympi_value_actor)
RAYMPI_OVERLOAD(raympi_value, raympi_value_of, raympi_bytes, raympi_value_bytes)
RAYMPI_OVERLOAD(raympi_value, raympi_value_of, raympi_refs, raympi_value_refs)
RAYMPI_OVERLOAD(int, raympi_release, raympi_ref, raympi_ref_release)
RAYMPI_OVERLOAD(int, raympi_release, raympi_actor, raympi_actor_release)
RAYMPI_OVERLOAD(raympi_ref, raympi_keep, raympi_ref, raympi_ref_keep)
RAYMPI_OVERLOAD(raympi_actor, raympi_keep, raympi_actor, raympi_actor_keep)
RAYMPI_OVERLOAD(raympi_ref, raympi_retain, raympi_ref, raympi_ref_retain)
RAYMPI_OVERLOAD(raympi_actor, raympi_retain, raympi_actor, raympi_actor_retain)
RAYMPI_OVERLOAD(raympi_wire_ref, raympi_wire, raympi_ref, raympi_ref_wire)
RAYMPI_OVERLOAD(raympi_wire_actor, raympi_wire, raympi_actor, raympi_actor_wire)
#undef RAYMPI_OVERLOAD
#define RAYMPI_VALUE(x) raympi_value_of(x)
struct raympi_values { /* a call's arguments live until the end of the full expression */
    raympi_value v[17];
    template <class... T> raympi_values(const T &...x) : v{raympi_value(x)..., raympi_value()} {}
    operator const raympi_value *() const { return v; }
};
#define RAYMPI_VALUES(...) raympi_values(__VA_ARGS__)
#else
#define RAYMPI_VALUE(x)                                                                                      \
    _Generic((x),                                                                                                     \
        _Bool: raympi_value_int,                                                                                      \
        char: raympi_value_int,                                                                                       \
        signed char: raympi_value_int,                                                                                \
        unsigned char: raympi_value_int,                                                                              \
        short: raympi_value_int,                                                                                      \
        unsigned short: raympi_value_int,                                                                             \
        int: raympi_value_int,                                                                                        \
        unsigned: raympi_value_int,                                                                                   \
        long: raympi_value_int,                                                                                       \
        unsigned long: raympi_value_int,                                                                              \
        long long: raympi_value_int,                                                                                  \
        unsigned long long: raympi_value_int,                                                                         \
        float: raympi_value_double,                                                                                   \
        double: raympi_value_double,                                                                                  \
        char *: raympi_value_string,                                                                                  \
        const char *: raympi_value_string,                                                                            \
        raympi_ref: raympi_value_ref,                                                                                 \
        raympi_actor: raympi_value_actor,                                                                             \
        raympi_bytes: raympi_value_bytes,                                                                             \
        raympi_refs: raympi_value_refs)(x)
#define RAYMPI_VALUES(...) ((const raympi_value[]){__VA_ARGS__})
/** Lets go of one hold on a ref or an actor; see raympi_ref_release(). */
#define raympi_release(x)                                                                                    \
    _Generic((x), raympi_ref : raympi_ref_release, raympi_actor : raympi_actor_release)(x)
/** Moves a hold out of the current scope; see raympi_ref_keep(). */
#define raympi_keep(x)   _Generic((x), raympi_ref : raympi_ref_keep, raympi_actor : raympi_actor_keep)(x)
/** One more hold; see raympi_ref_retain(). */
#define raympi_retain(x) _Generic((x), raympi_ref : raympi_ref_retain, raympi_actor : raympi_actor_retain)(x)
/** The form in which a ref or an actor handle travels inside an object's bytes; see raympi_ref_wire(). */
#define raympi_wire(x)   _Generic((x), raympi_ref : raympi_ref_wire, raympi_actor : raympi_actor_wire)(x)
#endif

/* Counts 1..17 macro arguments and maps RAYMPI_VALUE over all but the first. */
#define RAYMPI_PASTE_(a, b)                                                      a##b
#define RAYMPI_PASTE(a, b)                                                       RAYMPI_PASTE_(a, b)
#define RAYMPI_COUNT_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, ...) r
#define RAYMPI_COUNT(...)                                                                                    \
    RAYMPI_COUNT_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0)
#define RAYMPI_MAP_1(a)       RAYMPI_VALUE(a)
#define RAYMPI_MAP_2(a, ...)  RAYMPI_VALUE(a), RAYMPI_MAP_1(__VA_ARGS__)
#define RAYMPI_MAP_3(a, ...)  RAYMPI_VALUE(a), RAYMPI_MAP_2(__VA_ARGS__)
#define RAYMPI_MAP_4(a, ...)  RAYMPI_VALUE(a), RAYMPI_MAP_3(__VA_ARGS__)
#define RAYMPI_MAP_5(a, ...)  RAYMPI_VALUE(a), RAYMPI_MAP_4(__VA_ARGS__)
#define RAYMPI_MAP_6(a, ...)  RAYMPI_VALUE(a), RAYMPI_MAP_5(__VA_ARGS__)
#define RAYMPI_MAP_7(a, ...)  RAYMPI_VALUE(a), RAYMPI_MAP_6(__VA_ARGS__)
#define RAYMPI_MAP_8(a, ...)  RAYMPI_VALUE(a), RAYMPI_MAP_7(__VA_ARGS__)
#define RAYMPI_MAP_9(a, ...)  RAYMPI_VALUE(a), RAYMPI_MAP_8(__VA_ARGS__)
#define RAYMPI_MAP_10(a, ...) RAYMPI_VALUE(a), RAYMPI_MAP_9(__VA_ARGS__)
#define RAYMPI_MAP_11(a, ...) RAYMPI_VALUE(a), RAYMPI_MAP_10(__VA_ARGS__)
#define RAYMPI_MAP_12(a, ...) RAYMPI_VALUE(a), RAYMPI_MAP_11(__VA_ARGS__)
#define RAYMPI_MAP_13(a, ...) RAYMPI_VALUE(a), RAYMPI_MAP_12(__VA_ARGS__)
#define RAYMPI_MAP_14(a, ...) RAYMPI_VALUE(a), RAYMPI_MAP_13(__VA_ARGS__)
#define RAYMPI_MAP_15(a, ...) RAYMPI_VALUE(a), RAYMPI_MAP_14(__VA_ARGS__)
#define RAYMPI_MAP_16(a, ...) RAYMPI_VALUE(a), RAYMPI_MAP_15(__VA_ARGS__)
/* RAYMPI_ARGS_n(first, args...): the argument array and its length. */
#define RAYMPI_ARGS_0(t)       NULL, 0
#define RAYMPI_ARGS_1(t, ...)  RAYMPI_VALUES(RAYMPI_MAP_1(__VA_ARGS__)), 1
#define RAYMPI_ARGS_2(t, ...)  RAYMPI_VALUES(RAYMPI_MAP_2(__VA_ARGS__)), 2
#define RAYMPI_ARGS_3(t, ...)  RAYMPI_VALUES(RAYMPI_MAP_3(__VA_ARGS__)), 3
#define RAYMPI_ARGS_4(t, ...)  RAYMPI_VALUES(RAYMPI_MAP_4(__VA_ARGS__)), 4
#define RAYMPI_ARGS_5(t, ...)  RAYMPI_VALUES(RAYMPI_MAP_5(__VA_ARGS__)), 5
#define RAYMPI_ARGS_6(t, ...)  RAYMPI_VALUES(RAYMPI_MAP_6(__VA_ARGS__)), 6
#define RAYMPI_ARGS_7(t, ...)  RAYMPI_VALUES(RAYMPI_MAP_7(__VA_ARGS__)), 7
#define RAYMPI_ARGS_8(t, ...)  RAYMPI_VALUES(RAYMPI_MAP_8(__VA_ARGS__)), 8
#define RAYMPI_ARGS_9(t, ...)  RAYMPI_VALUES(RAYMPI_MAP_9(__VA_ARGS__)), 9
#define RAYMPI_ARGS_10(t, ...) RAYMPI_VALUES(RAYMPI_MAP_10(__VA_ARGS__)), 10
#define RAYMPI_ARGS_11(t, ...) RAYMPI_VALUES(RAYMPI_MAP_11(__VA_ARGS__)), 11
#define RAYMPI_ARGS_12(t, ...) RAYMPI_VALUES(RAYMPI_MAP_12(__VA_ARGS__)), 12
#define RAYMPI_ARGS_13(t, ...) RAYMPI_VALUES(RAYMPI_MAP_13(__VA_ARGS__)), 13
#define RAYMPI_ARGS_14(t, ...) RAYMPI_VALUES(RAYMPI_MAP_14(__VA_ARGS__)), 14
#define RAYMPI_ARGS_15(t, ...) RAYMPI_VALUES(RAYMPI_MAP_15(__VA_ARGS__)), 15
#define RAYMPI_ARGS_16(t, ...) RAYMPI_VALUES(RAYMPI_MAP_16(__VA_ARGS__)), 16
#define RAYMPI_ARGS(...)       RAYMPI_PASTE(RAYMPI_ARGS_, RAYMPI_COUNT(__VA_ARGS__))(__VA_ARGS__)
#define RAYMPI_FIRST(...)      RAYMPI_FIRST_(__VA_ARGS__, 0)
#define RAYMPI_FIRST_(a, ...)  a
#define RAYMPI_STRING(x)       RAYMPI_STRING_(x)
#define RAYMPI_STRING_(x)      #x
#define RAYMPI_SYMBOL(...)     RAYMPI_PASTE(raympi_task_, RAYMPI_FIRST(__VA_ARGS__))
#define RAYMPI_NAME(...)       RAYMPI_STRING(RAYMPI_FIRST(__VA_ARGS__))

/** Options for one call: RAYMPI_OPTIONS(.num_returns = 2). */
#ifdef __cplusplus
#define RAYMPI_OPTIONS_VALUE(...) raympi_options RAYMPI_OPTIONS_BRACES(__VA_ARGS__)
#else
#define RAYMPI_OPTIONS_VALUE(...) (raympi_options) RAYMPI_OPTIONS_BRACES(__VA_ARGS__)
#endif
#define RAYMPI_OPTIONS_BRACES(...)                                                                           \
    {                                                                                                        \
        .size = sizeof(raympi_options), __VA_ARGS__                                                          \
    }
#define RAYMPI_OPTIONS(...) RAYMPI_OPTIONS_VALUE(__VA_ARGS__)

/** Submits a task: `raympi_ref r = raympi_call(task, arguments...)`, up to 16 arguments: integers, floating
 * point, strings, RAYMPI_BYTES(), refs, RAYMPI_REFS(), actors. Never blocks for long; errors are in the ref.
 */
#define raympi_call(...)                                                                                     \
    raympi_submit(&RAYMPI_SYMBOL(__VA_ARGS__, 0), RAYMPI_NAME(__VA_ARGS__, 0), NULL, RAYMPI_ARGS(__VA_ARGS__))
/** The same for a task named by a string, wherever it is registered. */
#define raympi_call_name(...)                                                                                \
    raympi_submit(NULL, RAYMPI_FIRST(__VA_ARGS__, 0), NULL, RAYMPI_ARGS(__VA_ARGS__))
/** The same with options: `raympi_call_opts(RAYMPI_OPTIONS(...), task, arguments...)`. */
#define raympi_call_opts(options, ...)                                                                       \
    raympi_submit_opts((options), &RAYMPI_SYMBOL(__VA_ARGS__, 0), RAYMPI_NAME(__VA_ARGS__, 0),               \
                       RAYMPI_ARGS(__VA_ARGS__))
/** All results of a task with several: `raympi_ref r[2]; raympi_call_n(r, 2, task, arguments...)`; a status.
 */
#define raympi_call_n(refs, nrefs, ...)                                                                      \
    raympi_submit_n(&RAYMPI_SYMBOL(__VA_ARGS__, 0), RAYMPI_NAME(__VA_ARGS__, 0), NULL,                       \
                    RAYMPI_ARGS(__VA_ARGS__), (refs), (nrefs))

/** Creates an actor: `raympi_actor a = raympi_actor_new(class, constructor arguments...)`. */
#define raympi_actor_new(...)                                                                                \
    raympi_actor_create(&RAYMPI_SYMBOL(__VA_ARGS__, 0), RAYMPI_NAME(__VA_ARGS__, 0), NULL,                   \
                        RAYMPI_ARGS(__VA_ARGS__))
#define raympi_actor_new_opts(options, ...)                                                                  \
    raympi_actor_create_opts((options), &RAYMPI_SYMBOL(__VA_ARGS__, 0), RAYMPI_NAME(__VA_ARGS__, 0),         \
                             RAYMPI_ARGS(__VA_ARGS__))
/** Calls a method: `raympi_ref r = raympi_actor_call(actor, method, arguments...)`. */
#define raympi_actor_call(actor, ...)                                                                        \
    __extension__({                                                                                          \
        static raympi_method_name raympi_method_ = RAYMPI_METHOD_NAME(RAYMPI_NAME(__VA_ARGS__, 0));          \
        raympi_actor_submit((actor), &raympi_method_, NULL, RAYMPI_ARGS(__VA_ARGS__));                       \
    })

static inline raympi_ref raympi_submit_opts(raympi_options options, const raympi_definition *definition,
                                            const char *name, const raympi_value *args, size_t count)
{
    return raympi_submit(definition, name, &options, args, count);
}
static inline raympi_actor raympi_actor_create_opts(raympi_options options,
                                                    const raympi_definition *definition, const char *name,
                                                    const raympi_value *args, size_t count)
{
    return raympi_actor_create(definition, name, &options, args, count);
}

/* -------------------------------------------------------------------------------- definitions */

#ifdef __cplusplus
#define RAYMPI_EXTERN_C extern "C"
#else
#define RAYMPI_EXTERN_C extern
#endif
#if defined(__clang__) && defined(__cplusplus)
#define RAYMPI_DESIGNATED_BEGIN                                                                              \
    _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wc++20-designator\"")
#define RAYMPI_DESIGNATED_END _Pragma("clang diagnostic pop")
#else
#define RAYMPI_DESIGNATED_BEGIN
#define RAYMPI_DESIGNATED_END
#endif

/** Says that a task or class is defined in another file, library or binary of the job. */
#define RAYMPI_TASK_DECLARE(task) RAYMPI_EXTERN_C raympi_definition raympi_task_##task __attribute__((weak))
#define RAYMPI_ACTOR_DECLARE(klass)                                                                          \
    RAYMPI_EXTERN_C raympi_definition raympi_task_##klass __attribute__((weak))

/** Defines and registers a task; its body follows and sees `raympi_ctx *ctx`. Names are global to the job. */
#define RAYMPI_TASK(task, ...)                                                                               \
    static int raympi_body_##task(raympi_ctx *ctx);                                                          \
    RAYMPI_EXTERN_C raympi_definition raympi_task_##task;                                                    \
    RAYMPI_DESIGNATED_BEGIN raympi_definition raympi_task_##task = {                                         \
        #task, raympi_body_##task, 0, RAYMPI_OPTIONS_BRACES(__VA_ARGS__), __FILE__, {NULL, NULL}};           \
    RAYMPI_DESIGNATED_END __attribute__((constructor)) static void raympi_register_##task(void)              \
    {                                                                                                        \
        raympi_register_task(&raympi_task_##task, raympi_body_##task);                                       \
    }                                                                                                        \
    static int raympi_body_##task(raympi_ctx *ctx __attribute__((unused)))

/** Defines and registers an actor class whose state is `type`; options may follow. */
#define RAYMPI_ACTOR(klass, type, ...)                                                                       \
    RAYMPI_EXTERN_C raympi_definition raympi_task_##klass;                                                   \
    RAYMPI_DESIGNATED_BEGIN raympi_definition raympi_task_##klass = {                                        \
        #klass, NULL, sizeof(type), RAYMPI_OPTIONS_BRACES(__VA_ARGS__), __FILE__, {NULL, NULL}};             \
    RAYMPI_DESIGNATED_END __attribute__((constructor)) static void raympi_register_##klass(void)             \
    {                                                                                                        \
        raympi_register_class(&raympi_task_##klass, __FILE__);                                               \
    }

/** Constructor, methods and destructor of a class; bodies follow. */
#define RAYMPI_CONSTRUCTOR(klass)    RAYMPI_METHOD_(klass, raympi_constructor, "")
#define RAYMPI_DESTRUCTOR(klass)     RAYMPI_METHOD_(klass, raympi_destructor, "~")
#define RAYMPI_METHOD(klass, method) RAYMPI_METHOD_(klass, method, #method)
#define RAYMPI_METHOD_(klass, method, string)                                                                \
    static int raympi_body_##klass##_##method(raympi_ctx *ctx);                                              \
    __attribute__((constructor)) static void raympi_register_##klass##_##method(void)                        \
    {                                                                                                        \
        static raympi_method_definition definition = {&raympi_task_##klass, string,                          \
                                                      raympi_body_##klass##_##method, NULL};                 \
        raympi_register_method(&definition);                                                                 \
    }                                                                                                        \
    static int raympi_body_##klass##_##method(raympi_ctx *ctx __attribute__((unused)))

#endif /* RAYMPI_CALLS_H */
