#include "connections.h"
#include "platform.h"

#include <stdlib.h>
#include <string.h>

/* Streams that servers allow at a time on one HTTP/2 connection: 100 is the least that RFC 9113
 * recommends in section 6.5.2, and what many use. */
enum { STREAMS_PER_CONNECTION = 100 };

/* Descriptors that are left to the rest of the program. */
enum { SPARE_DESCRIPTORS = 64 };

/* Idle HTTP/1.x connections that are kept, at the least. Each one that is used again spares 2 ms of
 * processor time for TLS. */
enum { MOST_IDLE = 256 };

/* ---- How many ------------------------------------------------------------------------------- */

/* With as many connections to a host as the streams need, libcurl fills each before it opens the
 * next; without the limit it opens one for nearly each transfer that is added before the first
 * connection is up. libcurl has one limit for all hosts, so it must allow those that speak HTTP/1.x
 * a connection for each of their transfers. */
static void limit_to_each_host(const struct connections *connections) {
    unsigned most = connections->concurrency, alone = connections->alone;
    unsigned shared = (most + STREAMS_PER_CONNECTION - 1) / STREAMS_PER_CONNECTION;
    unsigned limit = alone < shared ? shared : alone < most ? alone : most;
    if (most > 0) {
        curl_multi_setopt(connections->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)limit);
    }
}

void connections_init(struct connections *connections, CURLM *multi, unsigned concurrency) {
    const unsigned first_that_checks = 0x080500;
    long descriptors = platform_descriptor_limit();
    connections->multi = multi;
    connections->concurrency = concurrency;
    connections->must_know_http2 =
        curl_version_info(CURLVERSION_NOW)->version_num < first_that_checks;
    if (concurrency == 0) {
        return;
    }
    if (descriptors > 1) {
        /* Transfers beyond the limit wait, instead of failing for lack of a socket. */
        long half = descriptors / 2;
        curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                          descriptors - (half < SPARE_DESCRIPTORS ? half : SPARE_DESCRIPTORS));
    }
    curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS_PER_CONNECTION);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)concurrency + SPARE_DESCRIPTORS);
    limit_to_each_host(connections);
}

/* Stores whether the transfer is in flight and needs a connection of its own. */
static void set_alone(struct transfer *transfer, bool is_alone) {
    struct connections *connections = transfer->handle->connections;
    if (transfer->is_alone != is_alone) {
        transfer->is_alone = is_alone;
        connections->alone += is_alone ? 1U : -1U;
        limit_to_each_host(connections);
    }
}

void connections_begin(struct transfer *transfer) {
    const struct connections *connections = transfer->handle->connections;
    const struct prepared_request *request = transfer->request;
    bool is_alone = request->is_plaintext || request->http_version == CURL_HTTP_VERSION_1_1 ||
                    connections->is_http1_host[request->host];
    bool may_wait = !is_alone && connections->concurrency > 0;
    curl_easy_setopt(transfer->handle->easy, CURLOPT_PIPEWAIT, may_wait ? 1L : 0L);
    set_alone(transfer, is_alone);
}

void connections_end_sharing(struct connections *connections) {
    curl_multi_setopt(connections->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    memset(connections->is_http1_host, true, sizeof connections->is_http1_host);
}

/* ---- What is known of each ------------------------------------------------------------------- */

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ at[i]) * 0x100000001b3; /* FNV-1a */
    }
    return hash;
}

uint64_t connections_id(const char *primary_ip, int primary_port, const char *local_ip,
                        int local_port) {
    uint64_t hash = 0xcbf29ce484222325;
    hash = hash_bytes(hash, primary_ip, strlen(primary_ip));
    hash = hash_bytes(hash, &primary_port, sizeof primary_port);
    hash = hash_bytes(hash, local_ip, strlen(local_ip));
    hash = hash_bytes(hash, &local_port, sizeof local_port);
    return hash != 0 ? hash : 1;
}

static bool is_new_connection(CURL *easy) {
    long connects = 0;
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    return connects > 0;
}

