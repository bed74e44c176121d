/* Failing allocations on demand: the linker sends raympi's calls (--wrap) here and leaves those of MPI and
 * hwloc alone. The n-th call from now on, of any thread of one rank, fails once. */
#ifndef LIMITS_FAULT_H
#define LIMITS_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>

/** Shared by the ranks of the test, so that one can have another's calls fail. */
struct fault {
    _Atomic int rank;
    _Atomic long countdown; /* 0: not armed */
    _Atomic int starving;   /* all fail from then on, not only one */
    _Atomic long fired;     /* calls that were made to fail, ever */
    char site[160];         /* which one was the last */
};

/** Maps the shared words: the file named by LIMITS_FAULT, or private ones. Before raympi_init(). */
struct fault *fault_open(void);
/** From here on the faults of `rank` are ours. */
void fault_rank(int rank);
/** Lets the n-th call of `rank` fail. */
void fault_arm(int rank, long n);
/** Lets all calls of `rank` fail from now on. */
void fault_starve(int rank);
/** No call fails any more; true when one did. */
bool fault_disarm(void);
/** Calls of raympi's that are not freed; prints who made the first of them. */
long fault_live(bool print);

#endif
