/* pthreads are POSIX, not C99. */
#define _POSIX_C_SOURCE 200809L

#include "transfer_thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform.h"
#include "transfer_set.h"
#include "wake_socket.h"

/* Enough for libcurl, a resolver and OpenSSL also where the system's default is 128 KiB. */
static const size_t stack_size = 1024 * 1024;

/* Transfers that a program usually has at a time, at most; more are served, on more connections. */
static const unsigned usual_concurrency = 1000;

static const double idle_seconds = 3600; /* longest wait when nothing is due */

/* Longest time between two bytes while a transfer is in flight: after each byte the event loop
 * checks whether all transfers are still wanted. */
static const double beat_seconds = 0.5;

/* A transfer that the event loop submits to the thread and takes when it has finished. */
struct job {
    struct transfer transfer; /* first, so that a pointer to it is one to its job */
    unsigned long number;
    struct job *next;
};

enum list { SUBMITTED, RUNNING, DISCARDED, FINISHED, LISTS };

struct transfer_thread {
    pthread_t id;
    long process_id;
    long is_stopping;        /* changed by platform_add */
    double unused_seconds;   /* how long connections are kept when nothing is in flight */
    struct wake_socket wake; /* used by the event loop only, as is the next */
    unsigned long last_number;

    pthread_mutex_t lock;     /* for the following */
    struct job *lists[LISTS]; /* the oldest of each */
    int connection;           /* on which the event loop waits for a byte; -1: none */
    bool has_notified;        /* a byte was sent, and not all finished transfers were taken since */
    struct transfer_set *set; /* only the thread uses it and replaces it; others wake it */

    /* Used by the thread only, while it runs. */
    double last_use; /* when transfers were last in flight; 0: there are no connections */
    double next_beat;
};

/* ---- Jobs ------------------------------------------------------------------------------------ */

/* Frees a job that is in no list; its transfer must not be in a set. NULL is allowed. */
static void job_free(struct job *job) {
    if (job != NULL) {
        transfer_free(&job->transfer);
        free(job);
    }
}

/* Adds the job at the end of the list. The lock must be held, as for the next function. */
static void put(struct transfer_thread *thread, enum list list, struct job *job) {
    struct job **link = &thread->lists[list];
    while (*link != NULL) {
        link = &(*link)->next;
    }
    job->next = NULL;
    *link = job;
}

/* Takes the job of that number out of the list, or the first one for 0; NULL when it has none. */
static struct job *take_out(struct transfer_thread *thread, enum list list, unsigned long number) {
    struct job **link = &thread->lists[list];
    while (*link != NULL && number != 0 && (*link)->number != number) {
        link = &(*link)->next;
    }
    struct job *job = *link;
    if (job != NULL) {
        *link = job->next;
    }
    return job;
}

/* ---- What the event loop calls --------------------------------------------------------------- */

unsigned long transfer_thread_submit(struct transfer_thread *thread,
                                     struct prepared_request *request,
                                     const struct transfer_attempt *attempt) {
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return 0;
    }
    job->number = ++thread->last_number;
    transfer_init(&job->transfer, request, attempt);
    pthread_mutex_lock(&thread->lock);
    put(thread, SUBMITTED, job);
    transfer_set_wake(thread->set);
    pthread_mutex_unlock(&thread->lock);
    return thread->last_number;
}

unsigned long transfer_thread_take(struct transfer_thread *thread, struct transfer *transfer) {
    pthread_mutex_lock(&thread->lock);
    struct job *job = take_out(thread, FINISHED, 0);
    thread->has_notified = job != NULL;
    pthread_mutex_unlock(&thread->lock);
    if (job == NULL) {
        return 0;
    }
    unsigned long number = job->number;
    *transfer = job->transfer; /* it is in no set any more, and nothing points at it */
    memset(&job->transfer, 0, sizeof job->transfer);
    job_free(job);
    return number;
}

bool transfer_thread_discard(struct transfer_thread *thread, unsigned long number) {
    pthread_mutex_lock(&thread->lock);
    struct job *submitted = take_out(thread, SUBMITTED, number);
    struct job *finished = take_out(thread, FINISHED, number);
    struct job *running = take_out(thread, RUNNING, number);
    if (running != NULL) {
        put(thread, DISCARDED, running);
        transfer_set_wake(thread->set);
    }
    pthread_mutex_unlock(&thread->lock);
    job_free(submitted);
    job_free(finished);
    return submitted != NULL;
}

