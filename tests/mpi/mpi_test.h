/* For programs that run under mpirun: checks that say where they failed; each rank ends with "test ok" or
 * "test failed". */
#ifndef MPI_TEST_H
#define MPI_TEST_H

#include <raympi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int test_failures;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: rank %d: failed: %s (%s)\n", __FILE__, __LINE__, raympi_rank(),          \
                    #condition, raympi_detail());                                                            \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)
#define CHECK_OK(call)                                                                                       \
    do {                                                                                                     \
        int status_ = (call);                                                                                \
        if (status_ != RAYMPI_OK) {                                                                          \
            fprintf(stderr, "%s:%d: rank %d: %s gave %s (%s)\n", __FILE__, __LINE__, raympi_rank(), #call,   \
                    raympi_strerror(status_), raympi_detail());                                              \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)

/** Exit code of a test: checks and finalize. */
static inline int test_end(int finalized)
{
    if (finalized != RAYMPI_OK) {
        fprintf(stderr, "raympi_finalize gave %s (%s)\n", raympi_strerror(finalized), raympi_detail());
        test_failures++;
    }
    printf(test_failures ? "test failed\n" : "test ok\n");
    return test_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
