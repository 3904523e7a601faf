/* Guards against answers that get to the wrong request. libcurl is kept from sending a request over
 * an HTTP/1.x connection on which another transfer awaits its answer, and over an idle one on which
 * unexpected data waits. If two requests were sent over one HTTP/1.x connection all the same, both
 * lose their answers. HTTP/2 answers name their request.
 *
 * - Busy connections: once one connection to a host has agreed on HTTP/2, libcurl before 8.5 sends
 *   requests over any busy connection to the host, also over HTTP/1.1. Until the first answer only
 *   its trace tells the version that was agreed on.
 * - Idle connections: data such as the 408 that some proxies send must not be taken for the answer
 *   to the next request (RFC 9112 section 9.5). libcurl before 8.0 does not look; from 8.22 on it
 *   looks once a second at most. */
#ifndef AUTOPILOT_CONNECTION_USE_H
#define AUTOPILOT_CONNECTION_USE_H

#include "transfer.h"

/* What a set knows of its connections. */
struct connections {
    bool must_know_http2;         /* this libcurl does not check the version itself */
    bool has_begun_one;           /* a connection was begun since this was last set to false */
    unsigned char http2[1 << 13]; /* a bit for each value of the low 16 bits of an id */
    struct http1_socket {
        uint64_t connection; /* its id */
        curl_socket_t socket;
    } * http1; /* one for a socket: an earlier connection with the same number has ended */
    size_t http1_count;
};

/* For zeroed memory. */
void connections_init(struct connections *connections);

/* Leaves zeroed memory. */
void connections_free(struct connections *connections);

/* An id of a connection, made of its two ends. It is never 0; that two connections have the same
 * one is very unlikely. */
uint64_t connections_id(const char *primary_ip, int primary_port, const char *local_ip,
                        int local_port);

/* Notes what a new connection has agreed on. */
void connections_note_version(struct connections *connections, uint64_t id, bool is_http2);

/* Whether the connection speaks HTTP/2. May be wrong where two ids have the same low bits. */
bool connections_has_http2(const struct connections *connections, uint64_t id);

/* Reads one line of libcurl's trace: updates *is_http2 when it says what a server has agreed on. */
void connections_read_trace(const char *text, size_t length, bool *is_http2);

/* Sets what libcurl calls for the handle's connections. Not CURLE_OK when it refuses. */
CURLcode connection_use_configure(struct transfer_handle *handle);

/* Notes the connection over which the handle's exchange has just ended. To be called before the
 * handle leaves the multi, which has the socket. */
void connection_use_end(struct transfer_handle *handle);

/* To be called when an answer over HTTP/1.x begins. Returns whether no other transfer in flight was
 * sent over the same connection. If one was, it marks all of them as having lost their answers. */
bool connection_use_is_sole(struct transfer *transfer);

/* Notes what libcurl waits for on a socket of this handle: CURL_POLL_IN, _OUT, _INOUT, or _REMOVE,
 * which is nothing, as when an exchange is over. The handle may be an internal one of libcurl. */
void connection_use_note_socket(CURL *easy, curl_socket_t socket, int what);

#endif
