/* Guards against answers that get to the wrong request. libcurl is kept from sending a request over
 * an HTTP/1.x connection on which another transfer awaits its answer, and over an idle one on which
 * unexpected data waits. If two requests were sent over one HTTP/1.x connection all the same, both
 * lose their answers. */
#ifndef AUTOPILOT_CONNECTION_USE_H
#define AUTOPILOT_CONNECTION_USE_H

#include "transfer.h"

/* Sets the callbacks that libcurl calls for the handle's connections. Not CURLE_OK when it refuses.
 */
CURLcode connection_use_configure(struct transfer_handle *handle);

/* Ends the trace of a new connection, if there is one. */
void connection_use_end_trace(struct transfer_handle *handle);

/* To be called when an answer over HTTP/1.x begins. Returns whether no other transfer in flight was
 * sent over the same connection. If one was, it marks all of them as having lost their answers. */
bool connection_use_is_sole(struct transfer *transfer);

/* Notes what libcurl waits for on a socket of this handle: CURL_POLL_IN, _OUT, _INOUT, or _REMOVE,
 * which is nothing, as when an exchange is over. The handle may be an internal one of libcurl. */
void connection_use_note_socket(CURL *easy, curl_socket_t socket, int what);

#endif
