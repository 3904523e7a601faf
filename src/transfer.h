/* One HTTP exchange on one easy handle: configure it, collect what arrives, say how it ended. The
 * callbacks are C only. Driving the exchange is the transfer set's work. */
#ifndef AUTOPILOT_TRANSFER_H
#define AUTOPILOT_TRANSFER_H

#include <curl/curl.h>

#include "byte_buffer.h"
#include "prepared_request.h"
#include "response_head.h"

/* What one attempt adds to its prepared request. All text is copied. */
struct transfer_attempt {
    const char *token; /* NULL: no Authorization header of ours */
    size_t token_length;
    const char *client_request_id; /* NULL: none */
    size_t client_request_id_length;
    unsigned retry_attempt; /* 0: the first attempt, which carries no retry-attempt header */
    double connect_timeout; /* seconds */
    double total_timeout;   /* seconds */
};

/* Seconds since the start of the exchange; 0 for a phase that was not needed. */
struct transfer_timings {
    double name_lookup;
    double connect;
    double tls;
    double first_byte;
    double total;
};

enum { TRANSFER_OWN_HEADERS = 3 };

struct transfer {
    struct prepared_request *request;
    CURL *easy;                                      /* NULL before the start and after the end */
    struct curl_slist headers[TRANSFER_OWN_HEADERS]; /* ours, linked before the request's */
    struct byte_buffer own_headers;                  /* their text, the token among it */
    struct response_head head;
    struct byte_buffer body;
    unsigned sends; /* how often the request may have been put on the wire */
    bool head_overflowed;
    bool body_overflowed;
    bool finished;
    CURLcode code;
    long http_version; /* CURL_HTTP_VERSION_..., 0 when no answer came */
    const char *failed_stage;
    struct transfer_timings timings;
    char message[CURL_ERROR_SIZE];

    /* The set's own: which set it is in, and its neighbours there. */
    struct transfer_set *set;
    struct transfer *previous, *next;
};

/* Makes a fresh handle ready for any number of transfers of this request. */
CURLcode transfer_configure(CURL *easy, const struct prepared_request *request);

/* Makes the transfer (zeroed memory) ready for one attempt at the request, of which it takes a
 * reference, on a handle configured for it. Not CURLE_OK when memory is short; a NULL handle is
 * such a case. The token and the id must be header text. */
CURLcode transfer_prepare(struct transfer *transfer, struct prepared_request *request, CURL *easy,
                          const struct transfer_attempt *attempt);

/* Notes how the exchange ended, wipes the token and lets go of the handle, which is returned: free
 * of anything that points into the transfer, and still configured for the request. */
CURL *transfer_finish(struct transfer *transfer, CURLcode code);

/* The status of the final answer, or 0 when none came. It counts even where the rest was cut. */
int transfer_status(const struct transfer *transfer);

/* True when the whole answer came. */
bool transfer_is_complete(const struct transfer *transfer);

/* Frees what the transfer holds; it must not be in a set. May be called again. */
void transfer_free(struct transfer *transfer);

#endif
