/* pthreads are POSIX, not C99. */
#define _POSIX_C_SOURCE 200809L

#include "step_lock.h"
#include "platform.h"

#ifndef _WIN32

#include <pthread.h>
#include <stdlib.h>

/* How long an exit waits for a step to end. A longer one is most likely a name look-up, which does
 * not use OpenSSL. */
static const double exit_seconds = 5;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_final = false;

void step_lock_take(void) {
    pthread_mutex_lock(&lock);
}

void step_lock_release(void) {
    pthread_mutex_unlock(&lock);
}

bool step_lock_is_final(void) {
    return is_final;
}

static void take_for_ever(void) {
    double end = platform_clock() + exit_seconds;
    is_final = true;
    while (pthread_mutex_trylock(&lock) != 0 && platform_clock() < end) {
        platform_sleep(0.0002);
    }
}

/* OpenSSL has registered its own handler before (curl_global_init), and exit calls the latest
 * first. */
bool step_lock_prepare(void) {
    static bool is_prepared = false;
    platform_lock();
    is_prepared =
        is_prepared || (pthread_atfork(step_lock_take, step_lock_release, step_lock_release) == 0 &&
                        atexit(take_for_ever) == 0);
    platform_unlock();
    return is_prepared;
}

#endif
