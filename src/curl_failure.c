#include "curl_failure.h"

#include <stddef.h>

/* One row for each code that an HTTP transfer can end with: X(code, stage). The stage is NULL where
 * it depends on the progress of the transfer. */
#define CURL_FAILURES(X)                                                                           \
    X(CURLE_OK, NULL)                                                                              \
    X(CURLE_UNSUPPORTED_PROTOCOL, NULL)                                                            \
    X(CURLE_FAILED_INIT, NULL)                                                                     \
    X(CURLE_URL_MALFORMAT, NULL)                                                                   \
    X(CURLE_NOT_BUILT_IN, NULL)                                                                    \
    X(CURLE_COULDNT_RESOLVE_PROXY, "proxy")                                                        \
    X(CURLE_COULDNT_RESOLVE_HOST, "resolve")                                                       \
    X(CURLE_COULDNT_CONNECT, NULL)                                                                 \
    X(CURLE_WEIRD_SERVER_REPLY, NULL)                                                              \
    X(CURLE_REMOTE_ACCESS_DENIED, NULL)                                                            \
    X(CURLE_HTTP2, NULL)                                                                           \
    X(CURLE_PARTIAL_FILE, NULL)                                                                    \
    X(CURLE_HTTP_RETURNED_ERROR, NULL)                                                             \
    X(CURLE_WRITE_ERROR, NULL)                                                                     \
    X(CURLE_READ_ERROR, NULL)                                                                      \
    X(CURLE_OUT_OF_MEMORY, NULL)                                                                   \
    X(CURLE_OPERATION_TIMEDOUT, NULL)                                                              \
    X(CURLE_HTTP_POST_ERROR, NULL)                                                                 \
    X(CURLE_SSL_CONNECT_ERROR, "tls")                                                              \
    X(CURLE_ABORTED_BY_CALLBACK, NULL)                                                             \
    X(CURLE_BAD_FUNCTION_ARGUMENT, NULL)                                                           \
    X(CURLE_INTERFACE_FAILED, "connect")                                                           \
    X(CURLE_TOO_MANY_REDIRECTS, NULL)                                                              \
    X(CURLE_UNKNOWN_OPTION, NULL)                                                                  \
    X(CURLE_GOT_NOTHING, NULL)                                                                     \
    X(CURLE_SSL_ENGINE_NOTFOUND, "tls")                                                            \
    X(CURLE_SSL_ENGINE_SETFAILED, "tls")                                                           \
    X(CURLE_SEND_ERROR, NULL)                                                                      \
    X(CURLE_RECV_ERROR, NULL)                                                                      \
    X(CURLE_SSL_CERTPROBLEM, "tls")                                                                \
    X(CURLE_SSL_CIPHER, "tls")                                                                     \
    X(CURLE_PEER_FAILED_VERIFICATION, "tls")                                                       \
    X(CURLE_BAD_CONTENT_ENCODING, NULL)                                                            \
    X(CURLE_FILESIZE_EXCEEDED, NULL)                                                               \
    X(CURLE_USE_SSL_FAILED, "tls")                                                                 \
    X(CURLE_SEND_FAIL_REWIND, NULL)                                                                \
    X(CURLE_SSL_ENGINE_INITFAILED, "tls")                                                          \
    X(CURLE_SSL_CACERT_BADFILE, "tls")                                                             \
    X(CURLE_SSL_SHUTDOWN_FAILED, "tls")                                                            \
    X(CURLE_AGAIN, NULL)                                                                           \
    X(CURLE_SSL_CRL_BADFILE, "tls")                                                                \
    X(CURLE_SSL_ISSUER_ERROR, "tls")                                                               \
    X(CURLE_NO_CONNECTION_AVAILABLE, "connect")                                                    \
    X(CURLE_SSL_PINNEDPUBKEYNOTMATCH, "tls")                                                       \
    X(CURLE_SSL_INVALIDCERTSTATUS, "tls")                                                          \
    X(CURLE_HTTP2_STREAM, NULL)                                                                    \
    X(CURLE_RECURSIVE_API_CALL, NULL)                                                              \
    X(CURLE_AUTH_ERROR, NULL)                                                                      \
    X(CURLE_HTTP3, NULL)                                                                           \
    X(CURLE_QUIC_CONNECT_ERROR, "connect")                                                         \
    X(CURLE_PROXY, "proxy")                                                                        \
    X(CURLE_SSL_CLIENTCERT, "tls")                                                                 \
    X(CURLE_UNRECOVERABLE_POLL, NULL)                                                              \
    X(CURLE_TOO_LARGE, NULL)

static const struct failure {
    CURLcode code;
    const char *name;
    const char *stage;
} failures[] = {
#define ROW(code, stage) {code, #code, stage},
    CURL_FAILURES(ROW)
#undef ROW
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
