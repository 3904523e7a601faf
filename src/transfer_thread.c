/* pthreads are POSIX, not C99. */
#define _POSIX_C_SOURCE 200809L

#include "transfer_thread.h"

#ifndef _WIN32

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "live_thread.h"
#include "platform.h"
#include "transfer_job.h"
#include "transfer_set.h"
#include "wake_socket.h"

/* Transfers that a program usually has at a time, at most; more are served, on more connections. */
static const unsigned usual_concurrency = 1000;

static const double idle_seconds = 3600;      /* when nothing is due: a socket ends the wait */
static const double exhausted_seconds = 0.05; /* until descriptors may be free again */

enum { LONGEST_LINE = 24 };

/* A connection of the event loop, at which it waits for one transfer after another. */
struct connection {
    int descriptor;
    struct transfer_job *job; /* the one that runs; NULL: none */
    unsigned long
        told; /* the number of the last finished transfer that was reported on it; 0: none */
    char line[LONGEST_LINE];
    size_t length;
};

struct transfer_thread {
    struct live_thread live;
    pthread_mutex_t lock;
    long process_id;
    unsigned long last_number; /* used by the submitting side only */
    struct wake_socket wake;   /* constant while the thread runs */

    /* Under the lock. */
    struct transfer_list submitted; /* not begun */
    struct transfer_list finished;  /* not claimed */

    /* Used by the thread only, while it runs. */
    struct transfer_set *set;
    struct connection **connections;
    struct curl_waitfd *watched; /* the connections in their order, then the listener */
    size_t connection_count, capacity;
    bool is_exhausted; /* a connection waits for which there are no descriptors */
};

/* ---- Jobs ------------------------------------------------------------------------------------ */

/* Takes the job of that number out of the list; NULL when it is not there. */
static struct transfer_job *take_from(struct transfer_thread *thread, struct transfer_list *list,
                                      unsigned long number) {
    pthread_mutex_lock(&thread->lock);
    struct transfer_job *job = transfer_job_take(list, number);
    pthread_mutex_unlock(&thread->lock);
    return job;
}

unsigned long transfer_thread_submit(struct transfer_thread *thread,
                                     struct prepared_request *request,
                                     const struct transfer_attempt *attempt) {
    struct transfer_job *job = transfer_job_create(request, attempt);
    if (job == NULL) {
        return 0;
    }
    unsigned long number = ++thread->last_number;
    job->number = number;
    pthread_mutex_lock(&thread->lock);
    transfer_list_append(&thread->submitted, &job->transfer);
    pthread_mutex_unlock(&thread->lock);
    return number;
}

bool transfer_thread_claim(struct transfer_thread *thread, unsigned long number,
                           struct transfer *transfer) {
    struct transfer_job *job = take_from(thread, &thread->finished, number);
    if (job == NULL) {
        return false;
    }
    *transfer = job->transfer; /* it is in no set any more, and nothing points at it */
    memset(&job->transfer, 0, sizeof job->transfer);
    transfer_job_free(job);
    return true;
}

bool transfer_thread_withdraw(struct transfer_thread *thread, unsigned long number) {
    struct transfer_job *job = take_from(thread, &thread->submitted, number);
    transfer_job_free(job);
    if (job == NULL) {
        transfer_job_free(take_from(thread, &thread->finished, number));
    }
    return job != NULL;
}

static size_t count_of(const struct transfer_list *list) {
    size_t count = 0;
    for (const struct transfer *each = list->first; each != NULL; each = each->next) {
        count++;
    }
    return count;
}

size_t transfer_thread_backlog(struct transfer_thread *thread) {
    pthread_mutex_lock(&thread->lock);
    size_t count = count_of(&thread->submitted) + count_of(&thread->finished);
    pthread_mutex_unlock(&thread->lock);
    return count;
}

/* ---- Connections: from here on everything happens in the thread --------------------------------
 */

/* Room for one more connection and the listener; false when memory is short. */
static bool reserve_connection(struct transfer_thread *thread) {
    if (thread->connection_count < thread->capacity) {
        return true;
    }
    size_t capacity = thread->capacity == 0 ? 16 : 2 * thread->capacity;
    struct connection **connections =
        realloc(thread->connections, capacity * sizeof(struct connection *));
    if (connections != NULL) {
        thread->connections = connections;
    }
    struct curl_waitfd *watched =
        realloc(thread->watched, (capacity + 1) * sizeof(struct curl_waitfd));
    if (watched != NULL) {
        thread->watched = watched;
    }
    if (connections == NULL || watched == NULL) {
        return false;
    }
    thread->capacity = capacity;
    return true;
}

