/* The example, built as C++17. */
#include "../../examples/hello.c"
