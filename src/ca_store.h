/* Where the machine's certificate authorities are read from: chosen once, at start. Verification
 * itself is libcurl's, is always on, and there is no option to turn it off. */
#ifndef AUTOPILOT_CA_STORE_H
#define AUTOPILOT_CA_STORE_H

#include <stddef.h>

/* The choice; a NULL member is a source that is not used. All NULL: whatever libcurl was built
 * with, or the system's own store (Windows, macOS). */
struct ca_store {
    const char *file; /* a bundle, parsed as a whole */
    const char *path; /* a folder of hashed names, of which only what is needed is read */
    char *extra;      /* certificates of the machine's bundle that the folder lacks, in PEM */
    size_t extra_length;
};

/* The choice for this process; NULL when memory is short. Order: the environment's SSL_CERT_FILE
 * and SSL_CERT_DIR as they are, which OpenSSL and the curl command honour too; libcurl's own folder
 * when it holds hashed certificates and the TLS library looks them up so, with what the bundle
 * holds beyond it; libcurl's own bundle alone, without a folder beside it, because only then does
 * libcurl parse it once per multi and not per connection. */
const struct ca_store *ca_store_default(void);

#endif