static void watch(struct curl_waitfd *watched, int descriptor) {
    watched->fd = descriptor;
    watched->events = CURL_WAIT_POLLIN;
    watched->revents = 0;
}

/* Takes over the descriptor, or closes it when memory is short. */
static void add_connection(struct transfer_thread *thread, int descriptor) {
    struct connection *connection =
        reserve_connection(thread) ? calloc(1, sizeof *connection) : NULL;
    if (connection == NULL) {
        close(descriptor);
        return;
    }
    connection->descriptor = descriptor;
    watch(&thread->watched[thread->connection_count], descriptor);
    thread->watched[thread->connection_count].revents = CURL_WAIT_POLLIN; /* most write at once */
    thread->connections[thread->connection_count++] = connection;
}

/* Frees the transfer that was last reported on the connection, unless it has been claimed: it
 * cannot be asked for any more. */
static void forget_told(struct transfer_thread *thread, struct connection *connection) {
    if (connection->told != 0) {
        transfer_job_free(take_from(thread, &thread->finished, connection->told));
        connection->told = 0;
    }
}

/* Closes the connection at this place, moves the last one there, and gives up its transfer. */
static void drop_connection(struct transfer_thread *thread, size_t place) {
    struct connection *connection = thread->connections[place];
    forget_told(thread, connection);
    if (connection->job != NULL) {
        transfer_set_remove(&connection->job->transfer);
        transfer_job_free(connection->job);
    }
    close(connection->descriptor);
    free(connection);
    size_t last = --thread->connection_count;
    thread->connections[place] = thread->connections[last];
    thread->watched[place] = thread->watched[last];
}

/* Accepts the connections that wait. */
static void accept_connections(struct transfer_thread *thread) {
    int descriptor;
    if (!thread->is_exhausted && thread->watched[thread->connection_count].revents == 0) {
        return;
    }
    while ((descriptor = wake_socket_accept(&thread->wake)) >= 0) {
        add_connection(thread, descriptor);
    }
    thread->is_exhausted = descriptor == WAKE_SOCKET_EXHAUSTED;
}

/* The decimal number in the line; 0 for any other text. */
static unsigned long parse_number(const char *line, size_t length) {
    unsigned long number = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned long digit = (unsigned long)line[i] - '0';
        if (line[i] < '0' || line[i] > '9' || number > ((unsigned long)-1 - digit) / 10) {
            return 0;
        }
        number = number * 10 + digit;
    }
    return number;
}

/* Begins the submitted transfer of that number, for this connection; false when there is none. */
static bool begin(struct transfer_thread *thread, struct connection *connection,
                  unsigned long number) {
    struct transfer_job *job = take_from(thread, &thread->submitted, number);
    if (job == NULL) {
        return false;
    }
    job->waiter = connection;
    connection->job = job;
    transfer_set_add(thread->set, &job->transfer, job->request, &job->attempt);
    transfer_job_note_begun(job);
    return true;
}

/* True when the other end was closed, after all that has been read. */
static bool has_gone(const struct connection *connection) {
    char next;
    return recv(connection->descriptor, &next, 1, MSG_PEEK) == 0;
}

/* Reads from the connection. False when it is to be dropped: it was closed at the other end, or
 * something else than one number at a time was written to it. */
static bool read_connection(struct transfer_thread *thread, struct connection *connection) {
    ssize_t length = recv(connection->descriptor, connection->line + connection->length,
                          sizeof connection->line - connection->length, 0);
    if (length < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    }
    connection->length += (size_t)length;
    if (length == 0 || connection->job != NULL) {
        return false;
    }
    if (connection->line[connection->length - 1] != '\n') {
        return connection->length < sizeof connection->line;
    }
    unsigned long number = parse_number(connection->line, connection->length - 1);
    connection->length = 0;
    forget_told(thread, connection);
    if (has_gone(connection)) {
        transfer_job_free(take_from(thread, &thread->submitted, number));
        return false;
    }
    return begin(thread, connection, number);
}

