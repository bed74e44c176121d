/* Folders that can not be used, disks that are full or fail, and blocks that are not what was written. */
#include "spill_disk.h"
#include "store/store_checksum.h"
#include "store/store_spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct host host;

static struct store *begin_closed(uint64_t bytes)
{
    CU_ASSERT_FATAL(host_make(&host, layout_of(1, bytes)));
    struct store *store = host_open(&host, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(store);
    return store;
}

static struct store *begin(void)
{
    struct store *store = begin_closed(4 * MIB);
    CU_ASSERT_FATAL(spill_open(store, false));
    return store;
}

static void end(struct store *store)
{
    store_close(store);
    host_end(&host);
}

/* What the next call says, when everything that is under way has ended. */
static int room_status(struct store *store)
{
    uint64_t coming;
    int status;
    spill_settle(store);
    store_make_room(store, 1, &coming, &status);
    spill_settle(store);
    return status;
}

static uint64_t on_disk(struct store *store)
{
    return spill_counters(store).on_disk;
}

/* ---- folders */

struct folder_fault {
    const char *folders, *named, *reason;
};
static const struct folder_fault folder_faults[] = {
    {"./no-such-folder", "./no-such-folder", "does not exist"},
    {".:./no-such-folder", "./no-such-folder", "does not exist"},
    {"/proc/self/stat", "/proc/self/stat", "not a folder"},
    {"/dev/shm", "/dev/shm", "in memory"},
    {"/proc", "/proc", ""},
};

static void test_folders_asked_for(void)
{
    for (size_t i = 0; i < sizeof folder_faults / sizeof folder_faults[0]; i++) {
        const struct folder_fault *fault = &folder_faults[i];
        struct store *store = begin_closed(4 * MIB);
        struct store_spill_config config = {.directories = fault->folders, .asked_for = true};
        CU_ASSERT_EQUAL(store_spill_open(store, &config), RAYMPI_ERR_ARGUMENT);
        CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), fault->named));
        CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), fault->reason));
        CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "RAYMPI_SPILL_DIR"));
        end(store);
    }
}

static void test_folders_left_out(void)
{
    uint64_t coming;
    int status;
    atomic_store(&base_log_threshold, BASE_LOG_ERROR);
    for (size_t i = 0; i < sizeof folder_faults / sizeof folder_faults[0]; i++) {
        struct store *store = begin_closed(4 * MIB);
        struct store_spill_config config = {.directories = folder_faults[i].folders};
        bool one_left = folder_faults[i].folders[0] == '.' && folder_faults[i].folders[1] == ':';
        CU_ASSERT_EQUAL(store_spill_open(store, &config), RAYMPI_OK);
        CU_ASSERT(spill_block(store, 4096).generation > 0);
        store_make_room(store, 1, &coming, &status);
        CU_ASSERT_EQUAL(status, RAYMPI_OK);
        CU_ASSERT_EQUAL(coming > 0, one_left);
        spill_settle(store);
        end(store);
    }
    atomic_store(&base_log_threshold, BASE_LOG_WARN);
}

static void test_none(void)
{
    static const char *const nothing[] = {NULL, ""};
    for (int i = 0; i < 2; i++) {
        struct store *store = begin_closed(4 * MIB);
        struct store_spill_config config = {.directories = nothing[i], .asked_for = true};
        CU_ASSERT_EQUAL(store_spill_open(store, &config), RAYMPI_OK);
        struct store_place place = spill_block(store, 4096);
        CU_ASSERT_EQUAL(room_status(store), RAYMPI_OK);
        CU_ASSERT_EQUAL(store_restore(store, place), RAYMPI_OK);
        CU_ASSERT_EQUAL(store_spill_poll(store, spill_restored, NULL), 0);
        CU_ASSERT_EQUAL(on_disk(store), 0);
        end(store);
    }
}

/* As a user who is not root. */
static int write_protected(void *arg)
{
    struct store *store = arg;
    struct store_spill_config config = {.directories = "./spill-protected", .asked_for = true};
    if (geteuid() == 0 && seteuid(65534) != 0)
        return 0;
    if (store_spill_open(store, &config) != RAYMPI_ERR_ARGUMENT)
        return 1;
    return strstr(base_detail(), "./spill-protected") && strstr(base_detail(), "may not write") ? 0 : 2;
}

static void test_write_protected(void)
{
    struct store *store = begin_closed(4 * MIB);
    mkdir("./spill-protected", 0555);
    chmod("./spill-protected", 0555);
    CU_ASSERT_EQUAL(process_end(process_start(write_protected, store)), 0);
    rmdir("./spill-protected");
    end(store);
}

static bool no_nameless;

/* Where file systems may know no files without a name. */
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (no_nameless && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return __real_open(path, flags, mode);
}

