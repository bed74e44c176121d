/* A task in a shared library. */
#include <raympi.h>

RAYMPI_TASK(from_shared) { return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + 2); }
