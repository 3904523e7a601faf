#include "transfer_set.h"
#include "connections.h"
#include "platform.h"
#include "socket_watch.h"

#include <stdlib.h>

/* Number of idle handles that are kept for reuse, unless more transfers are expected. Each needs
 * some 6 KB and saves some 10,000 instructions. */
enum { MOST_IDLE = 64 };

/* Seconds between checks of transfers without a connection. Some libcurl versions (seen with
 * 7.88.1) try a host's next address only when they are called, but report no socket or timeout for
 * that; nor do they apply timeouts to a transfer that waits for a connection. */
static const double check_seconds = 0.1;

/* Seconds between checks of transfers that were sent. An HTTP/2 server may refuse one, and libcurl
 * (seen with 7.88.1) may forget it while it waits for another connection to be sent again. */
static const double refusal_seconds = 1;

/* A check makes libcurl look at all sockets in one step. While sockets wait in line for the next
 * step it is left out, but not more often than this: else it would never come under steady load. */
enum { MOST_LEFT_OUT = 4 };

/* The set ends a transfer this many seconds after its deadline. libcurl does so first, with a
 * better message, if it can. */
static const double grace_seconds = 0.05;
static const double never = 1e300;

/* A list of transfers; each transfer is in one list at most. */
struct transfer_list {
    struct transfer *first, *last;
};

struct transfer_set {
    struct transfer_list in_flight;
    struct transfer_list finished; /* in the order they finished */
    struct transfer_handle *idle;  /* the one used last comes first */
    unsigned idle_count;
    struct socket_watch watch;
    struct connections connections;
    int in_flight_count;
    double next_check; /* on platform_clock: when to check transfers */
    int left_out;      /* how many of the last checks did not call libcurl for all sockets */
    bool has_news;     /* a transfer has finished since the last step and was not taken */
    long process_id;
};

static void append(struct transfer_list *list, struct transfer *transfer) {
    transfer->previous = list->last;
    transfer->next = NULL;
    *(list->last != NULL ? &list->last->next : &list->first) = transfer;
    list->last = transfer;
}

static void take_out(struct transfer_list *list, struct transfer *transfer) {
    *(transfer->previous != NULL ? &transfer->previous->next : &list->first) = transfer->next;
    *(transfer->next != NULL ? &transfer->next->previous : &list->last) = transfer->previous;
    transfer->previous = transfer->next = NULL;
}

struct transfer_set *transfer_set_create(unsigned concurrency, double unacknowledged) {
    struct transfer_set *set = calloc(1, sizeof *set);
    if (set == NULL) {
        return NULL;
    }
    set->process_id = platform_process_id();
    set->next_check = never;
    if (!socket_watch_init(&set->watch)) {
        transfer_set_destroy(set);
        return NULL;
    }
    connections_init(&set->connections, set->watch.multi, concurrency);
    set->connections.unacknowledged = unacknowledged;
    return set;
}

bool transfer_set_is_ours(const struct transfer_set *set) {
    return set->process_id == platform_process_id();
}

/* Takes a handle, if possible one that has served the request before. NULL when memory is short. */
static struct transfer_handle *take_handle(struct transfer_set *set,
                                           const struct prepared_request *request) {
    struct transfer_handle **link = &set->idle;
    while (*link != NULL && (*link)->request != request) {
        link = &(*link)->next;
    }
    link = *link != NULL ? link : &set->idle;
    struct transfer_handle *handle = *link;
    if (handle == NULL) {
        return transfer_handle_create(&set->connections);
    }
    *link = handle->next;
    set->idle_count--;
    return handle;
}

static void return_handle(struct transfer_set *set, struct transfer_handle *handle) {
    if (set->idle_count < MOST_IDLE || set->idle_count < set->connections.concurrency) {
        handle->next = set->idle;
        set->idle = handle;
        set->idle_count++;
    } else {
        transfer_handle_free(handle);
    }
}

/* Schedules the next check for this time, if it is not due earlier. */
static void check_by(struct transfer_set *set, double time) {
    if (time < set->next_check) {
        set->next_check = time;
    }
}

