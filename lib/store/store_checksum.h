/* Checksums of blocks (store_sums.c): by xxHash, or none in a build without it. */
#ifndef RAYMPI_STORE_CHECKSUM_H
#define RAYMPI_STORE_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Whether this build can make them. */
bool store_checksum_there(void);
uint64_t store_checksum(const void *data, size_t length);

#endif
