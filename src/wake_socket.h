/* A connection of this process to itself, with which an event loop waits for another thread as for
 * any connection: a unix-domain socket listens until the event loop has connected to it. Its file
 * exists for that moment only. POSIX only. */
#ifndef AUTOPILOT_WAKE_SOCKET_H
#define AUTOPILOT_WAKE_SOCKET_H

#include <stdbool.h>

enum { WAKE_SOCKET_PATH_SIZE = 104 }; /* the shortest sun_path of the systems that have one */

struct wake_socket {
    int listener;                        /* never blocks, closed by exec; -1: none */
    char address[WAKE_SOCKET_PATH_SIZE]; /* where to connect to */
    char folder[WAKE_SOCKET_PATH_SIZE];  /* private, with the socket in it; empty: none */
};

/* Listens. False when the system refuses; *problem is then a constant text that says what failed,
 * and nothing stays open. */
bool wake_socket_open(struct wake_socket *wake, const char **problem);

/* Accepts the connection that this process made, closes all others, and listens no more. The
 * connection never blocks and is closed by exec. Returns -1 if this process made none, or has no
 * descriptor left for it. */
int wake_socket_accept(struct wake_socket *wake);

/* True when this process can connect to itself in this way; *problem is otherwise as above. */
bool wake_socket_works(const char **problem);

/* Listens no more, and removes the file and its folder. May be called again. */
void wake_socket_close(struct wake_socket *wake);

#endif
