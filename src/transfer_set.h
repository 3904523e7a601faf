/* One curl multi: transfers are added, the set is stepped, finished transfers are taken. It owns
 * idle easy handles and the connections, which stay open until it is destroyed; a transfer belongs
 * to the caller that added it. A set is used in one process only: after a fork the child makes its
 * own. */
#ifndef AUTOPILOT_TRANSFER_SET_H
#define AUTOPILOT_TRANSFER_SET_H

#include "transfer.h"

struct transfer_set;

/* Makes a set for this many transfers at a time; 0: for a few. If many are expected, up to 100 of
 * them share a connection over HTTP/2; over HTTP/1.x each has its own. Linux closes a connection
 * when the other end, which may be a proxy, has not acknowledged data for `unacknowledged` seconds;
 * 0: no limit. NULL if memory is short. */
struct transfer_set *transfer_set_create(unsigned concurrency, double unacknowledged);

/* Ends every transfer that is still in the set as failed, and closes all connections. NULL is
 * allowed. In a forked child nothing is closed, because closing would send messages on connections
 * that the parent still uses; the memory is not freed then. */
void transfer_set_destroy(struct transfer_set *set);

/* Starts the transfer. If it cannot start, it is finished, with nothing sent. */
void transfer_set_add(struct transfer_set *set, struct transfer *transfer);

/* Waits until the set is due, is woken, or the time is over. If the system refuses to wait, it
 * sleeps for some milliseconds. */
void transfer_set_poll(struct transfer_set *set, double seconds);

/* Ends the present transfer_set_poll, or else the next one. Any thread may call it. False when this
 * libcurl cannot be woken. */
bool transfer_set_wake(struct transfer_set *set);

/* True when a step would find something to do. Never blocks. */
bool transfer_set_is_due(struct transfer_set *set);

/* Sends and receives, and never blocks. To be called after transfer_set_poll. Returns how many are
 * in flight. */
int transfer_set_perform(struct transfer_set *set);

/* Waits, sends and receives. With a timeout of 0 it never blocks; else it waits up to so many
 * seconds for an event, unless a transfer has finished since the last step. Returns how many are in
 * flight. */
int transfer_set_step(struct transfer_set *set, double timeout);

/* Takes a finished transfer out of the set; NULL when there is none. */
struct transfer *transfer_set_take(struct transfer_set *set);

/* Takes the transfer out of its set in any state; one in flight is cancelled. */
void transfer_set_remove(struct transfer *transfer);

/* False in a process other than the one that made the set. */
bool transfer_set_is_ours(const struct transfer_set *set);

#endif
