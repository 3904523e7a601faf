/* A thread of this library's that is safe beside an exit and a fork of its process: exit ends it
 * before OpenSSL frees what a handshake uses, and fork waits until it is outside of libcurl and
 * OpenSSL, so that the child inherits no lock of theirs that nothing there would release.
 *
 * Such a thread works in steps, and calls live_thread_begin_step and live_thread_end_step around
 * each: it waits between them. POSIX only. */
#ifndef AUTOPILOT_LIVE_THREAD_H
#define AUTOPILOT_LIVE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

struct live_thread {
    pthread_t thread;
    pthread_mutex_t in_step;
    void (*work)(void *context);
    void (*wake)(void *context);
    void *context;
    long is_stopping, has_ended; /* changed by platform_add */
    bool is_joined;              /* by an exit of the process */
    struct live_thread *next;
};

/* Starts a thread that calls `work`, all signals blocked: they are for the threads of the program
 * that this library is in. `work` returns soon after live_thread_is_stopping has become true;
 * `wake`, called from other threads, ends a wait of it. False when the system refuses. */
bool live_thread_start(struct live_thread *live, void (*work)(void *context),
                       void (*wake)(void *context), void *context);

bool live_thread_is_stopping(struct live_thread *live);

void live_thread_begin_step(struct live_thread *live);
void live_thread_end_step(struct live_thread *live);

/* Ends the thread and waits for that. False when an exit of the process has done so before: OpenSSL
 * may be gone then, and nothing of the thread's is to be freed. */
bool live_thread_stop(struct live_thread *live);

#endif
