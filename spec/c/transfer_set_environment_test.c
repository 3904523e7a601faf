/* What src/transfer_set takes from the environment: a proxy for https, and nothing else. */
#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stepped_set.h"

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
    struct transfer_set *set = transfer_set_create(0, 0);
    struct prepared_request *request = request_to(&peer);
    CHECK(exchange(set, request, &peer) == 204);
    CHECK(byte_buffer_copy(&request->proxy, "http://127.0.0.1:1"));
    CHECK(exchange(set, request, &peer) == 204);
    peer_step(&proxy);
    CHECK(proxy.client_count == 0);
    prepared_request_release(request);
    transfer_set_destroy(set);
    peer_close(&peer);
    peer_close(&proxy);
    clear_environment();
}

/* Asks for at most so many seconds, of which nothing comes; the stage in which the transfer ends.
 */
static const char *ask_in_vain(struct peer *proxy, struct prepared_request *request,
                               double seconds) {
    struct transfer_set *set = transfer_set_create(0, 0);
    struct transfer transfer = {0};
    struct transfer_attempt attempt = usual;
    attempt.connect_timeout = attempt.total_timeout = seconds;
    transfer_init(&transfer, request, &attempt);
    transfer_set_add(set, &transfer);
    CHECK(finish_transfer(set, &transfer, proxy));
    CHECK(transfer_status(&transfer) == 0);
    CHECK(transfer.sends == 0);
    CHECK(strstr(proxy->seen, "secret") == NULL);
    const char *stage = transfer.failed_stage;
    transfer_set_destroy(set);
    transfer_free(&transfer);
    return stage;
}

/* Asks https://graph.example.test through `proxy`, which refuses; the transfer's stage. */
static const char *ask_through(struct peer *proxy, struct prepared_request *request) {
    return ask_in_vain(proxy, request, 2);
}

/* The same with a time that is to run out at this stage, when the peer has seen something: with a
 * longer one, if the machine was too slow to get there. GnuTLS reads certificates for long. */
static bool stalls_at(const char *stage, struct peer *peer, struct prepared_request *request) {
    bool is_there = false;
    for (double seconds = 0.3; !is_there && seconds < 30; seconds *= 8) {
        is_there = strcmp(ask_in_vain(peer, request, seconds), stage) == 0 && peer->seen[0] != '\0';
    }
    return is_there;
}

static void knows_a_proxy_of_the_environment_that_stalls(void) {
    static const char *const names[] = {"https_proxy"};
    struct peer proxy;
    clear_environment();
    peer_open(&proxy, NULL);
    set_proxies(names, 1, &proxy);
    struct prepared_request *request = request_for("https", "graph.example.test", 443);
    CHECK(stalls_at("proxy", &proxy, request));
    CHECK(strncmp(proxy.seen, "CONNECT graph.example.test:443 ", 31) == 0);
    prepared_request_release(request);
    peer_close(&proxy);
    clear_environment();
}

static void takes_no_service_that_stalls_for_a_proxy(void) {
    struct peer peer;
    clear_environment();
    peer_open(&peer, NULL);
    struct prepared_request *request = request_for("https", "127.0.0.1", peer.port);
    CHECK(stalls_at("tls", &peer, request));
    prepared_request_release(request);
    peer_close(&peer);
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
    CHECK(byte_buffer_copy(&request->proxy, url));
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
    struct transfer_set *set = transfer_set_create(0, 0);
    struct prepared_request *request = request_to(&peer);
    struct transfer transfer = {0};
    struct transfer_attempt anonymous = {.connect_timeout = 2, .total_timeout = 2};
    transfer_init(&transfer, request, &anonymous);
    transfer_set_add(set, &transfer);
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

int main(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    check_case("sends no plain http through a proxy, of the environment or named",
               sends_no_plain_http_through_a_proxy);
    check_case("asks the proxy of the environment for a tunnel, and tells it nothing else",
               asks_the_proxy_of_the_environment_for_a_tunnel);
    check_case("knows a proxy of the environment that stalls",
               knows_a_proxy_of_the_environment_that_stalls);
    check_case("takes no service that stalls for a proxy",
               takes_no_service_that_stalls_for_a_proxy);
    check_case("uses a named proxy whatever the environment exempts",
               uses_a_named_proxy_whatever_the_environment_exempts);
    check_case("reads no netrc", reads_no_netrc);
    return check_summary();
}
