/* A thread that owns a transfer set, so that name look-ups, TLS and the reading of certificates do
 * not block an event loop. A transfer is submitted to the thread, gets a number, and is taken when
 * it has finished. To wait for that, the event loop connects to the thread.
 *
 * It is used in one process, by one other thread. Each transfer belongs to one of the two threads
 * at a time; it is handed over in lists under a lock. POSIX only. */
#ifndef AUTOPILOT_TRANSFER_THREAD_H
#define AUTOPILOT_TRANSFER_THREAD_H

#include "transfer.h"

struct transfer_thread;

/* Starts a thread, which closes its connections to services when no transfer was in flight for so
 * many seconds. NULL when the system refuses; *problem is then a constant text that says why. */
struct transfer_thread *transfer_thread_start(double unused_seconds, const char **problem);

/* Ends the thread and cancels all transfers. NULL is allowed. Does nothing in a forked child,
 * which has no such thread, and where a lock may be held for ever. */
void transfer_thread_stop(struct transfer_thread *thread);

/* Begins to listen. Returns the path of the socket to connect to; NULL when the system refuses. */
const char *transfer_thread_listen(struct transfer_thread *thread);

/* Accepts the connection that was just made, closes the one before, and listens no more. A byte
 * comes over it when a transfer has finished, or, while one is in flight, after half a second. The
 * next byte comes only after transfer_thread_take has returned 0. Returns false if there is no
 * connection, or the process has no descriptor left for it. */
bool transfer_thread_accept(struct transfer_thread *thread);

/* False in a process other than the one that started the thread. */
bool transfer_thread_is_ours(const struct transfer_thread *thread);

/* Begins an attempt at the request. Returns its number, or 0 when memory is short. */
unsigned long transfer_thread_submit(struct transfer_thread *thread,
                                     struct prepared_request *request,
                                     const struct transfer_attempt *attempt);

/* Moves a finished transfer into `transfer` and returns its number. Returns 0 if no transfer has
 * finished. */
unsigned long transfer_thread_take(struct transfer_thread *thread, struct transfer *transfer);

/* Cancels a transfer whose result is not wanted. True when it certainly had not begun. */
bool transfer_thread_discard(struct transfer_thread *thread, unsigned long number);

#endif
