/* For programs that run under mpirun: checks that say where they failed; each rank ends with "test ok" or
 * "test failed". */
#ifndef MPI_TEST_H
#define MPI_TEST_H

#include <pthread.h>
#include <raympi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef TEST_FILES /* several: one of them defines it */
extern _Atomic int test_failures;
#else
static _Atomic int test_failures;
#endif

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

struct test_driver {
    void (*body)(void);
    pthread_barrier_t attached;
};

static inline void *test_driver_thread(void *data)
{
    struct test_driver *driver = data;
    raympi_scope_begin(); /* from here on raympi knows the thread, and finalize waits for it */
    raympi_scope_end();
    pthread_barrier_wait(&driver->attached);
    driver->body();
    return NULL;
}

/** Runs `body` as a driver and finalizes. With RAYMPI_TEST_DRIVER=thread (run-mpi --threads) a thread of the
 * user's is the driver, while main is already in finalize. Returns what raympi_finalize() gave. */
static inline int test_drive(void (*body)(void))
{
    const char *where = getenv("RAYMPI_TEST_DRIVER");
    struct test_driver driver = {.body = body};
    pthread_t thread;
    if (!where || strcmp(where, "thread") != 0) {
        body();
        return raympi_finalize();
    }
    CHECK(pthread_barrier_init(&driver.attached, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, test_driver_thread, &driver) == 0);
    pthread_barrier_wait(&driver.attached);
    int finalized = raympi_finalize();
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_barrier_destroy(&driver.attached);
    return finalized;
}

#endif
