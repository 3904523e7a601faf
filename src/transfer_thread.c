/* pthreads are POSIX, not C99. */
#define _POSIX_C_SOURCE 200809L

#include "transfer_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform.h"
#include "transfer_jobs.h"
#include "transfer_set.h"
#include "wake_socket.h"

/* Enough for libcurl, a resolver and OpenSSL also where the system's default is 128 KiB. */
static const size_t stack_size = 1024 * 1024;

/* Transfers that a program usually has at a time, at most; more are served, on more connections. */
static const unsigned usual_concurrency = 1000;

static const double idle_seconds = 3600;      /* longest wait when nothing is due */
static const double exhausted_seconds = 0.05; /* between attempts to get a descriptor */

/* Far more than the event loop of a process usually has; others wait until one is closed. */
enum { MOST_CONNECTIONS = 16384 };

/* A connection from the event loop, which waits on it for one transfer after another. */
struct connection {
    struct transfer_job *running; /* the transfer that it waits for, or NULL */
    unsigned long number;         /* of the transfer that finished last; 0: none */
    unsigned long asked;          /* the digits of the next number so far */
};

struct transfer_thread {
    pthread_t id;
    long is_stopping;        /* changed by platform_add */
    struct wake_socket wake; /* constant while the thread runs */
    struct transfer_jobs jobs;
    unsigned long last_number; /* used by the submitting thread only */

    long process_id;
    double unused_seconds; /* how long connections are kept when nothing is in flight */

    /* Used by the thread only, while it runs; the set under step_lock by others. */
    struct transfer_set *set;
    double last_use; /* when transfers were last in flight; 0: there are no connections */
    struct connection connections[MOST_CONNECTIONS];
    struct curl_waitfd watched[MOST_CONNECTIONS + 1]; /* in the same order, then the listener */
    size_t connection_count;
    bool is_exhausted; /* a connection may be pending that could not be accepted */
    int spare; /* a descriptor to refuse connections with, when there is no other; -1: none */
};

unsigned long transfer_thread_submit(struct transfer_thread *thread,
                                     struct prepared_request *request,
                                     const struct transfer_attempt *attempt) {
    struct transfer_job *job = transfer_job_create(++thread->last_number, request, attempt);
    if (job == NULL) {
        return 0;
    }
    transfer_jobs_put(&thread->jobs, JOBS_SUBMITTED, job);
    return thread->last_number;
}

bool transfer_thread_claim(struct transfer_thread *thread, unsigned long number,
                           struct transfer *transfer) {
    struct transfer_job *job = transfer_jobs_take(&thread->jobs, JOBS_FINISHED, number);
    if (job == NULL) {
        return false;
    }
    *transfer = job->transfer; /* it is in no set any more, and nothing points at it */
    memset(&job->transfer, 0, sizeof job->transfer);
    transfer_job_free(job);
    return true;
}

bool transfer_thread_withdraw(struct transfer_thread *thread, unsigned long number) {
    struct transfer_job *submitted = transfer_jobs_take(&thread->jobs, JOBS_SUBMITTED, number);
    transfer_job_free(submitted);
    transfer_job_free(transfer_jobs_take(&thread->jobs, JOBS_FINISHED, number));
    return submitted != NULL;
}

size_t transfer_thread_backlog(struct transfer_thread *thread) {
    return transfer_jobs_count(&thread->jobs, JOBS_SUBMITTED) +
           transfer_jobs_count(&thread->jobs, JOBS_FINISHED);
}

/* ---- Connections: from here on everything happens in the thread ------------------------------ */

/* Gives up the transfer that the connection waited for, unless it has been claimed. */
static void give_up(struct transfer_thread *thread, struct connection *connection) {
    struct transfer_job *job = connection->running;
    if (job != NULL) {
        transfer_set_remove(&job->transfer);
    } else {
        job = transfer_jobs_take(&thread->jobs, JOBS_FINISHED, connection->number);
    }
    transfer_job_free(job);
    connection->running = NULL;
    connection->number = 0;
}

