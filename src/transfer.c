#include "transfer.h"
#include "connections.h"
#include "curl_failure.h"
#include "platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than the headers of any service. A longer head is cut, its status kept. */
static const size_t longest_head = 256 * 1024;

void transfer_discard_answer(struct transfer *transfer) {
    transfer->is_shared = true;
    response_head_free(&transfer->head);
    response_head_init(&transfer->head, longest_head);
    byte_buffer_clear(&transfer->body);
}

static size_t on_header_line(char *line, size_t size, size_t count, void *context) {
    struct transfer *transfer = ((struct transfer_handle *)context)->transfer;
    bool begins_http1 = size * count > 7 && memcmp(line, "HTTP/1.", 7) == 0;
    if (transfer->is_shared || (begins_http1 && connections_is_shared(transfer, true))) {
        return 0;
    }
    enum byte_buffer_status status = response_head_add_line(&transfer->head, line, size * count);
    if (status == BYTE_BUFFER_FULL) {
        transfer->overflow = "the response head is larger than 256 KiB";
    }
    return status == BYTE_BUFFER_OK ? size * count : 0;
}

static size_t on_body_bytes(char *bytes, size_t size, size_t count, void *context) {
    struct transfer *transfer = ((struct transfer_handle *)context)->transfer;
    if (transfer->is_shared) {
        return 0;
    }
    enum byte_buffer_status status = byte_buffer_add(&transfer->body, bytes, size * count);
    if (status == BYTE_BUFFER_FULL) {
        /* Keeps what fits: an error body says at its start what is wrong. */
        transfer->overflow = "the response body is larger than max_body";
        byte_buffer_add(&transfer->body, bytes, transfer->body.ceiling - transfer->body.length);
    }
    return status == BYTE_BUFFER_OK ? size * count : 0;
}

void transfer_init(struct transfer *transfer, struct prepared_request *request,
                   const struct transfer_attempt *attempt) {
    char number[16];
    const struct {
        const char *prefix;
        const char *value; /* NULL: not sent */
    } wanted[TRANSFER_OWN_HEADERS] = {
        {"Authorization: Bearer ", attempt->token},
        {"client-request-id: ", attempt->client_request_id},
        {"retry-attempt: ", attempt->retry_attempt > 0 ? number : NULL},
    };
    struct byte_buffer *text = &transfer->header_text;
    size_t room = 0;
    (void)snprintf(number, sizeof number, "%u", attempt->retry_attempt);
    for (size_t i = 0; i < TRANSFER_OWN_HEADERS; i++) {
        const char *value = wanted[i].value;
        room += value != NULL ? strlen(wanted[i].prefix) + strlen(value) + 1 : 0;
    }
    transfer->request = prepared_request_retain(request);
    transfer->connect_timeout = attempt->connect_timeout;
    transfer->total_timeout = attempt->total_timeout;
    transfer->send_by = attempt->send_by;
    byte_buffer_init(&transfer->body, request->max_body);
    response_head_init(&transfer->head, longest_head);
    byte_buffer_init(text, room);
    if (byte_buffer_reserve(text, room) != BYTE_BUFFER_OK) {
        transfer->code = CURLE_OUT_OF_MEMORY;
        return;
    }
    transfer->first_header = request->headers;
    for (size_t i = TRANSFER_OWN_HEADERS; i-- > 0;) {
        if (wanted[i].value != NULL) {
            transfer->headers[i].data = text->bytes + text->length;
            transfer->headers[i].next = transfer->first_header;
            transfer->first_header = &transfer->headers[i];
            byte_buffer_add(text, wanted[i].prefix, strlen(wanted[i].prefix));
            byte_buffer_add(text, wanted[i].value, strlen(wanted[i].value) + 1);
        }
    }
}

/* Milliseconds for libcurl, rounded up: from 1, as 0 would mean "no limit", to a day. */
static long to_milliseconds(double seconds) {
    const double longest = 86400;
    if (!(seconds > 0)) {
        return 1;
    }
    double milliseconds = (seconds < longest ? seconds : longest) * 1e3;
    long whole = (long)milliseconds;
    return (double)whole < milliseconds ? whole + 1 : whole;
}

/* Configures an idle handle for a request, in place of an earlier one. */
static CURLcode configure(struct transfer_handle *handle, struct prepared_request *request) {
    CURL *easy = handle->easy;
    curl_easy_reset(easy); /* first: it still points at the other request's URL */
    prepared_request_release(handle->request);
    handle->request = prepared_request_retain(request);
    CURLcode code = prepared_request_configure(request, easy);
    if (request->is_inspected) {
        SET(CURLOPT_FRESH_CONNECT, 1L);
        SET(CURLOPT_SSL_SESSIONID_CACHE, 0L); /* a session that is resumed has no certificates */
    }
    if (request->has_facts) {
        (void)curl_easy_setopt(easy, CURLOPT_CERTINFO, 1L); /* some TLS libraries lack it */
    }
    SET(CURLOPT_PRIVATE, (void *)handle);
    SET(CURLOPT_HEADERDATA, (void *)handle);
    SET(CURLOPT_WRITEDATA, (void *)handle);
    SET(CURLOPT_HEADERFUNCTION, on_header_line);
    SET(CURLOPT_WRITEFUNCTION, on_body_bytes);
    handle->may_use_environment =
        !request->is_plaintext && request->proxy == NULL && curl_trace_may_show_proxy();
    if (code == CURLE_OK) {
        code = curl_trace_configure(&handle->trace, easy);
    }
    return code == CURLE_OK ? connections_configure(handle) : code;
}

