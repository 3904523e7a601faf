/* How many connections a multi has to a host and in all, and which transfers share one: as many as
 * so many transfers at a time need, over HTTP/2 with up to 100 streams each, over HTTP/1.x one
 * each. */
#ifndef AUTOPILOT_CONNECTION_LIMITS_H
#define AUTOPILOT_CONNECTION_LIMITS_H

#include "prepared_request.h"

struct connection_limits {
    CURLM *multi;
    unsigned concurrency; /* transfers expected at a time; 0: not told, and nothing is limited */
    bool is_multiplexed;  /* every host that has answered spoke HTTP/2 */
};

/* Limits the connections of a new multi. */
void connection_limits_set(struct connection_limits *limits, CURLM *multi, unsigned concurrency);

/* Has the transfer that begins wait for a connection that others share, rather than open its own.
 */
void connection_limits_apply(struct connection_limits *limits,
                             const struct prepared_request *request, CURL *easy);

/* No two transfers of the multi that begin from now on share a connection. */
void connection_limits_end_sharing(struct connection_limits *limits, CURLM *multi);

/* Learns from a transfer that has ended over that version of HTTP, as CURLINFO_HTTP_VERSION has it,
 * while so many others are in flight. */
void connection_limits_note(struct connection_limits *limits, long http_version, int in_flight);

#endif
