/* A task that throws a C++ exception: nothing could catch it. */
#include <raympi.h>

#include <cstdio>
#include <stdexcept>

RAYMPI_TASK(thrower)
{
    throw std::runtime_error("thrown on purpose");
}

int main(int argc, char **argv)
{
    if (raympi_init(&argc, &argv, nullptr) != RAYMPI_OK)
        return 1;
    try {
        raympi_view view;
        if (raympi_rank() == 0)
            raympi_get(
                raympi_call_opts(RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = raympi_size() - 1),
                                 thrower),
                &view);
        raympi_finalize();
    } catch (const std::exception &) {
        std::printf("caught\n"); /* must not be: the task is not called by main() */
    }
    std::printf("survived\n");
    return 1;
}
