/* curl_multi_socket_all is deprecated because it costs as much as curl_multi_perform. It is used
 * here because it also reports the sockets. */
#define CURL_DISABLE_DEPRECATION

#include "socket_watch.h"
#include "connections.h"
#include "platform.h"

#include <stdlib.h>

/* How long to sleep where poll() fails: it refuses more descriptors than a process may have, and
 * memory may be short. Without a sleep the processor would be busy until the last answer. */
static const double rest_seconds = 0.005;

/* Sockets that libcurl is called for at a time, and seconds after which the rest waits for the next
 * time. A step of a TLS handshake takes the processor for up to a millisecond, and the other work
 * of an event loop waits meanwhile. */
enum { MOST_AT_A_TIME = 16 };
static const double longest_seconds = 0.004;

/* Called by libcurl (CURLMOPT_SOCKETFUNCTION) when it starts or stops to use a socket, or waits for
 * other events of it. */
static int on_socket(CURL *easy, curl_socket_t socket, int what, void *context, void *unused) {
    struct socket_watch *watch = context;
    size_t index = 0;
    (void)unused;
    connections_note_socket(easy, socket, what);
    while (index < watch->count && watch->sockets[index].fd != socket) {
        index++;
    }
    bool is_known = index < watch->count;
    if (what == CURL_POLL_REMOVE) {
        if (is_known) { /* the last one takes its place */
            watch->sockets[index] = watch->sockets[--watch->count];
        }
        return 0;
    }
    if (!is_known) {
        struct curl_waitfd *longer = realloc(watch->sockets, (index + 1) * sizeof *longer);
        if (longer == NULL) {
            return -1;
        }
        watch->sockets = longer;
        watch->sockets[watch->count++] = (struct curl_waitfd){.fd = socket};
    }
    watch->sockets[index].events = (short)(((what & CURL_POLL_IN) != 0 ? CURL_WAIT_POLLIN : 0) |
                                           ((what & CURL_POLL_OUT) != 0 ? CURL_WAIT_POLLOUT : 0));
    return 0;
}

/* Makes a multi whose wake-up pipe is closed on exec: libcurl before 8.11 lets other programs
 * inherit it. */
static CURLM *new_multi(const struct socket_watch *watch) {
    bool is_inherited = watch->libcurl < 0x080b00;
    CURLM *multi = is_inherited ? platform_make_uninherited(curl_multi_init) : curl_multi_init();
    /* CURLMOPT_QUICK_EXIT: from 8.20 on, freeing a multi else waits for its name look-ups. */
    curl_multi_setopt(multi, (CURLMoption)(CURLOPTTYPE_LONG + 21), 1L);
    return multi;
}