/* A file is its user's alone, whatever the umask, and has no name. */
static void test_files(void)
{
    mode_t before = umask(0);
    for (int way = 0; way < 2; way++) {
        struct stat about;
        no_nameless = way == 1;
        int fd = spill_file_create(".");
        CU_ASSERT_FATAL(fd >= 0 && fstat(fd, &about) == 0);
        CU_ASSERT_EQUAL(about.st_mode & 07777, 0600);
        CU_ASSERT_EQUAL(about.st_nlink, 0);
        CU_ASSERT_EQUAL(about.st_uid, geteuid());
        CU_ASSERT(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
    }
    no_nameless = false;
    umask(before);
}

/* Two folders take turns, and one takes over from the other. */
static void test_two_folders(void)
{
    struct store *store = begin_closed(4 * MIB);
    mkdir("./spill-a", 0700);
    mkdir("./spill-b", 0700);
    CU_ASSERT_FATAL(spill_open_in(store, "./spill-a:./spill-b", false));
    struct store_place first = spill_block(store, MIB), second;
    disk_fail_next_write(ENOSPC);
    spill_everything(store);
    CU_ASSERT_EQUAL(on_disk(store), 1);
    CU_ASSERT_EQUAL(room_status(store), RAYMPI_OK);
    second = spill_block(store, MIB);
    spill_everything(store);
    CU_ASSERT_EQUAL(on_disk(store), 2);
    CU_ASSERT_EQUAL(spill_fetch(store, first), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, first));
    CU_ASSERT_EQUAL(spill_fetch(store, second), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, second));
    end(store);
    CU_ASSERT_EQUAL(rmdir("./spill-a"), 0);
    CU_ASSERT_EQUAL(rmdir("./spill-b"), 0);
}

/* ---- disks that are full, or fail */

static void test_full(void)
{
    struct store *store = begin();
    struct store_place early = spill_block(store, 100000);
    spill_everything(store);
    struct store_place late = spill_block(store, 100000);
    disk_fail_writes(ENOSPC);
    CU_ASSERT_EQUAL(room_status(store), RAYMPI_OK); /* not known yet */
    CU_ASSERT_EQUAL(room_status(store), RAYMPI_ERR_STORE_FULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "spill folder . is full"));
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "RAYMPI_SPILL_DIR"));
    int writes = disk_writes();
    CU_ASSERT_EQUAL(room_status(store), RAYMPI_ERR_STORE_FULL);
    CU_ASSERT_EQUAL(disk_writes(), writes); /* no try for some seconds */
    CU_ASSERT(spill_block_right(store, late));
    /* What is clean still goes. */
    CU_ASSERT_EQUAL(spill_fetch(store, early), RAYMPI_OK);
    uint64_t coming;
    int status;
    CU_ASSERT(store_make_room(store, 1, &coming, &status) > 0);
    /* Something was freed there: a try at once. */
    disk_fail_writes(0);
    store_free(store, early);
    while (room_status(store) != RAYMPI_OK)
        usleep(1000);
    CU_ASSERT_EQUAL(on_disk(store), 1);
    CU_ASSERT_EQUAL(spill_fetch(store, late), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, late));
    end(store);
}

/* Freed while its write fails. */
static void test_full_freed(void)
{
    struct store *store = begin();
    struct store_place place = spill_block(store, 100000);
    uint64_t coming;
    int status;
    disk_fail_writes(EIO);
    disk_hold_writes(true);
    store_make_room(store, 1, &coming, &status);
    disk_await_write();
    store_free(store, place);
    disk_hold_writes(false);
    CU_ASSERT_EQUAL(room_status(store), RAYMPI_ERR_STORE_FULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "can not be written to"));
    CU_ASSERT_EQUAL(spill_counters(store).blocks, 0);
    disk_fail_writes(0);
    end(store);
}

static void test_unreadable(void)
{
    struct store *store = begin();
    struct store_place place = spill_block(store, 100000);
    spill_everything(store);
    disk_fail_reads(EIO);
    CU_ASSERT_EQUAL(spill_fetch(store, place), RAYMPI_ERR_LOST);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "can not be read back from the spill folder ."));
    CU_ASSERT_EQUAL(spill_counters(store).memory_bytes, 0);
    disk_fail_reads(0);
    CU_ASSERT_EQUAL(spill_fetch(store, place), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, place));
    end(store);
}

/* What the disk could not take after all makes its whole file worthless, and only that. */
static void test_given_up(void)
{
    struct store *store = begin();
    struct store_place first = spill_block(store, 100000), second = spill_block(store, 100000);
    spill_everything(store);
    disk_fail_later(EIO);
    CU_ASSERT_EQUAL(spill_fetch(store, first), RAYMPI_ERR_LOST);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "can not be read back"));
    CU_ASSERT_EQUAL(spill_fetch(store, second), RAYMPI_ERR_LOST);
    struct store_place third = spill_block(store, 100000);
    spill_everything(store);
    CU_ASSERT_EQUAL(spill_fetch(store, third), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, third));
    end(store);
}

/* A real disk that fills up, where this user may mount one. */
#define DISK_IMAGE  "./spill-image"
#define DISK_FOLDER "./spill-disk"

static bool disk_mount(void)
{
    mkdir(DISK_FOLDER, 0700);
    return system("truncate -s 16M " DISK_IMAGE " 2>/dev/null && mkfs.ext4 -q -F " DISK_IMAGE
                  " 2>/dev/null && "
                  "mount -o loop " DISK_IMAGE " " DISK_FOLDER " 2>/dev/null") == 0;
}

