/* A listening unix-domain socket to which only this process can connect. With it an event loop
 * waits for another thread as for any connection. On Linux it leaves no file behind, however the
 * process ends. POSIX only. */
#ifndef AUTOPILOT_WAKE_SOCKET_H
#define AUTOPILOT_WAKE_SOCKET_H

#include <stdbool.h>

enum { WAKE_SOCKET_PATH_SIZE = 104 }; /* the shortest sun_path of the systems that have one */

struct wake_socket {
    int listener; /* never blocks, closed by exec; -1: none */
    int node;     /* keeps the socket reachable after its name is removed; -1: none */
    char address[WAKE_SOCKET_PATH_SIZE]; /* where to connect to */
    char folder[WAKE_SOCKET_PATH_SIZE];  /* private, removed by close; empty when it is gone */
};

/* Listens. False when the system refuses; *problem is then a constant text that says what failed,
 * and nothing stays open. */
bool wake_socket_open(struct wake_socket *wake, const char **problem);

/* Accepts all connections that wait, and closes all but the last one that this process made, which
 * it returns: it never blocks and is closed by exec. Returns -1 if this process made no connection,
 * or has no descriptor left for it. */
int wake_socket_accept(const struct wake_socket *wake);

/* Closes the socket and removes its file and folder. May be called again. */
void wake_socket_close(struct wake_socket *wake);

#endif
