/* src/ca_store where several threads, each with a Lua state of its own, ask at a time. POSIX only.
 * To be run under ThreadSanitizer too. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ca_store.h"
#include "check.h"

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

static void is_chosen_once_for_all_threads(void) {
    static struct asker askers[THREADS];
    char *name = malloc(NAME_LENGTH + 1); /* so long that choosing takes a while */
    if (name == NULL) {
        exit(EXIT_FAILURE);
    }
    memset(name, 'c', NAME_LENGTH);
    name[NAME_LENGTH] = '\0';
    setenv("SSL_CERT_FILE", name, 1);
    free(name);
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
    check_case("is chosen once for all threads", is_chosen_once_for_all_threads);
    return check_summary();
}
