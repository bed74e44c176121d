#ifndef RAYMPI_H
#define RAYMPI_H

#ifdef __cplusplus
extern "C" {
#endif

/** The version of the library, as in "0.1.0". Any thread, any time; the string lives for ever. */
const char *raympi_version(void);

#ifdef __cplusplus
}
#endif

#endif
