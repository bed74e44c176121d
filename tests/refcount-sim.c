/*
 * refcount-sim: runs the reference counting of lib/task/task_refcount.c in seeded schedules on 2 to 5 ranks
 * of 1 to 3 hosts, with values in blocks that are read from other hosts, spilled and copied, and with deaths.
 *
 * A broken rule changes the wiring around the library (an ACK that is not awaited, a hold that is not taken),
 * not the library: it shows that the checks see such a fault.
 */
#include "refcount-sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(FILE *stream)
{
    fputs(
        "usage: refcount-sim [--seeds A[..B]] [--break RULE|all] [--ranks 2..5] [--ops 1..1000] [--trace]\n"
        "       refcount-sim --list-rules\n"
        "Runs one schedule per seed; exits with 1 if a check fires, or something that has to come does not.\n"
        "--break all: each rule until it is caught, in as many seeds as the list says. With --seeds ..B only "
        "those\n"
        "for which B are enough.\n",
        stream);
}

static bool parse_number(const char *text, const char *end, uint64_t low, uint64_t high, uint64_t *value)
{
    char *stop;

    if (*text < '0' || *text > '9')
        return false;
    *value = strtoull(text, &stop, 10);
    return stop == end && *value >= low && *value <= high;
}

static bool parse_int(const char *text, int low, int high, int *value)
{
    uint64_t number;

    if (!parse_number(text, text + strlen(text), (uint64_t)low, (uint64_t)high, &number))
        return false;
    *value = (int)number;
    return true;
}

static bool parse_seeds(const char *text)
{
    const char *dots = strstr(text, "..");
    const char *end = text + strlen(text);
    uint64_t most = UINT64_MAX - 1;

    options.seeds_given = true;
    if (!dots)
        return parse_number(text, end, 0, most, &options.first) &&
               parse_number(text, end, 0, most, &options.last);
    return parse_number(text, dots, 0, most, &options.first) &&
           parse_number(dots + 2, end, options.first, most, &options.last);
}

static bool parse_rule(const char *text)
{
    if (strcmp(text, "all") == 0)
        return options.break_all = true;
    for (int rule = 1; rule < RULE_COUNT; rule++)
        if (strcmp(sim_rules[rule].name, text) == 0) {
            options.broken = (enum rule)rule;
            return true;
        }
    return false;
}

static bool parse_option(const char *name, const char *value)
{
    if (strcmp(name, "--seeds") == 0)
        return parse_seeds(value);
    if (strcmp(name, "--break") == 0)
        return parse_rule(value);
    if (strcmp(name, "--ranks") == 0)
        return parse_int(value, MIN_RANKS, MAX_RANKS, &options.ranks);
    if (strcmp(name, "--ops") == 0)
        return parse_int(value, 1, MAX_OPERATIONS, &options.operations);
    return false;
}

static int list_rules(void)
{
    for (int rule = 1; rule < RULE_COUNT; rule++)
        printf("%s  %s; caught within %d seeds\n", sim_rules[rule].name, sim_rules[rule].broken,
               sim_rules[rule].seeds);
    return 0;
}

/* False if one never came in a run that is long enough for all. */
static bool report_counts(const char *const *names, const uint64_t *counts, int kinds)
{
    bool must = totals.schedules >= 100000 && !options.ranks && !options.operations;
    bool all = true;

    for (int i = 0; i < kinds; i++) {
        bool missed = must && counts[i] == 0;

        printf("%12llu  %s%s\n", (unsigned long long)counts[i], names[i], missed ? ": not covered" : "");
        all = all && !missed;
    }
    return all;
}

static bool report_covered(void)
{
    bool branches = report_counts(sim_branch_names, totals.branches, BRANCH_KINDS);

    puts("faults, by the state in which they struck:");
    return report_counts(sim_fault_names, totals.faults, FAULT_KINDS) && branches;
}

static void report_checks(void)
{
    for (int check = 0; check < CHECK_KINDS; check++)
        if (totals.checks[check] > 0)
            printf("check %s fired in %llu schedules\n", sim_check_names[check],
                   (unsigned long long)totals.checks[check]);
    if (options.broken != RULE_NONE)
        printf("broken rule %s: %s\n", sim_rules[options.broken].name, sim_rules[options.broken].broken);
    printf("%llu schedules, %llu operations, %llu messages, %llu violations\n",
           (unsigned long long)totals.schedules, (unsigned long long)totals.operations,
           (unsigned long long)totals.messages, (unsigned long long)totals.violations);
}

/* The first seed that catches it; 0: none of as many as it may take. */
static uint64_t caught(enum rule rule)
{
    uint64_t seed = 1, violations = totals.violations;

    options.broken = rule;
    while (seed <= (uint64_t)sim_rules[rule].seeds) {
        sim_schedule(seed);
        if (totals.violations > violations)
            return seed;
        seed++;
    }
    return 0;
}

static bool break_all(void)
{
    int missed = 0;

    for (int rule = 1; rule < RULE_COUNT; rule++) {
        bool wanted = !options.seeds_given || (uint64_t)sim_rules[rule].seeds <= options.last;
        uint64_t seed = wanted ? caught((enum rule)rule) : 0;

        if (!wanted)
            printf("%-14s is caught within %d seeds: not tried\n", sim_rules[rule].name,
                   sim_rules[rule].seeds);
        else if (seed)
            printf("%-14s caught with seed %llu\n", sim_rules[rule].name, (unsigned long long)seed);
        else
            printf("%-14s not caught in %d seeds: %s\n", sim_rules[rule].name, sim_rules[rule].seeds,
                   sim_rules[rule].broken);
        missed += wanted && !seed;
    }
    printf("%d broken rules, %d not caught\n", RULE_COUNT - 1, missed);
    return missed == 0;
}

int main(int argc, char **argv)
{
    bool covered;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list-rules") == 0)
            return list_rules();
        if (strcmp(argv[i], "--trace") == 0) {
            options.trace = true;
            continue;
        }
        if (i + 1 == argc || !parse_option(argv[i], argv[i + 1])) {
            fprintf(stderr, "refcount-sim: bad option or value: %s %s\n", argv[i],
                    i + 1 < argc ? argv[i + 1] : "");
            usage(stderr);
            return 2;
        }
        i++;
    }
    if (options.break_all)
        return break_all() ? 0 : 1;
    for (uint64_t seed = options.first; seed <= options.last; seed++)
        sim_schedule(seed);
    sim_world_clear();
    covered = report_covered();
    report_checks();
    return totals.violations == 0 && covered ? 0 : 1;
}
