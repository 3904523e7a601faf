/* Keeps the list of sockets that a curl multi uses, and waits for their events. The events of each
 * socket are kept until they are passed to libcurl. */
#ifndef AUTOPILOT_SOCKET_WATCH_H
#define AUTOPILOT_SOCKET_WATCH_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

struct socket_watch {
    CURLM *multi;  /* the one that has the sockets */
    CURLM *waiter; /* a multi without transfers, to wait with: it can be woken */
    struct curl_waitfd *sockets;
    size_t count;
    size_t turn;      /* index of the socket that had its turn last; the one before it is next */
    unsigned libcurl; /* its version, as LIBCURL_VERSION_NUM */
};

/* Initialises zeroed memory. Makes a multi whose sockets are reported to the watch and to
 * connections. False when memory or descriptors are short; free it even then. */
bool socket_watch_init(struct socket_watch *watch);

/* Frees the multi too. */
void socket_watch_free(struct socket_watch *watch);

/* Waits for an event of the sockets, for a wake-up, or for the milliseconds to pass. If the system
 * refuses to wait, and no events are left from before, sleeps for a moment and sets all events of
 * all sockets. */
void socket_watch_wait(struct socket_watch *watch, int milliseconds);

/* Ends the present wait, or else the next one. Any thread may call it. False when this libcurl
 * cannot be woken. */
bool socket_watch_wake(struct socket_watch *watch);

/* True when there are events that were not passed to libcurl yet. */
bool socket_watch_has_news(const struct socket_watch *watch);

/* Passes the events of some sockets to libcurl, and those of the others in the next calls. Without
 * events, only makes it check its timeouts. */
CURLMcode socket_watch_act(struct socket_watch *watch);

/* Makes libcurl check its timeouts. */
CURLMcode socket_watch_act_on_time(struct socket_watch *watch);

/* Makes libcurl check all transfers and report all sockets again. */
CURLMcode socket_watch_act_on_all(struct socket_watch *watch);

#endif
