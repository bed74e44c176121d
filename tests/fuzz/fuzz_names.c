/* The names of tasks and classes that ranks tell each other at start. */
#include "fuzz.h"

#include "task/task.h"

#define NAMES(text) fuzz_seed(text, sizeof text)

static void fuzz_seeds(void)
{
    NAMES("tadd\0tnothing\0ccounter");
    NAMES("tadd");
    NAMES("cadd");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Half from one rank, half from the other. */
    char *first = fuzz_copy(data, size / 2), *second = fuzz_copy(data + size / 2, size - size / 2);
    if (task_functions_merge(first, size / 2, 0, 2) == RAYMPI_OK)
        task_functions_merge(second, size - size / 2, 1, 2);
    task_function_unknown("add");
    task_functions_clear();
    free(first);
    free(second);
    return 0;
}
