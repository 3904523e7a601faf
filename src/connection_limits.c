#include "connection_limits.h"
#include "platform.h"

/* Streams that servers allow at a time on one HTTP/2 connection: 100 is the least that RFC 9113
 * recommends in section 6.5.2, and what many use. */
enum { STREAMS_PER_CONNECTION = 100 };

/* Descriptors that are left to the rest of the program. */
enum { SPARE_DESCRIPTORS = 64 };

/* Idle HTTP/1.x connections that are kept, at the least. Each one that is used again spares 2 ms of
 * processor time for TLS. */
enum { MOST_IDLE = 256 };

/* With as many connections to a host as the streams need, libcurl fills each before it opens the
 * next; without the limit it opens one for nearly each transfer that is added before the first
 * connection is up. */
static void limit_connections(struct connection_limits *limits, unsigned to_each_host) {
    curl_multi_setopt(limits->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)to_each_host);
}

void connection_limits_set(struct connection_limits *limits, CURLM *multi, unsigned concurrency) {
    limits->multi = multi;
    limits->concurrency = concurrency;
    limits->is_multiplexed = concurrency > 0;
    if (concurrency == 0) {
        return;
    }
    long limit = platform_descriptor_limit();
    if (limit > 1) {
        /* Transfers beyond the limit wait, instead of failing for lack of a socket. */
        long spare = limit / 2 < SPARE_DESCRIPTORS ? limit / 2 : SPARE_DESCRIPTORS;
        curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, limit - spare);
    }
    curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS_PER_CONNECTION);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)concurrency + SPARE_DESCRIPTORS);
    limit_connections(limits, (concurrency + STREAMS_PER_CONNECTION - 1) / STREAMS_PER_CONNECTION);
}

/* At least one host speaks only HTTP/1.x: its transfers need a connection each. */
static void expect_no_multiplexing(struct connection_limits *limits) {
    if (limits->is_multiplexed) {
        limits->is_multiplexed = false;
        limit_connections(limits, limits->concurrency);
    }
}

void connection_limits_apply(struct connection_limits *limits,
                             const struct prepared_request *request, CURL *easy) {
    if (request->is_plaintext || request->http_version == CURL_HTTP_VERSION_1_1) {
        expect_no_multiplexing(limits);
    } else if (limits->concurrency > 0) {
        curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    }
}

void connection_limits_end_sharing(struct connection_limits *limits) {
    curl_multi_setopt(limits->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    expect_no_multiplexing(limits);
}

void connection_limits_note(struct connection_limits *limits, long http_version, int in_flight) {
    if (http_version == CURL_HTTP_VERSION_1_1 || http_version == CURL_HTTP_VERSION_1_0) {
        expect_no_multiplexing(limits);
    }
    if (limits->concurrency > 0 && !limits->is_multiplexed) {
        /* Many transfers at once leave many idle connections. libcurl counts those in use too,
         * and closes one at most when a transfer ends. */
        curl_multi_setopt(limits->multi, CURLMOPT_MAXCONNECTS, (long)in_flight + MOST_IDLE);
    }
}
