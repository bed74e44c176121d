/* The environment: RAYMPI_* variables, one a line. */
#include "fuzz.h"

#define VARIABLES 8

static const char *const seeds[] = {
    "RAYMPI_WORKERS=3\nRAYMPI_LOG=debug\nRAYMPI_STATS=1",
    "RAYMPI_STORE_BYTES=10g\nRAYMPI_INLINE_BYTES=4k\nRAYMPI_STACK_BYTES=256k\nRAYMPI_TRACE=file",
    "RAYMPI_WATCHDOG=2.5\nRAYMPI_CREATE_TIMEOUT=1e3\nRAYMPI_SPIN_US=-1\nRAYMPI_TRACE_EVENTS=1000",
    "RAYMPI_NET=ofi\nRAYMPI_OFI_PROVIDER=tcp;ofi_rxm\nRAYMPI_OFI_INTERFACE=10.1.0.0/"
    "16\nRAYMPI_CONNECT_TIMEOUT=5",
    "RAYMPI_SPILL_DIR=/scratch:/tmp\nRAYMPI_CHECKSUM=1\nRAYMPI_PROTECT=on",
    "RAYMPI_WORKER=1",
};

static void fuzz_seeds(void)
{
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++)
        fuzz_seed(seeds[i], strlen(seeds[i]));
}

static void row(void *arg, const char *name, const char *value, const char *fallback, const char *origin,
                const char *help)
{
    size_t *sum = arg;
    *sum += strlen(name) + strlen(value) + strlen(fallback) + strlen(origin) + strlen(help);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *entries[VARIABLES + 1] = {NULL}, **before = environ, *rest = NULL;
    struct base_config config;
    char common[300];
    size_t sum = 0;
    FUZZ_CHECK(text);
    memcpy(text, data, size);
    text[size] = 0;
    for (int i = 0; i < VARIABLES; i++)
        entries[i] = strtok_r(i == 0 ? text : NULL, "\n", &rest);
    environ = entries;
    if (base_config_read(&config) == RAYMPI_OK) {
        base_config_common(&config, common, sizeof common);
        base_config_each(&config, row, &sum);
        FUZZ_CHECK(strlen(common) < sizeof common && sum > 0);
    }
    environ = before;
    atomic_store(&base_log_threshold, -1);
    free(text);
    return 0;
}
