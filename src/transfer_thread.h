/* A thread that owns a transfer set, so that an event loop need not step it: names are looked up,
 * certificates read and connections secured beside the loop. Transfers are submitted to it under a
 * number. One begins when that number is written, in decimal and ended by a newline, to a
 * connection to the thread's address; when it has finished one byte comes back, and it can be
 * claimed. Closing the connection before that gives the transfer up. A connection serves one
 * transfer after another.
 *
 * Made and used in one process, by one thread of it. Each transfer is touched by one side at a
 * time: it changes hands through lists under a lock. POSIX only. */
#ifndef AUTOPILOT_TRANSFER_THREAD_H
#define AUTOPILOT_TRANSFER_THREAD_H

#include "transfer.h"

struct transfer_thread;

/* Starts one. NULL when the system does not let us; *problem then says, as a constant text, why. */
struct transfer_thread *transfer_thread_start(const char **problem);

/* Ends the thread and gives up all transfers. NULL is allowed. In a process other than its own it
 * does nothing: there is no thread, and a lock may be held for ever. */
void transfer_thread_stop(struct transfer_thread *thread);

/* The path of the socket to connect to. */
const char *transfer_thread_address(const struct transfer_thread *thread);

/* False in a process other than the one that started the thread. */
bool transfer_thread_is_ours(const struct transfer_thread *thread);

/* Hands over an attempt at the request; its number, or 0 when memory is short. */
unsigned long transfer_thread_submit(struct transfer_thread *thread,
                                     struct prepared_request *request,
                                     const struct transfer_attempt *attempt);

/* Moves a transfer that has finished into `transfer`. False when it has not, or is not there. */
bool transfer_thread_claim(struct transfer_thread *thread, unsigned long number,
                           struct transfer *transfer);

/* Forgets a transfer that nobody waits for. True when it surely had not begun. */
bool transfer_thread_withdraw(struct transfer_thread *thread, unsigned long number);

/* How many transfers are submitted and not begun, or finished and not claimed. For tests. */
size_t transfer_thread_backlog(struct transfer_thread *thread);

#endif