/* Closes the connection that bytes were sent to, and takes this one. The lock must be held. */
static void set_connection(struct transfer_thread *thread, int connection) {
    close(thread->connection);
    thread->connection = connection;
    thread->has_notified = false;
}

const char *transfer_thread_listen(struct transfer_thread *thread) {
    const char *problem;
    wake_socket_close(&thread->wake);
    return wake_socket_open(&thread->wake, &problem) ? thread->wake.address : NULL;
}

bool transfer_thread_accept(struct transfer_thread *thread) {
    int connection = wake_socket_accept(&thread->wake);
    pthread_mutex_lock(&thread->lock);
    set_connection(thread, connection);
    pthread_mutex_unlock(&thread->lock);
    return connection >= 0;
}

/* ---- From here on everything happens in the thread ------------------------------------------- */

/* Sends a byte to the event loop, unless it has one to read. The lock must be held. */
static void notify(struct transfer_thread *thread) {
    if (thread->connection >= 0 && !thread->has_notified) {
        thread->has_notified = true;
        /* SIGPIPE, like all signals, is blocked in this thread. */
        ssize_t sent = send(thread->connection, "+", 1, 0);
        (void)sent;
    }
}

/* Begins the transfers that were submitted, and cancels those that were discarded. */
static void apply_changes(struct transfer_thread *thread) {
    struct job *submitted, *discarded;
    do {
        pthread_mutex_lock(&thread->lock);
        submitted = take_out(thread, SUBMITTED, 0);
        discarded = take_out(thread, DISCARDED, 0);
        if (submitted != NULL) {
            put(thread, RUNNING, submitted);
        }
        pthread_mutex_unlock(&thread->lock);
        if (submitted != NULL) {
            transfer_set_add(thread->set, &submitted->transfer);
        }
        if (discarded != NULL) {
            transfer_set_remove(&discarded->transfer);
            job_free(discarded);
        }
    } while (submitted != NULL || discarded != NULL);
}

/* Moves finished transfers to the list from which the event loop takes them. */
static void publish_finished(struct transfer_thread *thread, int in_flight) {
    double now = platform_clock();
    bool must_tell = in_flight > 0 && now >= thread->next_beat;
    struct transfer *transfer;
    pthread_mutex_lock(&thread->lock);
    while ((transfer = transfer_set_take(thread->set)) != NULL) {
        struct job *job = (struct job *)(void *)transfer;
        if (take_out(thread, RUNNING, job->number) != NULL) { /* else it has been discarded */
            put(thread, FINISHED, job);
            must_tell = true;
        }
    }
    if (must_tell) {
        thread->next_beat = now + beat_seconds;
        notify(thread);
    }
    pthread_mutex_unlock(&thread->lock);
}

/* Held by a thread while it is inside libcurl or OpenSSL. A fork of the process waits for it, so
 * that the child inherits no lock that is held. An exit of the process takes it and keeps it, so
 * that no handshake runs while OpenSSL frees its memory. */
static pthread_mutex_t step_lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_exiting = false;

/* How long an exit waits for this lock. A longer step is most likely a name look-up, which does not
 * use OpenSSL. */
static const double exit_seconds = 5;

static void lock_steps(void) {
    pthread_mutex_lock(&step_lock);
}

static void unlock_steps(void) {
    pthread_mutex_unlock(&step_lock);
}

static void lock_steps_at_exit(void) {
    double end = platform_clock() + exit_seconds;
    is_exiting = true;
    while (pthread_mutex_trylock(&step_lock) != 0 && platform_clock() < end) {
        platform_sleep(0.0002);
    }
}

/* Registers the handlers for fork and exit once. The one for exit runs before OpenSSL's, which was
 * registered earlier, by curl_global_init. False when memory is short. */
