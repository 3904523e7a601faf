/* A thread that owns a transfer set, so that name look-ups, TLS and the reading of certificates do
 * not block an event loop. A transfer is submitted to the thread and gets a number. It begins when
 * that number and a newline are written to a connection to the thread's address. When it has
 * finished, one byte comes back, and it can be claimed. Closing the connection before that gives
 * the transfer up. A connection serves one transfer after another.
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

/* Ends the thread and gives up all transfers. NULL is allowed. Does nothing in a forked child,
 * which has no such thread, and where a lock may be held for ever. */
void transfer_thread_stop(struct transfer_thread *thread);

/* The path of the socket to connect to. */
const char *transfer_thread_address(const struct transfer_thread *thread);

/* False in a process other than the one that started the thread. */
bool transfer_thread_is_ours(const struct transfer_thread *thread);

/* Submits an attempt at the request. Returns its number, or 0 when memory is short. */
unsigned long transfer_thread_submit(struct transfer_thread *thread,
                                     struct prepared_request *request,
                                     const struct transfer_attempt *attempt);

/* Moves a transfer that has finished into `transfer`. False when no transfer with that
 * number has finished. */
bool transfer_thread_claim(struct transfer_thread *thread, unsigned long number,
                           struct transfer *transfer);

/* Discards a transfer whose result is not wanted. True when it certainly had not begun. */
bool transfer_thread_withdraw(struct transfer_thread *thread, unsigned long number);

/* How many transfers are submitted and not begun, or finished and not claimed. For tests. */
size_t transfer_thread_backlog(struct transfer_thread *thread);

#endif
