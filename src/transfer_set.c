#include "transfer_set.h"
#include "platform.h"

#include <stdlib.h>

/* Idle handles kept for the next transfers, unless more of them are expected; each costs some 6 KB
 * and saves some 10,000 instructions. */
enum { MOST_IDLE = 64 };

/* What servers allow at a time on one HTTP/2 connection: 100 is the least that RFC 9113 recommends
 * in section 6.5.2, and what many use. */
enum { STREAMS_PER_CONNECTION = 100 };

/* Descriptors that are left to the rest of the program. */
enum { SPARE_DESCRIPTORS = 64 };

/* libcurl keeps no time for a transfer that waits for a connection (seen with 7.88.1), so the set
 * does. Where libcurl does, it has these seconds to end the transfer itself: it can say more of it.
 */
static const double grace_seconds = 0.05;
static const double never = 1e300;

/* poll() refuses more descriptors than a process may have, and libcurl (7.88.1) names each once
 * for every HTTP/2 stream on it. */
static const double rest_seconds = 0.005;

struct transfer_list {
    struct transfer *first, *last;
};

struct transfer_set {
    CURLM *multi;
    struct transfer_list in_flight;
    struct transfer_list finished; /* in the order they finished */
    struct transfer_handle **idle;
    size_t idle_count, idle_room;
    unsigned concurrency; /* transfers expected at a time; 0: not told */
    bool is_multiplexed;  /* every host that has answered spoke HTTP/2 */
    struct idle_sockets sockets;
    int in_flight_count;
    double next_deadline; /* on platform_clock; nothing in flight has an earlier one */
    bool has_new;         /* something was added that libcurl has not begun with */
    bool has_news;        /* something has finished since the last step, and nobody took it */
    long process_id;
};

static void append(struct transfer_list *list, struct transfer *transfer) {
    transfer->previous = list->last;
    transfer->next = NULL;
    *(list->last != NULL ? &list->last->next : &list->first) = transfer;
    list->last = transfer;
}

static void unlink_from(struct transfer_list *list, struct transfer *transfer) {
    *(transfer->previous != NULL ? &transfer->previous->next : &list->first) = transfer->next;
    *(transfer->next != NULL ? &transfer->next->previous : &list->last) = transfer->previous;
    transfer->previous = transfer->next = NULL;
}

static void append_finished(struct transfer_set *set, struct transfer *transfer) {
    append(&set->finished, transfer);
    set->has_news = true;
}

struct transfer_set *transfer_set_create(void) {
    struct transfer_set *set = calloc(1, sizeof *set);
    if (set == NULL) {
        return NULL;
    }
    set->process_id = platform_process_id();
    set->next_deadline = never;
    idle_sockets_init(&set->sockets);
    set->multi = curl_multi_init();
    set->idle = calloc(MOST_IDLE, sizeof(struct transfer_handle *));
    set->idle_room = MOST_IDLE;
    if (set->multi == NULL || set->idle == NULL) {
        curl_multi_cleanup(set->multi);
        free(set->idle);
        free(set);
        return NULL;
    }
    return set;
}

/* With as many connections to a host as the streams need, libcurl fills each before it opens the
 * next; without the limit it opens one for nearly each transfer that is added before the first
 * connection is up. */
static void limit_connections(struct transfer_set *set, unsigned to_each_host) {
    curl_multi_setopt(set->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)to_each_host);
}

bool transfer_set_expect(struct transfer_set *set, unsigned concurrency) {
    if (concurrency > set->idle_room) {
        struct transfer_handle **longer =
            realloc(set->idle, concurrency * sizeof(struct transfer_handle *));
        if (longer == NULL) {
            return false;
        }
        set->idle = longer;
        set->idle_room = concurrency;
    }
    long descriptors = platform_descriptor_limit() - SPARE_DESCRIPTORS;
    if (descriptors > 0) {
        /* Those beyond wait for their turn, instead of failing for want of a socket. */
        curl_multi_setopt(set->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, descriptors);
    }
    set->concurrency = concurrency;
    set->is_multiplexed = true;
    curl_multi_setopt(set->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS_PER_CONNECTION);
    curl_multi_setopt(set->multi, CURLMOPT_MAXCONNECTS, (long)concurrency + SPARE_DESCRIPTORS);
    limit_connections(set, (concurrency + STREAMS_PER_CONNECTION - 1) / STREAMS_PER_CONNECTION);
    return true;
}

/* Some host speaks HTTP/1.x only: its transfers need a connection each. */
static void expect_no_multiplexing(struct transfer_set *set) {
    if (set->is_multiplexed) {
        set->is_multiplexed = false;
        limit_connections(set, set->concurrency);
    }
}

bool transfer_set_is_ours(const struct transfer_set *set) {
    return set->process_id == platform_process_id();
}

