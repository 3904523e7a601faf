/* src/transfer_set where a Lua spec cannot reach: what the environment says, a fork, and libcurl
 * running out of memory at any point. The peer is a listener on loopback in this process. */
#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "check.h"
#include "loopback_peer.h"
#include "platform.h"
#include "transfer_set.h"

/* ---- Driving --------------------------------------------------------------------------------- */

static const char no_content[] = "HTTP/1.1 204 No Content\r\n\r\n";
static const struct transfer_attempt usual = {
    .token = "secret", .token_length = 6, .connect_timeout = 2, .total_timeout = 2};

/* How many more of libcurl's allocations succeed before one or all of them fail; negative: no
 * limit.
 */
static long allocations_left = -1;
static bool one_fails;

static struct prepared_request *request_for(const char *scheme, const char *host, int port) {
    char url[128];
    enum prepared_request_status status;
    snprintf(url, sizeof url, "%s://%s:%d/", scheme, host, port);
    struct prepared_request *request = prepared_request_create("POST", url, &status);
    if (request != NULL) {
        request->max_body = 1000;
    }
    return request;
}

static struct prepared_request *request_to(const struct peer *peer) {
    return request_for("http", "127.0.0.1", peer->port);
}

/* Steps set and peer until the transfer has finished; false when it never does. */
static bool finish_transfer(struct transfer_set *set, const struct transfer *transfer,
                            struct peer *peer) {
    time_t began = time(NULL);
    while (!transfer->finished && time(NULL) - began < 10) {
        peer_step(peer);
        transfer_set_step(set, 0.001);
    }
    return transfer->finished;
}

/* One exchange in the set; its status. */
static int exchange(struct transfer_set *set, struct prepared_request *request, struct peer *peer) {
    struct transfer transfer = {0};
    transfer_set_add(set, &transfer, request, &usual);
    CHECK(finish_transfer(set, &transfer, peer));
    transfer_set_remove(&transfer);
    int status = transfer_status(&transfer);
    transfer_free(&transfer);
    return status;
}

/* ---- The environment ------------------------------------------------------------------------- */

static void clear_environment(void) {
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                        "all_proxy",  "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsetenv(names[i]);
    }
}

static void set_proxies(const char *const names[], size_t count, const struct peer *proxy) {
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", proxy->port);
    for (size_t i = 0; i < count; i++) {
        setenv(names[i], url, 1);
    }
}

static void sends_no_plain_http_through_a_proxy(void) {
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};
    struct peer peer, proxy;
    clear_environment();
    peer_open(&peer, no_content);
    peer_open(&proxy, "HTTP/1.1 500 Proxy\r\n\r\n");
    set_proxies(names, 4, &proxy);
    struct transfer_set *set = transfer_set_create();
    struct prepared_request *request = request_to(&peer);
    CHECK(exchange(set, request, &peer) == 204);
    CHECK(prepared_request_set(&request->proxy, "http://127.0.0.1:1") == PREPARED_REQUEST_OK);
    CHECK(exchange(set, request, &peer) == 204);
    peer_step(&proxy);
    CHECK(proxy.client_count == 0);
    prepared_request_release(request);
    transfer_set_destroy(set);
    peer_close(&peer);
    peer_close(&proxy);
    clear_environment();
}

/* Asks https://graph.example.test through `proxy`, which refuses; the transfer's stage. */
static const char *ask_through(struct peer *proxy, struct prepared_request *request) {
    struct transfer_set *set = transfer_set_create();
    struct transfer transfer = {0};
    transfer_set_add(set, &transfer, request, &usual);
    CHECK(finish_transfer(set, &transfer, proxy));
    CHECK(transfer_status(&transfer) == 0);
    CHECK(transfer.sends == 0);
    CHECK(strstr(proxy->seen, "secret") == NULL);
    const char *stage = transfer.failed_stage;
    transfer_set_destroy(set);
    transfer_free(&transfer);
    return stage;
}

static void asks_the_proxy_of_the_environment_for_a_tunnel(void) {
    static const char *const names[] = {"https_proxy"};
    struct peer proxy;
    clear_environment();
    peer_open(&proxy, "HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n");
    set_proxies(names, 1, &proxy);
    struct prepared_request *request = request_for("https", "graph.example.test", 443);
    CHECK(strcmp(ask_through(&proxy, request), "proxy") == 0);
    CHECK(strncmp(proxy.seen, "CONNECT graph.example.test:443 ", 31) == 0);
    prepared_request_release(request);
    peer_close(&proxy);
    clear_environment();
}

static void uses_a_named_proxy_whatever_the_environment_exempts(void) {
    struct peer proxy;
    char url[64];
    clear_environment();
    setenv("NO_PROXY", "*", 1);
    setenv("no_proxy", "*", 1);
    peer_open(&proxy, "HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n");
    snprintf(url, sizeof url, "http://127.0.0.1:%d", proxy.port);
    struct prepared_request *request = request_for("https", "graph.example.test", 443);
    prepared_request_set(&request->proxy, url);
    CHECK(strcmp(ask_through(&proxy, request), "proxy") == 0);
    CHECK(strncmp(proxy.seen, "CONNECT graph.example.test:443 ", 31) == 0);
    prepared_request_release(request);
    peer_close(&proxy);
    clear_environment();
}

