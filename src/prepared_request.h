/* A request that is made once and sent many times: everything that does not change between
 * attempts, checked, in the form that libcurl takes. Transfers share it; references are counted. */
#ifndef AUTOPILOT_PREPARED_REQUEST_H
#define AUTOPILOT_PREPARED_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <curl/curl.h>

enum prepared_request_status {
    PREPARED_REQUEST_OK,
    PREPARED_REQUEST_BAD_METHOD, /* neither GET nor POST */
    PREPARED_REQUEST_BAD_URL, /* unreadable, with credentials, or with a scheme that is not allowed
                               */
    PREPARED_REQUEST_BAD_HEADER, /* CR, LF or NUL in a value, or an invalid name */
    PREPARED_REQUEST_NO_MEMORY
};

struct prepared_request {
    long references; /* several threads may share it */
    bool is_post;
    bool is_plaintext;          /* http, which is allowed for loopback and link-local hosts only */
    CURLU *url;                 /* parsed once: libcurl would do it for every transfer */
    struct curl_slist *headers; /* those of every attempt; a transfer puts its own before them */
    char *body;                 /* NULL: none */
    size_t body_length;
    char *ca_file; /* all of these: NULL for none */
    char *ca_path;
    char *proxy;
    long http_version; /* CURL_HTTP_VERSION_... */
    size_t max_body;   /* bytes of an answer's body that are kept */
};

/* A request for the method and URL, with one reference; NULL when memory is short or either is
 * refused, which *status tells apart. */
struct prepared_request *prepared_request_create(const char *method, const char *url,
                                                 enum prepared_request_status *status);

struct prepared_request *prepared_request_retain(struct prepared_request *request);

/* Gives up one reference; after the last one the request is wiped and freed. NULL is allowed. */
void prepared_request_release(struct prepared_request *request);

/* Adds a header that every transfer sends. An empty value keeps libcurl from sending that header.
 */
enum prepared_request_status prepared_request_add_header(struct prepared_request *request,
                                                         const char *name, size_t name_length,
                                                         const char *value, size_t value_length);

/* Copies the body, which may contain any byte. */
enum prepared_request_status prepared_request_set_body(struct prepared_request *request,
                                                       const char *body, size_t length);

/* Copies text into one of the request's strings: `prepared_request_set(&request->proxy, "…")`. */
enum prepared_request_status prepared_request_set(char **member, const char *text);

/* Sets the request in a fresh easy handle, and the rules for every request: TLS is verified; no
 * redirects, netrc, cookies or other protocols. Not CURLE_OK when libcurl refuses an option. */
CURLcode prepared_request_configure(const struct prepared_request *request, CURL *easy);

/* True when the request names a proxy and goes through it. */
bool prepared_request_is_proxied(const struct prepared_request *request);

/* True when the text can be sent in a header: it has no CR, LF or NUL. */
bool prepared_request_is_header_text(const char *text, size_t length);

#endif