static void watch(struct curl_waitfd *watched, int descriptor) {
    watched->fd = descriptor;
    watched->events = CURL_WAIT_POLLIN;
    watched->revents = 0;
}

/* Reserves a descriptor, to be closed when the process has no other left. */
static void take_spare(struct transfer_thread *thread) {
    if (thread->spare < 0) {
        thread->spare = fcntl(thread->wake.listener, F_DUPFD_CLOEXEC, 0);
    }
}

/* Closes a connection that cannot be served. Frees the transfer that it names if the program has
 * closed its end; else the program withdraws the transfer when it sees the connection closed. */
static void refuse(struct transfer_thread *thread, int descriptor) {
    char text[32] = "", next;
    ssize_t length = recv(descriptor, text, sizeof text - 1, 0);
    if (length > 0 && recv(descriptor, &next, 1, MSG_PEEK) == 0) {
        unsigned long number = strtoul(text, NULL, 10);
        transfer_job_free(transfer_jobs_take(&thread->jobs, JOBS_SUBMITTED, number));
    }
    close(descriptor);
}

static void add_connection(struct transfer_thread *thread, int descriptor) {
    size_t place = thread->connection_count++;
    thread->connections[place] = (struct connection){0};
    watch(&thread->watched[place], descriptor);
    thread->watched[place].revents = CURL_WAIT_POLLIN; /* most clients write at once */
}

/* Accepts the connections that wait. When descriptors are exhausted, it accepts with the reserved
 * one and closes the connection, so that its call fails at once. */
static void accept_connections(struct transfer_thread *thread) {
    if (!thread->is_exhausted && thread->watched[thread->connection_count].revents == 0) {
        return;
    }
    thread->is_exhausted = true;
    for (int descriptor = 0; descriptor >= 0 && thread->connection_count < MOST_CONNECTIONS;) {
        take_spare(thread);
        descriptor = wake_socket_accept(&thread->wake);
        if (descriptor >= 0) {
            add_connection(thread, descriptor);
        } else if (descriptor == WAKE_SOCKET_EXHAUSTED) {
            platform_close(thread->spare);
            thread->spare = -1;
            descriptor = wake_socket_accept(&thread->wake);
            if (descriptor >= 0) {
                refuse(thread, descriptor);
            }
        }
        thread->is_exhausted = descriptor != WAKE_SOCKET_NONE;
    }
    take_spare(thread);
}

/* Closes the connection at this place, moves the last one there, and gives up its transfer. */
static void drop_connection(struct transfer_thread *thread, size_t place) {
    give_up(thread, &thread->connections[place]);
    close(thread->watched[place].fd);
    size_t last = --thread->connection_count;
    thread->connections[place] = thread->connections[last];
    thread->watched[place] = thread->watched[last];
}

/* Begins the transfer whose number was read from the connection. False when no submitted job has
 * that number, or the program has closed its end of the connection. */
static bool begin(struct transfer_thread *thread, struct connection *connection, int descriptor) {
    char next;
    struct transfer_job *job = transfer_jobs_take(&thread->jobs, JOBS_SUBMITTED, connection->asked);
    if (job == NULL) {
        return false;
    }
    connection->running = job;
    connection->asked = 0;
    if (recv(descriptor, &next, 1, MSG_PEEK) == 0) {
        return false;
    }
    transfer_set_add(thread->set, &job->transfer, job->request, &job->attempt);
    byte_buffer_free(&job->texts); /* wipes the token as soon as it is not needed */
    return true;
}

/* Reads from the connection. False when it is to be dropped: it was closed at the other end, or
 * something else than one number at a time was written to it. */
static bool read_connection(struct transfer_thread *thread, size_t place) {
    const unsigned long most = ((unsigned long)-1 - 9) / 10;
    struct connection *connection = &thread->connections[place];
    int descriptor = thread->watched[place].fd;
    char text[32];
    ssize_t length = recv(descriptor, text, sizeof text, 0);
    if (length < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    }
    if (length == 0 || connection->running != NULL) {
        return false;
    }
    give_up(thread, connection);
    for (ssize_t i = 0; i < length; i++) {
        if (text[i] == '\n') {
            return i + 1 == length && begin(thread, connection, descriptor);
        }
        if (text[i] < '0' || text[i] > '9' || connection->asked > most) {
            return false;
        }
        connection->asked = 10 * connection->asked + (unsigned long)(text[i] - '0');
    }
    return true;
}

