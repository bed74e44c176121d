/* Configuration: every RAYMPI_* variable of the environment is a row of one table. */
#include "base/base_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define CONFIG_PREFIX "RAYMPI_"
/* Variables of the tree's own test drivers, which the programs under test inherit. */
#define CONFIG_TEST_PREFIX "RAYMPI_TEST_"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define TIB (GIB * 1024)

enum config_kind {
    CONFIG_INT,
    CONFIG_BOOL,
    CONFIG_LEVEL,
    CONFIG_NET,
    CONFIG_FETCH,
    CONFIG_REAL,
    CONFIG_COUNT,
    CONFIG_BYTES,
    CONFIG_TEXT,
    CONFIG_FOLDERS
};

struct config_variable {
    const char *name;
    enum config_kind kind;
    size_t offset;        /* of the member in struct base_config */
    const char *fallback; /* parsed like a value; NULL: not set */
    double min, max;
    bool common; /* ranks must agree: they depend on it together, or act on it collectively */
    const char *help;
};

#define MEMBER(member) offsetof(struct base_config, member)
static const struct config_variable config_table[] = {
    {"RAYMPI_WORKERS", CONFIG_INT, MEMBER(workers), "0", 0, 256, false,
     "workers of this rank; 0: allowed cores divided by the ranks that share them"},
    {"RAYMPI_LOG", CONFIG_LEVEL, MEMBER(log_level), "warn", BASE_LOG_ERROR, BASE_LOG_DEBUG, false,
     "log lines up to this level: error, warn, info, debug"},
    {"RAYMPI_STATS", CONFIG_BOOL, MEMBER(stats), "0", 0, 1, true, "print a table of counters at the end"},
    {"RAYMPI_TRACE", CONFIG_TEXT, MEMBER(trace_file), NULL, 0, 0, true,
     "write a Chrome/Perfetto timeline of all ranks to this file"},
    {"RAYMPI_TRACE_EVENTS", CONFIG_COUNT, MEMBER(trace_events), "16384", 64, 16777216, false,
     "events kept per thread, the oldest are overwritten; rounded up to a power of two"},
    {"RAYMPI_STACK_BYTES", CONFIG_BYTES, MEMBER(stack_bytes), "1m", 32 * KIB, GIB, false,
     "stack of a task; only the pages it touches are used"},
    {"RAYMPI_STORE_BYTES", CONFIG_BYTES, MEMBER(store_bytes), "0", 0, 64 * TIB, true,
     "object store of each host; 0: from the memory that is available"},
    {"RAYMPI_INLINE_BYTES", CONFIG_BYTES, MEMBER(inline_bytes), "512", 0, 2 * KIB, true,
     "values up to this size travel in messages instead of the store"},
    {"RAYMPI_BACKLOG", CONFIG_COUNT, MEMBER(backlog), "262144", 64, 4194304, false,
     "unfinished tasks that this rank may have submitted before a submitter is slowed down"},
    {"RAYMPI_CREATE_TIMEOUT", CONFIG_REAL, MEMBER(create_timeout), "30", 0, 1e9, false,
     "seconds that a new object waits for room in a full store"},
    {"RAYMPI_WATCHDOG", CONFIG_REAL, MEMBER(watchdog), "60", 0, 1e9, false,
     "seconds without progress until it is printed what waits for what; 0: never"},
    {"RAYMPI_SPIN_US", CONFIG_REAL, MEMBER(spin), "-1", -1, 1e6, false,
     "microseconds of spinning before an idle rank sleeps; -1: none where ranks share cores"},
    {"RAYMPI_LEAKS", CONFIG_BOOL, MEMBER(leaks), "1", 0, 1, false, "report refs that were never released"},
    {"RAYMPI_CRASH_HANDLER", CONFIG_BOOL, MEMBER(crash_handler), "1", 0, 1, false,
     "say which task crashed, with a backtrace"},
    {"RAYMPI_NET", CONFIG_NET, MEMBER(net), "auto", 0, 0, true,
     "who carries messages between hosts: ofi (libfabric), mpi, or auto: libfabric where all ranks can, else "
     "MPI"},
    {"RAYMPI_FETCH", CONFIG_FETCH, MEMBER(fetch), "auto", 0, 0, true,
     "how long values come from other hosts: rma (MPI's windows) or ofi (libfabric) read them one-sidedly, "
     "pull asks for "
     "them by messages; auto: ofi where that is known to be safe and was seen to be prompt, else pull"},
    {"RAYMPI_OFI_PROVIDER", CONFIG_TEXT, MEMBER(ofi_provider), NULL, 0, 0, true,
     "libfabric provider between hosts, as in tcp;ofi_rxm; empty: the best that all ranks have"},
    {"RAYMPI_OFI_INTERFACE", CONFIG_TEXT, MEMBER(ofi_interface), NULL, 0, 0, false,
     "network between hosts, by interface (eth0) or address range (10.1.0.0/16); empty: one that all hosts "
     "are on"},
    {"RAYMPI_HOST_TIMEOUT", CONFIG_REAL, MEMBER(host_timeout), "10", 0, 1e6, true,
     "seconds without a sign of life until another host counts as lost; 0: never"},
    {"RAYMPI_CONNECT_TIMEOUT", CONFIG_REAL, MEMBER(connect_timeout), "60", 0.1, 1e6, false,
     "seconds without any progress until a rank of another host counts as lost"},
    {"RAYMPI_SPILL_DIR", CONFIG_FOLDERS, MEMBER(spill_folders), "/tmp", 0, 0, false,
     "folders (colons between them) for objects that a full store has no room for, not in memory; by default "
     "$TMPDIR, else /tmp; set but empty: none"},
    {"RAYMPI_CHECKSUM", CONFIG_BOOL, MEMBER(checksum), "0", 0, 1, true,
     "checksum of each object of the store, looked at when it comes from another host or back from disk"},
    {"RAYMPI_PROTECT", CONFIG_BOOL, MEMBER(protect), "0", 0, 1, true,
     "a rank can not write to its own stored objects either once they are sealed: such a mistake crashes"},
};
#define CONFIG_COUNT_ROWS (sizeof config_table / sizeof config_table[0])

