/* Which connections have agreed on HTTP/2, for libcurl before 8.5. Once one connection to a host
 * has, that libcurl lets a request join any other connection to the host on which an answer is
 * awaited, also one over HTTP/1.1, where nothing tells whose answer comes first. The version that
 * was agreed on is known from libcurl's trace alone until the first answer. */
#ifndef AUTOPILOT_HTTP2_CONNECTIONS_H
#define AUTOPILOT_HTTP2_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http2_connections {
    bool are_needed;             /* this libcurl does not look itself */
    bool has_begun_one;          /* a connection was begun since this was last set to false */
    unsigned char bits[1 << 13]; /* one for each value of the low 16 bits of a connection's id */
};

/* Makes it one that knows of none. */
void http2_connections_init(struct http2_connections *connections);

/* Names a connection by its two ends: two connections have the same id only by a rare chance. Not
 * 0. */
uint64_t http2_connections_id(const char *primary_ip, int primary_port, const char *local_ip,
                              int local_port);

/* Notes what a new connection has agreed on. */
void http2_connections_note(struct http2_connections *connections, uint64_t id, bool is_http2);

/* Whether the connection speaks HTTP/2. Another one with the same low bits may answer for it. */
bool http2_connections_has(const struct http2_connections *connections, uint64_t id);

/* Reads one line of libcurl's trace: updates *is_http2 when it says what a server has agreed on. */
void http2_connections_read_trace(const char *text, size_t length, bool *is_http2);

#endif
