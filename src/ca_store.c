#include "ca_store.h"
#include "platform.h"

#include <stdlib.h>
#include <string.h>
#include <curl/curl.h>

static bool is_hex_digit(char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
}

/* `002c0b4f.0`: what `openssl rehash` names a certificate by its subject. */
static bool is_hashed_name(const char *name) {
    for (int i = 0; i < 8; i++) {
        if (!is_hex_digit(name[i])) {
            return false;
        }
    }
    return name[8] == '.' && name[9] >= '0' && name[9] <= '9';
}

static const char *from_environment(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* The environment may change later; the choice must not, nor may its memory. */
static const char *keep(const char *text) {
    if (text == NULL) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

/* Only OpenSSL and its kin look certificates up by hashed name; others would read them all. */
static bool reads_hashed_folders(const char *ssl_version) {
    return ssl_version != NULL &&
           (strstr(ssl_version, "OpenSSL/") != NULL || strstr(ssl_version, "LibreSSL/") != NULL);
}

static struct ca_store choose(void) {
    struct ca_store store = {keep(from_environment("SSL_CERT_FILE")),
                             keep(from_environment("SSL_CERT_DIR"))};
    if (store.file != NULL || store.path != NULL) {
        return store;
    }
    const curl_version_info_data *libcurl = curl_version_info(CURLVERSION_NOW);
    if (libcurl->capath != NULL && reads_hashed_folders(libcurl->ssl_version) &&
        platform_folder_has(libcurl->capath, is_hashed_name)) {
        /* One handshake then reads 1 or 2 certificates instead of some 140. */
        store.path = libcurl->capath;
    } else {
        store.file = libcurl->cainfo;
        store.path = libcurl->cainfo == NULL ? libcurl->capath : NULL;
    }
    return store;
}

const struct ca_store *ca_store_default(void) {
    static struct ca_store store;
    static bool chosen = false;
    platform_lock();
    if (!chosen) {
        store = choose();
        chosen = true;
    }
    platform_unlock();
    return &store;
}
