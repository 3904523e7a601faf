#include "connection_use.h"
#include "platform.h"

/* Whether the head tells that the answer is complete. libcurl may then have used the connection
 * again before it reports the transfer as finished. */
static bool is_answered(const struct transfer *transfer) {
    int status = transfer_status(transfer);
    return transfer->head.complete && (status == 204 || status == 304);
}

/* The first transfer in the list from `other` on, other than `transfer`, that was sent over the
 * same connection and awaits its answer; or NULL. */
static struct transfer *find_sharing(const struct transfer *transfer, struct transfer *other) {
    if (transfer->connection == 0) {
        return NULL;
    }
    while (other != NULL &&
           (other == transfer || other->connection != transfer->connection || is_answered(other))) {
        other = other->next;
    }
    return other;
}

/* Another transfer in flight that was sent over the same connection; or NULL. */
static struct transfer *first_sharing(struct transfer *transfer) {
    struct transfer *first = transfer;
    while (first->previous != NULL) {
        first = first->previous;
    }
    return find_sharing(transfer, first);
}

bool connection_use_is_sole(struct transfer *transfer) {
    struct transfer *other = first_sharing(transfer);
    bool is_sole = other == NULL;
    while (other != NULL) {
        transfer_lose_answer(other);
        other = find_sharing(transfer, other->next);
    }
    if (!is_sole) {
        transfer_lose_answer(transfer);
    }
    return is_sole;
}

void connection_use_end_trace(struct transfer_handle *handle) {
    if (handle->is_traced) {
        curl_easy_setopt(handle->easy, CURLOPT_VERBOSE, 0L);
        handle->is_traced = false;
    }
}

/* libcurl calls this for each new socket. It marks the handle, keeps the socket from child
 * processes, and, where HTTP/2 has to be recognised, turns libcurl's trace on: for new connections
 * only, because it costs much. */
static int on_new_socket(void *context, curl_socket_t socket, curlsocktype purpose) {
    struct transfer_handle *handle = context;
    (void)purpose;
    platform_close_on_exec((intptr_t)socket);
    handle->has_new_socket = handle->http2->has_begun_one = true;
    handle->is_connected = handle->has_agreed_http2 = false;
    if (handle->http2->are_needed) {
        handle->is_traced = true;
        curl_easy_setopt(handle->easy, CURLOPT_VERBOSE, 1L);
    }
    return CURL_SOCKOPT_OK;
}

static int on_trace(CURL *easy, curl_infotype kind, char *text, size_t length, void *context) {
    struct transfer_handle *handle = context;
    (void)easy;
    if (kind == CURLINFO_TEXT) {
        http2_connections_read_trace(text, length, &handle->has_agreed_http2);
    }
    return 0;
}

/* Whether the connection speaks HTTP/1.x and another transfer in flight was sent over it. */
static bool is_busy(const struct transfer_handle *handle, struct transfer *transfer) {
    return handle->http2->are_needed &&
           !http2_connections_has(handle->http2, transfer->connection) &&
           first_sharing(transfer) != NULL;
}

/* The transfer has taken the connection over from those whose answers have begun: libcurl, from 8.5
 * on, does so only when an answer is complete. Seen with 8.14.1 before it reports that. */
static void take_over(struct transfer *transfer) {
    for (struct transfer *other = first_sharing(transfer); other != NULL;
         other = find_sharing(transfer, other->next)) {
        if (other->head.complete) {
            other->connection = 0;
        }
    }
}

/* libcurl calls this each time that it is about to send the request, for its own resends too. */
static int on_send(void *context, char *primary_ip, char *local_ip, int primary_port,
                   int local_port) {
    struct transfer_handle *handle = context;
    struct transfer *transfer = handle->transfer;
    connection_use_end_trace(handle);
    handle->connection = transfer->connection =
        http2_connections_id(primary_ip, primary_port, local_ip, local_port);
    if (handle->has_new_socket) {
        http2_connections_note(handle->http2, transfer->connection, handle->has_agreed_http2);
        handle->has_new_socket = false;
    }
    if (is_busy(handle, transfer)) {
        transfer->times_busy++;
        transfer->is_refused = true;
    } else {
        transfer->is_refused =
            idle_sockets_have_input(handle->sockets, handle->easy, handle->connection);
    }
    if (transfer->is_refused) {
        transfer->connection = 0;
        return CURL_PREREQFUNC_ABORT;
    }
    if (!handle->http2->are_needed) {
        take_over(transfer);
    }
    transfer->sends++;
    return CURL_PREREQFUNC_OK;
}

/* Hands the option on unless an earlier one was refused; `code` holds the first refusal. */
#define SET(option, value) (code = code == CURLE_OK ? curl_easy_setopt(easy, option, value) : code)

CURLcode connection_use_configure(struct transfer_handle *handle) {
    CURL *easy = handle->easy;
    CURLcode code = CURLE_OK;
    SET(CURLOPT_SOCKOPTDATA, (void *)handle);
    SET(CURLOPT_SOCKOPTFUNCTION, on_new_socket);
    SET(CURLOPT_DEBUGDATA, (void *)handle);
    SET(CURLOPT_DEBUGFUNCTION, on_trace);
    SET(CURLOPT_PREREQDATA, (void *)handle);
    SET(CURLOPT_PREREQFUNCTION, on_send);
    return code;
}

void connection_use_note_socket(CURL *easy, curl_socket_t socket, int what) {
    char *context = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &context);
    struct transfer_handle *handle = (struct transfer_handle *)(void *)context;
    struct transfer *transfer = handle != NULL ? handle->transfer : NULL;
    if (transfer == NULL) {
        return;
    }
    /* Without an answer it may have been the socket of another address, which was given up. */
    if (what == CURL_POLL_REMOVE && transfer->head.complete) {
        transfer->connection = 0;
    }
    /* Until it is connected, a socket is waited for only to be written to. */
    if (handle->has_new_socket && !handle->is_connected && what != CURL_POLL_OUT) {
        handle->is_connected = platform_is_connected((intptr_t)socket);
    }
}
