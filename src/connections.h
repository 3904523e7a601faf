/* The connections of a transfer set: how many it opens, and which of them a request may use, so
 * that the answer to one request is never taken for that of another.
 *
 * For the number of transfers that is expected at a time, a set opens one connection to a host for
 * 100 transfers over HTTP/2, and one for each over HTTP/1.x.
 *
 * No request is sent over an HTTP/1.x connection on which another transfer awaits its answer, or
 * over an idle one on which unexpected data waits. If two requests were sent over one HTTP/1.x
 * connection nevertheless, both lose their answers. HTTP/2 answers name their request.
 *
 * - Busy connections: once one connection to a host has negotiated HTTP/2, libcurl before 8.5 may
 *   send requests over any busy connection to the host, even if that uses HTTP/1.1. Before the
 *   first answer, only libcurl's trace shows which version was negotiated.
 * - Idle connections: data such as the 408 that some proxies send must not be taken for the answer
 *   to the next request (RFC 9112 section 9.5). libcurl before 8.0 does not check for it; from 8.22
 *   on it checks at most once a second. */
#ifndef AUTOPILOT_CONNECTIONS_H
#define AUTOPILOT_CONNECTIONS_H

#include <limits.h>

#include "transfer.h"

enum { CONNECTIONS_LISTS = 256 }; /* a search through all transfers would take 0.1 ms for 2,000 */
enum { CONNECTIONS_IDS = 1 << 14 };

struct connections {
    CURLM *multi;
    unsigned concurrency; /* transfers expected at a time; 0: unknown, nothing is limited */
    unsigned alone;       /* transfers in flight that need a connection each */
    bool must_know_http2; /* this libcurl does not check the version itself */
    bool has_begun_one;   /* a connection was opened since this was set to false */
    bool is_http1_host[UCHAR_MAX + 1]; /* by the hash of the host: it has answered by HTTP/1.x */
    double unacknowledged;             /* seconds: see transfer_set_create; 0: no limit */
    bool is_http2[CONNECTIONS_IDS];    /* by the low bits of an id, which others may have too */
    struct http1_socket {
        uint64_t connection; /* its id */
        curl_socket_t socket;
    } * http1; /* one for each socket number, which later connections reuse */
    size_t http1_count;
    struct transfer *sent[CONNECTIONS_LISTS]; /* lists of those in flight, by their connection */
};

/* Initialises zeroed memory, and limits the connections of a new multi. */
void connections_init(struct connections *connections, CURLM *multi, unsigned concurrency);

/* From now on no two transfers of the multi share a connection. All are then to be begun again. */
void connections_end_sharing(struct connections *connections);

/* Makes a connection's id from the addresses and ports of both ends. Never 0; two connections are
 * very unlikely to have the same id. */
uint64_t connections_id(const char *primary_ip, int primary_port, const char *local_ip,
                        int local_port);

/* Sets libcurl's callbacks for the connections of the handle, which is configured for its request.
 * Not CURLE_OK if libcurl refuses. */
CURLcode connections_configure(struct transfer_handle *handle);

/* Makes a transfer that has no connection wait for one that it can share, unless the host speaks
 * HTTP/1.x. Newer libcurls (seen with 8.14.1) would make it wait for each connection to such a host
 * that closes them after an answer. To be called when it is in the multi, and again when more is
 * known of a host. */
void connections_begin(struct transfer *transfer);

/* Stores the connection over which the handle's exchange has just ended, and adapts the limits to
 * its HTTP version and to the number of other transfers in flight. To be called before the handle
 * is removed from the multi, which knows the socket. True when the others are to be begun again. */
bool connections_end(struct transfer_handle *handle, int in_flight);

/* Whether another transfer in flight was sent over the same connection and awaits its answer. If
 * so, and if `they_lose`, marks all of them as having lost their answers. */
bool connections_is_shared(struct transfer *transfer, bool they_lose);

/* Handles a change of the events that libcurl waits for on a socket of this handle: CURL_POLL_IN,
 * _OUT, _INOUT or _REMOVE (none, as after an exchange). The handle may be an internal one of
 * libcurl. */
void connections_note_socket(CURL *easy, curl_socket_t socket, int what);

#endif
