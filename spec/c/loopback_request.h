/* Requests to loopback, for the plain C tests. POSIX only. */
#ifndef AUTOPILOT_LOOPBACK_REQUEST_H
#define AUTOPILOT_LOOPBACK_REQUEST_H

#include "loopback_peer.h"
#include "prepared_request.h"

static const char no_content[] = "HTTP/1.1 204 No Content\r\n\r\n";

/* A POST, whose answer may have 1000 bytes; to be released. */
static inline struct prepared_request *request_for(const char *scheme, const char *host, int port) {
    char url[128];
    const char *problem;
    snprintf(url, sizeof url, "%s://%s:%d/", scheme, host, port);
    struct prepared_request *request = prepared_request_create("POST", url, &problem);
    if (request == NULL) {
        exit(EXIT_FAILURE);
    }
    request->max_body = 1000;
    return request;
}

static inline struct prepared_request *request_to(const struct peer *peer) {
    return request_for("http", "127.0.0.1", peer->port);
}

#endif
