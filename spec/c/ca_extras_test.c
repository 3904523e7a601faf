/* src/ca_extras over folders and bundles of its own, and src/ca_store over them in place of the
 * machine's. POSIX only. */
#define _XOPEN_SOURCE 700

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <curl/curl.h>

#include "ca_extras.h"
#include "ca_store.h"
#include "check.h"

enum { PATH_SIZE = 256 };

static char root[PATH_SIZE], folder[PATH_SIZE], bundle[PATH_SIZE];

/* Takes the place of libcurl's own function: what it was built with is ours here. */
curl_version_info_data *curl_version_info(CURLversion version) {
    static curl_version_info_data data;
    (void)version;
    data.ssl_version = "OpenSSL/3.0.0";
    data.cainfo = bundle;
    data.capath = folder;
    return &data;
}

/* A text that looks like a certificate, another one for each number. */
static const char *certificate(int number) {
    static char text[512];
    snprintf(text, sizeof text,
             "-----BEGIN CERTIFICATE-----\nMIIB%060d\nabc%05d=\n-----END CERTIFICATE-----\n",
             number, number);
    return text;
}

static void append(const char *path, const char *text) {
    FILE *file = fopen(path, "a");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void add_to_folder(const char *name, int number) {
    char path[2 * PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    append(path, certificate(number));
}

static void set_up(void) {
    snprintf(root, sizeof root, "/tmp/ca_extras_XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    snprintf(folder, sizeof folder, "%.200s/certs", root);
    snprintf(bundle, sizeof bundle, "%.200s/bundle.crt", root);
    CHECK(mkdir(folder, 0700) == 0);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place) {
    (void)status, (void)kind, (void)place;
    return remove(path);
}

static void tear_down(void) {
    CHECK(nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

/* Checks that exactly this is what the bundle holds beyond the folder. */
static void expect(const char *wanted) {
    struct byte_buffer extras;
    byte_buffer_init(&extras, (size_t)-1);
    CHECK(ca_extras_read(bundle, folder, &extras) == CA_EXTRAS_OK);
    CHECK_ABOUT(extras.length == strlen(wanted) &&
                    memcmp(extras.bytes != NULL ? extras.bytes : "", wanted, extras.length) == 0,
                extras.bytes, extras.length);
    byte_buffer_free(&extras);
}

/* As Debian's update-ca-certificates leaves them, with other things beside it in the folder. */
static void fill_both_alike(void) {
    for (int i = 1; i <= 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "%08x.%d", (unsigned)i * 7919u, i % 2);
        add_to_folder(name, i);
        append(bundle, certificate(301 - i));
    }
    add_to_folder("README", 1000);
    add_to_folder("ABCDEF01.0", 1001);
    add_to_folder("abcdef01.pem", 1002);
}

static void finds_nothing_where_both_hold_the_same(void) {
    set_up();
    fill_both_alike();
    expect("");
    add_to_folder("ffffffff.0", 5000); /* a server's own, that no bundle has */
    expect("");
    tear_down();
}

static void finds_what_was_appended(void) {
    set_up();
    fill_both_alike();
    add_to_folder("ffffffff.0", 5000); /* so that their numbers are alike again */
    append(bundle, "\n# Example Inc. Root\n");
    append(bundle, certificate(1001));
    expect(certificate(1001));
    append(bundle, "-----BEGIN CERTIFICATE-----\nMIIBcut"); /* while it is being written */
    expect(certificate(1001));
    tear_down();
}

static void finds_no_folder_where_nothing_is_hashed(void) {
    struct byte_buffer extras;
    set_up();
    byte_buffer_init(&extras, (size_t)-1);
    append(bundle, certificate(1));
    add_to_folder("one.pem", 1);
    CHECK(ca_extras_read(bundle, folder, &extras) == CA_EXTRAS_NO_FOLDER);
    CHECK(ca_extras_read(bundle, "/does/not/exist", &extras) == CA_EXTRAS_NO_FOLDER);
    CHECK(extras.length == 0);
    tear_down();
}

static void does_without_a_bundle(void) {
    set_up();
    add_to_folder("00000001.0", 1);
    expect("");
    append(bundle, "no certificate\n");
    expect("");
    tear_down();
}

static void both_are_trusted(void) {
    set_up();
    unsetenv("SSL_CERT_FILE");
    unsetenv("SSL_CERT_DIR");
    fill_both_alike();
    append(bundle, certificate(4000));
    const struct ca_store *store = ca_store_default();
    CHECK(store != NULL && store->path == folder && store->file == NULL);
    CHECK(store != NULL && store->extra_length == strlen(certificate(4000)) &&
          memcmp(store->extra, certificate(4000), store->extra_length) == 0);
    tear_down();
}

int main(void) {
    check_case("finds nothing where bundle and folder hold the same",
               finds_nothing_where_both_hold_the_same);
    check_case("finds what was appended to the bundle alone", finds_what_was_appended);
    check_case("knows a folder without hashed names", finds_no_folder_where_nothing_is_hashed);
    check_case("does without a bundle", does_without_a_bundle);
    check_case("trusts what was appended beside the folder", both_are_trusted);
    return check_summary();
}
