/* A task in a source file of its own. */
#include <raympi.h>

RAYMPI_TASK(from_file) { return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + 1); }
