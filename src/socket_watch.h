/* The sockets that a curl multi wants to have watched, each once, and the wait for them. The events
 * of each socket are kept until libcurl has been told of them. */
#ifndef AUTOPILOT_SOCKET_WATCH_H
#define AUTOPILOT_SOCKET_WATCH_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

struct socket_watch {
    CURLM *multi;                /* the one that has the sockets */
    CURLM *waiter;               /* a multi without transfers, to wait with: it can be woken */
    struct curl_waitfd *sockets; /* with room for the caller's others */
    size_t count, room;
    unsigned libcurl; /* its version, as LIBCURL_VERSION_NUM */
};

/* For zeroed memory. Makes a multi that reports its sockets to the watch, which has connection_use
 * note them too. False when memory or descriptors are short; free it even then. */
bool socket_watch_init(struct socket_watch *watch);

/* Frees the multi too. */
void socket_watch_free(struct socket_watch *watch);

/* Waits for an event of the sockets or of `others`, for a wake-up, or for the milliseconds to pass.
 * Where the system refuses to wait it sleeps for a moment, and reports all events of all. */
void socket_watch_wait(struct socket_watch *watch, struct curl_waitfd *others, unsigned count,
                       int milliseconds);

/* Ends the present wait, or else the next one. Any thread may call it. False when this libcurl
 * cannot be woken. */
bool socket_watch_wake(struct socket_watch *watch);

/* True when there are events that libcurl was not told of. */
bool socket_watch_has_news(const struct socket_watch *watch);

/* Passes the events to libcurl; without events, only makes it check its timeouts. */
CURLMcode socket_watch_act(struct socket_watch *watch);

/* Like socket_watch_act, but makes libcurl check all transfers and report all sockets again. */
CURLMcode socket_watch_act_on_all(struct socket_watch *watch);

#endif
