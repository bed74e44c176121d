/* The smallest program: rank 0 submits tasks, any rank runs them, the answers come back as futures. */
#include <raympi.h>
#include <stdio.h>

RAYMPI_TASK(greet)
{
    char text[128];
    int len = snprintf(text, sizeof text, "hello %s, from rank %d", raympi_arg_string(ctx, 0), raympi_rank());
    return raympi_return_copy(ctx, 0, text, (size_t)len + 1);
}

int main(int argc, char **argv)
{
    const char *const names[] = {"Ada", "Alan", "Edsger", "Grace"};
    raympi_view answer;

    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK) {
        fprintf(stderr, "hello: %s\n", raympi_detail());
        return 1;
    }
    for (int i = 0; raympi_rank() == 0 && i < 4; i++) {
        raympi_ref greeting = raympi_call(greet, names[i]);
        if (raympi_get(greeting, &answer) == RAYMPI_OK)
            printf("%s\n", (const char *)answer.data);
        else
            fprintf(stderr, "hello: %s\n", raympi_detail());
    }
    return raympi_finalize() == RAYMPI_OK ? 0 : 1;
}