static bool register_handlers(void) {
    static bool is_registered = false;
    platform_lock();
    is_registered = is_registered || (pthread_atfork(lock_steps, unlock_steps, unlock_steps) == 0 &&
                                      atexit(lock_steps_at_exit) == 0);
    platform_unlock();
    return is_registered;
}

/* Closes connections to services that were not used for long, by replacing the set. If no new set
 * can be created, the next call tries again. */
static void close_unused_connections(struct transfer_thread *thread, int in_flight) {
    double now = platform_clock();
    if (in_flight > 0) {
        thread->last_use = now;
    }
    if (thread->last_use == 0 || now - thread->last_use < thread->unused_seconds) {
        return;
    }
    struct transfer_set *set = transfer_set_create(usual_concurrency, 0), *unused = set;
    pthread_mutex_lock(&thread->lock);
    if (set != NULL && thread->lists[SUBMITTED] == NULL) { /* that one has woken the present set */
        unused = thread->set;
        thread->set = set;
        thread->last_use = 0;
        set_connection(thread, -1);
    }
    pthread_mutex_unlock(&thread->lock);
    transfer_set_destroy(unused);
}

static double seconds_to_wait(const struct transfer_thread *thread, int in_flight) {
    if (in_flight > 0) {
        double left = thread->next_beat - platform_clock();
        return left > 0 ? left : 0;
    }
    return thread->last_use > 0 ? thread->unused_seconds : idle_seconds;
}

/* The main function of the thread. */
static void *run(void *context) {
    struct transfer_thread *thread = context;
    int in_flight = 0;
    while (platform_add(&thread->is_stopping, 0) == 0) {
        transfer_set_poll(thread->set, seconds_to_wait(thread, in_flight));
        if (in_flight == 0) {
            thread->next_beat = platform_clock() + beat_seconds;
        }
        lock_steps();
        apply_changes(thread);
        in_flight = transfer_set_perform(thread->set);
        publish_finished(thread, in_flight);
        close_unused_connections(thread, in_flight);
        unlock_steps();
    }
    return NULL;
}

/* Starts the thread with all signals blocked: they are for the program's own threads. */
static bool start(struct transfer_thread *thread) {
    sigset_t all, before;
    pthread_attr_t attributes;
    if (!register_handlers() || pthread_attr_init(&attributes) != 0) {
        return false;
    }
    pthread_attr_setstacksize(&attributes, stack_size);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&thread->id, &attributes, run, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return status == 0;
}

/* Frees everything. The thread must not be running. */
static void destroy(struct transfer_thread *thread) {
    transfer_set_destroy(thread->set);
    for (enum list list = 0; list < LISTS; list++) {
        while (thread->lists[list] != NULL) {
            job_free(take_out(thread, list, 0));
        }
    }
    close(thread->connection);
    wake_socket_close(&thread->wake);
    pthread_mutex_destroy(&thread->lock);
    free(thread);
}

struct transfer_thread *transfer_thread_start(double unused_seconds, const char **problem) {
    struct transfer_thread *thread = calloc(1, sizeof *thread);
    *problem = "memory is short";
    if (thread == NULL || pthread_mutex_init(&thread->lock, NULL) != 0) {
        free(thread);
        return NULL;
    }
    thread->wake.listener = thread->connection = -1;
    thread->process_id = platform_process_id();
    thread->unused_seconds = unused_seconds;
    thread->set = transfer_set_create(usual_concurrency, 0);
    if (thread->set != NULL) {
        if (!transfer_set_wake(thread->set)) {
            *problem = "libcurl cannot wake a thread";
        } else if (wake_socket_works(problem)) {
            if (start(thread)) {
                return thread;
            }
            *problem = "no thread can be started";
        }
    }
    destroy(thread);
    return NULL;
}

void transfer_thread_stop(struct transfer_thread *thread) {
    if (thread != NULL && transfer_thread_is_ours(thread) && !is_exiting) {
        platform_add(&thread->is_stopping, 1);
        pthread_mutex_lock(&thread->lock);
        transfer_set_wake(thread->set);
        pthread_mutex_unlock(&thread->lock);
        pthread_join(thread->id, NULL);
        destroy(thread);
    }
}

bool transfer_thread_is_ours(const struct transfer_thread *thread) {
    return thread->process_id == platform_process_id();
}