static const char *const config_levels[] = {"error", "warn", "info", "debug"};
static const char *const config_nets[] = {"auto", "ofi", "mpi"};            /* by enum base_net */
static const char *const config_fetches[] = {"auto", "rma", "ofi", "pull"}; /* by enum base_fetch */

/** Digits with an optional fraction and sign. Not strtod, which follows the program's locale and takes "inf".
 */
static bool config_parse_real(const char *text, double *value)
{
    bool negative = *text == '-';
    double number = 0, unit = 1;
    bool digits = false, fraction = false;
    for (text += negative; *text != '\0'; text++) {
        if (*text == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (*text < '0' || *text > '9')
            return false;
        digits = true;
        unit *= fraction ? 10 : 1;
        number = number * 10 + (*text - '0');
    }
    *value = (negative ? -number : number) / unit;
    return digits;
}

static bool config_parse_count(const char *text, bool suffixes, uint64_t *value)
{
    static const char letters[] = "kmg";
    uint64_t number = 0;
    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (number > (UINT64_MAX - 9) / 10)
            return false;
        number = number * 10 + (uint64_t)(*text - '0');
    }
    if (*text != '\0' && suffixes) {
        const char *letter = strchr(letters, *text | 0x20);
        if (letter == NULL || text[1] != '\0')
            return false;
        unsigned shift = 10 * (unsigned)(letter - letters + 1);
        if (number > UINT64_MAX >> shift)
            return false;
        number <<= shift;
        text++;
    }
    *value = number;
    return *text == '\0';
}

static bool config_parse_bool(const char *text, int *value)
{
    static const char *const words[2][4] = {{"0", "off", "no", "false"}, {"1", "on", "yes", "true"}};
    for (int truth = 0; truth < 2; truth++)
        for (int i = 0; i < 4; i++)
            if (strcasecmp(text, words[truth][i]) == 0) {
                *value = truth;
                return true;
            }
    return false;
}

static bool config_parse_level(const char *text, int *value)
{
    for (int level = BASE_LOG_ERROR; level <= BASE_LOG_DEBUG; level++) {
        char digit[2] = {(char)('0' + level), '\0'};
        if (strcasecmp(text, config_levels[level]) == 0 || strcmp(text, digit) == 0) {
            *value = level;
            return true;
        }
    }
    return false;
}

/** One of the words: its number. */
static bool config_parse_word(const char *text, const char *const *words, int count, int *value)
{
    for (int word = 0; word < count; word++) {
        if (strcasecmp(text, words[word]) == 0) {
            *value = word;
            return true;
        }
    }
    return false;
}

