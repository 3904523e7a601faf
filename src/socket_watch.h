/* The sockets that a curl multi wants to have watched, each once however many transfers share it,
 * and the wait for them. What has happened to each is kept until it is taken. */
#ifndef AUTOPILOT_SOCKET_WATCH_H
#define AUTOPILOT_SOCKET_WATCH_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

struct socket_watch {
    CURLM *multi;                /* whose sockets they are */
    CURLM *waiter;               /* without transfers: it only waits, and can be woken */
    struct curl_waitfd *sockets; /* with room for those that somebody else has watched */
    size_t count, room;
    void (*unwatched)(CURL *easy);
};

/* Has the multi tell the watch of its sockets. `unwatched` is called for a handle when nothing is
 * waited for on its socket any more. False when memory is short; to be freed even then. */
bool socket_watch_init(struct socket_watch *watch, CURLM *multi, void (*unwatched)(CURL *easy));

/* To be called after the multi's end, which still tells of its sockets. */
void socket_watch_free(struct socket_watch *watch);

/* Waits until something happens to one of the sockets or of `others`, the watch is woken, or so
 * many milliseconds are over. Where the system refuses to wait it rests for a moment, and says of
 * all of them that everything has happened. */
void socket_watch_wait(struct socket_watch *watch, struct curl_waitfd *others, unsigned count,
                       int milliseconds);

/* Ends a wait, the next one if none is under way. May be called by any thread. False when this
 * libcurl cannot be woken. */
bool socket_watch_wake(struct socket_watch *watch);

/* True when something has happened that libcurl was not told of. */
bool socket_watch_has_news(const struct socket_watch *watch);

/* Tells libcurl what has happened to each socket; of the time that has come when nothing has. */
CURLMcode socket_watch_act(struct socket_watch *watch);

/* Has libcurl look itself what has happened to each transfer, and tell anew of their sockets. */
CURLMcode socket_watch_act_on_all(struct socket_watch *watch);

#endif
