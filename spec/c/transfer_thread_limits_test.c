/* src/transfer_thread where the process may have no more descriptors. To be run under
 * ThreadSanitizer too. */
#define _GNU_SOURCE 1

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <curl/curl.h>

#include "event_loop_side.h"

/* Then the event loop has to look by itself, and nothing can be sent over a new connection. */
static void fails_without_a_descriptor(void) {
    struct rlimit before, none;
    set_up(no_content);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", transfer_thread_listen(thread));
    int connection = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 3; /* too few for any other, whatever is closed meanwhile */
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(connect(connection, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(!transfer_thread_accept(thread));
    CHECK(look_for(thread, transfer_thread_submit(thread, request, &usual), &peer) == 0);
    double used = processor_seconds();
    poll(NULL, 0, 200);
    CHECK(processor_seconds() - used < 0.02);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    close(connection);
    connection = attach(thread);
    CHECK(exchange(thread, connection, request, &peer) == 204);
    CHECK(peer_requests(&peer) == 1);
    close(connection);
    tear_down();
}

static void serves_where_the_system_does_not_wait(void) {
    struct rlimit before, few;
    set_up(no_content);
    int connection = attach(thread);
    CHECK(exchange(thread, connection, request, &peer) == 204);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    few = before;
    few.rlim_cur = 1; /* to wait for a socket needs another one */
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    CHECK(look_for(thread, transfer_thread_submit(thread, request, &usual), &peer) == 204);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    close(connection);
    tear_down();
}

int main(void) {
    unsetenv("http_proxy");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    check_case("fails what needs a descriptor where there is none, and rests",
               fails_without_a_descriptor);
    check_case("serves where the system does not let it wait",
               serves_where_the_system_does_not_wait);
    return check_summary();
}
