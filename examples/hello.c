/* A few tasks greet from wherever they ran. */
#include <raympi.h>
#include <stdio.h>

RAYMPI_TASK(greet)
{
    char text[100];
    int length = snprintf(text, sizeof text, "hello %s from rank %d of %d", raympi_arg_string(ctx, 0),
                          raympi_rank(), raympi_size());
    return raympi_return_copy(ctx, 0, text, (size_t)length + 1);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"Ada", "Alan", "Barbara", "Edsger", "Grace", "Leslie"};
    raympi_ref answers[6];
    raympi_view view;
    if (raympi_init(&argc, &argv, NULL) != RAYMPI_OK) {
        fprintf(stderr, "hello: %s\n", raympi_detail());
        return 1;
    }
    if (raympi_rank() == 0) {
        for (int i = 0; i < 6; i++)
            answers[i] = raympi_call(greet, names[i]);
        for (int i = 0; i < 6; i++)
            if (raympi_get(answers[i], &view) == RAYMPI_OK)
                printf("%s\n", (const char *)view.data);
        raympi_release_all(answers, 6);
    }
    return raympi_finalize();
}
