/* The event loop's side of a helper thread, for the tests of src/transfer_thread: one thread, one
 * peer on loopback, and what a light thread does on its connection. POSIX only. */
#ifndef AUTOPILOT_EVENT_LOOP_SIDE_H
#define AUTOPILOT_EVENT_LOOP_SIDE_H

#include <poll.h>
#include <sys/un.h>
#include <time.h>

#include "loopback_request.h"
#include "transfer_thread.h"

static const struct transfer_attempt usual = {
    .token = "secret", .token_length = 6, .connect_timeout = 5, .total_timeout = 20};

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

static inline void say(int connection, const char *text) {
    CHECK(send(connection, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

static inline void wait_for(int connection, unsigned long number) {
    char line[32];
    snprintf(line, sizeof line, "%lu\n", number);
    say(connection, line);
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

/* Claims the transfer; its status, or -1 when it is not there. */
static inline int claim(struct transfer_thread *thread, unsigned long number) {
    struct transfer transfer;
    memset(&transfer, 0, sizeof transfer);
    if (!transfer_thread_claim(thread, number, &transfer)) {
        return -1;
    }
    int status = transfer_status(&transfer);
    CHECK(transfer.finished && transfer.set == NULL);
    transfer_free(&transfer);
    return status;
}

static inline int exchange(struct transfer_thread *thread, int connection,
                           struct prepared_request *request, struct peer *peer) {
    unsigned long number = transfer_thread_submit(thread, request, &usual);
    CHECK(number > 0);
    wait_for(connection, number);
    CHECK(read_byte(connection, peer) == '+');
    return claim(thread, number);
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