void transfer_set_add(struct transfer_set *set, struct transfer *transfer) {
    struct transfer_handle *handle = take_handle(set, transfer->request);
    CURLcode code = handle != NULL ? transfer_prepare(transfer, handle) : CURLE_OUT_OF_MEMORY;
    transfer->set = set;
    if (code == CURLE_OK && curl_multi_add_handle(set->watch.multi, handle->easy) != CURLM_OK) {
        code = CURLE_OUT_OF_MEMORY;
    }
    if (code == CURLE_OK) {
        connections_begin(transfer);
        append(&set->in_flight, transfer);
        set->in_flight_count++;
        double now = platform_clock();
        transfer->deadline = now + transfer->total_timeout + grace_seconds;
        check_by(set, transfer->deadline);
        check_by(set, now + check_seconds);
    } else {
        transfer_handle_free(handle);
        transfer->handle = NULL;
        transfer_finish(transfer, code);
        append(&set->finished, transfer);
        set->has_news = true;
    }
}

/* To be called when more is known of how transfers share connections. */
static void begin_all_again(struct transfer_set *set) {
    for (struct transfer *each = set->in_flight.first; each != NULL; each = each->next) {
        connections_begin(each);
    }
}

static void end_sharing(struct transfer_set *set) {
    connections_end_sharing(&set->connections);
    begin_all_again(set);
}

/* Ends a transfer in flight; it stays in the set until it is taken. */
static void finish(struct transfer_set *set, struct transfer *transfer, CURLcode code) {
    take_out(&set->in_flight, transfer);
    if (--set->in_flight_count == 0) {
        set->next_check = never;
    }
    if (connections_end(transfer->handle, set->in_flight_count)) {
        begin_all_again(set);
    }
    curl_multi_remove_handle(set->watch.multi, transfer->handle->easy);
    return_handle(set, transfer_finish(transfer, code));
    append(&set->finished, transfer);
    set->has_news = true;
}

/* Restarts a transfer that ended with this code before anything was sent, only because its
 * connection could not be used. This cannot repeat for ever: each time the multi has one idle
 * connection less, or stops sharing connections. False if the transfer is over. */
static bool restart(struct transfer_set *set, struct transfer *transfer, CURLcode code) {
    if (code != CURLE_ABORTED_BY_CALLBACK || !transfer->is_refused) {
        return false;
    }
    transfer->is_refused = false;
    if (transfer->times_busy > 1) { /* once may be chance */
        end_sharing(set);
    }
    CURL *easy = transfer->handle->easy;
    curl_multi_remove_handle(set->watch.multi, easy);
    return curl_multi_add_handle(set->watch.multi, easy) == CURLM_OK;
}

/* Whether the transfer was not sent yet, or has no connection yet. */
static bool is_connecting(const struct transfer *transfer) {
    return transfer->sends == 0 || transfer->handle->has_new_socket;
}

/* Ends transfers that are past their deadline, or lost their answer because a connection was
 * shared. Schedules the next check: soon, if one of the others may have no connection yet. */
static void check_all(struct transfer_set *set) {
    double now = platform_clock();
    set->next_check = never;
    for (struct transfer *transfer = set->in_flight.first, *next; transfer != NULL;
         transfer = next) {
        next = transfer->next;
        if (transfer->deadline <= now || transfer->is_shared) {
            finish(set, transfer, CURLE_OPERATION_TIMEDOUT);
        } else {
            check_by(set, transfer->deadline);
            check_by(set, now + (is_connecting(transfer) ? check_seconds : refusal_seconds));
        }
    }
}

/* An answer over HTTP/2 takes up to three calls of libcurl: one reads it for another stream, one
 * delivers it, one ends the transfer. */
enum { MOST_ROUNDS = 8 };

/* Whether libcurl has something to do now, as for a transfer that was just added. */
static bool is_time(struct transfer_set *set) {
    long milliseconds = -1;
    return curl_multi_timeout(set->watch.multi, &milliseconds) == CURLM_OK && milliseconds == 0;
}

