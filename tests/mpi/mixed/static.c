/* A task in a static library: something of the file has to be named, or the linker leaves it out. */
#include <raympi.h>

extern int mixed_static_linked;
int mixed_static_linked = 1;

RAYMPI_TASK(from_static) { return raympi_return_int(ctx, 0, raympi_arg_int(ctx, 0) + 3); }
