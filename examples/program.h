/*
 * What every example program needs around its own work: options, a clock, and a learning curve on disk.
 */
#ifndef EXAMPLES_PROGRAM_H
#define EXAMPLES_PROGRAM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct program_options {
    uint64_t seed;        /* --seed S */
    double learning_rate; /* --learning-rate L: 0 learns nothing */
    int generations;      /* --generations G: at most so many */
    const char *plot; /* --plot FILE: the curve as PNG, its numbers beside it as .csv; "" writes neither */
};

/* Overwrites the defaults in `options` by what the command line says. PROGRAM_RUN, or, after printing the
 * help that was asked for or what is wrong, the exit code. */
enum { PROGRAM_RUN = -1, PROGRAM_HELPED = 0, PROGRAM_USAGE = 2 };
int program_options_parse(int argc, char **argv, struct program_options *options);

/* Seconds since some fixed moment. */
double program_clock(void);

/* A table with named columns, the first being the x axis. The caller owns everything. */
struct program_curve {
    const char *title;
    const char *const *names;
    int columns;
    const double *rows; /* rows * columns numbers, row by row */
    int count;          /* of rows */
};

/* Writes the numbers as CSV and, where gnuplot is installed, the picture; says what it did. */
void program_curve_write(const struct program_curve *curve, const char *plot);

#ifdef __cplusplus
}
#endif
#endif