/** Parses `text` into the row's member; false when it is malformed or out of range. */
static bool config_parse(const struct config_variable *variable, const char *text, struct base_config *config)
{
    char *member = (char *)config + variable->offset;
    double real = 0;
    uint64_t count = 0;
    switch (variable->kind) {
    case CONFIG_BOOL:
        return config_parse_bool(text, (int *)member);
    case CONFIG_LEVEL:
        return config_parse_level(text, (int *)member);
    case CONFIG_NET:
        return config_parse_word(text, config_nets, BASE_NET_MPI + 1, (int *)member);
    case CONFIG_FETCH:
        return config_parse_word(text, config_fetches, BASE_FETCH_PULL + 1, (int *)member);
    case CONFIG_TEXT:
        *(const char **)member = text != NULL && *text != '\0' ? text : NULL;
        return true;
    case CONFIG_FOLDERS:
        *(const char **)member = text; /* empty is a value: none */
        return true;
    case CONFIG_REAL:
        if (!config_parse_real(text, &real) || real < variable->min || real > variable->max)
            return false;
        *(double *)member = real;
        return true;
    default:
        break;
    }
    if (!config_parse_count(text, variable->kind == CONFIG_BYTES, &count) || (double)count < variable->min ||
        (double)count > variable->max)
        return false;
    if (variable->kind == CONFIG_INT)
        *(int *)member = (int)count;
    else
        *(uint64_t *)member = count;
    return true;
}

static void config_print_bytes(uint64_t bytes, char *text, size_t size)
{
    static const char letters[] = {'g', 'm', 'k'};
    for (unsigned i = 0; i < 3; i++) {
        uint64_t unit = GIB >> (10 * i);
        if (bytes != 0 && bytes % unit == 0) {
            snprintf(text, size, "%llu%c", (unsigned long long)(bytes / unit), letters[i]);
            return;
        }
    }
    snprintf(text, size, "%llu", (unsigned long long)bytes);
}

static void config_print(const struct config_variable *variable, const struct base_config *config, char *text,
                         size_t size)
{
    const char *member = (const char *)config + variable->offset;
    switch (variable->kind) {
    case CONFIG_INT:
    case CONFIG_BOOL:
        snprintf(text, size, "%d", *(const int *)member);
        return;
    case CONFIG_LEVEL:
        snprintf(text, size, "%s", config_levels[*(const int *)member]);
        return;
    case CONFIG_NET:
        snprintf(text, size, "%s", config_nets[*(const int *)member]);
        return;
    case CONFIG_FETCH:
        snprintf(text, size, "%s", config_fetches[*(const int *)member]);
        return;
    case CONFIG_REAL:
        snprintf(text, size, "%.10g", *(const double *)member);
        return;
    case CONFIG_COUNT:
        snprintf(text, size, "%llu", (unsigned long long)*(const uint64_t *)member);
        return;
    case CONFIG_BYTES:
        config_print_bytes(*(const uint64_t *)member, text, size);
        return;
    case CONFIG_TEXT:
    case CONFIG_FOLDERS:
        snprintf(text, size, "%s", *(const char *const *)member != NULL ? *(const char *const *)member : "");
        return;
    }
}

static void config_print_allowed(const struct config_variable *variable, char *text, size_t size)
{
    char min[32], max[32];
    switch (variable->kind) {
    case CONFIG_BOOL:
        snprintf(text, size, "0, 1, on, off, yes, no, true, false");
        return;
    case CONFIG_LEVEL:
        snprintf(text, size, "error, warn, info, debug or 0 to 3");
        return;
    case CONFIG_NET:
        snprintf(text, size, "auto, ofi, mpi");
        return;
    case CONFIG_FETCH:
        snprintf(text, size, "auto, rma, ofi, pull");
        return;
    case CONFIG_BYTES:
        config_print_bytes((uint64_t)variable->min, min, sizeof min);
        config_print_bytes((uint64_t)variable->max, max, sizeof max);
        snprintf(text, size, "%s to %s, in bytes or with k, m, g", min, max);
        return;
    case CONFIG_REAL:
        snprintf(text, size, "%.10g to %.10g", variable->min, variable->max);
        return;
    default:
        snprintf(text, size, "whole numbers from %.10g to %.10g", variable->min, variable->max);
        return;
    }
}

