/* A task that throws: as faults, built as C++. */
#include "faults.c"