struct transfer_handle *transfer_handle_create(struct connections *connections) {
    struct transfer_handle *handle = calloc(1, sizeof *handle);
    if (handle == NULL) {
        return NULL;
    }
    handle->connections = connections;
    handle->easy = curl_easy_init();
    if (handle->easy == NULL) {
        transfer_handle_free(handle);
        return NULL;
    }
    return handle;
}

void transfer_handle_free(struct transfer_handle *handle) {
    if (handle != NULL) {
        curl_easy_cleanup(handle->easy);
        prepared_request_release(handle->request);
        free(handle);
    }
}

CURLcode transfer_prepare(struct transfer *transfer, struct transfer_handle *handle) {
    CURL *easy = handle->easy;
    CURLcode code = transfer->code;
    if (code == CURLE_OK && handle->request != transfer->request) {
        code = configure(handle, transfer->request);
    }
    handle->transfer = transfer;
    handle->has_new_socket = handle->is_connected = false;
    handle->connection = 0;
    handle->trace = (struct curl_trace){0};
    transfer->handle = handle;
    SET(CURLOPT_HTTPHEADER, transfer->first_header);
    SET(CURLOPT_ERRORBUFFER, transfer->message);
    SET(CURLOPT_CONNECTTIMEOUT_MS, to_milliseconds(transfer->connect_timeout));
    SET(CURLOPT_TIMEOUT_MS, to_milliseconds(transfer->total_timeout));
    if (handle->may_use_environment) {
        SET(CURLOPT_VERBOSE, 1L);
    }
    return code;
}

const char *const transfer_phase_names[] = {"name_lookup", "connect", "tls", "first_byte", "total"};

/* Stores the times of the phases. Those of connecting stay 0 for a connection that was open. */
static void read_timings(struct transfer *transfer) {
    static const CURLINFO infos[TRANSFER_PHASES] = {
        CURLINFO_NAMELOOKUP_TIME_T,    CURLINFO_CONNECT_TIME_T, CURLINFO_APPCONNECT_TIME_T,
        CURLINFO_STARTTRANSFER_TIME_T, CURLINFO_TOTAL_TIME_T,
    };
    CURL *easy = transfer->handle->easy;
    long connections = 0;
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connections);
    /* When no connection was made, some versions of libcurl store the time to find an open one. */
    bool has_connected = connections > 0 || transfer->sends == 0;
    for (int i = has_connected ? 0 : TRANSFER_FIRST_BYTE; i < TRANSFER_PHASES; i++) {
        curl_off_t microseconds = 0;
        curl_easy_getinfo(easy, infos[i], &microseconds);
        transfer->timings[i] = (double)microseconds / 1e6;
    }
}

/* Stores a fact, unless its value is empty. `name` ends with a colon; it is "" if `value` begins
 * with the name. */
static void note_fact(struct transfer *transfer, const char *name, const char *value) {
    if (value[0] != '\0') {
        byte_buffer_add(&transfer->facts, name, strlen(name));
        byte_buffer_add(&transfer->facts, value, strlen(value) + 1);
    }
}

/* Stores the facts of the connection: the server's address, whether it is new, its version of TLS,
 * the variable that names the proxy, and the fields of the server's certificate. */
static void note_facts(struct transfer *transfer) {
    CURL *easy = transfer->handle->easy;
    char *address = NULL;
    long connections = 0;
    struct curl_certinfo *chain = NULL;
    byte_buffer_init(&transfer->facts, 64 * 1024);
    curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address);
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connections);
    curl_easy_getinfo(easy, CURLINFO_CERTINFO, &chain);
    note_fact(transfer, "Address:", address != NULL ? address : "");
    note_fact(transfer, "Connection:", connections > 0 ? "new" : "open before");
    note_fact(transfer, "TLS:", transfer->handle->trace.tls_version);
    note_fact(transfer, "Proxy:", transfer->handle->trace.proxy_variable);
    if (chain != NULL && chain->num_of_certs > 0) {
        for (struct curl_slist *fact = chain->certinfo[0]; fact != NULL; fact = fact->next) {
            note_fact(transfer, "", fact->data);
        }
    }
}

static void set_message(struct transfer *transfer, const char *text) {
    (void)snprintf(transfer->message, sizeof transfer->message, "%s", text);
}

/* Names the encoding of a body that cannot be decoded. */
static void set_encoding_message(struct transfer *transfer) {
    struct header_field field;
    for (size_t position = 0; response_head_next(&transfer->head, &position, &field);) {
        if (header_field_is(&field, "content-encoding")) {
            (void)snprintf(transfer->message, sizeof transfer->message,
                           "the body has the content encoding '%.*s', which cannot be read",
                           (int)(field.value_length < 100 ? field.value_length : 100), field.value);
        }
    }
}