/** Levenshtein's distance of two names (Wagner and Fischer 1974), one row at a time. */
unsigned base_edit_distance(const char *a, const char *b)
{
    unsigned row[64];
    size_t width = strnlen(b, sizeof row / sizeof row[0] - 1);
    for (unsigned j = 0; j <= width; j++)
        row[j] = j;
    for (unsigned i = 0; a[i] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = i + 1;
        for (unsigned j = 0; j < width; j++) {
            unsigned replace = diagonal + (a[i] != b[j]);
            unsigned skip = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            diagonal = row[j + 1];
            row[j + 1] = replace < skip ? replace : skip;
        }
    }
    return row[width];
}

static const char *config_nearest(const char *name)
{
    const char *nearest = config_table[0].name;
    unsigned least = base_edit_distance(name, nearest);
    for (size_t i = 1; i < CONFIG_COUNT_ROWS; i++) {
        unsigned distance = base_edit_distance(name, config_table[i].name);
        if (distance < least) {
            least = distance;
            nearest = config_table[i].name;
        }
    }
    return nearest;
}

static bool config_known(const char *name)
{
    for (size_t i = 0; i < CONFIG_COUNT_ROWS; i++)
        if (strcmp(config_table[i].name, name) == 0)
            return true;
    return false;
}

/** `entry` is one NAME=VALUE of the environment. */
static int config_entry_check(const char *entry)
{
    char name[64];
    if (strncmp(entry, CONFIG_PREFIX, sizeof CONFIG_PREFIX - 1) != 0 ||
        strncmp(entry, CONFIG_TEST_PREFIX, sizeof CONFIG_TEST_PREFIX - 1) == 0)
        return RAYMPI_OK;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(entry, "="), entry);
    if (config_known(name))
        return RAYMPI_OK;
    return base_fail(RAYMPI_ERR_CONFIG, "environment variable %s is none of raympi's: use %s, or unset it",
                     name, config_nearest(name));
}

static int config_names_check(void)
{
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        int status = config_entry_check(*entry);
        if (status != RAYMPI_OK)
            return status;
    }
    return RAYMPI_OK;
}

static int config_fail(const struct config_variable *variable, const char *value)
{
    char allowed[96];
    config_print_allowed(variable, allowed, sizeof allowed);
    return base_fail(RAYMPI_ERR_CONFIG, "%s=%s: allowed are %s (%s)", variable->name, value, allowed,
                     variable->help);
}

/** Where the user named no folders, the system's temporary one. */
static void config_spill_folders(struct base_config *config)
{
    const char *temporary = getenv("TMPDIR");
    config->spill_asked = getenv("RAYMPI_SPILL_DIR") != NULL;
    if (!config->spill_asked && temporary != NULL && *temporary != '\0')
        config->spill_folders = temporary;
}

int base_config_read(struct base_config *config)
{
    struct base_config read;
    memset(&read, 0, sizeof read);
    int status = config_names_check();
    if (status != RAYMPI_OK)
        return status;
    for (size_t i = 0; i < CONFIG_COUNT_ROWS; i++) {
        const struct config_variable *variable = &config_table[i];
        const char *value = getenv(variable->name);
        if (!config_parse(variable, value != NULL ? value : variable->fallback, &read))
            return config_fail(variable, value);
    }
    config_spill_folders(&read);
    /* relaxed: a threshold, it orders nothing */
    atomic_store_explicit(&base_log_threshold, read.log_level, memory_order_relaxed);
    *config = read;
    return RAYMPI_OK;
}

void base_config_common(const struct base_config *config, char *text, size_t size)
{
    size_t length = 0;
    if (size > 0)
        text[0] = '\0';
    for (size_t i = 0; i < CONFIG_COUNT_ROWS && length < size; i++) {
        char value[256];
        if (!config_table[i].common)
            continue;
        config_print(&config_table[i], config, value, sizeof value);
        length += (size_t)snprintf(text + length, size - length, "%s%s=%s", length > 0 ? "\n" : "",
                                   config_table[i].name, value);
    }
}

void base_config_each(const struct base_config *config,
                      void (*row)(void *arg, const char *name, const char *value, const char *fallback,
                                  const char *origin, const char *help),
                      void *arg)
{
    for (size_t i = 0; i < CONFIG_COUNT_ROWS; i++) {
        const struct config_variable *variable = &config_table[i];
        char value[4096];
        config_print(variable, config, value, sizeof value);
        row(arg, variable->name, value, variable->fallback != NULL ? variable->fallback : "",
            getenv(variable->name) != NULL ? "environment" : "default", variable->help);
    }
}
