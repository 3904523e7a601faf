/* A listening unix-domain socket that nobody but this process can connect to: with it an event loop
 * waits for another thread as it would for any connection. On Linux no file of it stays behind,
 * however the process ends. POSIX only. */
#ifndef AUTOPILOT_WAKE_SOCKET_H
#define AUTOPILOT_WAKE_SOCKET_H

#include <stdbool.h>

enum { WAKE_SOCKET_PATH_SIZE = 104 }; /* the shortest sun_path of the systems that have one */

struct wake_socket {
    int listener; /* never blocks, closed by exec; -1: none */
    int node;     /* holds the socket's place in the file system after its name is gone; -1: none */
    char address[WAKE_SOCKET_PATH_SIZE]; /* where to connect to */
    char folder[WAKE_SOCKET_PATH_SIZE];  /* private, removed by close; empty when it is gone */
};

/* What wake_socket_accept returns when there is no connection. */
enum { WAKE_SOCKET_NOBODY = -1, WAKE_SOCKET_EXHAUSTED = -2 };

/* Listens. False when the system does not let us; *problem then says, as a constant text, what did
 * not work, and nothing stays open. */
bool wake_socket_open(struct wake_socket *wake, const char **problem);

/* A connection that never blocks and is closed by exec; WAKE_SOCKET_NOBODY when none waits (any
 * more, or it came from another process and is closed); WAKE_SOCKET_EXHAUSTED when one waits for
 * which the system has no descriptor or memory. */
int wake_socket_accept(const struct wake_socket *wake);

/* Listens no more and removes what it made. */
void wake_socket_close(struct wake_socket *wake);

#endif
