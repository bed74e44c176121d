/* The tasks and classes of this process, registered by constructors when it was loaded, and who else has
 * which. */
#include "task/task_internal.h"

#include <dlfcn.h>
#include <stdlib.h>

/* What the constructors have left; no memory is allocated then. */
static raympi_definition *registered_definitions;
static raympi_method_definition *registered_methods;
static const raympi_definition *registered_twice;
static const char *registered_twice_file;  /* of a class: where the other one is */
static raympi_body *registered_twice_body; /* of a task: the other one's */

static struct task_function *functions; /* by hash; read-only after start */

void raympi_register_task(raympi_definition *definition, raympi_body *body)
{
    /* Two libraries may export one symbol: then the second constructor brings another body. */
    if (definition->internal[0] || definition->body != body) {
        registered_twice = definition;
        if (definition->body != body || !registered_twice_body)
            registered_twice_body = body;
        return;
    }
    definition->internal[0] = definition;
    definition->internal[1] = registered_definitions;
    registered_definitions = definition;
}

void raympi_register_class(raympi_definition *definition, const char *file)
{
    if (definition->internal[0]) {
        registered_twice = definition;
        registered_twice_file = file;
        return;
    }
    definition->internal[0] = definition;
    definition->internal[1] = registered_definitions;
    registered_definitions = definition;
}

void raympi_register_method(raympi_method_definition *method)
{
    method->next = registered_methods;
    registered_methods = method;
}

static struct task_function *function_new(struct task_function **table, const char *name,
                                          const char *full_name)
{
    struct task_function *function = calloc(1, sizeof *function);
    if (!function)
        return NULL;
    function->hash = base_hash_name(name);
    function->name = name;
    function->full_name = full_name;
    function->full_hash = base_hash_name(full_name);
    task_plan_init(&function->plan, NULL);
    HASH_ADD(hh, *table, hash, sizeof function->hash, function);
    if (function->hh.tbl)
        return function;
    free(function);
    return NULL;
}

static struct task_function *table_find(struct task_function *table, uint64_t hash)
{
    struct task_function *function;
    HASH_FIND(hh, table, &hash, sizeof hash, function);
    return function;
}

_Atomic(struct task_function *) task_functions_recent[TASK_FUNCTIONS_RECENT];

struct task_function *task_function_find_any(uint64_t hash)
{
    struct task_function *function = table_find(functions, hash);
    atomic_store_explicit(&task_functions_recent[hash % TASK_FUNCTIONS_RECENT], function,
                          memory_order_relaxed);
    return function;
}

struct task_function *task_function_named(const char *name)
{
    return table_find(functions, base_hash_name(name));
}

struct task_function *task_method_find(const struct task_function *klass, uint64_t hash)
{
    return table_find(klass->methods, hash);
}

static int add_definition(raympi_definition *definition)
{
    struct task_function *known = task_function_named(definition->name);
    if (known)
        return base_fail(
            RAYMPI_ERR_ARGUMENT,
            strcmp(known->name, definition->name)
                ? "tasks %s and %s have the same hash: rename one"
                : "%s is defined twice (in %s and in %s): names of tasks and classes are global to the job",
            definition->name, strcmp(known->name, definition->name) ? known->name : known->definition->file,
            definition->file);
    struct task_function *function = function_new(&functions, definition->name, definition->name);
    if (!function)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the table of tasks");
    function->definition = definition;
    function->body = definition->body;
    function->is_class = definition->body == NULL;
    task_plan_init(&function->plan, &definition->options);
    function->plan.plain = function->plan.plain && !function->is_class;
    function->plan.there = function->plan.there && !function->is_class;
    definition->internal[0] = function;
    return RAYMPI_OK;
}

static int add_method(raympi_method_definition *method)
{
    struct task_function *klass = task_function_named(method->owner->name);
    if (!klass || !klass->is_class)
        return base_fail(RAYMPI_ERR_ARGUMENT, "method %s belongs to class %s, which is not defined",
                         method->name, method->owner->name);
    if (task_method_find(klass, base_hash_name(method->name)))
        return base_fail(RAYMPI_ERR_ARGUMENT, "method %s.%s is defined twice", klass->name, method->name);
    char *full_name = NULL;
    const char *shown = !*method->name               ? "constructor"
                        : !strcmp(method->name, "~") ? "destructor"
                                                     : method->name;
    if (asprintf(&full_name, "%s.%s", klass->name, shown) < 0)
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the table of methods");
    struct task_function *function = function_new(&klass->methods, method->name, full_name);
    if (!function) {
        free(full_name);
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the table of methods");
    }
    function->definition = method->owner;
    function->body = method->body;
    return RAYMPI_OK;
}

/* The program or library that an address belongs to. */
static const char *module_of(const void *address)
{
    Dl_info module;
    return dladdr(address, &module) && module.dli_fname ? module.dli_fname : "?";
}

/* One symbol of two modules: which one the loader has taken is chance. */
static int defined_twice(void)
{
    const raympi_definition *definition = registered_twice;
    const char *other = registered_twice_file
                            ? registered_twice_file
                            : module_of(__extension__(const void *)(uintptr_t) registered_twice_body);
    return base_fail(
        RAYMPI_ERR_ARGUMENT,
        "%s is defined twice (in %s of %s and in %s): names of tasks and classes are global to the job",
        definition->name, definition->file, module_of(definition), other);
}