int transfer_set_perform(struct transfer_set *set) {
    int queued = 0;
    CURLMcode status = socket_watch_act(&set->watch);
    bool must_check = set->next_check < never && platform_clock() >= set->next_check;
    if (must_check && socket_watch_has_news(&set->watch) && set->left_out < MOST_LEFT_OUT) {
        set->left_out++;
    } else if (must_check && status == CURLM_OK) {
        set->left_out = 0;
        status = socket_watch_act_on_all(&set->watch);
    }
    for (int i = 0; i < MOST_ROUNDS && status == CURLM_OK && is_time(set); i++) {
        status = socket_watch_act_on_time(&set->watch);
    }
    if (set->connections.has_begun_one) {
        check_by(set, platform_clock() + check_seconds);
    }
    set->connections.has_begun_one = false;
    const CURLMsg *message;
    while ((message = curl_multi_info_read(set->watch.multi, &queued)) != NULL) {
        CURLcode code = message->data.result; /* removing the handle frees the message */
        char *context = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &context);
        struct transfer *transfer = ((struct transfer_handle *)(void *)context)->transfer;
        if (!restart(set, transfer, code)) {
            finish(set, transfer, code);
        }
        if (transfer->is_shared) {
            end_sharing(set);
            must_check = true; /* the others on its connection are to end now */
        }
    }
    if (must_check) {
        check_all(set);
    }
    /* A multi that is out of memory makes no progress: its transfers fail, so that no caller waits
     * for ever. */
    while (status != CURLM_OK && set->in_flight.first != NULL) {
        finish(set, set->in_flight.first, CURLE_OUT_OF_MEMORY);
    }
    return set->in_flight_count;
}

/* Milliseconds until libcurl or the set has to act, at most `longest`. */
static int milliseconds_until_due(struct transfer_set *set, double longest) {
    double milliseconds = longest;
    long until_time = -1;
    curl_multi_timeout(set->watch.multi, &until_time);
    if (until_time >= 0 && (double)until_time < milliseconds) {
        milliseconds = (double)until_time;
    }
    double left = (set->next_check - platform_clock()) * 1e3;
    left = left > 0 ? left : 0;
    milliseconds = left < milliseconds ? left : milliseconds;
    return (int)(milliseconds + 0.999);
}

void transfer_set_poll(struct transfer_set *set, double seconds) {
    const double longest = 3600;
    double milliseconds = (seconds < longest ? seconds : longest) * 1e3;
    socket_watch_wait(&set->watch, milliseconds_until_due(set, milliseconds));
}

bool transfer_set_wake(struct transfer_set *set) {
    return socket_watch_wake(&set->watch);
}

bool transfer_set_is_due(struct transfer_set *set) {
    if (set->finished.first != NULL || milliseconds_until_due(set, 1) == 0) {
        return true;
    }
    transfer_set_poll(set, 0);
    return socket_watch_has_news(&set->watch);
}

int transfer_set_step(struct transfer_set *set, double timeout) {
    if (timeout > 0 && is_time(set)) {
        transfer_set_perform(set);
    }
    /* `has_news`: a finished transfer that is never taken must not prevent all later waits. */
    bool may_wait = timeout > 0 && !set->has_news && set->in_flight_count > 0;
    transfer_set_poll(set, may_wait ? timeout : 0);
    transfer_set_perform(set);
    set->has_news = false;
    return set->in_flight_count;
}

struct transfer *transfer_set_take(struct transfer_set *set) {
    struct transfer *transfer = set->finished.first;
    if (transfer != NULL) {
        transfer_set_remove(transfer);
    }
    return transfer;
}

void transfer_set_remove(struct transfer *transfer) {
    struct transfer_set *set = transfer->set;
    if (set == NULL) {
        return;
    }
    if (!transfer->finished && !transfer_set_is_ours(set)) {
        take_out(&set->in_flight, transfer);
        transfer->handle = NULL; /* its easy handle stays with the multi, which is given up */
    } else {
        if (!transfer->finished) {
            finish(set, transfer, CURLE_ABORTED_BY_CALLBACK);
        }
        take_out(&set->finished, transfer);
        set->has_news = set->has_news && set->finished.first != NULL;
    }
    transfer->set = NULL;
}

void transfer_set_destroy(struct transfer_set *set) {
    if (set == NULL) {
        return;
    }
    while (set->in_flight.first != NULL) {
        transfer_set_remove(set->in_flight.first);
    }
    while (transfer_set_take(set) != NULL) {
    }
    if (!transfer_set_is_ours(set)) {
        return;
    }
    while (set->idle != NULL) {
        struct transfer_handle *next = set->idle->next;
        transfer_handle_free(set->idle);
        set->idle = next;
    }
    socket_watch_free(&set->watch);
    free(set->connections.http1);
    free(set);
}
