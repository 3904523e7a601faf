/* src/transfer_set where a Lua spec cannot reach: a fork, programs that are started, and a system
 * that does not wait. */
#define _GNU_SOURCE 1

#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "echo_service.h"
#include "platform.h"
#include "stepped_set.h"

/* ---- Forks ----------------------------------------------------------------------------------- */

static int open_descriptors(void) {
    int count = 0;
    for (int descriptor = 0; descriptor < 256; descriptor++) {
        count += fcntl(descriptor, F_GETFD) != -1;
    }
    return count;
}

/* Runs `work` in a child; true when it says so. */
static bool in_a_child(bool (*work)(struct transfer_set *set, struct transfer *transfer),
                       struct transfer_set *set, struct transfer *transfer) {
    int status = 1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        _exit(work(set, transfer) ? 0 : 1);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* What a Lua state does when it ends in the child: everything is collected, in either order. */
static bool set_first(struct transfer_set *set, struct transfer *transfer) {
    int before = open_descriptors();
    bool is_foreign = !transfer_set_is_ours(set);
    transfer_set_destroy(set);
    transfer_set_remove(transfer);
    transfer_free(transfer);
    return is_foreign && transfer->set == NULL && open_descriptors() == before;
}

static bool transfer_first(struct transfer_set *set, struct transfer *transfer) {
    int before = open_descriptors();
    transfer_set_remove(transfer);
    transfer_free(transfer);
    transfer_set_destroy(set);
    return open_descriptors() == before;
}

static bool own_set(struct transfer_set *set, struct transfer *transfer) {
    struct peer peer;
    (void)transfer;
    peer_open(&peer, no_content);
    struct transfer_set *own = transfer_set_create(0, 0);
    struct prepared_request *request = request_to(&peer);
    int status = exchange(own, request, &peer);
    transfer_set_destroy(own);
    transfer_set_destroy(set);
    prepared_request_release(request);
    peer_close(&peer);
    return status == 204;
}

static void leaves_the_connections_of_its_parent_alone(void) {
    struct peer peer;
    peer_open(&peer, no_content);
    struct transfer_set *set = transfer_set_create(0, 0);
    struct prepared_request *request = request_to(&peer);
    struct transfer transfer = {0};
    CHECK(exchange(set, request, &peer) == 204);
    CHECK(transfer_set_is_ours(set));
    transfer_init(&transfer, request, &usual);
    transfer_set_add(set, &transfer); /* begins, and is in flight at each fork */
    transfer_set_step(set, 0);
    CHECK(in_a_child(set_first, set, &transfer));
    CHECK(in_a_child(transfer_first, set, &transfer));
    CHECK(in_a_child(own_set, set, &transfer));
    CHECK(finish_transfer(set, &transfer, &peer));
    CHECK(transfer_status(&transfer) == 204 && transfer.sends == 1);
    CHECK(in_a_child(set_first, set, &transfer));
    CHECK(in_a_child(transfer_first, set, &transfer));
    transfer_set_remove(&transfer);
    transfer_free(&transfer);
    CHECK(exchange(set, request, &peer) == 204);
    CHECK(peer.client_count == 1);
    CHECK(peer_requests(&peer) == 3);
    transfer_set_destroy(set);
    prepared_request_release(request);
    peer_close(&peer);
}

/* ---- Descriptors -------------------------------------------------------------------------------
 */

/* Our end of a connection to the peer; -1: none. */
static int descriptor_to(const struct peer *peer) {
    for (int descriptor = 0; descriptor < 256; descriptor++) {
        struct sockaddr_in other;
        socklen_t size = sizeof other;
        if (getpeername(descriptor, (struct sockaddr *)&other, &size) == 0 &&
            ntohs(other.sin_port) == peer->port) {
            return descriptor;
        }
    }
    return -1;
}

static void leaves_no_connection_to_programs_it_starts(void) {
    struct peer peer;
    peer_open(&peer, no_content);
    struct prepared_request *request = request_to(&peer);
    struct transfer_set *set = transfer_set_create(0, 0);
    CHECK(exchange(set, request, &peer) == 204);
    CHECK(fcntl(descriptor_to(&peer), F_GETFD) == FD_CLOEXEC);
    transfer_set_destroy(set);
    prepared_request_release(request);
    peer_close(&peer);
}

#ifdef __linux__
static int opened, inheritable; /* internet sockets */

/* In place of the system's function, for libcurl too. */
__attribute__((visibility("default"))) int socket(int family, int type, int protocol) {
    opened += family == AF_INET;
    inheritable += family == AF_INET && (type & SOCK_CLOEXEC) == 0;
    return (int)syscall(SYS_socket, family, type, protocol);
}

/* Another thread may start a program at any time. */
static void opens_no_socket_that_programs_inherit_for_a_moment(void) {
    struct peer peer;
    peer_open(&peer, no_content);
    struct prepared_request *request = request_to(&peer);
    struct transfer_set *set = transfer_set_create(0, 0);
    opened = inheritable = 0;
    CHECK(exchange(set, request, &peer) == 204);
    CHECK(opened > 0 && inheritable == 0);
    transfer_set_destroy(set);
    prepared_request_release(request);
    peer_close(&peer);
}
#endif

#ifdef TCP_USER_TIMEOUT
static void limits_how_long_the_system_tries_to_deliver(void) {
    static const struct {
        double seconds;
        unsigned milliseconds;
    } limits[] = {{0, 0}, {15.5, 15500}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct peer peer;
        unsigned milliseconds = 1;
        socklen_t size = sizeof milliseconds;
        peer_open(&peer, no_content);
        struct prepared_request *request = request_to(&peer);
        struct transfer_set *set = transfer_set_create(0, limits[i].seconds);
        CHECK(exchange(set, request, &peer) == 204);
        CHECK(getsockopt(descriptor_to(&peer), IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds,
                         &size) == 0);
        CHECK(milliseconds == limits[i].milliseconds);
        transfer_set_destroy(set);
        prepared_request_release(request);
        peer_close(&peer);
    }
}
#endif

/* poll() refuses to wait for more descriptors than the process may have. */
static void rests_where_the_system_does_not_wait(void) {
    enum { TRANSFERS = 40, STEPS_FOR_ALL = 3 }; /* 16 sockets a step */
    struct rlimit before, few;
    struct peer peer;
    struct transfer transfers[TRANSFERS];
    memset(transfers, 0, sizeof transfers);
    peer_open(&peer, NULL);
    struct prepared_request *request = request_to(&peer);
    struct transfer_set *set = transfer_set_create(0, 0);
    for (int i = 0; i < TRANSFERS; i++) {
        transfer_init(&transfers[i], request, &usual);
        transfer_set_add(set, &transfers[i]);
    }
    for (int waited = 0; peer_requests(&peer) < TRANSFERS && waited < 10000; waited++) {
        peer_step(&peer);
        transfer_set_step(set, 0.001);
    }
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    few = before;
    few.rlim_cur = TRANSFERS - 1;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    int steps = 0;
    for (double began = platform_clock(); platform_clock() - began < 0.2; steps++) {
        CHECK(transfer_set_step(set, 1) == TRANSFERS);
    }
    /* A rest takes 5 ms, and a step with something due does not rest. Without rests there would be
     * thousands. */
    CHECK(steps > 0 && steps <= (STEPS_FOR_ALL + 1) * 0.2 / 0.005);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    transfer_set_destroy(set);
    for (int i = 0; i < TRANSFERS; i++) {
        transfer_free(&transfers[i]);
    }
    prepared_request_release(request);
    peer_close(&peer);
}

/* ---- Idle connections --------------------------------------------------------------------------
 */

/* How many connections of ours lead to that port of this machine. */
static int connections_to(int port) {
    int count = 0;
    for (int descriptor = 0; descriptor < 1024; descriptor++) {
        struct sockaddr_in other;
        socklen_t size = sizeof other;
        if (getpeername(descriptor, (struct sockaddr *)&other, &size) == 0 &&
            other.sin_family == AF_INET && ntohs(other.sin_port) == port) {
            count++;
        }
    }
    return count;
}

/* Moves so many transfers at a time. */
static void move_at_once(struct transfer_set *set, struct prepared_request *request,
                         struct transfer *transfers, int count) {
    const struct transfer_attempt attempt = {
        .client_request_id = "id", .connect_timeout = 60, .total_timeout = 60};
    memset(transfers, 0, (size_t)count * sizeof *transfers);
    for (int i = 0; i < count; i++) {
        transfer_init(&transfers[i], request, &attempt);
        transfer_set_add(set, &transfers[i]);
    }
    while (transfer_set_step(set, 0.01) > 0) {
    }
    for (int i = 0; i < count; i++) {
        CHECK(transfer_status(&transfers[i]) == 204);
        transfer_set_remove(&transfers[i]);
        transfer_free(&transfers[i]);
    }
}

static void keeps_few_idle_connections_where_each_transfer_needs_one(void) {
    enum { TRANSFERS = 320, MOST_IDLE = 256 };
    static struct transfer transfers[TRANSFERS];
    struct service service;
    service_open(&service, TRANSFERS);
    struct peer named = {.port = service.port};
    struct prepared_request *request = request_to(&named);
    struct transfer_set *set = transfer_set_create(1000, 0);
    move_at_once(set, request, transfers, TRANSFERS);
    for (int i = 0; i < TRANSFERS; i++) {
        move_at_once(set, request, transfers, 1);
    }
    int idle = connections_to(service.port);
    CHECK(idle > MOST_IDLE / 2 && idle <= MOST_IDLE + 2);
    move_at_once(set, request, transfers, 30);
    CHECK(connections_to(service.port) == idle);
    transfer_set_destroy(set);
    prepared_request_release(request);
    service_close(&service);
}

int main(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    clear_environment();
    check_case("leaves the connections of its parent alone in a child",
               leaves_the_connections_of_its_parent_alone);
    check_case("leaves no connection to programs that are started",
               leaves_no_connection_to_programs_it_starts);
#ifdef __linux__
    check_case("opens no socket that programs inherit for a moment",
               opens_no_socket_that_programs_inherit_for_a_moment);
#endif
#ifdef TCP_USER_TIMEOUT
    check_case("limits how long the system tries to deliver a request",
               limits_how_long_the_system_tries_to_deliver);
#endif
    check_case("rests where the system does not let it wait", rests_where_the_system_does_not_wait);
    check_case("keeps few idle connections where each transfer needs one",
               keeps_few_idle_connections_where_each_transfer_needs_one);
    return check_summary();
}
