/* The sockets of HTTP/1.x connections, to look at before they are used again. Data that waits on an
 * idle connection, such as the 408 that some proxies send, must not be taken for the answer to the
 * next request (RFC 9112 section 9.5). libcurl before 8.0 does not look; from 8.22 on it looks once
 * a second at most. HTTP/2 answers name their request. */
#ifndef AUTOPILOT_IDLE_SOCKETS_H
#define AUTOPILOT_IDLE_SOCKETS_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed: empty. */
struct idle_sockets {
    struct idle_socket {
        uint64_t connection; /* its id */
        curl_socket_t socket;
    } * entries; /* one for a socket: an earlier connection with the same number has ended */
    size_t count, room;
};

/* Empties it. */
void idle_sockets_free(struct idle_sockets *sockets);

/* Notes the connection with this id, over which the handle's exchange has just ended. */
void idle_sockets_note(struct idle_sockets *sockets, CURL *easy, uint64_t connection);

/* Whether data waits on this connection, which the handle is about to use. False for a new
 * connection. */
bool idle_sockets_have_input(const struct idle_sockets *sockets, CURL *easy, uint64_t connection);

#endif
