/* Where the certificate authorities are read from, chosen once for the process. libcurl verifies
 * with them, always: there is no option to turn that off. */
#ifndef AUTOPILOT_CA_STORE_H
#define AUTOPILOT_CA_STORE_H

#include <curl/curl.h>

/* A source that is NULL is not used. All NULL: libcurl's own default, or the system's store
 * (Windows, macOS). */
struct ca_store {
    const char *file; /* a bundle, which is read whole */
    const char *path; /* a folder with hashed names, of which only the needed files are read */
};

/* The choice for this process; NULL when memory is short. The first that applies is chosen:
 * 1. SSL_CERT_FILE and SSL_CERT_DIR of the environment, as for OpenSSL and the curl command;
 * 2. libcurl's own folder, where it has hashed names that the TLS library uses: alone if its files
 *    are as large as libcurl's bundle, so that neither has more, else beside the bundle;
 * 3. libcurl's own bundle, without a folder: only then does libcurl parse it once for a multi, and
 *    not for each connection. */
const struct ca_store *ca_store_default(void);

/* Makes the handle, and its proxies, trust the sources of the store only. Not CURLE_OK when
 * libcurl refuses to: CURLE_NOT_BUILT_IN if its TLS library cannot read the source. A folder
 * beside a bundle is then ignored. */
CURLcode ca_store_configure(const struct ca_store *store, CURL *easy);

#endif