/* Has the transfer wait for a connection that others share, rather than open its own. */
static void prefer_sharing(struct transfer_set *set, const struct prepared_request *request,
                           struct transfer_handle *handle) {
    if (set->concurrency == 0 || handle == NULL) {
        return;
    }
    if (request->is_plaintext || request->http_version == CURL_HTTP_VERSION_1_1) {
        expect_no_multiplexing(set);
    } else {
        curl_easy_setopt(handle->easy, CURLOPT_PIPEWAIT, 1L);
    }
}

/* A handle for the request, best one that has served it before; NULL when memory is short. */
static struct transfer_handle *take_handle(struct transfer_set *set,
                                           struct prepared_request *request) {
    for (size_t i = set->idle_count; i-- > 0;) {
        struct transfer_handle *handle = set->idle[i];
        if (handle->request == request) {
            set->idle[i] = set->idle[--set->idle_count];
            return handle;
        }
    }
    if (set->idle_count == 0) {
        return transfer_handle_create(request, &set->sockets);
    }
    struct transfer_handle *other = set->idle[--set->idle_count];
    if (transfer_handle_reuse(other, request) != CURLE_OK) {
        transfer_handle_free(other);
        return NULL;
    }
    return other;
}

/* Where connections are limited a transfer may have to wait for one. */
static void note_deadline(struct transfer_set *set, struct transfer *transfer, double seconds) {
    transfer->deadline = never;
    if (set->concurrency > 0) {
        transfer->deadline = platform_clock() + seconds + grace_seconds;
    }
    if (transfer->deadline < set->next_deadline) {
        set->next_deadline = transfer->deadline;
    }
}

static void return_handle(struct transfer_set *set, struct transfer_handle *handle) {
    if (set->idle_count < set->idle_room) {
        set->idle[set->idle_count++] = handle;
    } else {
        transfer_handle_free(handle);
    }
}

void transfer_set_add(struct transfer_set *set, struct transfer *transfer,
                      struct prepared_request *request, const struct transfer_attempt *attempt) {
    CURLcode code = CURLE_OUT_OF_MEMORY;
    struct transfer_handle *handle = take_handle(set, request);
    prefer_sharing(set, request, handle);
    transfer->set = set;
    if (handle != NULL) {
        code = transfer_prepare(transfer, handle, attempt);
    }
    if (code == CURLE_OK && curl_multi_add_handle(set->multi, handle->easy) != CURLM_OK) {
        code = CURLE_OUT_OF_MEMORY;
    }
    if (code == CURLE_OK) {
        append(&set->in_flight, transfer);
        set->in_flight_count++;
        note_deadline(set, transfer, attempt->total_timeout);
        set->has_new = true;
    } else {
        transfer_handle_free(transfer_finish(transfer, code));
        append_finished(set, transfer);
    }
}

static void finish(struct transfer_set *set, struct transfer *transfer, CURLcode code) {
    unlink_from(&set->in_flight, transfer);
    set->in_flight_count--;
    CURL *easy = transfer->handle->easy;
    idle_sockets_note(&set->sockets, easy); /* before it leaves the multi, which knows the socket */
    curl_multi_remove_handle(set->multi, easy);
    return_handle(set, transfer_finish(transfer, code));
    if (transfer->http_version == CURL_HTTP_VERSION_1_1 ||
        transfer->http_version == CURL_HTTP_VERSION_1_0) {
        expect_no_multiplexing(set);
    }
    if (set->concurrency > 0 && !set->is_multiplexed) {
        /* A burst leaves a connection for each of its transfers. libcurl counts those in use too,
         * and closes one at most when a transfer ends. */
        curl_multi_setopt(set->multi, CURLMOPT_MAXCONNECTS, (long)set->in_flight_count + MOST_IDLE);
    }
}

/* Lets a transfer of which nothing was sent begin again. Each time costs an idle connection, so
 * this has an end. */
static bool restart(struct transfer_set *set, struct transfer *transfer) {
    CURL *easy = transfer->handle->easy;
    curl_multi_remove_handle(set->multi, easy);
    bool is_added = curl_multi_add_handle(set->multi, easy) == CURLM_OK;
    set->has_new = set->has_new || is_added;
    return is_added;
}

static bool has_late(const struct transfer_set *set) {
    return set->in_flight_count > 0 && set->next_deadline < never &&
           platform_clock() >= set->next_deadline;
}

/* Ends what has waited for a connection for longer than it may take in all. */
static void give_up_late(struct transfer_set *set) {
    double now = platform_clock();
    struct transfer *transfer = set->in_flight.first, *next;
    set->next_deadline = never;
    for (; transfer != NULL; transfer = next) {
        next = transfer->next;
        if (transfer->deadline <= now) {
            finish(set, transfer, CURLE_OPERATION_TIMEDOUT);
            append_finished(set, transfer);
        } else if (transfer->deadline < set->next_deadline) {
            set->next_deadline = transfer->deadline;
        }
    }
}

