/* src/transfer_thread where the process may have no more descriptors. To be run under
 * ThreadSanitizer too. */
#define _GNU_SOURCE 1

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <curl/curl.h>

#include "event_loop_side.h"

static void refuses_without_a_descriptor(void) {
    struct rlimit before, none;
    set_up(no_content);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", transfer_thread_address(thread));
    int connection = socket(AF_UNIX, SOCK_STREAM, 0);
    int next = dup(connection);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0 && next > 0);
    close(next);
    none = before;
    none.rlim_cur = (rlim_t)next; /* so that nobody gets another one */
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(connect(connection, (struct sockaddr *)&address, sizeof address) == 0);
        unsigned long number = transfer_thread_submit(thread, request, &usual);
        send(connection, "1\n", 2, MSG_NOSIGNAL); /* it may be refused already */
        CHECK(read_byte(connection, &peer) == 0);
        CHECK(transfer_thread_withdraw(thread, number));
        close(connection);
        connection = socket(AF_UNIX, SOCK_STREAM, 0);
    }
    double used = processor_seconds();
    poll(NULL, 0, 200);
    CHECK(processor_seconds() - used < 0.02);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(connect(connection, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(exchange(thread, connection, request, &peer) == 204);
    CHECK(peer_requests(&peer) == 1);
    close(connection);
    tear_down();
}

/* As a light thread is killed while the thread has no descriptor for its connection. */
static void begins_nothing_for_who_has_gone(void) {
    struct rlimit before, none;
    set_up(no_content);
    int connection = connect_to(transfer_thread_address(thread));
    CHECK(exchange(thread, connection, request, &peer) == 204);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", transfer_thread_address(thread));
    int gone = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 3; /* too few for any other, whatever is closed meanwhile */
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(connect(gone, (struct sockaddr *)&address, sizeof address) == 0);
    wait_for(gone, transfer_thread_submit(thread, request, &usual));
    close(gone);
    CHECK(transfer_thread_backlog(thread) == 1);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    EVENTUALLY(&peer, transfer_thread_backlog(thread) == 0);
    CHECK(exchange(thread, connection, request, &peer) == 204);
    CHECK(peer_requests(&peer) == 2);
    close(connection);
    tear_down();
}

/* Then it cannot be told who has something to say. */
static void serves_all_where_the_system_does_not_wait(void) {
    enum { CONNECTIONS = 4 };
    struct rlimit before, few;
    int connections[CONNECTIONS];
    set_up(no_content);
    for (int i = 0; i < CONNECTIONS; i++) {
        connections[i] = connect_to(transfer_thread_address(thread));
        CHECK(exchange(thread, connections[i], request, &peer) == 204);
    }
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    few = before;
    few.rlim_cur = 2; /* all that wait in it are more */
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (int i = 0; i < CONNECTIONS; i++) {
        CHECK(exchange(thread, connections[i], request, &peer) == 204);
        close(connections[i]);
    }
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    tear_down();
}

int main(void) {
    unsetenv("http_proxy");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    check_case("refuses connections for which there is no descriptor, and rests",
               refuses_without_a_descriptor);
    check_case("begins nothing for who has gone already", begins_nothing_for_who_has_gone);
    check_case("serves whoever asks where the system does not let it wait",
               serves_all_where_the_system_does_not_wait);
    return check_summary();
}
