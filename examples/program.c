#include "program.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- options ------------------------------------------------------------------------------------------- */

static void program_usage(const char *name)
{
    printf("usage: %s [--seed S] [--learning-rate L] [--generations G] [--plot FILE.png]\n"
           "  --seed S           seed of all random numbers (default 1)\n"
           "  --learning-rate L  0 to 1; 0 learns nothing, so the program must fail\n"
           "  --generations G    number of steps of learning, 1 to 100000\n"
           "  --plot FILE.png    learning curve; its numbers go to FILE.csv; '' writes none\n",
           name);
}

static bool program_parse_number(const char *text, double low, double high, double *value)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= low && number <= high))
        return false;
    *value = number;
    return true;
}

static bool program_parse_seed(const char *text, uint64_t *seed)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 0);
    if (end == text || *end != '\0' || errno != 0 || strchr(text, '-') != NULL)
        return false;
    *seed = number;
    return true;
}

static bool program_parse_one(int option, const char *text, struct program_options *options)
{
    double number = 0;

    switch (option) {
    case 's':
        return program_parse_seed(text, &options->seed);
    case 'l':
        return program_parse_number(text, 0, 1, &options->learning_rate);
    case 'g':
        if (!program_parse_number(text, 1, 100000, &number) || number != floor(number))
            return false;
        options->generations = (int)number;
        return true;
    default:
        options->plot = text;
        return true;
    }
}

int program_options_parse(int argc, char **argv, struct program_options *options)
{
    static const struct option known[] = {{"seed", required_argument, NULL, 's'},
                                          {"learning-rate", required_argument, NULL, 'l'},
                                          {"generations", required_argument, NULL, 'g'},
                                          {"plot", required_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'h') {
            program_usage(argv[0]);
            return PROGRAM_HELPED;
        }
        if (option == '?') /* getopt_long has said why */
            return PROGRAM_USAGE;
        if (!program_parse_one(option, optarg, options)) {
            fprintf(stderr, "%s: '%s' is no such value; see --help\n", argv[0], optarg);
            return PROGRAM_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s: unexpected argument '%s'; see --help\n", argv[0], argv[optind]);
        return PROGRAM_USAGE;
    }
    return PROGRAM_RUN;
}

double program_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- learning curve ------------------------------------------------------------------------------------ */

static bool program_csv_write(const struct program_curve *curve, const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return false;
    for (int j = 0; j < curve->columns; j++)
        fprintf(file, "%s%s", j > 0 ? "," : "", curve->names[j]);
    for (int i = 0; i < curve->count * curve->columns; i++)
        fprintf(file, "%c%.17g", i % curve->columns == 0 ? '\n' : ',', curve->rows[i]);
    fprintf(file, "\n");
    bool written = ferror(file) == 0;
    return fclose(file) == 0 && written;
}

/* A string in gnuplot's quotes. */
static void program_quote(FILE *gnuplot, const char *text)
{
    fputc('\'', gnuplot);
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputc('\'', gnuplot);
        fputc(*text, gnuplot);
    }
    fputc('\'', gnuplot);
}

static bool program_png_write(const struct program_curve *curve, const char *csv, const char *png)
{
    FILE *gnuplot = popen("gnuplot", "w");
    if (gnuplot == NULL)
        return false;
    fprintf(gnuplot,
            "set terminal png size 960,600\nset datafile separator ','\nset grid\nset key bottom right\n"
            "set ylabel 'return'\nset xlabel ");
    program_quote(gnuplot, curve->names[0]);
    fprintf(gnuplot, "\nset title ");
    program_quote(gnuplot, curve->title);
    fprintf(gnuplot, "\nset output ");
    program_quote(gnuplot, png);
    fprintf(gnuplot, "\nplot for [i=2:%d] ", curve->columns);
    program_quote(gnuplot, csv);
    fprintf(gnuplot, " using 1:i with lines linewidth 2 title columnheader(i)\n");
    return pclose(gnuplot) == 0;
}

/* "curve.png" -> "curve.csv", "curve" -> "curve.csv"; the caller frees it. */
static char *program_csv_name(const char *plot)
{
    size_t len = strlen(plot);
    char *name = (char *)malloc(len + sizeof ".csv");
    if (name == NULL)
        return NULL;
    memcpy(name, plot, len + 1);
    if (len > 4 && strcmp(name + len - 4, ".png") == 0)
        len -= 4;
    memcpy(name + len, ".csv", sizeof ".csv");
    return name;
}

void program_curve_write(const struct program_curve *curve, const char *plot)
{
    if (plot[0] == '\0')
        return;
    char *csv = program_csv_name(plot);
    if (csv == NULL || !program_csv_write(curve, csv))
        printf("plot: no curve: cannot write %s\n", csv != NULL ? csv : plot);
    else if (system("command -v gnuplot >/dev/null 2>&1") != 0)
        printf("plot: numbers in %s; no picture, since gnuplot is not installed\n", csv);
    else if (!program_png_write(curve, csv, plot))
        printf("plot: numbers in %s; no picture, since gnuplot failed\n", csv);
    else
        printf("plot: %s, numbers in %s\n", plot, csv);
    free(csv);
}
