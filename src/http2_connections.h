/* Which connections have agreed on HTTP/2, for libcurl before 8.5. Once one connection to a host
 * has, that libcurl sends requests over any busy connection to the host, also over HTTP/1.1, where
 * answers then cannot be told apart. Until the first answer only libcurl's trace tells the version
 * that was agreed on. */
#ifndef AUTOPILOT_HTTP2_CONNECTIONS_H
#define AUTOPILOT_HTTP2_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http2_connections {
    bool are_needed;             /* this libcurl does not check the version itself */
    bool has_begun_one;          /* a connection was begun since this was last set to false */
    unsigned char bits[1 << 13]; /* one for each value of the low 16 bits of a connection's id */
};

/* Makes it empty. */
void http2_connections_init(struct http2_connections *connections);

/* An id of a connection, made of its two ends. It is never 0; that two connections have the same
 * one is very unlikely. */
uint64_t http2_connections_id(const char *primary_ip, int primary_port, const char *local_ip,
                              int local_port);

/* Notes what a new connection has agreed on. */
void http2_connections_note(struct http2_connections *connections, uint64_t id, bool is_http2);

/* Whether the connection speaks HTTP/2. May be wrong where two ids have the same low bits. */
bool http2_connections_has(const struct http2_connections *connections, uint64_t id);

/* Reads one line of libcurl's trace: updates *is_http2 when it says what a server has agreed on. */
void http2_connections_read_trace(const char *text, size_t length, bool *is_http2);

#endif
