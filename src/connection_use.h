/* Over which connection a request is sent. libcurl is kept from sending one over an HTTP/1.x
 * connection on which another transfer awaits its answer, and over an idle one on which something
 * has come unasked. Where two were sent over one HTTP/1.x connection all the same, neither keeps an
 * answer. */
#ifndef AUTOPILOT_CONNECTION_USE_H
#define AUTOPILOT_CONNECTION_USE_H

#include "transfer.h"

/* Has libcurl tell of the handle's connections. Not CURLE_OK when it refuses to. */
CURLcode connection_use_configure(struct transfer_handle *handle);

/* Ends a trace that was begun for a new connection. */
void connection_use_end_trace(struct transfer_handle *handle);

/* To be asked when an answer over HTTP/1.x begins. False when another transfer in flight was sent
 * over the same connection: then all that were have lost their answer. */
bool connection_use_is_sole(struct transfer *transfer);

/* Notes that libcurl has stopped to wait for a socket of this handle, as it does when an exchange
 * is over. The handle may be one of libcurl's own. */
void connection_use_note_left(CURL *easy);

#endif
