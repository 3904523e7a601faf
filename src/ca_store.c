#include "ca_store.h"
#include "byte_buffer.h"
#include "platform.h"

#include <stdlib.h>
#include <string.h>

/* Copies the variable's value if it is set: the environment may change later, the choice must not.
 * False when memory is short. */
static bool copy_variable(char **copy, const char *name) {
    const char *value = getenv(name);
    return value == NULL || value[0] == '\0' || byte_buffer_copy(copy, value);
}

/* Only OpenSSL and LibreSSL look certificates up by hashed name; others read all files. */
static bool reads_hashed_folders(const char *ssl_version) {
    return ssl_version != NULL &&
           (strstr(ssl_version, "OpenSSL/") != NULL || strstr(ssl_version, "LibreSSL/") != NULL);
}

static bool is_hashed_name(const char *name) {
    return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && name[9] >= '0' &&
           name[9] <= '9';
}

/* The files of a folder with hashed names, as `openssl rehash` makes them (`002c0b4f.0`). */
struct hashed_files {
    const char *folder;
    unsigned count;
    double size; /* bytes of all */
};

static void add_entry(void *context, const char *name) {
    struct hashed_files *files = context;
    char path[1024];
    int length = snprintf(path, sizeof path, "%s/%s", files->folder, name);
    if (is_hashed_name(name) && length > 0 && (size_t)length < sizeof path) {
        files->count++;
        files->size += platform_look_up(path, true).size;
    }
}

static void choose_libcurl_default(struct ca_store *store) {
    const curl_version_info_data *libcurl = curl_version_info(CURLVERSION_NOW);
    struct hashed_files files = {.folder = libcurl->capath};
    store->path = libcurl->capath;
    store->file = libcurl->cainfo;
    if (store->path == NULL || store->file == NULL || !reads_hashed_folders(libcurl->ssl_version)) {
        return;
    }
    platform_each_entry(files.folder, add_entry, &files);
    double size = platform_look_up(store->file, true).size;
    /* A machine's bundle is its folder's files, one after the other. Another size means that one
     * of them has more, such as a company's authority that was appended to the bundle. */
    if (files.count == 0) {
        store->path = NULL;
    } else if (size == 0 || size == files.size) {
        store->file = NULL;
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
        choose_libcurl_default(store);
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

/* libcurl from 8.21 on takes NULL for "the default". It is then given a source that holds nothing:
 * a folder that cannot exist, or a certificate that can sign no other. That one was valid for a
 * moment of 1970, is no authority, and its key is the point with x = 0, whose secret is unknown. */
static const char empty_folder[] = "/dev/null/none";
static char empty_bundle[] = "-----BEGIN CERTIFICATE-----\n"
                             "MIHdMIHDoAMCAQICAQEwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEbm9uZTAeFw03\n"
                             "MDAxMDEwMDAwMDBaFw03MDAxMDEwMDAwMDBaMA8xDTALBgNVBAMMBG5vbmUwWTAT\n"
                             "BgcqhkjOPQIBBggqhkjOPQMBBwNCAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
                             "AAAAAAAAAGZIXHgOL4PXJDO9XYSga7ZUHCrzHa6HFyi/hWoXT5P0oxAwDjAMBgNV\n"
                             "HRMBAf8EAjAAMAoGCCqGSM49BAMCAwkAMAYCAQECAQE=\n"
                             "-----END CERTIFICATE-----\n";

/* Sets a source for hosts and for proxies. One that is not used, or is named beside another, may be
 * unknown to the TLS library. */
static CURLcode set_source(CURL *easy, CURLoption option, CURLoption proxy_option,
                           const void *value, bool is_needed) {
    CURLcode code = curl_easy_setopt(easy, option, value);
    if (code == CURLE_OK) {
        code = curl_easy_setopt(easy, proxy_option, value);
        code = code == CURLE_UNKNOWN_OPTION ? CURLE_OK : code; /* a libcurl without proxies */
    }
    return code == CURLE_NOT_BUILT_IN && !is_needed ? CURLE_OK : code;
}

CURLcode ca_store_configure(const struct ca_store *store, CURL *easy) {
    const curl_version_info_data *libcurl = curl_version_info(CURLVERSION_NOW);
    bool is_null_default = libcurl->version_num >= 0x081500;
    bool hides_folder = is_null_default && store->path == NULL && libcurl->capath != NULL;
    bool hides_bundle = is_null_default && store->file == NULL && libcurl->cainfo != NULL;
    /* The lists of revoked certificates, which only Schannel asks for, may be out of reach. The
     * system's store is trusted where libcurl names no source, which on Windows is not what OpenSSL
     * does. Both options may be unknown to the TLS library. */
    bool is_system_trusted = store->file == NULL && store->path == NULL;
    long options = CURLSSLOPT_REVOKE_BEST_EFFORT | (is_system_trusted ? CURLSSLOPT_NATIVE_CA : 0);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_OPTIONS, options);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY_SSL_OPTIONS, options);
    /* A default that is left alone may be found beside the DLL (MSYS2), not where it says. */
    if (store->file == libcurl->cainfo && store->path == libcurl->capath) {
        return CURLE_OK;
    }
    CURLcode code = set_source(easy, CURLOPT_CAINFO, CURLOPT_PROXY_CAINFO, store->file, true);
    if (code == CURLE_OK) {
        code = set_source(easy, CURLOPT_CAPATH, CURLOPT_PROXY_CAPATH,
                          hides_folder ? empty_folder : store->path,
                          store->path != NULL && store->file == NULL);
    }
    if (code == CURLE_OK && hides_bundle) {
        struct curl_blob blob = {empty_bundle, sizeof empty_bundle - 1, CURL_BLOB_NOCOPY};
        code = set_source(easy, CURLOPT_CAINFO_BLOB, CURLOPT_PROXY_CAINFO_BLOB, &blob, true);
    }
    return code;
}