static void test_real_disk_full(void)
{
    if (!disk_mount()) {
        printf("(skipped: no disk can be mounted here) ");
    } else {
        struct store *store = begin_closed(32 * MIB);
        struct store_place places[24];
        CU_ASSERT_FATAL(spill_open_in(store, DISK_FOLDER, false));
        for (int i = 0; i < 24; i++)
            places[i] = spill_block(store, MIB);
        spill_everything(store);
        CU_ASSERT_EQUAL(room_status(store), RAYMPI_ERR_STORE_FULL);
        CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "spill folder " DISK_FOLDER " is full"));
        uint64_t there = on_disk(store);
        CU_ASSERT(there >= 6 && there < 16);
        for (int i = 0; i < 24; i += 2)
            store_free(store, places[i]);
        while (room_status(store) != RAYMPI_OK)
            usleep(1000);
        spill_everything(store);
        for (int i = 1; i < 24; i += 2) {
            CU_ASSERT_EQUAL(spill_fetch(store, places[i]), RAYMPI_OK);
            CU_ASSERT(spill_block_right(store, places[i]));
        }
        end(store);
        CU_ASSERT_EQUAL(umount(DISK_FOLDER), 0);
    }
    unlink(DISK_IMAGE);
    rmdir(DISK_FOLDER);
}

/* ---- limits */

/* Without another descriptor the file at hand grows; without any there is a reason. */
static int few_descriptors(void *arg)
{
    struct store *store = arg;
    int last = dup(0);
    struct rlimit limit = {(rlim_t)last + 1, (rlim_t)last + 1};
    setrlimit(RLIMIT_NOFILE, &limit);
    spill_block(store, MIB);
    spill_everything(store);
    if (room_status(store) != RAYMPI_ERR_STORE_FULL || !strstr(base_detail(), strerror(EMFILE)))
        return 1;
    close(last);
    sleep(6);
    for (int i = 0; i < 300; i++) {
        spill_block(store, 3 * MIB);
        spill_everything(store);
    }
    return on_disk(store) == 301 ? 0 : 2;
}

static void test_descriptors(void)
{
    struct store *store = begin();
    CU_ASSERT_EQUAL(process_end(process_start(few_descriptors, store)), 0);
    end(store);
}

/* Files are no longer than this process may write them; no SIGXFSZ. */
static int short_files(void *arg)
{
    struct store *store = begin_closed(16 * MIB);
    struct rlimit limit = {2 * MIB, 2 * MIB};
    (void)arg;
    setrlimit(RLIMIT_FSIZE, &limit);
    if (!spill_open(store, false))
        return 1;
    for (int i = 0; i < 8; i++)
        spill_block(store, 700000);
    spill_everything(store);
    if (on_disk(store) != 8)
        return 2;
    struct store_place large = spill_block(store, 3 * MIB);
    spill_everything(store);
    return on_disk(store) == 8 && spill_block_right(store, large) ? 0 : 3;
}

static void test_short_files(void)
{
    CU_ASSERT_EQUAL(process_end(process_start(short_files, NULL)), 0);
}

/* ---- checksums */

static void test_checksum(void)
{
    struct store *store = begin_closed(4 * MIB);
    if (!store_checksum_there()) {
        CU_ASSERT_EQUAL(store_checksums_open(store), RAYMPI_ERR_UNSUPPORTED);
        CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "xxHash"));
        end(store);
        return;
    }
    CU_ASSERT_FATAL(spill_open(store, true));
    struct store_place good = spill_block(store, 100000);
    spill_everything(store);
    struct store_place bad = spill_block(store, 100000);
    spill_everything(store);
    CU_ASSERT(disk_corrupt_last());
    CU_ASSERT_EQUAL(spill_fetch(store, bad), RAYMPI_ERR_LOST);
    CU_ASSERT_PTR_NOT_NULL(strstr(base_detail(), "corrupt"));
    CU_ASSERT(!spill_block_right(store, bad));
    CU_ASSERT_EQUAL(spill_fetch(store, good), RAYMPI_OK);
    CU_ASSERT(spill_block_right(store, good));
    store_free(store, bad);
    end(store);
}

static const struct unit_test tests[] = {
    {"spill: folders that were asked for and can not be used", test_folders_asked_for},
    {"spill: folders that are left out", test_folders_left_out},
    {"spill: none asked for", test_none},
    {"spill: a folder that this user may not write to", test_write_protected},
    {"spill: files are the user's alone and have no name", test_files},
    {"spill: two folders", test_two_folders},
    {"spill: a full disk", test_full},
    {"spill: free while a write fails", test_full_freed},
    {"spill: a block that can not be read", test_unreadable},
    {"spill: what the disk could not take after all", test_given_up},
    {"spill: a real disk fills up", test_real_disk_full},
    {"spill: no descriptors", test_descriptors},
    {"spill: short files", test_short_files},
    {"spill: checksums", test_checksum},
};

int main(void)
{
    return SPILL_MAIN("store: spill faults", tests);
}
