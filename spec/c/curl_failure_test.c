/* src/curl_failure: the stage and the name of a failure, from its code and how far it had come. */
#include "check.h"
#include "curl_failure.h"

/* What an exchange over TLS has behind it, step by step. */
static const struct transfer_progress none = {0};
static const struct transfer_progress resolved = {.resolved = true};
static const struct transfer_progress connected = {.resolved = true, .connected = true};
static const struct transfer_progress secured = {
    .resolved = true, .connected = true, .secured = true};
static const struct transfer_progress sent = {
    .resolved = true, .connected = true, .secured = true, .sent = true};

static void check_stage(CURLcode code, struct transfer_progress progress, const char *expected) {
    const char *stage = curl_failure_stage(code, &progress);
    CHECK_ABOUT(strcmp(stage, expected) == 0, stage, strlen(stage));
}

static void tells_where_a_timeout_was(void) {
    check_stage(CURLE_OPERATION_TIMEDOUT, none, "resolve");
    check_stage(CURLE_OPERATION_TIMEDOUT, resolved, "connect");
    check_stage(CURLE_OPERATION_TIMEDOUT, connected, "tls");
    check_stage(CURLE_OPERATION_TIMEDOUT, secured, "send");
    check_stage(CURLE_OPERATION_TIMEDOUT, sent, "receive");
}

static void believes_a_code_that_tells(void) {
    check_stage(CURLE_COULDNT_RESOLVE_HOST, none, "resolve");
    check_stage(CURLE_COULDNT_RESOLVE_PROXY, none, "proxy");
    check_stage(CURLE_PEER_FAILED_VERIFICATION, connected, "tls");
    check_stage(CURLE_PEER_FAILED_VERIFICATION, none, "tls");
    check_stage(CURLE_SSL_CACERT_BADFILE, resolved, "tls");
    check_stage(CURLE_PROXY, connected, "proxy");
}

static void tells_sending_from_receiving(void) {
    check_stage(CURLE_SEND_ERROR, sent, "send");
    check_stage(CURLE_SEND_FAIL_REWIND, sent, "send");
    check_stage(CURLE_RECV_ERROR, sent, "receive");
    check_stage(CURLE_GOT_NOTHING, sent, "receive");
    check_stage(CURLE_UNSUPPORTED_PROTOCOL, sent, "receive"); /* HTTP/0.9 */
    check_stage(CURLE_COULDNT_CONNECT, sent, "receive");      /* while sending again */
    check_stage(CURLE_SEND_ERROR, connected, "tls");
    struct transfer_progress answered = sent;
    answered.answered = true;
    check_stage(CURLE_SEND_ERROR, answered, "receive"); /* a stream of HTTP/2, broken off */
}

static void knows_what_a_named_http_proxy_stands_before(void) {
    struct transfer_progress progress = connected;
    progress.proxied = true;
    check_stage(CURLE_OPERATION_TIMEDOUT, progress, "proxy");
    check_stage(CURLE_RECV_ERROR, progress, "proxy");
    check_stage(CURLE_SEND_ERROR, progress, "proxy");
    check_stage(CURLE_PEER_FAILED_VERIFICATION, progress, "proxy"); /* the proxy's certificate */
    progress.proxy_status = 407;
    check_stage(CURLE_RECV_ERROR, progress, "proxy");
    progress.proxy_status = 200;
    check_stage(CURLE_OPERATION_TIMEDOUT, progress, "tls");
    check_stage(CURLE_PEER_FAILED_VERIFICATION, progress, "tls");
    progress.sent = true;
    check_stage(CURLE_OPERATION_TIMEDOUT, progress, "receive");
}

static void knows_what_a_socks_proxy_stands_before(void) {
    struct transfer_progress progress = connected;
    progress.proxied = progress.socks = true;
    check_stage(CURLE_OPERATION_TIMEDOUT, progress, "proxy");
    check_stage(CURLE_COULDNT_CONNECT, progress, "proxy");
    check_stage(CURLE_PEER_FAILED_VERIFICATION, progress, "tls");
}

static void recognises_a_proxy_of_the_environment_by_its_status(void) {
    struct transfer_progress progress = connected;
    for (long status = 100; status < 600; status++) {
        progress.proxy_status = status;
        check_stage(CURLE_RECV_ERROR, progress, status / 100 == 2 ? "tls" : "proxy");
    }
}

static void always_has_a_stage(void) {
    for (int code = 0; code < 200; code++) {
        for (unsigned bits = 0; bits < 64; bits++) {
            struct transfer_progress progress = {
                .resolved = (bits & 1) != 0,
                .connected = (bits & 2) != 0,
                .proxied = (bits & 4) != 0,
                .socks = (bits & 8) != 0,
                .secured = (bits & 16) != 0,
                .sent = (bits & 32) != 0,
            };
            const char *stage = curl_failure_stage((CURLcode)code, &progress);
            CHECK(stage != NULL && strlen(stage) >= 3);
        }
    }
}

static void names_every_code_of_a_transfer(void) {
    CHECK(strcmp(curl_failure_name(CURLE_OPERATION_TIMEDOUT), "CURLE_OPERATION_TIMEDOUT") == 0);
    CHECK(strcmp(curl_failure_name(CURLE_SSL_CLIENTCERT), "CURLE_SSL_CLIENTCERT") == 0);
    CHECK(strcmp(curl_failure_name((CURLcode)9999), "CURLE_UNKNOWN") == 0);
    CHECK(strcmp(curl_failure_name((CURLcode)-1), "CURLE_UNKNOWN") == 0);
    /* From 94 on libcurl has numbered nothing that is not about HTTP or its connections. */
    for (int code = CURLE_AUTH_ERROR; code < (int)CURL_LAST; code++) {
        CHECK(code > 100 || strcmp(curl_failure_name((CURLcode)code), "CURLE_UNKNOWN") != 0);
    }
}

int main(void) {
    check_case("tells where a timeout was", tells_where_a_timeout_was);
    check_case("believes a code that tells the stage", believes_a_code_that_tells);
    check_case("tells sending from receiving", tells_sending_from_receiving);
    check_case("knows what an HTTP proxy stands before",
               knows_what_a_named_http_proxy_stands_before);
    check_case("knows what a SOCKS proxy stands before", knows_what_a_socks_proxy_stands_before);
    check_case("recognises a proxy of the environment by its status",
               recognises_a_proxy_of_the_environment_by_its_status);
    check_case("has a stage for whatever happens", always_has_a_stage);
    check_case("names every code that an HTTP transfer can end with",
               names_every_code_of_a_transfer);
    return check_summary();
}