bool socket_watch_init(struct socket_watch *watch) {
    watch->libcurl = curl_version_info(CURLVERSION_NOW)->version_num;
    watch->waiter = new_multi(watch);
    watch->multi = new_multi(watch);
    return watch->waiter != NULL && watch->multi != NULL &&
           curl_multi_setopt(watch->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
           curl_multi_setopt(watch->multi, CURLMOPT_SOCKETDATA, (void *)watch) == CURLM_OK;
}

/* Whether SIGPIPE is ignored and must be set to be ignored again after a call, because libcurl
 * 8.9.1 resets it. */
static bool must_ignore_broken_pipes(const struct socket_watch *watch) {
    return watch->libcurl == 0x080901 && platform_ignores_broken_pipes();
}

/* Ignores SIGPIPE again, if it was ignored before a call of libcurl 8.9.1. */
static void ignore_broken_pipes_again(bool must_ignore) {
    if (must_ignore) {
        platform_ignore_broken_pipes();
    }
}

void socket_watch_free(struct socket_watch *watch) {
    bool must_ignore = must_ignore_broken_pipes(watch);
    curl_multi_cleanup(watch->multi); /* which still reports sockets */
    curl_multi_cleanup(watch->waiter);
    ignore_broken_pipes_again(must_ignore);
    free(watch->sockets);
}

/* True when the system refuses to wait for so many sockets, and libcurl, before 7.84, does not
 * report that. */
static bool is_silently_refused(const struct socket_watch *watch) {
    long limit = watch->libcurl < 0x075400 ? platform_descriptor_limit() : 0;
    return limit > 0 && (long)watch->count > limit;
}

void socket_watch_wait(struct socket_watch *watch, int milliseconds) {
    bool is_refused = is_silently_refused(watch) ||
                      curl_multi_poll(watch->waiter, watch->sockets, (unsigned)watch->count,
                                      milliseconds, NULL) != CURLM_OK;
    if (is_refused && !socket_watch_has_news(watch)) {
        double seconds = milliseconds / 1e3;
        platform_sleep(seconds < rest_seconds ? seconds : rest_seconds);
        for (size_t i = 0; i < watch->count; i++) {
            watch->sockets[i].revents = watch->sockets[i].events;
        }
    }
}

bool socket_watch_wake(struct socket_watch *watch) {
    return curl_multi_wakeup(watch->waiter) == CURLM_OK;
}

bool socket_watch_has_news(const struct socket_watch *watch) {
    size_t i = 0;
    while (i < watch->count && watch->sockets[i].revents == 0) {
        i++;
    }
    return i < watch->count;
}

/* Translates the events of curl_multi_poll for curl_multi_socket_action. */
static int bits_of(short happened) {
    return ((happened & CURL_WAIT_POLLIN) != 0 ? CURL_CSELECT_IN : 0) |
           ((happened & CURL_WAIT_POLLOUT) != 0 ? CURL_CSELECT_OUT : 0);
}

static CURLMcode act_on(struct socket_watch *watch, curl_socket_t socket, int bits) {
    int running = 0;
    bool must_ignore = must_ignore_broken_pipes(watch);
    CURLMcode status = curl_multi_socket_action(watch->multi, socket, bits, &running);
    ignore_broken_pipes_again(must_ignore);
    return status;
}

CURLMcode socket_watch_act_on_time(struct socket_watch *watch) {
    return act_on(watch, CURL_SOCKET_TIMEOUT, 0);
}

/* The next socket in turn. The turn goes from the last to the first, because the last one moves to
 * the place of one that is dropped. */
static struct curl_waitfd *next_in_turn(struct socket_watch *watch) {
    if (watch->turn == 0 || watch->turn > watch->count) {
        watch->turn = watch->count;
    }
    return &watch->sockets[--watch->turn];
}

CURLMcode socket_watch_act(struct socket_watch *watch) {
    CURLMcode status = CURLM_OK;
    unsigned acted = 0;
    double ends = platform_clock() + longest_seconds;
    for (size_t left = watch->count; left > 0 && watch->count > 0 && status == CURLM_OK; left--) {
        struct curl_waitfd *socket = next_in_turn(watch);
        if (socket->revents != 0) {
            int bits = bits_of(socket->revents);
            socket->revents = 0;
            status = act_on(watch, socket->fd, bits);
            if (++acted == MOST_AT_A_TIME || platform_clock() >= ends) {
                break;
            }
        }
    }
    return acted > 0 ? status : socket_watch_act_on_time(watch);
}

CURLMcode socket_watch_act_on_all(struct socket_watch *watch) {
    int running = 0;
    bool must_ignore = must_ignore_broken_pipes(watch);
    CURLMcode status = curl_multi_socket_all(watch->multi, &running);
    ignore_broken_pipes_again(must_ignore);
    /* Before 8.18 that call forgets timers which were set in its first millisecond: a transfer
     * whose answer has been read, but not handed out, would only be called when it times out. */
    for (size_t i = watch->count; i-- > 0 && status == CURLM_OK;) {
        if (i < watch->count) {
            status = act_on(watch, watch->sockets[i].fd, 0);
        }
    }
    return status;
}