/* Adds an HTTP/1.x connection to the list; without memory it is left out. */
static void note_http1(struct connections *connections, uint64_t id, curl_socket_t socket) {
    struct http1_socket *longer =
        realloc(connections->http1, (connections->http1_count + 1) * sizeof *longer);
    if (longer != NULL) {
        connections->http1 = longer;
        longer[connections->http1_count++] = (struct http1_socket){id, socket};
    }
}

static void forget(struct connections *connections, uint64_t id, curl_socket_t socket) {
    for (size_t i = connections->http1_count; i-- > 0;) {
        struct http1_socket *known = &connections->http1[i];
        if (known->connection == id || known->socket == socket) {
            *known = connections->http1[--connections->http1_count];
        }
    }
}

/* Whether the HTTP/1.x connection of this id has data to read. */
static bool has_input(const struct connections *connections, uint64_t id) {
    for (size_t i = 0; i < connections->http1_count; i++) {
        if (connections->http1[i].connection == id) {
            return platform_has_input((intptr_t)connections->http1[i].socket);
        }
    }
    return false;
}

/* The transfers in flight that were sent over connections whose ids have the same low bits. */
static struct transfer **list_of(struct connections *connections, uint64_t id) {
    return &connections->sent[id % CONNECTIONS_LISTS];
}

/* Stores the connection over which the transfer was sent; 0: none, or it has ended. */
static void set_connection(struct transfer *transfer, uint64_t id) {
    struct transfer **list = list_of(transfer->handle->connections, id);
    if (transfer->connection != 0) {
        *transfer->link = transfer->next_sent;
        if (transfer->next_sent != NULL) {
            transfer->next_sent->link = transfer->link;
        }
    }
    transfer->connection = id;
    if (id != 0) {
        transfer->link = list;
        transfer->next_sent = *list;
        if (*list != NULL) {
            (*list)->link = &transfer->next_sent;
        }
        *list = transfer;
    }
}

bool connections_end(struct transfer_handle *handle, int in_flight) {
    struct connections *connections = handle->connections;
    long version = 0;
    curl_socket_t socket = CURL_SOCKET_BAD;
    set_connection(handle->transfer, 0);
    curl_easy_setopt(handle->easy, CURLOPT_VERBOSE, 0L); /* still on if nothing was sent */
    curl_easy_getinfo(handle->easy, CURLINFO_HTTP_VERSION, &version);
    bool is_http1 = version == CURL_HTTP_VERSION_1_1 || version == CURL_HTTP_VERSION_1_0;
    bool is_news = is_http1 && !handle->transfer->is_alone;
    if (is_news) {
        connections->is_http1_host[handle->request->host] = true;
    }
    set_alone(handle->transfer, false);
    if (is_http1 && connections->concurrency > 0) {
        /* Many transfers at once leave many idle connections. libcurl counts those in use too,
         * and closes one at most when a transfer ends. */
        curl_multi_setopt(connections->multi, CURLMOPT_MAXCONNECTS, (long)in_flight + MOST_IDLE);
    }
    if (version == 0 || !is_new_connection(handle->easy)) {
        return is_news; /* closed or known; CURLINFO_ACTIVESOCKET would search all connections */
    }
    curl_easy_getinfo(handle->easy, CURLINFO_ACTIVESOCKET, &socket);
    forget(connections, handle->connection, socket);
    if (version < CURL_HTTP_VERSION_2_0 && socket != CURL_SOCKET_BAD) {
        note_http1(connections, handle->connection, socket);
    }
    return is_news;
}

/* ---- Transfers over one connection ----------------------------------------------------------- */

/* Whether the answer is complete with its head, so that libcurl may have reused the connection
 * before it reports the transfer as finished. From 8.5 on libcurl reuses no connection earlier: an
 * answer that has begun is then complete (seen with 8.14.1). */
static bool is_answered(const struct transfer *transfer) {
    int status = transfer_status(transfer);
    return transfer->head.complete &&
           (!transfer->handle->connections->must_know_http2 || status == 204 || status == 304);
}