/* Returns libcurl's code, or a more exact one where that is misleading, and sets its message. */
static CURLcode exact_code(struct transfer *transfer, CURLcode code) {
    if (transfer->is_shared) {
        set_message(transfer, "another request was sent over the same HTTP/1.1 connection, so that "
                              "whose answer came first cannot be known");
        return CURLE_WEIRD_SERVER_REPLY;
    }
    if (transfer->overflow != NULL) {
        set_message(transfer, transfer->overflow);
        return CURLE_FILESIZE_EXCEEDED;
    }
    if (code == CURLE_BAD_CONTENT_ENCODING) {
        set_encoding_message(transfer);
    }
    bool has_answer = transfer->head.complete && response_head_is_final(&transfer->head);
    if (code == CURLE_OK && !has_answer) {
        set_message(transfer, "the response head was cut");
        return CURLE_WEIRD_SERVER_REPLY;
    }
    /* For a header line that is too long libcurl has CURLE_TOO_LARGE, before 8.6 another code. */
    if (code == CURLE_TOO_LARGE) {
        set_message(transfer, "a response header is larger than libcurl allows");
    } else if (code == CURLE_OUT_OF_MEMORY && transfer->sends > 0 && !has_answer) {
        set_message(transfer, "a response header is larger than 100 kB, or memory is short");
    }
    return code;
}

/* Returns how far the transfer came, from which the stage of its failure follows. */
static struct transfer_progress read_progress(const struct transfer *transfer) {
    const struct prepared_request *request = transfer->handle->request;
    const struct curl_trace *trace = &transfer->handle->trace;
    const char *proxy = request->proxy != NULL && !request->is_plaintext ? request->proxy : "";
    struct transfer_progress progress = {0};
    curl_easy_getinfo(transfer->handle->easy, CURLINFO_HTTP_CONNECTCODE, &progress.proxy_status);
    progress.resolved = transfer->timings[TRANSFER_NAME_LOOKUP] > 0;
    /* libcurl sets the time of connecting only after TLS and a proxy's tunnel are set up too. */
    progress.connected = transfer->timings[TRANSFER_CONNECT] > 0 || transfer->handle->is_connected;
    progress.proxied = proxy[0] != '\0' || trace->proxy_variable[0] != '\0';
    progress.socks = trace->is_socks_proxy || curl_strnequal(proxy, "socks", 5);
    progress.secured = transfer->timings[TRANSFER_TLS] > 0 || request->is_plaintext;
    progress.sent = transfer->sends > 0;
    progress.answered = transfer->head.status > 0;
    return progress;
}

/* Sets the stage and the message of a failure. */
static void note_failure(struct transfer *transfer) {
    const char *variable = transfer->handle->trace.proxy_variable;
    struct transfer_progress progress = read_progress(transfer);
    transfer->failed_stage = curl_failure_stage(transfer->code, &progress);
    if (transfer->message[0] == '\0') {
        set_message(transfer, curl_easy_strerror(transfer->code));
    } else if (strstr(transfer->message, "Unsupported proxy") != NULL) {
        /* libcurl quotes the URL, which may have a password in it. */
        set_message(transfer, "the URL of the proxy cannot be used");
    }
    if (variable[0] != '\0' && strcmp(transfer->failed_stage, "proxy") == 0) {
        size_t length = strlen(transfer->message);
        (void)snprintf(transfer->message + length, sizeof transfer->message - length,
                       " (proxy set by %s)", variable);
    }
}

/* Wipes the token, and releases the request. */
static void forget_request(struct transfer *transfer) {
    byte_buffer_free(&transfer->header_text);
    prepared_request_release(transfer->request);
    transfer->request = NULL;
}

struct transfer_handle *transfer_finish(struct transfer *transfer, CURLcode code) {
    struct transfer_handle *handle = transfer->handle;
    transfer->finished = true;
    forget_request(transfer);
    if (handle == NULL) {
        transfer->code = code;
        transfer->failed_stage = "connect";
        set_message(transfer, curl_easy_strerror(code));
        return NULL;
    }
    transfer->code = exact_code(transfer, code);
    read_timings(transfer);
    if (handle->request->has_facts) {
        note_facts(transfer);
    }
    if (transfer->head.status > 0) {
        curl_easy_getinfo(handle->easy, CURLINFO_HTTP_VERSION, &transfer->http_version);
    }
    if (transfer->code != CURLE_OK) {
        note_failure(transfer);
    }
    curl_easy_setopt(handle->easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(handle->easy, CURLOPT_ERRORBUFFER, NULL);
    handle->transfer = NULL;
    transfer->handle = NULL;
    return handle;
}

int transfer_status(const struct transfer *transfer) {
    return response_head_is_final(&transfer->head) ? transfer->head.status : 0;
}

void transfer_free(struct transfer *transfer) {
    forget_request(transfer);
    byte_buffer_free(&transfer->body);
    byte_buffer_free(&transfer->facts);
    response_head_free(&transfer->head);
}
