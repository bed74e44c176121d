/* A program that defines a task which a library of its own defines too. */
#include <raympi.h>
#include <stdio.h>

RAYMPI_TASK(from_shared) { return raympi_return_int(ctx, 0, 0); }
RAYMPI_TASK_DECLARE(from_file);

int main(int argc, char **argv)
{
    int status = raympi_init(&argc, &argv, NULL);
    if (status != RAYMPI_OK)
        printf("refused: %s: %s\n", raympi_strerror(status), raympi_detail());
    return status == RAYMPI_OK ? 0 : 1;
}
