/* src/ca_store where several threads, each with a Lua state of its own, ask at a time. POSIX only.
 * To be run under ThreadSanitizer too. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <curl/curl.h>

#include "ca_store.h"
#include "check.h"
#include "prepared_request.h"

enum { THREADS = 16, NAME_LENGTH = 1 << 20 };

static pthread_mutex_t all_are_there = PTHREAD_MUTEX_INITIALIZER;

/* What one of them was told. */
struct asker {
    pthread_t thread;
    const char *file;
    size_t length;
};

static void *ask(void *context) {
    struct asker *asker = context;
    pthread_mutex_lock(&all_are_there);
    pthread_mutex_unlock(&all_are_there);
    asker->file = ca_store_default()->file;
    asker->length = asker->file != NULL ? strlen(asker->file) : 0;
    return NULL;
}

/* So long that choosing takes a while. */
static void name_a_file(void) {
    char *name = malloc(NAME_LENGTH + 1);
    if (name == NULL) {
        exit(EXIT_FAILURE);
    }
    memset(name, 'c', NAME_LENGTH);
    name[NAME_LENGTH] = '\0';
    setenv("SSL_CERT_FILE", name, 1);
    free(name);
}

/* The process gets no more memory. QEMU takes no notice of that, and an allocation that fails ends
 * a sanitized process. */
static void says_so_without_memory_for_the_name(void) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rlimit before;
    const char *problem;
    CURL *easy = curl_easy_init();
    struct prepared_request *request =
        prepared_request_create("POST", "https://graph.example.test/", &problem);
    CHECK(easy != NULL && request != NULL && getrlimit(RLIMIT_AS, &before) == 0);
    struct rlimit limit = {1, before.rlim_max};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    char *possible = malloc(NAME_LENGTH + 1);
    bool is_limited = possible == NULL;
    free(possible);
    const struct ca_store *store = is_limited ? ca_store_default() : NULL;
    CURLcode code = is_limited ? prepared_request_configure(request, easy) : CURLE_OUT_OF_MEMORY;
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
    CHECK(store == NULL);
    CHECK(code == CURLE_OUT_OF_MEMORY);
    CHECK(prepared_request_configure(request, easy) == CURLE_OK); /* asked for anew */
    prepared_request_release(request);
    curl_easy_cleanup(easy);
#endif
}

static void is_chosen_once_for_all_threads(void) {
    static struct asker askers[THREADS];
    pthread_mutex_lock(&all_are_there);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&askers[i].thread, NULL, ask, &askers[i]) == 0);
    }
    pthread_mutex_unlock(&all_are_there);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(askers[i].thread, NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(askers[i].length == NAME_LENGTH);
        CHECK(askers[i].file == ca_store_default()->file);
    }
}

int main(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    name_a_file();
    check_case("says so without memory for the name of one", says_so_without_memory_for_the_name);
    check_case("is chosen once for all threads", is_chosen_once_for_all_threads);
    return check_summary();
}
