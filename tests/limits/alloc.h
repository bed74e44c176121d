/* Operations whose allocations are made to fail one by one: tests/limits/alloc.c runs them. */
#ifndef LIMITS_ALLOC_H
#define LIMITS_ALLOC_H

#define TEST_FILES
#include "../mpi/mpi_test.h"

/** An operation: true when all of it succeeded. It may fail only because of the fault, and what it returns
 * must be right where it says that it succeeded. */
struct operation {
    const char *name;
    bool (*run)(void);
};

/** What one rank can do by itself. */
extern const struct operation local_operations[];
/** What needs rank 1. */
extern const struct operation remote_operations[];

/** Where the tasks of the operations run: -1 anywhere, else a rank. */
extern int operation_node;

/** False for a failure; true for RAYMPI_OK. Anything that says something was lost fails the test. */
bool good(int status);

#endif
