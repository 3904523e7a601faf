#include "curl_failure.h"

#include <stddef.h>

/* One row for each code that an HTTP transfer can end with, given the options that are set. The
 * stage is NULL where it depends on the progress of the transfer. */
static const struct failure {
    CURLcode code;
    const char *name;
    const char *stage;
} failures[] = {
#define FAILURE(code, stage)                                                                       \
    { code, #code, stage }
    FAILURE(CURLE_OK, NULL),
    FAILURE(CURLE_UNSUPPORTED_PROTOCOL, NULL),
    FAILURE(CURLE_FAILED_INIT, NULL),
    FAILURE(CURLE_URL_MALFORMAT, NULL),
    FAILURE(CURLE_NOT_BUILT_IN, NULL),
    FAILURE(CURLE_COULDNT_RESOLVE_PROXY, "proxy"),
    FAILURE(CURLE_COULDNT_RESOLVE_HOST, "resolve"),
    FAILURE(CURLE_COULDNT_CONNECT, NULL),
    FAILURE(CURLE_WEIRD_SERVER_REPLY, NULL),
    FAILURE(CURLE_REMOTE_ACCESS_DENIED, NULL),
    FAILURE(CURLE_HTTP2, NULL),
    FAILURE(CURLE_PARTIAL_FILE, NULL),
    FAILURE(CURLE_WRITE_ERROR, NULL),
    FAILURE(CURLE_READ_ERROR, NULL),
    FAILURE(CURLE_OUT_OF_MEMORY, NULL),
    FAILURE(CURLE_OPERATION_TIMEDOUT, NULL),
    FAILURE(CURLE_SSL_CONNECT_ERROR, "tls"),
    FAILURE(CURLE_ABORTED_BY_CALLBACK, NULL),
    FAILURE(CURLE_BAD_FUNCTION_ARGUMENT, NULL),
    FAILURE(CURLE_UNKNOWN_OPTION, NULL),
    FAILURE(CURLE_GOT_NOTHING, NULL),
    FAILURE(CURLE_SEND_ERROR, NULL),
    FAILURE(CURLE_RECV_ERROR, NULL),
    FAILURE(CURLE_SSL_CERTPROBLEM, "tls"),
    FAILURE(CURLE_SSL_CIPHER, "tls"),
    FAILURE(CURLE_PEER_FAILED_VERIFICATION, "tls"),
    FAILURE(CURLE_BAD_CONTENT_ENCODING, NULL),
    FAILURE(CURLE_FILESIZE_EXCEEDED, NULL),
    FAILURE(CURLE_SEND_FAIL_REWIND, NULL),
    FAILURE(CURLE_SSL_CACERT_BADFILE, "tls"),
    FAILURE(CURLE_AGAIN, NULL),
    FAILURE(CURLE_NO_CONNECTION_AVAILABLE, "connect"),
    FAILURE(CURLE_HTTP2_STREAM, NULL),
    FAILURE(CURLE_RECURSIVE_API_CALL, NULL),
    FAILURE(CURLE_AUTH_ERROR, NULL),
    FAILURE(CURLE_HTTP3, NULL),
    FAILURE(CURLE_QUIC_CONNECT_ERROR, "connect"),
    FAILURE(CURLE_PROXY, "proxy"),
    FAILURE(CURLE_SSL_CLIENTCERT, "tls"),
    FAILURE(CURLE_UNRECOVERABLE_POLL, NULL),
    FAILURE(CURLE_TOO_LARGE, NULL),
#undef FAILURE
};

static const struct failure *find(CURLcode code) {
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        if (failures[i].code == code) {
            return &failures[i];
        }
    }
    return NULL;
}

/* Whether the request failed at its proxy, as far as that can be known. A TLS failure is the
 * proxy's only before an HTTP proxy has answered 2xx; through a SOCKS proxy it is the host's. */
static bool is_at_proxy(const struct transfer_progress *progress, const char *stage) {
    if (progress->proxy_status != 0) {
        return progress->proxy_status < 200 || progress->proxy_status > 299;
    }
    return progress->proxied && (stage == NULL || !progress->socks);
}

const char *curl_failure_stage(CURLcode code, const struct transfer_progress *progress) {
    const struct failure *failure = find(code);
    const char *stage = failure != NULL ? failure->stage : NULL;
    if (progress->sent) {
        bool is_send =
            !progress->answered && (code == CURLE_SEND_ERROR || code == CURLE_SEND_FAIL_REWIND);
        return stage != NULL ? stage : is_send ? "send" : "receive";
    }
    if (is_at_proxy(progress, stage)) {
        return "proxy";
    }
    if (stage != NULL) {
        return stage;
    }
    if (!progress->resolved) {
        return "resolve";
    }
    if (!progress->connected) {
        return "connect";
    }
    return progress->secured ? "send" : "tls";
}

const char *curl_failure_name(CURLcode code) {
    const struct failure *failure = find(code);
    return failure != NULL ? failure->name : "CURLE_UNKNOWN";
}
