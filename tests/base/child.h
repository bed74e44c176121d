/* Runs a function in a forked child and collects what it writes to stderr. */
#ifndef TESTS_BASE_CHILD_H
#define TESTS_BASE_CHILD_H

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct child_result {
    int status; /* as waitpid() gives it */
    char text[16384];
};

/** The child ends with _exit(0) when body returns. */
static inline void child_run(void (*body)(void *arg), void *arg, struct child_result *result)
{
    int ends[2];
    size_t length = 0;
    result->status = -1;
    result->text[0] = '\0';
    if (pipe(ends) != 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* crashes are on purpose */
        body(arg);
        _exit(0);
    }
    close(ends[1]);
    while (length < sizeof result->text - 1) {
        ssize_t got = read(ends[0], result->text + length, sizeof result->text - 1 - length);
        if (got == 0 || (got < 0 && errno != EINTR))
            break;
        length += got > 0 ? (size_t)got : 0;
    }
    result->text[length] = '\0';
    close(ends[0]);
    while (waitpid(child, &result->status, 0) < 0 && errno == EINTR)
        ;
}

static inline int child_lines(const char *text)
{
    int lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

#endif
