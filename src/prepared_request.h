/* What all attempts at a request have in common, checked once: method, URL, headers, body and
 * options of the network. It is not changed once it is used; references are counted.
 *
 * Functions that may fail return a problem: a constant text, which quotes nothing; NULL if all is
 * well. */
#ifndef AUTOPILOT_PREPARED_REQUEST_H
#define AUTOPILOT_PREPARED_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <curl/curl.h>

#include "byte_buffer.h"

struct prepared_request {
    long references; /* several threads may share it */
    bool is_post;
    bool is_plaintext;          /* http, which is allowed for loopback and link-local hosts only */
    unsigned char host;         /* a hash of the URL's host */
    CURLU *url;                 /* parsed once: libcurl would do it for every transfer */
    struct curl_slist *headers; /* those of every attempt; a transfer puts its own before them */
    struct byte_buffer body;    /* that of a sign-in has a secret */
    char *ca_file;              /* all of these: NULL for none */
    char *ca_path;
    char *proxy;
    long http_version; /* CURL_HTTP_VERSION_... */
    size_t max_body;   /* bytes of an answer's body that are kept */
    bool has_facts;    /* its transfers keep facts of their connections */
    bool is_inspected; /* the same, and each is sent over a new connection */
};

/* A request for the method (GET or POST) and the URL, with one reference. The URL has no
 * credentials, and is an https one, or an http one of a loopback or link-local host. NULL when
 * there is a problem. */
struct prepared_request *prepared_request_create(const char *method, const char *url,
                                                 const char **problem);

struct prepared_request *prepared_request_retain(struct prepared_request *request);

/* Releases one reference; after the last one the request is wiped and freed. NULL is allowed. */
void prepared_request_release(struct prepared_request *request);

/* Adds a header that every transfer sends. With an empty value libcurl does not send that header.
 */
const char *prepared_request_add_header(struct prepared_request *request, const char *name,
                                        const char *value);

/* Sets an option of the handle `easy` unless an earlier one was refused; `code` holds the first
 * refusal. */
#define SET(option, value) (code = code == CURLE_OK ? curl_easy_setopt(easy, option, value) : code)

/* Sets the request in a fresh easy handle, and the rules for every request: TLS is verified; no
 * redirects, netrc, cookies or other protocols. Not CURLE_OK when libcurl refuses an option. */
CURLcode prepared_request_configure(const struct prepared_request *request, CURL *easy);

/* True when the text can be sent in a header: it has no CR, LF or NUL. */
bool prepared_request_is_header_text(const char *text, size_t length);

#endif