static void perform(struct transfer_set *set) {
    int running = 0, queued = 0, before = set->in_flight_count;
    set->has_new = false;
    CURLMcode status = curl_multi_perform(set->multi, &running);
    /* With HTTP/2 a transfer that ends may leave answers of others read from the socket but not
     * handed out (seen with libcurl 7.88.1): no socket and no timer would tell of them. */
    while (status == CURLM_OK && running > 0 && running < before) {
        before = running;
        status = curl_multi_perform(set->multi, &running);
    }
    const CURLMsg *message;
    while ((message = curl_multi_info_read(set->multi, &queued)) != NULL) {
        CURLcode code = message->data.result; /* removing the handle frees the message */
        char *context = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &context);
        struct transfer *transfer = ((struct transfer_handle *)(void *)context)->transfer;
        if (transfer_begins_again(transfer, code) && restart(set, transfer)) {
            continue;
        }
        finish(set, transfer, code);
        append_finished(set, transfer);
    }
    if (has_late(set)) {
        give_up_late(set);
    }
    /* A multi that is out of memory makes no progress any more: nobody may wait on it for ever. */
    while (status != CURLM_OK && set->in_flight.first != NULL) {
        struct transfer *transfer = set->in_flight.first;
        finish(set, transfer, CURLE_OUT_OF_MEMORY);
        append_finished(set, transfer);
    }
}

/* Not to wait at all would keep the processor busy until the last answer. */
static void rest(struct curl_waitfd *watched, unsigned count, double seconds) {
    for (unsigned i = 0; i < count; i++) {
        watched[i].revents = watched[i].events;
    }
    platform_sleep(seconds < rest_seconds ? seconds : rest_seconds);
}

void transfer_set_poll(struct transfer_set *set, struct curl_waitfd *watched, unsigned count,
                       double seconds) {
    const double longest = 3600;
    double milliseconds = (seconds < longest ? seconds : longest) * 1e3;
    if (set->in_flight_count > 0 && set->next_deadline < never) {
        double left = (set->next_deadline - platform_clock()) * 1e3;
        left = left > 0 ? left : 0;
        milliseconds = left < milliseconds ? left : milliseconds;
    }
    if (curl_multi_poll(set->multi, watched, count, (int)(milliseconds + 0.999), NULL) !=
        CURLM_OK) {
        rest(watched, count, milliseconds / 1e3);
    }
}

bool transfer_set_wake(struct transfer_set *set) {
    return curl_multi_wakeup(set->multi) == CURLM_OK;
}

bool transfer_set_is_due(struct transfer_set *set) {
    int ready = 0;
    long milliseconds = -1;
    if (set->has_new || set->finished.first != NULL || has_late(set)) {
        return true;
    }
    curl_multi_timeout(set->multi, &milliseconds);
    return milliseconds == 0 || curl_multi_poll(set->multi, NULL, 0, 0, &ready) != CURLM_OK ||
           ready > 0;
}

/* Waits up to so many seconds for something to happen, and lets it happen. */
static void poll_and_perform(struct transfer_set *set, double seconds) {
    transfer_set_poll(set, NULL, 0, seconds);
    perform(set);
}

int transfer_set_step(struct transfer_set *set, double timeout) {
    if (set->has_new || !(timeout > 0)) {
        perform(set);
    }
    /* One that nobody takes must not keep the others from being waited for. */
    if (timeout > 0 && !set->has_news && set->in_flight_count > 0) {
        poll_and_perform(set, timeout);
    }
    set->has_news = false;
    return set->in_flight_count;
}

bool transfer_set_wait(struct transfer_set *set, struct transfer *transfer, double seconds) {
    double end = platform_clock() + seconds;
    if (set->has_new) {
        perform(set);
    }
    for (double left = seconds; !transfer->finished && transfer->set == set && left > 0;
         left = end - platform_clock()) {
        poll_and_perform(set, left);
    }
    if (transfer->finished && transfer->set == set) {
        transfer_set_remove(transfer);
    }
    return transfer->finished;
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
    if (transfer->finished) {
        unlink_from(&set->finished, transfer);
        set->has_news = set->has_news && set->finished.first != NULL;
    } else if (!transfer_set_is_ours(set)) {
        unlink_from(&set->in_flight, transfer);
        transfer->handle = NULL; /* its easy handle stays with the multi, which is given up */
    } else {
        finish(set, transfer, CURLE_ABORTED_BY_CALLBACK);
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
    while (set->finished.first != NULL) {
        transfer_set_remove(set->finished.first);
    }
    if (!transfer_set_is_ours(set)) {
        return;
    }
    while (set->idle_count > 0) {
        transfer_handle_free(set->idle[--set->idle_count]);
    }
    curl_multi_cleanup(set->multi);
    free(set->idle);
    free(set);
}
