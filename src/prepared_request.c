#include "prepared_request.h"
#include "ca_store.h"
#include "platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Connections that were idle for longer are not used again. Servers and load balancers close them
 * after 60 s and more: the request would meet a closing connection, and be sent twice. */
static const long longest_idle_seconds = 45;

static const char no_memory[] = "not enough memory";
static const char bad_url[] =
    "the URL must be https, without credentials (http only for a loopback "
    "or link-local host)";

/* Whether plain http is allowed: to this machine, and to the link-local addresses of managed
 * identity endpoints. libcurl has already normalised numeric forms of the host. */
static bool may_be_plaintext(const char *host) {
    bool is_numeric = host[strspn(host, "0123456789.")] == '\0';
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (is_numeric && (strncmp(host, "127.", 4) == 0 || strncmp(host, "169.254.", 8) == 0));
}

/* Checks that the scheme is allowed for the host, and that the URL has no credentials. */
static const char *check_url(struct prepared_request *request) {
    CURLU *url = request->url;
    char *scheme = NULL, *host = NULL, *secret = NULL;
    CURLUcode code = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
    code = code == CURLUE_OK ? curl_url_get(url, CURLUPART_HOST, &host, 0) : code;
    code = code == CURLUE_OK ? curl_url_get(url, CURLUPART_USER, &secret, 0) : code;
    code = code == CURLUE_NO_USER ? curl_url_get(url, CURLUPART_PASSWORD, &secret, 0) : code;
    bool is_allowed = false;
    if (code == CURLUE_NO_PASSWORD && scheme != NULL && host != NULL) {
        request->is_plaintext = strcmp(scheme, "http") == 0;
        is_allowed = request->is_plaintext ? may_be_plaintext(host) : strcmp(scheme, "https") == 0;
        for (const char *at = host; *at != '\0'; at++) {
            request->host = (unsigned char)(request->host * 31 + *at);
        }
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(secret);
    return is_allowed ? NULL : code == CURLUE_OUT_OF_MEMORY ? no_memory : bad_url;
}

/* Headers that libcurl would send: the first because of CURLOPT_ACCEPT_ENCODING, set below, the
 * second for long bodies. */
static const char *const unwanted[] = {"Accept-Encoding", "Expect"};

struct prepared_request *prepared_request_create(const char *method, const char *url,
                                                 const char **problem) {
    struct prepared_request *request = calloc(1, sizeof *request);
    *problem = no_memory;
    if (request == NULL) {
        return NULL;
    }
    request->references = 1;
    byte_buffer_init(&request->body, (size_t)-1);
    request->is_post = strcmp(method, "POST") == 0;
    request->http_version = CURL_HTTP_VERSION_NONE;
    request->url = curl_url();
    if (!request->is_post && strcmp(method, "GET") != 0) {
        *problem = "the method must be GET or POST";
    } else if (request->url != NULL) {
        CURLUcode code = curl_url_set(request->url, CURLUPART_URL, url, 0);
        *problem = code == CURLUE_OK              ? check_url(request)
                   : code == CURLUE_OUT_OF_MEMORY ? no_memory
                                                  : bad_url;
    }
    for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted && *problem == NULL; i++) {
        *problem = prepared_request_add_header(request, unwanted[i], "");
    }
    if (*problem != NULL) {
        prepared_request_release(request);
        return NULL;
    }
    return request;
}

struct prepared_request *prepared_request_retain(struct prepared_request *request) {
    platform_add(&request->references, 1);
    return request;
}

static void wipe_and_free(char *text, size_t length) {
    byte_buffer_wipe(text, length);
    free(text);
}

void prepared_request_release(struct prepared_request *request) {
    if (request == NULL || platform_add(&request->references, -1) > 0) {
        return;
    }
    for (struct curl_slist *header = request->headers; header != NULL; header = header->next) {
        byte_buffer_wipe(header->data, strlen(header->data)); /* may have a token */
    }
    curl_slist_free_all(request->headers);
    curl_url_cleanup(request->url);
    free(request->ca_file);
    free(request->ca_path);
    byte_buffer_free(&request->body);
    wipe_and_free(request->proxy, request->proxy != NULL ? strlen(request->proxy) : 0);
    free(request);
}

