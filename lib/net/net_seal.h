/* Who does not know the job's secret can neither make a packet, nor change one, nor repeat one as another:
 * each carries a tag, ChaCha20-Poly1305 (RFC 8439) with nothing to encrypt and the packet as associated data.
 *
 * Each ordered pair of ranks has a key of its own, so that its serial number makes a nonce that is used once.
 */
#ifndef RAYMPI_NET_SEAL_H
#define RAYMPI_NET_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEAL_BYTES     32 /* of a key, and of the secret */
#define SEAL_TAG_BYTES 16

/** Once a process, before all else. False: libsodium does not work here. */
bool net_seal_open(void);
/** A new secret. */
void net_seal_secret(unsigned char secret[SEAL_BYTES]);
/** The key of what `source` sends to `destination`. */
void net_seal_key(unsigned char key[SEAL_BYTES], const unsigned char secret[SEAL_BYTES], int source,
                  int destination);
/** A nonce may be used twice only if the first packet has never left this rank. */
void net_seal_make(unsigned char tag[SEAL_TAG_BYTES], const unsigned char key[SEAL_BYTES], int source,
                   uint64_t serial, const void *bytes, size_t length);
bool net_seal_good(const unsigned char tag[SEAL_TAG_BYTES], const unsigned char key[SEAL_BYTES], int source,
                   uint64_t serial, const void *bytes, size_t length);

#endif
