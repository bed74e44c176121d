/* A store that spills, and a disk that can be held and made to fail: the program is linked with --wrap for
 * pwritev, preadv2 and sync_file_range, so that the threads of the store meet this. */
#ifndef TESTS_STORE_SPILL_DISK_H
#define TESTS_STORE_SPILL_DISK_H

#include "store_test.h"

#include <sys/types.h>

#define MIB (UINT64_C(1) << 20)

/** While held, calls of the I/O threads wait at their beginning. */
void disk_hold_writes(bool hold);
void disk_hold_reads(bool hold);
/** Waits until an I/O thread waits there. */
void disk_await_write(void);
void disk_await_read(void);
/** From now on writes (reads) fail with this errno; 0: they work. */
void disk_fail_writes(int error);
void disk_fail_reads(int error);
/** As if the system could not write back what it had accepted. */
void disk_fail_later(int error);
/** Only the next write fails. */
void disk_fail_next_write(int error);
/** Calls that reached the disk. */
int disk_writes(void);
int disk_reads(void);
/** The system has nothing in its cache from now on. */
void disk_forget(bool forget);
/** Where the last write ended in its file. */
off_t disk_last(void);
/** Inverts a byte of what the last write has written, on the disk. */
bool disk_corrupt_last(void);

/** Opens the tier in the folder the test runs in, or others. */
bool spill_open(struct store *store, bool checksum);
bool spill_open_in(struct store *store, const char *folders, bool checksum);
/** Whether that folder is on a disk; else the program is to exit with 77. */
bool spill_possible(void);
/** main() of such a program. */
int spill_main(const char *suite, const struct unit_test *tests, size_t count);
#define SPILL_MAIN(suite, tests) spill_main((suite), (tests), sizeof(tests) / sizeof((tests)[0]))
/** Makes a sealed block with a payload; generation 0: no room. */
struct store_place spill_block(struct store *store, uint64_t length);
/** Whether the block can be pinned and has its payload. */
bool spill_block_right(struct store *store, struct store_place place);
/** Restores the block if need be, making room, and waits for it; RAYMPI_OK, or why not. */
int spill_fetch(struct store *store, struct store_place place);
/** Makes room until nothing more comes, and waits for it. */
void spill_everything(struct store *store);
/** Waits, polling, until no I/O is in flight; restored blocks are forgotten. */
void spill_settle(struct store *store);
/** What store_spill_poll() told last. */
extern int spill_told;
void spill_restored(void *arg, struct store_place place, int status);
struct store_counters spill_counters(struct store *store);

#endif
