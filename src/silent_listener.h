/* A listener on loopback that never answers. The kernel connects whoever comes, so that a client of
 * TLS prepares all it needs to read an answer: this is how a set of transfers is made ready before
 * the first real one. POSIX only. */
#ifndef AUTOPILOT_SILENT_LISTENER_H
#define AUTOPILOT_SILENT_LISTENER_H

/* Listens on 127.0.0.1; its descriptor, which exec closes, and the port. -1 when the system does
 * not let us. */
int silent_listener_open(int *port);

/* Nothing happens for -1. */
void silent_listener_close(int descriptor);

#endif
