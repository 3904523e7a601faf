/* src/ca_store over a folder and a bundle of its own in place of the machine's. POSIX only. */
#define _XOPEN_SOURCE 700

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>

#include "ca_store.h"
#include "check.h"

enum { PATH_SIZE = 256 };

static char root[PATH_SIZE], folder[PATH_SIZE], bundle[PATH_SIZE];
static const char *library = "OpenSSL/3.0.0";

/* Takes the place of libcurl's own function: what it was built with is ours here. */
curl_version_info_data *curl_version_info(CURLversion version) {
    static curl_version_info_data data;
    (void)version;
    data.ssl_version = library;
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
    snprintf(root, sizeof root, "/tmp/ca_store_XXXXXX");
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

/* Checks what is chosen, in a child: a process chooses once. */
static void expect(const char *path, const char *file) {
    int status = 1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        const struct ca_store *store = ca_store_default();
        _exit(store != NULL && store->path == path && store->file == file ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
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

static void takes_the_folder_where_both_hold_the_same(void) {
    set_up();
    fill_both_alike();
    expect(folder, NULL);
    tear_down();
}

static void takes_both_where_one_has_more(void) {
    set_up();
    fill_both_alike();
    append(bundle, certificate(1001)); /* a company's own */
    expect(folder, bundle);
    add_to_folder("ffffffff.0", 5000); /* so that their numbers are alike again */
    append(bundle, "\n# Example Inc. Root\n");
    expect(folder, bundle);
    tear_down();
}

static void takes_the_bundle_where_nothing_is_hashed(void) {
    set_up();
    append(bundle, certificate(1));
    expect(NULL, bundle);
    add_to_folder("one.pem", 1);
    expect(NULL, bundle);
    tear_down();
}

static void takes_both_where_the_library_reads_all_files(void) {
    library = "GnuTLS/3.7.9";
    set_up();
    add_to_folder("one.pem", 1);
    append(bundle, certificate(1));
    expect(folder, bundle);
    tear_down();
    library = "OpenSSL/3.0.0";
}

static void does_without_a_bundle(void) {
    set_up();
    add_to_folder("00000001.0", 1);
    expect(folder, NULL);
    append(bundle, "");
    expect(folder, NULL);
    tear_down();
}

int main(void) {
    unsetenv("SSL_CERT_FILE");
    unsetenv("SSL_CERT_DIR");
    check_case("takes the folder alone where both hold the same",
               takes_the_folder_where_both_hold_the_same);
    check_case("takes both where one of them has more", takes_both_where_one_has_more);
    check_case("takes the bundle where the folder has no hashed names",
               takes_the_bundle_where_nothing_is_hashed);
    check_case("takes both where the TLS library reads all files of a folder",
               takes_both_where_the_library_reads_all_files);
    check_case("does without a bundle", does_without_a_bundle);
    return check_summary();
}