static void read_connections(struct transfer_thread *thread) {
    for (size_t i = thread->connection_count; i-- > 0;) {
        if (thread->watched[i].revents != 0 && !read_connection(thread, thread->connections[i])) {
            drop_connection(thread, i);
        }
    }
}

/* Hands finished transfers over, and reports each on the connection that waits for it. */
static void deliver(struct transfer_thread *thread) {
    struct transfer *transfer;
    while ((transfer = transfer_set_take(thread->set)) != NULL) {
        struct transfer_job *job = transfer_job_of(transfer);
        struct connection *waiter = job->waiter;
        unsigned long number = job->number;
        pthread_mutex_lock(&thread->lock);
        transfer_list_append(&thread->finished, transfer);
        pthread_mutex_unlock(&thread->lock);
        waiter->job = NULL;
        waiter->told = number;
        /* One byte always fits, as only one is outstanding. A closed connection is noticed when it
         * is next read: SIGPIPE, like all signals, is blocked in this thread. */
        ssize_t sent = send(waiter->descriptor, "+", 1, 0);
        (void)sent;
    }
}

/* ---- The thread --------------------------------------------------------------------------------
 */

/* Waits until something is due. While descriptors are short the listener is not watched. */
static void wait_for_work(struct transfer_thread *thread) {
    size_t count = thread->connection_count;
    if (!thread->is_exhausted) {
        watch(&thread->watched[count++], thread->wake.listener);
    }
    double seconds = thread->is_exhausted ? exhausted_seconds : idle_seconds;
    transfer_set_poll(thread->set, thread->watched, (unsigned)count, seconds);
}

static void work(void *context) {
    struct transfer_thread *thread = context;
    while (!live_thread_is_stopping(&thread->live)) {
        wait_for_work(thread);
        live_thread_begin_step(&thread->live);
        accept_connections(thread);
        read_connections(thread);
        transfer_set_step(thread->set, 0);
        deliver(thread);
        live_thread_end_step(&thread->live);
    }
}

static void wake(void *context) {
    transfer_set_wake(((struct transfer_thread *)context)->set);
}

static void free_jobs(struct transfer_list *list) {
    while (list->first != NULL) {
        struct transfer_job *job = transfer_job_of(list->first);
        transfer_list_remove(list, list->first);
        transfer_job_free(job);
    }
}

/* Frees everything; the thread does not run. */
static void destroy(struct transfer_thread *thread) {
    while (thread->connection_count > 0) {
        drop_connection(thread, thread->connection_count - 1);
    }
    free(thread->connections);
    free(thread->watched);
    transfer_set_destroy(thread->set);
    wake_socket_close(&thread->wake);
    free_jobs(&thread->submitted);
    free_jobs(&thread->finished);
    pthread_mutex_destroy(&thread->lock);
    free(thread);
}

struct transfer_thread *transfer_thread_start(const char **problem) {
    struct transfer_thread *thread = calloc(1, sizeof *thread);
    *problem = "memory is short";
    if (thread == NULL || pthread_mutex_init(&thread->lock, NULL) != 0) {
        free(thread);
        return NULL;
    }
    thread->process_id = platform_process_id();
    thread->wake.listener = thread->wake.node = -1;
    thread->set = transfer_set_create();
    if (thread->set == NULL || !transfer_set_expect(thread->set, usual_concurrency) ||
        !reserve_connection(thread)) {
        destroy(thread);
        return NULL;
    }
    if (!transfer_set_wake(thread->set)) {
        *problem = "libcurl cannot wake a thread";
    } else if (wake_socket_open(&thread->wake, problem)) {
        if (live_thread_start(&thread->live, work, wake, thread)) {
            return thread;
        }
        *problem = "no thread can be started";
    }
    destroy(thread);
    return NULL;
}

void transfer_thread_stop(struct transfer_thread *thread) {
    if (thread == NULL || !transfer_thread_is_ours(thread)) {
        return;
    }
    if (live_thread_stop(&thread->live)) {
        destroy(thread);
    }
}

const char *transfer_thread_address(const struct transfer_thread *thread) {
    return thread->wake.address;
}

bool transfer_thread_is_ours(const struct transfer_thread *thread) {
    return thread->process_id == platform_process_id();
}

#endif
