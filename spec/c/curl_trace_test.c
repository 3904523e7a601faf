/* src/curl_trace: what the lines of libcurl's trace say, and libcurl itself beside a proxy of the
 * environment. */
#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>

#include "stepped_set.h"

static bool agreed(const char *text, bool before) {
    struct curl_trace trace = {.has_agreed_http2 = before};
    curl_trace_read(&trace, text, strlen(text));
    return trace.has_agreed_http2;
}

static void tells_of_http2(void) {
    CHECK(agreed("ALPN, server accepted to use h2\n", false)); /* 7.80 to 7.83 */
    CHECK(agreed("ALPN: server accepted h2\n", false));
    CHECK(!agreed("ALPN, server accepted to use http/1.1\n", true));
    CHECK(!agreed("ALPN: server accepted http/1.1\n", true));
}

static void other_lines_change_nothing(void) {
    static const char *const lines[] = {
        "ALPN: offers h2,http/1.1\n",
        "ALPN: server did not agree on a protocol. Uses default.\n",
        " subject: CN=ALPN: server accepted h2\n",
        " Uses proxy env variable https_proxy == 'http://127.0.0.1:1'\n",
        "Uses proxy env variable no_proxy == 'socks.example'\n",
        "Uses proxy env variable NO_PROXY == '*'\n",
        "",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct curl_trace trace = {0};
        CHECK(agreed(lines[i], true));
        curl_trace_read(&trace, lines[i], strlen(lines[i]));
        CHECK(trace.proxy_variable[0] == '\0' && !trace.is_socks_proxy && !trace.has_agreed_http2);
    }
}

static void tells_the_version_of_tls(void) {
    static const struct {
        const char *line, *version;
    } told[] = {
        {"SSL connection using TLSv1.3 / TLS_AES_256_GCM_SHA384 / X25519 / RSASSA-PSS\n",
         "TLSv1.3"},
        {"SSL connection using TLS1.2 / ECDHE_RSA_AES_256_GCM_SHA384\n", "TLS1.2"},
        {"SSL connection using a-name-that-is-too-long\n", "a-name-that"},
        {"SSL connection using \n", ""},
        {"subject: SSL connection using TLSv1.3\n", ""},
    };
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct curl_trace trace = {0};
        curl_trace_read(&trace, told[i].line, strlen(told[i].line));
        CHECK(strcmp(trace.tls_version, told[i].version) == 0);
    }
}

static void a_line_need_not_end_with_nul(void) {
    char line[] = {'A', 'L', 'P', 'N', ' ', 'a', 'c', 'c', 'e', 'p', 't', 'e', 'd', ' ', 'h', '2'};
    struct curl_trace trace = {0};
    curl_trace_read(&trace, line, sizeof line - 1);
    CHECK(!trace.has_agreed_http2);
    curl_trace_read(&trace, line, sizeof line);
    CHECK(trace.has_agreed_http2);
}

static void tells_of_a_proxy_of_the_environment(void) {
    static const char *const urls[] = {"1:1", "http://a:1", "SOCKS5h://user:password@a", "socks.a"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct curl_trace trace = {0};
        char line[400];
        int length = snprintf(line, sizeof line,
                              "Uses proxy env variable HTTPS_PROXY == '%s%0200d'\n", urls[i], 0);
        curl_trace_read(&trace, line, (size_t)length);
        CHECK(strcmp(trace.proxy_variable, "HTTPS_PROXY") == 0);
        CHECK(trace.is_socks_proxy == (i >= 2));
    }
}

/* Has the variable name a proxy that refuses, and asks a host that is not there. */
static void check_asked(const char *variable, const char *no_proxy, bool is_asked) {
    struct peer proxy;
    char url[64], told[64];
    clear_environment();
    peer_open(&proxy, "HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n");
    snprintf(url, sizeof url, "http://127.0.0.1:%d", proxy.port);
    snprintf(told, sizeof told, "(proxy set by %s)", variable);
    setenv(variable, url, 1);
    setenv("no_proxy", no_proxy, 1);
    struct transfer_set *set = transfer_set_create(0, 0);
    struct transfer transfer = {0};
    struct prepared_request *request = request_for("https", "localhost", 1);
    transfer_init(&transfer, request, &usual);
    transfer_set_add(set, &transfer);
    CHECK(finish_transfer(set, &transfer, &proxy));
    CHECK_ABOUT((proxy.client_count > 0) == is_asked, no_proxy, strlen(no_proxy));
    CHECK((strcmp(transfer.failed_stage, "proxy") == 0) == is_asked);
    CHECK((strstr(transfer.message, told) != NULL) == is_asked);
    transfer_set_destroy(set);
    transfer_free(&transfer);
    prepared_request_release(request);
    peer_close(&proxy);
    clear_environment();
}

static void names_the_variable_of_the_proxy_that_was_asked(void) {
    check_asked("https_proxy", "", true);
    check_asked("HTTPS_PROXY", "", true);
    check_asked("all_proxy", "example.test", true);
    check_asked("ALL_PROXY", "", true);
    check_asked("https_proxy", "*", false);
    check_asked("ALL_PROXY", "example.test,localhost", false);
    check_asked("http_proxy", "", false);
}

static void knows_one_that_is_dead(void) {
    struct peer none;
    clear_environment();
    peer_open(&none, NULL);
    close(none.listener);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", none.port);
    setenv("ALL_PROXY", url, 1);
    struct transfer_set *set = transfer_set_create(0, 0);
    struct transfer transfer = {0};
    struct prepared_request *request = request_for("https", "graph.example.test", none.port);
    transfer_init(&transfer, request, &usual);
    transfer_set_add(set, &transfer);
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
    struct transfer_set *set = transfer_set_create(0, 0);
    struct prepared_request *request = request_for("https", "graph.example.test", 443);
    transfer_init(&transfer, request, &usual);
    transfer_set_add(set, &transfer);
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
    check_case("tells of HTTP/2, whatever the libcurl", tells_of_http2);
    check_case("other lines change nothing", other_lines_change_nothing);
    check_case("a line need not end with NUL", a_line_need_not_end_with_nul);
    check_case("tells the version of TLS", tells_the_version_of_tls);
    check_case("tells of a proxy of the environment", tells_of_a_proxy_of_the_environment);
    check_case("names the variable of the proxy that was asked",
               names_the_variable_of_the_proxy_that_was_asked);
    check_case("knows a proxy of the environment that is dead", knows_one_that_is_dead);
    check_case("knows that a proxy of the environment speaks SOCKS", knows_that_one_speaks_socks);
    return check_summary();
}