bool prepared_request_is_header_text(const char *text, size_t length) {
    return memchr(text, '\r', length) == NULL && memchr(text, '\n', length) == NULL &&
           memchr(text, '\0', length) == NULL;
}

/* Whether the text is a valid header name (RFC 9110 section 5.6.2). */
static bool is_token(const char *text) {
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    return text[0] != '\0' && text[strspn(text, allowed)] == '\0';
}

const char *prepared_request_add_header(struct prepared_request *request, const char *name,
                                        const char *value) {
    if (!is_token(name) || !prepared_request_is_header_text(value, strlen(value))) {
        return "a header has a name that is no token, or a value with CR, LF or NUL";
    }
    size_t size = strlen(name) + strlen(value) + sizeof ": ";
    char *line = malloc(size);
    if (line == NULL) {
        return no_memory;
    }
    (void)snprintf(line, size, "%s:%s%s", name, value[0] != '\0' ? " " : "", value);
    struct curl_slist *longer = curl_slist_append(request->headers, line);
    wipe_and_free(line, size);
    if (longer == NULL) {
        return no_memory;
    }
    request->headers = longer;
    return NULL;
}

static CURLcode configure_trust(const struct prepared_request *request, CURL *easy) {
    CURLcode code = CURLE_OK;
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (code != CURLE_OK || request->is_plaintext) {
        return code;
    }
    const struct ca_store given = {.file = request->ca_file, .path = request->ca_path};
    bool is_given = given.file != NULL || given.path != NULL;
    const struct ca_store *store = is_given ? &given : ca_store_default();
    return store != NULL ? ca_store_configure(store, easy) : CURLE_OUT_OF_MEMORY;
}

/* Whether libcurl is to leave signals alone. That has two costs: a resolver without threads then
 * has no timeout, and before 7.87 libcurl does not block the SIGPIPE of OpenSSL's writes. There its
 * own handling of signals is safer. */
static bool is_without_signals(void) {
    const curl_version_info_data *libcurl = curl_version_info(CURLVERSION_NOW);
    return libcurl->version_num >= 0x075700 || (libcurl->features & CURL_VERSION_ASYNCHDNS) == 0;
}

/* The least that libcurl accepts. It allocates one for each body over HTTP/2; with its default of
 * 64 KiB a request in flight would need 2 to 4 KB more. */
static const long upload_buffer_size = 16 * 1024;

CURLcode prepared_request_configure(const struct prepared_request *request, CURL *easy) {
    CURLcode code = configure_trust(request, easy);
    SET(CURLOPT_CURLU, request->url);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, request->is_plaintext ? "http" : "https");
#else
    SET(CURLOPT_PROTOCOLS, request->is_plaintext ? CURLPROTO_HTTP : CURLPROTO_HTTPS);
#endif
    SET(CURLOPT_HTTP_VERSION, request->http_version);
    if (request->is_post) {
        SET(CURLOPT_UPLOAD_BUFFERSIZE, upload_buffer_size);
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, request->body.length > 0 ? request->body.bytes : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.length);
    }
    /* Decodes a compressed answer that comes all the same; max_body still holds. */
    SET(CURLOPT_ACCEPT_ENCODING, "");
    SET(CURLOPT_MAXAGE_CONN, longest_idle_seconds);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_NOSIGNAL, is_without_signals() ? 1L : 0L);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(CURLOPT_QUICK_EXIT, 1L); /* do not wait for a resolver thread that a timeout has given up */
#endif
    /* A proxy that the environment names would read the token of a request without TLS. */
    const char *proxy = request->is_plaintext ? "" : request->proxy;
    if (proxy != NULL) {
        SET(CURLOPT_PROXY, proxy);
        SET(CURLOPT_NOPROXY, ""); /* the variable no_proxy does not count */
    }
    return code;
}
