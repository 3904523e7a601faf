/* One HTTP exchange on one easy handle: configures it, collects the answer, tells how it ended. The
 * callbacks are C only. A transfer set drives the exchange. */
#ifndef AUTOPILOT_TRANSFER_H
#define AUTOPILOT_TRANSFER_H

#include <curl/curl.h>
#include <stdint.h>

#include "byte_buffer.h"
#include "curl_trace.h"
#include "prepared_request.h"
#include "response_head.h"

/* What one attempt adds to its prepared request. All text is copied. */
struct transfer_attempt {
    const char *token; /* NULL: no Authorization header */
    size_t token_length;
    const char *client_request_id; /* NULL: none */
    size_t client_request_id_length;
    unsigned retry_attempt; /* 0: the first attempt, which carries no retry-attempt header */
    double connect_timeout; /* seconds */
    double total_timeout;   /* seconds */
    double send_timeout; /* seconds after which it must not be sent any more; 0: it may always be */
};

/* When a phase had ended, in seconds since the start of the exchange; 0 if it was not needed. */
enum transfer_phase {
    TRANSFER_NAME_LOOKUP,
    TRANSFER_CONNECT,
    TRANSFER_TLS,
    TRANSFER_FIRST_BYTE,
    TRANSFER_TOTAL,
    TRANSFER_PHASES
};

enum { TRANSFER_OWN_HEADERS = 3 };

/* An easy handle, configured for one request and then used for any number of its transfers.
 * libcurl's pointers lead here, so that little has to be set for each transfer. */
struct transfer_handle {
    CURL *easy;
    struct prepared_request *request; /* a reference */
    struct transfer *transfer;        /* the one that is running, or NULL */
    struct connections *connections;  /* the set's */
    struct curl_trace trace;          /* of this transfer, and for HTTP/2 of the new socket */
    bool may_use_environment;         /* the environment may name the proxy */
    uint64_t connection;              /* the id of the one that was used last */
    bool has_new_socket;              /* over which no request was about to be sent yet */
    bool is_connected;                /* that socket was, or one before it */
    struct curl_slist headers[TRANSFER_OWN_HEADERS]; /* the attempt's, before the request's */
    struct byte_buffer own_headers; /* their text, with the token; wiped after each attempt */
    struct transfer_handle *next;   /* among the set's idle ones */
};

struct transfer {
    struct transfer_handle *handle; /* NULL before the start and after the end */
    struct response_head head;
    struct byte_buffer body;
    unsigned sends;      /* how often the request may have been put on the wire */
    double send_by;      /* on platform_clock: it must not be sent later; 0: it may always be */
    uint64_t connection; /* the id of the one over which it was sent; 0: none, or it is over */
    bool is_refused;     /* its connection could not be used, and nothing was sent */
    unsigned times_busy; /* how often because another transfer awaits its answer there */
    bool is_shared; /* two were sent over one HTTP/1.x connection: the answer may be that of the
                       other */
    const char *overflow; /* a text that says what was too large to be kept; NULL: nothing */
    bool finished;
    CURLcode code;
    long http_version; /* CURL_HTTP_VERSION_..., 0 when no answer came */
    const char *failed_stage;
    double timings[TRANSFER_PHASES];
    struct byte_buffer facts; /* if the request has them: texts `Name:value`, each ended by NUL */
    char message[CURL_ERROR_SIZE]; /* of a failure; libcurl writes it, and some are replaced */

    /* The set's own: which set it is in, its place there, and when that gives it up. */
    struct transfer_set *set;
    struct transfer *previous, *next;
    double deadline;
};

/* A handle that is to be configured; NULL when memory is short. Handles of one set share what is
 * known of connections. */
struct transfer_handle *transfer_handle_create(struct connections *connections);

/* Configures an idle handle for a request, or another one. Not CURLE_OK when libcurl refuses: free
 * it then. */
CURLcode transfer_handle_configure(struct transfer_handle *handle,
                                   struct prepared_request *request);

/* Frees an idle handle. NULL is allowed. */
void transfer_handle_free(struct transfer_handle *handle);

/* Prepares the transfer (zeroed memory) for one attempt at the handle's request. Not CURLE_OK when
 * memory is short. The token and the id must be header text. */
CURLcode transfer_prepare(struct transfer *transfer, struct transfer_handle *handle,
                          const struct transfer_attempt *attempt);

/* Notes how the exchange ended, wipes the token, and returns the handle, which is idle then and has
 * no pointer into the transfer. Without a handle it notes the failure to get one. */
struct transfer_handle *transfer_finish(struct transfer *transfer, CURLcode code);

/* Drops the answer, and what comes of it later: it may belong to another request. */
void transfer_lose_answer(struct transfer *transfer);

/* The status of the final answer, or 0 when none came. Valid even where the rest was cut. */
int transfer_status(const struct transfer *transfer);

/* True when the whole answer came. */
bool transfer_is_complete(const struct transfer *transfer);

/* Frees what the transfer holds; it must not be in a set. May be called again. */
void transfer_free(struct transfer *transfer);

#endif