/* Reports each finished transfer on the connection that waits for it. */
static void deliver(struct transfer_thread *thread) {
    struct transfer *transfer;
    while ((transfer = transfer_set_take(thread->set)) != NULL) {
        struct transfer_job *job = (struct transfer_job *)(void *)transfer;
        size_t place = 0;
        while (thread->connections[place].running != job) {
            place++;
        }
        thread->connections[place].running = NULL;
        thread->connections[place].number = job->number;
        transfer_jobs_put(&thread->jobs, JOBS_FINISHED, job); /* from now on it may be claimed */
        /* One byte always fits, as only one is outstanding. A closed connection is noticed when it
         * is next read: SIGPIPE, like all signals, is blocked in this thread. */
        ssize_t sent = send(thread->watched[place].fd, "+", 1, 0);
        (void)sent;
    }
}

/* ---- The thread ------------------------------------------------------------------------------ */

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
    } else if (thread->last_use > 0 && now - thread->last_use >= thread->unused_seconds) {
        struct transfer_set *set = transfer_set_create(usual_concurrency);
        if (set != NULL) {
            transfer_set_destroy(thread->set);
            thread->set = set;
            thread->last_use = 0;
        }
    }
}

/* Waits for an event of a socket, or until something is due. While descriptors are short the
 * listener is not watched. */
static void wait_for_work(struct transfer_thread *thread) {
    size_t count = thread->connection_count;
    if (!thread->is_exhausted) {
        watch(&thread->watched[count++], thread->wake.listener);
    }
    double seconds = thread->is_exhausted   ? exhausted_seconds
                     : thread->last_use > 0 ? thread->unused_seconds
                                            : idle_seconds;
    transfer_set_poll(thread->set, thread->watched, (unsigned)count, seconds);
}

/* The main function of the thread. */
static void *run(void *context) {
    struct transfer_thread *thread = context;
    while (platform_add(&thread->is_stopping, 0) == 0) {
        wait_for_work(thread);
        lock_steps();
        accept_connections(thread);
        for (size_t i = thread->connection_count; i-- > 0;) {
            if (thread->watched[i].revents != 0 && !read_connection(thread, i)) {
                drop_connection(thread, i);
            }
        }
        int in_flight = transfer_set_perform(thread->set);
        deliver(thread);
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
    while (thread->connection_count > 0) {
        drop_connection(thread, thread->connection_count - 1);
    }
    transfer_set_destroy(thread->set);
    platform_close(thread->spare);
    wake_socket_close(&thread->wake);
    transfer_jobs_free(&thread->jobs);
    free(thread);
}

struct transfer_thread *transfer_thread_start(double unused_seconds, const char **problem) {
    struct transfer_thread *thread = calloc(1, sizeof *thread);
    *problem = "memory is short";
    if (thread == NULL || !transfer_jobs_init(&thread->jobs)) {
        free(thread);
        return NULL;
    }
    thread->wake.listener = thread->wake.node = thread->spare = -1;
    thread->process_id = platform_process_id();
    thread->unused_seconds = unused_seconds;
    thread->set = transfer_set_create(usual_concurrency);
    if (thread->set != NULL) {
        if (!transfer_set_wake(thread->set)) {
            *problem = "libcurl cannot wake a thread";
        } else if (wake_socket_open(&thread->wake, problem)) {
            take_spare(thread);
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
        lock_steps();
        transfer_set_wake(thread->set);
        unlock_steps();
        pthread_join(thread->id, NULL);
        destroy(thread);
    }
}

const char *transfer_thread_address(const struct transfer_thread *thread) {
    return thread->wake.address;
}

bool transfer_thread_is_ours(const struct transfer_thread *thread) {
    return thread->process_id == platform_process_id();
}