bool connections_is_shared(struct transfer *transfer, bool they_lose) {
    bool is_shared = false;
    uint64_t id = transfer->connection;
    struct transfer *other = id != 0 ? *list_of(transfer->handle->connections, id) : NULL;
    for (; other != NULL; other = other->next_sent) {
        if (other != transfer && other->connection == id && !is_answered(other)) {
            is_shared = true;
            if (they_lose) {
                transfer_discard_answer(other);
            }
        }
    }
    if (is_shared && they_lose) {
        transfer_discard_answer(transfer);
    }
    return is_shared;
}

/* ---- libcurl's callbacks --------------------------------------------------------------------- */

/* libcurl calls this when it needs a socket. It marks the handle, and turns libcurl's trace on if
 * facts of the new connection are needed. */
static curl_socket_t on_new_socket(void *context, curlsocktype purpose,
                                   struct curl_sockaddr *address) {
    struct transfer_handle *handle = context;
    (void)purpose;
    handle->has_new_socket = handle->connections->has_begun_one = true;
    handle->is_connected = handle->trace.has_agreed_http2 = false;
    if (handle->connections->must_know_http2 || handle->request->has_facts) {
        curl_easy_setopt(handle->easy, CURLOPT_VERBOSE, 1L);
    }
    return (curl_socket_t)platform_open_socket(
        address->family, address->socktype, address->protocol, handle->connections->unacknowledged);
}

/* Whether the connection speaks HTTP/1.x and another transfer in flight was sent over it. */
static bool is_busy(const struct transfer_handle *handle, struct transfer *transfer) {
    return handle->connections->must_know_http2 &&
           !handle->connections->is_http2[handle->connection % CONNECTIONS_IDS] &&
           connections_is_shared(transfer, false);
}

/* libcurl calls this each time that it is about to send the request, also when it resends it. */
static int on_send(void *context, char *primary_ip, char *local_ip, int primary_port,
                   int local_port) {
    struct transfer_handle *handle = context;
    struct transfer *transfer = handle->transfer;
    curl_easy_setopt(handle->easy, CURLOPT_VERBOSE, 0L);
    handle->connection = connections_id(primary_ip, primary_port, local_ip, local_port);
    set_connection(transfer, handle->connection);
    if (handle->has_new_socket) {
        handle->connections->is_http2[handle->connection % CONNECTIONS_IDS] =
            handle->trace.has_agreed_http2;
        handle->has_new_socket = false;
    }
    bool is_now_busy = is_busy(handle, transfer);
    transfer->times_busy += is_now_busy;
    bool is_refused = is_now_busy || (!is_new_connection(handle->easy) &&
                                      has_input(handle->connections, handle->connection));
    /* Checked last: a stopped process often stops in a system call, such as the one above. */
    bool is_late = transfer->send_by > 0 && platform_clock() > transfer->send_by;
    transfer->is_refused = is_refused && !is_late;
    if (transfer->is_refused || is_late) {
        set_connection(transfer, 0);
        return CURL_PREREQFUNC_ABORT;
    }
    transfer->sends++;
    return CURL_PREREQFUNC_OK;
}

CURLcode connections_configure(struct transfer_handle *handle) {
    CURL *easy = handle->easy;
    CURLcode code = CURLE_OK;
    SET(CURLOPT_OPENSOCKETDATA, (void *)handle);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_new_socket);
    SET(CURLOPT_PREREQDATA, (void *)handle);
    SET(CURLOPT_PREREQFUNCTION, on_send);
    return code;
}

void connections_note_socket(CURL *easy, curl_socket_t socket, int what) {
    char *context = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &context);
    struct transfer_handle *handle = (struct transfer_handle *)(void *)context;
    struct transfer *transfer = handle != NULL ? handle->transfer : NULL;
    if (transfer == NULL) {
        return;
    }
    /* Without an answer, it may be the socket of another address of the host, which has failed. */
    if (what == CURL_POLL_REMOVE && transfer->head.complete) {
        set_connection(transfer, 0);
    }
    /* Until a socket is connected, libcurl waits for CURL_POLL_OUT only. */
    if (handle->has_new_socket && !handle->is_connected && what != CURL_POLL_OUT) {
        handle->is_connected = platform_is_connected((intptr_t)socket);
    }
}
