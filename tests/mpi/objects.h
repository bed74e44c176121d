/* What the files of objects share. */
#ifndef OBJECTS_H
#define OBJECTS_H

#define TEST_FILES
#include "mpi_test.h"

#define AT(rank) RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = (rank) % raympi_size())

RAYMPI_TASK_DECLARE(add);   /* two numbers */
RAYMPI_TASK_DECLARE(make);  /* so many bytes, painted with a seed */
RAYMPI_TASK_DECLARE(check); /* of bytes: their length and seed */
RAYMPI_TASK_DECLARE(fail);

/** Are the bytes as `make` has painted them? Looks at both ends and at some of the middle: the large ones are
 * many. */
bool painted(const unsigned char *bytes, size_t len, int64_t seed);
int64_t value_of(raympi_ref ref);

/* objects_refs.c */
void nested(void);
void identities(void);
void deep(void);
void aliases(void);
void deep_error(void);
void actors(void);

#endif
