#include "net/net_seal.h"

#include <sodium.h>
#include <string.h>

#define SEAL_CONTEXT "raympi-p" /* crypto_kdf_CONTEXTBYTES of it */

_Static_assert(SEAL_BYTES == crypto_kdf_KEYBYTES && SEAL_BYTES == crypto_aead_chacha20poly1305_ietf_KEYBYTES,
               "keys");
_Static_assert(SEAL_TAG_BYTES == crypto_aead_chacha20poly1305_ietf_ABYTES, "tags");

struct nonce {
    uint32_t source;
    uint64_t serial;
} __attribute__((packed));
_Static_assert(sizeof(struct nonce) == crypto_aead_chacha20poly1305_ietf_NPUBBYTES, "nonces");

bool net_seal_open(void)
{
    return sodium_init() >= 0;
}

void net_seal_secret(unsigned char secret[SEAL_BYTES])
{
    randombytes_buf(secret, SEAL_BYTES); /* getrandom */
}

void net_seal_key(unsigned char key[SEAL_BYTES], const unsigned char secret[SEAL_BYTES], int source,
                  int destination)
{
    uint64_t pair = (uint64_t)(uint32_t)source << 32 | (uint32_t)destination;
    crypto_kdf_derive_from_key(key, SEAL_BYTES, pair, SEAL_CONTEXT, secret);
}

void net_seal_make(unsigned char tag[SEAL_TAG_BYTES], const unsigned char key[SEAL_BYTES], int source,
                   uint64_t serial, const void *bytes, size_t length)
{
    const struct nonce nonce = {(uint32_t)source, serial};
    unsigned char nothing = 0;
    crypto_aead_chacha20poly1305_ietf_encrypt_detached(&nothing, tag, NULL, &nothing, 0, bytes, length, NULL,
                                                       (const unsigned char *)&nonce, key);
}

bool net_seal_good(const unsigned char tag[SEAL_TAG_BYTES], const unsigned char key[SEAL_BYTES], int source,
                   uint64_t serial, const void *bytes, size_t length)
{
    const struct nonce nonce = {(uint32_t)source, serial};
    unsigned char nothing = 0;
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(&nothing, NULL, &nothing, 0, tag, bytes, length,
                                                              (const unsigned char *)&nonce, key) == 0;
}
