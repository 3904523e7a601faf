#include "ca_store.h"
#include "ca_extras.h"
#include "platform.h"

#include <stdlib.h>
#include <string.h>
#include <curl/curl.h>

/* Copies the variable's value if it is set: the environment may change later, the choice must not.
 * False when memory is short. */
static bool copy_variable(char **copy, const char *name) {
    const char *value = getenv(name);
    if (value == NULL || value[0] == '\0') {
        return true;
    }
    size_t size = strlen(value) + 1;
    *copy = malloc(size);
    if (*copy == NULL) {
        return false;
    }
    memcpy(*copy, value, size);
    return true;
}

/* Only OpenSSL and LibreSSL look certificates up by hashed name; others would read them all. */
static bool reads_hashed_folders(const char *ssl_version) {
    return ssl_version != NULL &&
           (strstr(ssl_version, "OpenSSL/") != NULL || strstr(ssl_version, "LibreSSL/") != NULL);
}

static void choose_of_libcurl(struct ca_store *store) {
    const curl_version_info_data *libcurl = curl_version_info(CURLVERSION_NOW);
    const char *bundle = libcurl->cainfo, *folder = libcurl->capath;
    struct byte_buffer extras;
    enum ca_extras_status status = CA_EXTRAS_NO_FOLDER;
    byte_buffer_init(&extras, (size_t)-1);
    if (folder != NULL && reads_hashed_folders(libcurl->ssl_version)) {
        /* One handshake then reads 1 or 2 certificates instead of some 140. */
        status = ca_extras_read(bundle != NULL ? bundle : "", folder, &extras);
    }
    bool is_hashed = status != CA_EXTRAS_NO_FOLDER;
    store->path = is_hashed || bundle == NULL ? folder : NULL;
    store->file = status == CA_EXTRAS_OK ? NULL : bundle;
    if (status == CA_EXTRAS_OK && extras.length > 0) {
        store->extra = extras.bytes; /* kept, like the choice, until the process ends */
        store->extra_length = extras.length;
    } else {
        byte_buffer_free(&extras);
    }
}

/* Chooses the certificates to trust: those that the environment names, else those of libcurl. False
 * when memory is short. */
static bool choose(struct ca_store *store) {
    char *file = NULL, *path = NULL;
    if (!copy_variable(&file, "SSL_CERT_FILE") || !copy_variable(&path, "SSL_CERT_DIR")) {
        free(file);
        return false;
    }
    store->file = file;
    store->path = path;
    if (file == NULL && path == NULL) {
        choose_of_libcurl(store);
    }
    return true;
}

const struct ca_store *ca_store_default(void) {
    static struct ca_store store;
    static bool is_chosen = false;
    platform_lock();
    is_chosen = is_chosen || choose(&store);
    const struct ca_store *answer = is_chosen ? &store : NULL;
    platform_unlock();
    return answer;
}
