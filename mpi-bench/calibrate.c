/* Prints how many steps of bench_work() a microsecond holds on this machine. */
#include "bench.h"

int main(void)
{
    printf("%.0f\n", bench_steps_per_us());
    return 0;
}