static void reads_no_netrc(void) {
    char folder[] = "/tmp/autopilot-XXXXXX";
    char path[64];
    struct peer peer;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/.netrc", folder);
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        fputs("machine 127.0.0.1 login user password netrc\n", file);
        fputs("default login user password netrc\n", file);
        fclose(file);
        chmod(path, 0600);
    }
    setenv("HOME", folder, 1);
    setenv("NETRC", path, 1);
    peer_open(&peer, no_content);
    struct transfer_set *set = transfer_set_create();
    struct prepared_request *request = request_to(&peer);
    struct transfer transfer = {0};
    struct transfer_attempt anonymous = {.connect_timeout = 2, .total_timeout = 2};
    transfer_set_add(set, &transfer, request, &anonymous);
    CHECK(finish_transfer(set, &transfer, &peer));
    CHECK(transfer_status(&transfer) == 204);
    CHECK(strstr(peer.seen, "uthorization") == NULL);
    transfer_set_destroy(set);
    transfer_free(&transfer);
    prepared_request_release(request);
    peer_close(&peer);
    remove(path);
    rmdir(folder);
}

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
    struct transfer_set *own = transfer_set_create();
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
    struct transfer_set *set = transfer_set_create();
    struct prepared_request *request = request_to(&peer);
    struct transfer transfer = {0};
    CHECK(exchange(set, request, &peer) == 204);
    CHECK(transfer_set_is_ours(set));
    transfer_set_add(set, &transfer, request, &usual); /* begins, and is in flight at each fork */
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

/* ---- Memory ---------------------------------------------------------------------------------- */

static bool may_allocate(void) {
    if (allocations_left > 0) {
        allocations_left--;
    }
    bool may = allocations_left != 0;
    if (!may && one_fails) {
        allocations_left = -1;
    }
    return may;
}

static void *failing_malloc(size_t size) {
    return may_allocate() ? malloc(size) : NULL;
}

static void *failing_calloc(size_t count, size_t size) {
    return may_allocate() ? calloc(count, size) : NULL;
}

static void *failing_realloc(void *memory, size_t size) {
    return may_allocate() ? realloc(memory, size) : NULL;
}

static char *failing_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = failing_malloc(size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

/* Two transfers, of which one uses what the other leaves, while libcurl may allocate only so often.
 * True when they needed no more. */
static bool exchange_with(long allocations) {
    struct peer peer;
    struct transfer transfers[2] = {{0}, {0}};
    peer_open(&peer, "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2\r\n\r\nok");
    struct prepared_request *request = request_to(&peer);
    allocations_left = allocations;
    struct transfer_set *set = transfer_set_create();
    for (int i = 0; i < 2 && set != NULL; i++) {
        transfer_set_add(set, &transfers[i], request, &usual);
        CHECK(finish_transfer(set, &transfers[i], &peer));
        bool is_complete = transfer_is_complete(&transfers[i]);
        CHECK(!is_complete || transfer_status(&transfers[i]) == 200);
        CHECK(is_complete ||
              (transfers[i].failed_stage != NULL && transfers[i].message[0] != '\0'));
    }
    peer_step(&peer);
    CHECK(peer_requests(&peer) <= (int)(transfers[0].sends + transfers[1].sends));
    transfer_set_destroy(set);
    bool is_enough = allocations_left > 0;
    allocations_left = -1;
    transfer_free(&transfers[0]);
    transfer_free(&transfers[1]);
    prepared_request_release(request);
    peer_close(&peer);
    return is_enough;
}

static void survives_any_allocation_that_fails(void) {
    for (int round = 0; round < 2; round++) {
        long allocations = 1;
        one_fails = round == 1;
        while (allocations < 5000 && !exchange_with(allocations)) {
            allocations++;
        }
        CHECK(allocations > 20 && allocations < 5000);
    }
}

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
    struct transfer_set *set = transfer_set_create();
    CHECK(exchange(set, request, &peer) == 204);
    CHECK(fcntl(descriptor_to(&peer), F_GETFD) == FD_CLOEXEC);
    transfer_set_destroy(set);
    prepared_request_release(request);
    peer_close(&peer);
}

/* poll() refuses to wait for more descriptors than the process may have. */
static void rests_where_the_system_does_not_wait(void) {
    enum { TRANSFERS = 6 };
    struct rlimit before, few;
    struct peer peer;
    struct transfer transfers[TRANSFERS];
    memset(transfers, 0, sizeof transfers);
    peer_open(&peer, NULL);
    struct prepared_request *request = request_to(&peer);
    struct transfer_set *set = transfer_set_create();
    for (int i = 0; i < TRANSFERS; i++) {
        transfer_set_add(set, &transfers[i], request, &usual);
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
    CHECK(steps > 0 && steps <= 0.2 / 0.005 + 1);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    transfer_set_destroy(set);
    for (int i = 0; i < TRANSFERS; i++) {
        transfer_free(&transfers[i]);
    }
    prepared_request_release(request);
    peer_close(&peer);
}

int main(void) {
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, failing_malloc, free, failing_realloc,
                             failing_strdup, failing_calloc) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    clear_environment();
    check_case("sends no plain http through a proxy, of the environment or named",
               sends_no_plain_http_through_a_proxy);
    check_case("asks the proxy of the environment for a tunnel, and tells it nothing else",
               asks_the_proxy_of_the_environment_for_a_tunnel);
    check_case("uses a named proxy whatever the environment exempts",
               uses_a_named_proxy_whatever_the_environment_exempts);
    check_case("reads no netrc", reads_no_netrc);
    check_case("leaves the connections of its parent alone in a child",
               leaves_the_connections_of_its_parent_alone);
    check_case("leaves no connection to programs that are started",
               leaves_no_connection_to_programs_it_starts);
    check_case("rests where the system does not let it wait", rests_where_the_system_does_not_wait);
    check_case("survives any allocation of libcurl's that fails",
               survives_any_allocation_that_fails);
    return check_summary();
}
