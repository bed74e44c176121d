/*
 * What every program of mpi-bench shares: clock, pinning, errors, and the talk with the driver.
 *
 * A program is started once and then asked by mpi-bench/run, a line at a time, for one repetition each; it
 * answers with one number. So repetitions of rivals alternate within milliseconds. Between repetitions a
 * program must not use the CPU.
 */
#ifndef BENCH_H
#define BENCH_H

/* A call and no more, whatever the compiler knows about it. */
#ifdef __clang__
#define BENCH_NOINLINE __attribute__((noinline))
#else
#define BENCH_NOINLINE __attribute__((noinline, noclone))
#endif

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/** Nanoseconds. */
static inline double bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

/** Seconds of CPU that all threads of this process have used. */
static inline double bench_cpu(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static inline void bench_require(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "benchmark failed: %s\n", what);
    exit(1);
}

/** Argument i as a number, or the default. */
static inline long bench_argument(int argc, char **argv, int i, long otherwise)
{
    return i < argc ? atol(argv[i]) : otherwise;
}

/** Tells the core that this is a waiting loop. */
static inline void bench_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/** Waits until the driver asks for a repetition; false when it wants no more. */
static inline int bench_asked(void)
{
    char line[64];
    return fgets(line, sizeof line, stdin) != NULL;
}

static inline void bench_answer(double number)
{
    printf("%.6g\n", number);
    fflush(stdout);
}

/** Pins the calling thread to the n-th core that it may use now. */
static inline void bench_pin(int n)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    bench_require(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && n-- == 0)
            CPU_SET(cpu, &one);
    bench_require(CPU_COUNT(&one) == 1 && sched_setaffinity(0, sizeof one, &one) == 0, "too few cores");
}

/** A piece of work that takes the same number of instructions wherever and whenever it is done. */
static inline unsigned long bench_work(long steps, unsigned long x)
{
    for (long i = 0; i < steps; i++) {
        x = x * 6364136223846793005UL + 1442695040888963407UL;
        __asm__ volatile("" : "+r"(x)); /* the chain stays a chain */
    }
    return x;
}

/** How many steps of bench_work() one microsecond holds: the best of several tries. */
static inline double bench_steps_per_us(void)
{
    const long steps = 200000;
    double best = 1e30;
    for (int i = 0; i < 20; i++) {
        double start = bench_now();
        bench_work(steps, 1);
        double took = bench_now() - start;
        best = took < best ? took : best;
    }
    return (double)steps / best * 1e3;
}

#endif
