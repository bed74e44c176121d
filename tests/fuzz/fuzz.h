/* What the fuzzers have in common. Each is a libFuzzer program; with FUZZ_SEEDS=FOLDER in its environment it
 * writes messages as the library makes them to that folder, to begin with, and ends. See tests/fuzz/run. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Each fuzzer's own: calls fuzz_seed() for each message. */
static void fuzz_seeds(void);

#define FUZZ_CHECK(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                    \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static inline void fuzz_seed(const void *bytes, size_t length)
{
    static int number;
    char path[4096];
    snprintf(path, sizeof path, "%s/seed%d", getenv("FUZZ_SEEDS"), number++);
    FILE *file = fopen(path, "w");
    FUZZ_CHECK(file && fwrite(bytes, 1, length, file) == length && fclose(file) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    /* What is malformed is logged: millions of lines here. */
    atomic_store(&base_log_threshold, -1);
    if (getenv("FUZZ_SEEDS")) {
        fuzz_seeds();
        fflush(NULL);
        _exit(EXIT_SUCCESS); /* what it has made is not taken down: no leak */
    }
    return 0;
}

/** Takes a number from the front of an input; 0 at its end. */
static inline uint64_t fuzz_take(const uint8_t **data, size_t *size, size_t bytes)
{
    uint64_t value = 0;
    bytes = bytes < *size ? bytes : *size;
    memcpy(&value, *data, bytes);
    *data += bytes;
    *size -= bytes;
    return value;
}

/** A copy that is exactly that long, so that a read past its end is seen. */
static inline void *fuzz_copy(const void *bytes, size_t length)
{
    void *copy = malloc(length ? length : 1);
    FUZZ_CHECK(copy);
    if (length)
        memcpy(copy, bytes, length);
    return copy;
}

#endif
