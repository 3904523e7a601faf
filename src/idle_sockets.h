/* The sockets of idle HTTP/1.x connections, by their local port, for libcurl before 8.0. That one
 * takes any data that waits on an idle connection for the answer to the next request (RFC 9112
 * section 9.5), such as the 408 that some proxies send. Later libcurls do not use such a connection
 * again, and HTTP/2 answers name their request. */
#ifndef AUTOPILOT_IDLE_SOCKETS_H
#define AUTOPILOT_IDLE_SOCKETS_H

#include <curl/curl.h>
#include <stdbool.h>

enum { MOST_IDLE_SOCKETS = 64 };

struct idle_sockets {
    struct {
        long local_port; /* 0: unused */
        curl_socket_t socket;
    } entries[MOST_IDLE_SOCKETS];
    bool are_needed; /* this libcurl does not check for data itself */
    unsigned next;   /* the entry to be overwritten, the oldest of all */
};

/* Makes it empty. */
void idle_sockets_init(struct idle_sockets *sockets);

/* Notes the connection over which the handle's exchange has just ended. */
void idle_sockets_note(struct idle_sockets *sockets, CURL *easy);

/* Whether data waits on the connection from this port, which the handle is about to use. False for
 * a new connection, and for one that was not noted. */
bool idle_sockets_have_input(const struct idle_sockets *sockets, CURL *easy, long local_port);

#endif
