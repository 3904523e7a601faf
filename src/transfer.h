/* One HTTP exchange on one easy handle: configures the handle, collects the answer, and records how
 * the exchange ended. The callbacks never call Lua. A transfer set drives the exchange. */
#ifndef AUTOPILOT_TRANSFER_H
#define AUTOPILOT_TRANSFER_H

#include <curl/curl.h>
#include <stdint.h>

#include "byte_buffer.h"
#include "curl_trace.h"
#include "prepared_request.h"
#include "response_head.h"

/* What one attempt adds to its prepared request. */
struct transfer_attempt {
    const char *token;             /* NULL: no Authorization header */
    const char *client_request_id; /* NULL: none */
    unsigned retry_attempt;        /* 0: the first attempt, which carries no retry-attempt header */
    double connect_timeout;        /* seconds */
    double total_timeout;          /* seconds */
    double send_by; /* on platform_clock: the request is not sent later; 0: no limit */
};

/* The phases of an exchange; the indexes of `timings`. */
enum {
    TRANSFER_NAME_LOOKUP,
    TRANSFER_CONNECT,
    TRANSFER_TLS,
    TRANSFER_FIRST_BYTE,
    TRANSFER_TOTAL,
    TRANSFER_PHASES
};
extern const char *const transfer_phase_names[TRANSFER_PHASES];

enum { TRANSFER_OWN_HEADERS = 3 };

/* An easy handle, configured for one request and then used for any number of its transfers.
 * libcurl's options point to it and not to the transfer, so that few must be set for each one. */
struct transfer_handle {
    CURL *easy;
    struct prepared_request *request; /* a reference */
    struct transfer *transfer;        /* the one that is running, or NULL */
    struct connections *connections;  /* the set's */
    struct curl_trace trace;          /* of this transfer, and for HTTP/2 of the new socket */
    bool may_use_environment;         /* the environment may name the proxy */
    uint64_t connection;              /* id of the connection that was used last */
    bool has_new_socket;              /* one was opened, and no request was sent over it yet */
    bool is_connected;                /* a socket of this transfer was connected */
    struct transfer_handle *next;     /* among the set's idle ones */
};

struct transfer {
    struct prepared_request *request;                /* a reference, until the end */
    struct curl_slist headers[TRANSFER_OWN_HEADERS]; /* the attempt's, before the request's */
    struct curl_slist *first_header;
    struct byte_buffer header_text; /* each ended by NUL, with the token; wiped at the end */
    double connect_timeout, total_timeout, send_by; /* as in the attempt */
    struct transfer_handle *handle;                 /* NULL before the start and after the end */
    struct response_head head;
    struct byte_buffer body;
    unsigned sends;      /* how often the request may have been put on the wire */
    uint64_t connection; /* id of the one over which it was sent; 0: none, or it has ended */
    struct transfer *next_sent, **link; /* in a list of the connections, unless that is 0 */
    bool is_alone;                      /* it is in flight and needs a connection of its own */
    bool is_refused;                    /* its connection could not be used, and nothing was sent */
    unsigned times_busy; /* how often, because another transfer waits for its answer there */
    bool is_shared; /* two were sent over one HTTP/1.x connection: the answer may be that of the
                       other */
    const char *overflow; /* a text that says what was too large to be kept; NULL: nothing */
    bool finished;
    CURLcode code;     /* once finished: CURLE_OK if the whole answer came; before the start: not
                          CURLE_OK if it cannot start */
    long http_version; /* CURL_HTTP_VERSION_..., 0 when no answer came */
    const char *failed_stage;
    double timings[TRANSFER_PHASES]; /* seconds from the start to each end; 0: was not needed */
    struct byte_buffer facts; /* if the request has them: texts `Name:value`, each ended by NUL */
    char message[CURL_ERROR_SIZE]; /* of a failure; libcurl writes it, and some are replaced */

    /* Used by the set: the set itself, the neighbours in it, and when the set gives it up. */
    struct transfer_set *set;
    struct transfer *previous, *next;
    double deadline;
};

/* Creates a handle. NULL when memory is short. All handles of one set share `connections`. */
struct transfer_handle *transfer_handle_create(struct connections *connections);

/* Frees an idle handle. NULL is allowed. */
void transfer_handle_free(struct transfer_handle *handle);

/* Makes a transfer, in zeroed memory, for one attempt at the request. It copies the token and the
 * id, which must be header text. It must not be moved before its end. */
void transfer_init(struct transfer *transfer, struct prepared_request *request,
                   const struct transfer_attempt *attempt);

/* Gives the transfer an idle handle, and configures that for its request, if it is not yet. Not
 * CURLE_OK if the transfer cannot start, as when libcurl refuses an option: the handle must then be
 * freed. */
CURLcode transfer_prepare(struct transfer *transfer, struct transfer_handle *handle);

/* Records how the exchange ended, wipes the token, and returns the handle, which is then idle and
 * has no pointer into the transfer. Without a handle, the transfer could not start. */
struct transfer_handle *transfer_finish(struct transfer *transfer, CURLcode code);

/* Marks the transfer as shared: its answer may be another request's, and is discarded. */
void transfer_discard_answer(struct transfer *transfer);

/* The status of the final answer, or 0 when none came. Valid even where the rest was cut. */
int transfer_status(const struct transfer *transfer);

/* Frees what the transfer holds; it must not be in a set. May be called again. */
void transfer_free(struct transfer *transfer);

#endif
