/* sigset_t and pthreads are POSIX, not C99. */
#define _POSIX_C_SOURCE 200809L

#include "platform.h"

#ifndef _WIN32

#include <signal.h>
#include <stdlib.h>

#include "live_thread.h"

/* Enough for libcurl, a resolver and OpenSSL also where the system's default is 128 KiB. */
static const size_t stack_size = 1024 * 1024;

/* How long an exit waits for steps to end. A longer one is most likely a name look-up, which does
 * not use OpenSSL. */
static const double exit_seconds = 5;

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct live_thread *first_live; /* started and not stopped */

static bool is_set(long *flag) {
    return platform_add(flag, 0) > 0;
}

static void ask_to_stop(struct live_thread *live) {
    platform_add(&live->is_stopping, 1);
    live->wake(live->context);
}

/* Called by exit. */
static void stop_all(void) {
    double end = platform_clock() + exit_seconds;
    pthread_mutex_lock(&registry);
    for (struct live_thread *live = first_live; live != NULL; live = live->next) {
        ask_to_stop(live);
        while (!is_set(&live->has_ended) && platform_clock() < end) {
            platform_sleep(0.0002);
        }
        live->is_joined = is_set(&live->has_ended) && pthread_join(live->thread, NULL) == 0;
    }
    first_live = NULL;
    pthread_mutex_unlock(&registry);
}

static void lock_before_fork(void) {
    pthread_mutex_lock(&registry);
    for (struct live_thread *live = first_live; live != NULL; live = live->next) {
        pthread_mutex_lock(&live->in_step);
    }
}

static void unlock_after_fork(void) {
    for (struct live_thread *live = first_live; live != NULL; live = live->next) {
        pthread_mutex_unlock(&live->in_step);
    }
    pthread_mutex_unlock(&registry);
}

/* Called in the child after a fork. It empties the list, because the child has no such threads. */
static void forget_after_fork(void) {
    first_live = NULL;
    pthread_mutex_unlock(&registry);
}

/* Registers the functions above. OpenSSL has registered its own before (curl_global_init), and exit
 * calls the latest first. False when memory is short. */
static bool register_handlers(void) {
    static bool is_registered = false;
    pthread_mutex_lock(&registry);
    if (!is_registered) {
        is_registered = atexit(stop_all) == 0 &&
                        pthread_atfork(lock_before_fork, unlock_after_fork, forget_after_fork) == 0;
    }
    bool answer = is_registered;
    pthread_mutex_unlock(&registry);
    return answer;
}

static void add(struct live_thread *live) {
    pthread_mutex_lock(&registry);
    live->next = first_live;
    first_live = live;
    pthread_mutex_unlock(&registry);
}

/* False when an exit of the process has stopped the thread. */
static bool take_out(struct live_thread *live) {
    pthread_mutex_lock(&registry);
    struct live_thread **place = &first_live;
    while (*place != NULL && *place != live) {
        place = &(*place)->next;
    }
    if (*place != NULL) {
        *place = live->next;
    }
    bool is_running = !live->is_joined;
    pthread_mutex_unlock(&registry);
    return is_running;
}

static void *run(void *context) {
    struct live_thread *live = context;
    live->work(live->context);
    platform_add(&live->has_ended, 1);
    return NULL;
}

static bool start(struct live_thread *live) {
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    pthread_attr_setstacksize(&attributes, stack_size);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&live->thread, &attributes, run, live);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return status == 0;
}

bool live_thread_start(struct live_thread *live, void (*work)(void *context),
                       void (*wake)(void *context), void *context) {
    live->work = work;
    live->wake = wake;
    live->context = context;
    if (!register_handlers() || pthread_mutex_init(&live->in_step, NULL) != 0) {
        return false;
    }
    if (!start(live)) {
        pthread_mutex_destroy(&live->in_step);
        return false;
    }
    add(live);
    return true;
}

bool live_thread_is_stopping(struct live_thread *live) {
    return is_set(&live->is_stopping);
}

void live_thread_begin_step(struct live_thread *live) {
    pthread_mutex_lock(&live->in_step);
}

void live_thread_end_step(struct live_thread *live) {
    pthread_mutex_unlock(&live->in_step);
}

bool live_thread_stop(struct live_thread *live) {
    if (!take_out(live)) {
        return false;
    }
    ask_to_stop(live);
    pthread_join(live->thread, NULL);
    pthread_mutex_destroy(&live->in_step);
    return true;
}

#endif
