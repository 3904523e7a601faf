/* The event loop's side of a helper thread, for the tests of src/transfer_thread: one thread, one
 * peer on loopback, and the connection at which the event loop waits. POSIX only. */
#ifndef AUTOPILOT_EVENT_LOOP_SIDE_H
#define AUTOPILOT_EVENT_LOOP_SIDE_H

#include <poll.h>
#include <sys/un.h>
#include <time.h>

#include "loopback_request.h"
#include "transfer_thread.h"

static const struct transfer_attempt usual = {
    .token = "secret", .connect_timeout = 5, .total_timeout = 20};

enum { PATIENCE_MILLISECONDS = 10000 };

/* `unused_seconds`: how long connections are kept without transfers. */
static inline struct transfer_thread *start_keeping(double unused_seconds) {
    const char *problem = NULL;
    struct transfer_thread *thread = transfer_thread_start(unused_seconds, &problem);
    CHECK(thread != NULL);
    if (thread == NULL) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return thread;
}

static inline struct transfer_thread *start(void) {
    return start_keeping(30);
}

static inline int connect_to(const char *path) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int connection = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(connection, (struct sockaddr *)&address, sizeof address) == 0);
    return connection;
}

/* A connection that the thread sends bytes to. */
static inline int attach(struct transfer_thread *thread) {
    int connection = connect_to(transfer_thread_listen(thread));
    CHECK(transfer_thread_accept(thread));
    return connection;
}

/* What comes next on the connection: '+', 0 for its end, -1 when nothing came in all that time. The
 * peer is stepped meanwhile. */
static inline int read_byte(int connection, struct peer *peer) {
    for (int waited = 0; waited < PATIENCE_MILLISECONDS; waited++) {
        struct pollfd asked = {.fd = connection, .events = POLLIN};
        if (peer != NULL) {
            peer_step(peer);
        }
        if (poll(&asked, 1, 1) > 0) {
            char byte = 0;
            return recv(connection, &byte, 1, 0) == 1 ? byte : 0;
        }
    }
    return -1;
}

/* True when the other end is closed; bytes that came before are read. */
static inline bool is_closed(int connection) {
    int byte = '+';
    while (byte == '+') {
        byte = read_byte(connection, NULL);
    }
    return byte == 0;
}

/* Steps the peer until the condition holds. */
#define EVENTUALLY(peer, condition)                                                                \
    do {                                                                                           \
        int waited = 0;                                                                            \
        while (!(condition) && waited++ < PATIENCE_MILLISECONDS) {                                 \
            peer_step(peer);                                                                       \
            poll(NULL, 0, 1);                                                                      \
        }                                                                                          \
        CHECK(condition);                                                                          \
    } while (0)

/* Takes the next transfer, which must have this number; its status, or -1 when there is none. */
static inline int take(struct transfer_thread *thread, unsigned long number) {
    struct transfer transfer;
    unsigned long taken = transfer_thread_take(thread, &transfer);
    if (taken == 0) {
        return -1;
    }
    int status = transfer_status(&transfer);
    CHECK(taken == number && transfer.finished && transfer.set == NULL);
    transfer_free(&transfer);
    return status;
}

/* The same, looking every millisecond until it has finished. */
static inline int look_for(struct transfer_thread *thread, unsigned long number,
                           struct peer *peer) {
    int status = take(thread, number);
    for (int waited = 0; status == -1 && waited < PATIENCE_MILLISECONDS; waited++) {
        peer_step(peer);
        poll(NULL, 0, 1);
        status = take(thread, number);
    }
    return status;
}

/* Waits for this transfer, the only one; its status. */
static inline int await(struct transfer_thread *thread, int connection, unsigned long number,
                        struct peer *peer) {
    int status = take(thread, number);
    while (status == -1 && read_byte(connection, peer) == '+') {
        status = take(thread, number);
    }
    return status;
}

static inline int exchange(struct transfer_thread *thread, int connection,
                           struct prepared_request *request, struct peer *peer) {
    unsigned long number = transfer_thread_submit(thread, request, &usual);
    CHECK(number > 0);
    return await(thread, connection, number, peer);
}

static inline double processor_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct peer peer; /* steps with the test; its port alone where a service stands in */
static struct transfer_thread *thread;
static struct prepared_request *request;

static inline void set_up(const char *answer) {
    peer_open(&peer, answer);
    thread = start();
    request = request_to(&peer);
}

static inline void tear_down(void) {
    prepared_request_release(request);
    transfer_thread_stop(thread);
    peer_close(&peer);
}

#endif
