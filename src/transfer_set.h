/* One curl multi: transfers are added, the set is stepped, finished transfers are taken. It owns
 * the connections and a stock of idle easy handles; transfers belong to whoever added them. Made
 * and used in one process: after a fork a child makes a set of its own. */
#ifndef AUTOPILOT_TRANSFER_SET_H
#define AUTOPILOT_TRANSFER_SET_H

#include "transfer.h"

struct transfer_set;

/* NULL when memory is short. */
struct transfer_set *transfer_set_create(void);

/* Makes a new set fit for so many transfers at a time. Over HTTP/2 they then share connections: as
 * many are opened as it takes, each with up to 100 streams. Over HTTP/1.x each has one of its own.
 * False when memory is short. */
bool transfer_set_expect(struct transfer_set *set, unsigned concurrency);

/* Ends every transfer that is still in the set as failed, closes all connections. NULL is allowed.
 * In a process that is not the set's own nothing is closed, because a closing message would go out
 * on connections which the parent still uses; the memory is then given up. */
void transfer_set_destroy(struct transfer_set *set);

/* Starts an attempt at the request in the transfer (zeroed memory). A start that fails makes a
 * finished transfer that was surely not sent. */
void transfer_set_add(struct transfer_set *set, struct transfer *transfer,
                      struct prepared_request *request, const struct transfer_attempt *attempt);

/* Waits, and does no more than that: until something is due in the set, one of the descriptors has
 * something to say, the set is woken, or so many seconds are over. Where the system refuses to wait
 * it rests for some milliseconds, and says that every descriptor has something to say. */
void transfer_set_poll(struct transfer_set *set, struct curl_waitfd *watched, unsigned count,
                       double seconds);

/* Ends a transfer_set_poll, the next one if none is under way. May be called by any thread. False
 * when this libcurl cannot be woken. */
bool transfer_set_wake(struct transfer_set *set);

/* True when a step would find something to do. Never blocks. */
bool transfer_set_is_due(struct transfer_set *set);

/* Moves bytes. With a timeout of 0 it never blocks; else it waits up to so many seconds for
 * something to happen, unless a transfer has finished since the last step. Returns how many are in
 * flight. */
int transfer_set_step(struct transfer_set *set, double timeout);

/* Steps until this transfer has finished, for so many seconds at most. True when it has: it then
 * leaves the set, as if it had been taken. */
bool transfer_set_wait(struct transfer_set *set, struct transfer *transfer, double seconds);

/* A finished transfer, which leaves the set with it, or NULL. */
struct transfer *transfer_set_take(struct transfer_set *set);

/* Takes the transfer out of its set, whatever its state: one in flight is given up. */
void transfer_set_remove(struct transfer *transfer);

/* False in a process other than the one that made the set. */
bool transfer_set_is_ours(const struct transfer_set *set);

#endif
