/* src/environment_proxy beside libcurl itself: which requests go through a proxy of the
 * environment.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>

#include "environment_proxy.h"
#include "stepped_set.h"

/* The variable that names the proxy for the host; NULL: none is used. */
static const char *variable_for(const char *host) {
    const char *variable = NULL;
    const char *url = environment_proxy_for(NULL, host, &variable);
    CHECK((url == NULL) == (variable == NULL));
    CHECK(url == NULL || strcmp(url, getenv(variable)) == 0);
    return variable;
}

static void takes_the_first_variable_that_is_set(void) {
    static const char *const names[] = {"ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"};
    clear_environment();
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("HTTP_PROXY", "http://127.0.0.1:1", 1);
    CHECK(variable_for("graph.example.test") == NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        setenv(names[i], "", 1);
        const char *before = variable_for("graph.example.test");
        CHECK(i == 0 ? before == NULL : before != NULL && strcmp(before, names[i - 1]) == 0);
        setenv(names[i], i % 2 == 0 ? "SOCKS5h://127.0.0.1:1" : "127.0.0.1:1", 1);
        const char *variable = variable_for("graph.example.test");
        CHECK(variable != NULL && strcmp(variable, names[i]) == 0);
    }
    clear_environment();
}

/* True when libcurl asks the proxy of the environment for the host. */
static bool libcurl_asks_proxy(struct peer *proxy, const char *host) {
    struct transfer_set *set = transfer_set_create(0);
    struct transfer transfer = {0};
    struct transfer_attempt attempt = usual;
    struct prepared_request *request = request_for("https", host, 1);
    int before = proxy->client_count;
    attempt.connect_timeout = attempt.total_timeout = 0.5;
    transfer_set_add(set, &transfer, request, &attempt);
    CHECK(finish_transfer(set, &transfer, proxy));
    bool asks = proxy->client_count > before;
    CHECK_ABOUT(!asks || strcmp(transfer.failed_stage, "proxy") == 0, host, strlen(host));
    CHECK(!asks || strstr(transfer.message, "(proxy set by https_proxy)") != NULL);
    CHECK(asks || strcmp(transfer.failed_stage, "proxy") != 0);
    transfer_set_destroy(set);
    transfer_free(&transfer);
    prepared_request_release(request);
    return asks;
}

static void exempts_what_libcurl_exempts(void) {
    static const char *const lists[] = {
        "*",         "127.0.0.1", "127.0.0.0/8", "127.0.0.0/32", "128.0.0.0/1",
        "0.0.0.0/0", "127.0.0",   ".0.0.1",      "localhost",    ".localhost",
        "LOCALHOST", "ocalhost",  "host",        "a, localhost", "a localhost.",
        "[::1]",     "::1",       "a,b,,c",      "localhost,",   "127.0.0.1/33",
    };
    static const char *const hosts[] = {"127.0.0.1", "localhost", "a.localhost"};
    bool tells_itself = curl_version_info(CURLVERSION_NOW)->version_num >= 0x080700;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (size_t j = 0; j < sizeof hosts / sizeof *hosts; j++) {
            struct peer proxy;
            char url[64];
            clear_environment();
            peer_open(&proxy, "HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n");
            snprintf(url, sizeof url, "http://127.0.0.1:%d", proxy.port);
            setenv("https_proxy", url, 1);
            setenv("no_proxy", lists[i], 1);
            bool ours = variable_for(hosts[j]) != NULL;
            bool asks = libcurl_asks_proxy(&proxy, hosts[j]);
            CHECK_ABOUT(tells_itself || ours == asks, lists[i], strlen(lists[i]));
            peer_close(&proxy);
        }
    }
    clear_environment();
}

static void knows_one_that_is_dead(void) {
    struct peer none;
    clear_environment();
    peer_open(&none, NULL);
    close(none.listener);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", none.port);
    setenv("ALL_PROXY", url, 1);
    struct transfer_set *set = transfer_set_create(0);
    struct transfer transfer = {0};
    struct prepared_request *request = request_for("https", "graph.example.test", none.port);
    transfer_set_add(set, &transfer, request, &usual);
    while (!transfer.finished) {
        transfer_set_step(set, 0.1);
    }
    CHECK(strcmp(transfer.failed_stage, "proxy") == 0);
    CHECK(strstr(transfer.message, "(proxy set by ALL_PROXY)") != NULL);
    transfer_set_destroy(set);
    transfer_free(&transfer);
    prepared_request_release(request);
    clear_environment();
}

/* A SOCKS proxy has no part in TLS, which fails here. */
static void knows_that_one_speaks_socks(void) {
    static const char greeting[] = "\5\0", tunnel[] = "\5\0\0\1\0\0\0\0\0\0This is no TLS\r\n\r\n";
    struct peer proxy;
    struct transfer transfer = {0};
    clear_environment();
    peer_open(&proxy, NULL);
    char url[64];
    snprintf(url, sizeof url, "SOCKS5h://127.0.0.1:%d", proxy.port);
    setenv("all_proxy", url, 1);
    struct transfer_set *set = transfer_set_create(0);
    struct prepared_request *request = request_for("https", "graph.example.test", 443);
    transfer_set_add(set, &transfer, request, &usual);
    size_t greeted = 0, asked = 0;
    while (!transfer.finished) {
        transfer_set_step(set, 0.001);
        peer_step(&proxy);
        if (greeted == 0 && proxy.seen_length > 0) {
            greeted = proxy.seen_length;
            CHECK(send(proxy.clients[0], greeting, sizeof greeting - 1, MSG_NOSIGNAL) > 0);
        } else if (asked == 0 && proxy.seen_length > greeted) {
            asked = proxy.seen_length;
            CHECK(send(proxy.clients[0], tunnel, sizeof tunnel - 1, MSG_NOSIGNAL) > 0);
        }
    }
    CHECK(strcmp(transfer.failed_stage, "tls") == 0);
    transfer_set_destroy(set);
    transfer_free(&transfer);
    prepared_request_release(request);
    peer_close(&proxy);
    clear_environment();
}

int main(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    check_case("takes the first variable that is set", takes_the_first_variable_that_is_set);
    check_case("exempts what libcurl exempts", exempts_what_libcurl_exempts);
    check_case("knows a proxy of the environment that is dead", knows_one_that_is_dead);
    check_case("knows that a proxy of the environment speaks SOCKS", knows_that_one_speaks_socks);
    return check_summary();
}
