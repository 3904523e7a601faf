/* A thread that survives exit and fork of its process. Exit ends it before OpenSSL frees memory
 * that a handshake uses; fork waits until the thread is outside of libcurl and OpenSSL, so that the
 * child inherits no lock that is held.
 *
 * The thread works in steps, between live_thread_begin_step and live_thread_end_step, and waits
 * outside of them. POSIX only. */
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

/* Starts a thread that calls `work`, with all signals blocked: they are for the program's own
 * threads. `work` must return soon after live_thread_is_stopping has become true; `wake`, called
 * from other threads, ends its wait. False when the system refuses. */
bool live_thread_start(struct live_thread *live, void (*work)(void *context),
                       void (*wake)(void *context), void *context);

bool live_thread_is_stopping(struct live_thread *live);

void live_thread_begin_step(struct live_thread *live);
void live_thread_end_step(struct live_thread *live);

/* Ends the thread and waits for its end. False when an exit of the process has done so before:
 * OpenSSL may be gone then, and nothing that the thread used may be freed. */
bool live_thread_stop(struct live_thread *live);

#endif
