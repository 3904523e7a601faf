/* How many connections a multi opens, to each host and in all, for the number of transfers that is
 * expected at a time: one for 100 transfers over HTTP/2, one for each over HTTP/1.x. */
#ifndef AUTOPILOT_CONNECTION_LIMITS_H
#define AUTOPILOT_CONNECTION_LIMITS_H

#include "prepared_request.h"

struct connection_limits {
    CURLM *multi;
    unsigned concurrency; /* transfers expected at a time; 0: unknown, and nothing is limited */
    bool is_multiplexed;  /* limited for HTTP/2: every host that has answered spoke it */
};

/* Limits the connections of a new multi, unless the concurrency is 0. */
void connection_limits_set(struct connection_limits *limits, CURLM *multi, unsigned concurrency);

/* Makes a new transfer wait for a connection that it can share, instead of opening its own. */
void connection_limits_apply(struct connection_limits *limits,
                             const struct prepared_request *request, CURL *easy);

/* From now on no two transfers of the multi share a connection. */
void connection_limits_end_sharing(struct connection_limits *limits);

/* Adapts the limits to the HTTP version of a transfer that has ended (CURLINFO_HTTP_VERSION), and
 * to the number of the others in flight. */
void connection_limits_note(struct connection_limits *limits, long http_version, int in_flight);

#endif