int task_functions_build(void)
{
    if (registered_twice)
        return defined_twice();
    int status = RAYMPI_OK;
    for (raympi_definition *d = registered_definitions; d && status == RAYMPI_OK; d = d->internal[1])
        status = add_definition(d);
    for (raympi_method_definition *m = registered_methods; m && status == RAYMPI_OK; m = m->next)
        status = add_method(m);
    return status;
}

static void table_clear(struct task_function **table, bool methods)
{
    struct task_function *function, *next;
    HASH_ITER (hh, *table, function, next) {
        table_clear(&function->methods, true);
        HASH_DEL(*table, function);
        if (methods)
            free((char *)function->full_name);
        else if (!function->definition)
            free((char *)function->name); /* known from another rank only */
        free(function->ranks);
        free(function);
    }
}

void task_functions_clear(void)
{
    for (int i = 0; i < TASK_FUNCTIONS_RECENT; i++)
        atomic_store_explicit(&task_functions_recent[i], NULL, memory_order_relaxed);
    table_clear(&functions, false);
    for (raympi_definition *d = registered_definitions; d; d = d->internal[1])
        d->internal[0] = d;
}

void task_functions_each(void (*visit)(void *arg, const struct task_function *function), void *arg)
{
    struct task_function *function, *next, *method, *next_method;
    HASH_ITER (hh, functions, function, next) {
        visit(arg, function);
        HASH_ITER (hh, function->methods, method, next_method)
            visit(arg, method);
    }
}

const char *task_function_shown(uint64_t full_hash)
{
    struct task_function *function, *next, *method, *next_method;
    HASH_ITER (hh, functions, function, next) {
        if (function->full_hash == full_hash)
            return function->full_name;
        HASH_ITER (hh, function->methods, method, next_method)
            if (method->full_hash == full_hash)
                return method->full_name;
    }
    return NULL;
}

bool task_function_on(const struct task_function *function, int rank)
{
    return !function->ranks || function->ranks[rank / 8] >> rank % 8 & 1;
}

char *task_functions_names(size_t *length)
{
    char *names = NULL;
    FILE *stream = open_memstream(&names, length);
    if (!stream)
        return NULL;
    struct task_function *function, *next;
    HASH_ITER (hh, functions, function, next)
        if (function->definition)
            fprintf(stream, "%c%s%c", function->is_class ? 'c' : 't', function->name, 0);
    if (fclose(stream) != 0) {
        free(names);
        return NULL;
    }
    return names;
}

static int merge_one(const char *name, bool is_class, int rank, int size)
{
    struct task_function *function = task_function_named(name);
    if (!function) {
        char *copy = strdup(name);
        function = copy ? function_new(&functions, copy, copy) : NULL;
        if (!function) {
            free(copy);
            return base_fail(RAYMPI_ERR_MEMORY, "no memory for the table of tasks");
        }
        function->is_class = is_class;
    } else if (function->is_class != is_class || strcmp(function->name, name)) {
        return base_fail(RAYMPI_ERR_MISMATCH, "rank %d registers %s as a %s, here %s is a %s: rename one",
                         rank, name, is_class ? "class" : "task", function->name,
                         function->is_class ? "class" : "task");
    }
    if (!function->ranks && !(function->ranks = calloc((size_t)size / 8 + 1, 1)))
        return base_fail(RAYMPI_ERR_MEMORY, "no memory for the table of tasks");
    function->ranks[rank / 8] |= (uint8_t)(1 << rank % 8);
    return RAYMPI_OK;
}

int task_functions_merge(const char *names, size_t length, int rank, int size)
{
    const char *end = names + length;
    for (const char *at = names, *stop; at < end; at = stop + 1) {
        stop = memchr(at, 0, (size_t)(end - at));
        if (!stop || stop == at)
            return base_fail(RAYMPI_ERR_MISMATCH, "rank %d sent a broken list of its tasks", rank);
        int status = merge_one(at + 1, *at == 'c', rank, size);
        if (status != RAYMPI_OK)
            return status;
    }
    return RAYMPI_OK;
}

/* How many letters have to be changed, added or left out to make one name of the other (Levenshtein 1966). */
static size_t name_distance(const char *a, const char *b)
{
    size_t m = strlen(a), n = strlen(b), row[65];
    if (m > 64 || n > 64)
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

int task_function_unknown(const char *name)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    struct task_function *function, *next;
    HASH_ITER (hh, functions, function, next) {
        size_t distance = name_distance(name, function->name);
        if (distance < least) {
            least = distance;
            nearest = function->name;
        }
    }
    if (!nearest)
        return base_fail(RAYMPI_ERR_UNKNOWN, "no task or class %s: none at all is registered on any rank",
                         name);
    return base_fail(RAYMPI_ERR_UNKNOWN,
                     "no task or class %s is registered on any rank (is its file linked? nearest name: %s)",
                     name, nearest);
}
