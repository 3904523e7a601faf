/* The stage in which a libcurl transfer failed, and libcurl's name for the failure. Whether the
 * request may have been sent does not follow from the code (28 is a timeout before and after
 * sending, 56 a refused CONNECT and a reset after the request): the transfer counts that. */
#ifndef AUTOPILOT_CURL_FAILURE_H
#define AUTOPILOT_CURL_FAILURE_H

#include <stdbool.h>
#include <curl/curl.h>

/* Codes of later versions: libcurl may be newer than the headers. */
#if LIBCURL_VERSION_NUM < 0x075400
#define CURLE_UNRECOVERABLE_POLL ((CURLcode)99)
#endif
#if LIBCURL_VERSION_NUM < 0x080600
#define CURLE_TOO_LARGE ((CURLcode)100)
#endif

/* How far the exchange had come when it failed. */
struct transfer_progress {
    bool resolved;     /* the host's address was found */
    bool connected;    /* TCP connection to the host or its proxy */
    bool proxied;      /* a proxy is used, as far as that is known */
    bool socks;        /* it may be a SOCKS proxy, which has no status */
    long proxy_status; /* of an HTTP proxy's answer to CONNECT; 0: none came */
    bool secured;      /* the TLS handshake is done, or not needed */
    bool sent;         /* the request may have been put on the wire */
    bool answered;     /* a status has come */
};

/* `resolve`, `connect`, `proxy`, `tls`, `send` or `receive`. */
const char *curl_failure_stage(CURLcode code, const struct transfer_progress *progress);

/* libcurl's name for the code (`CURLE_COULDNT_CONNECT`); `CURLE_UNKNOWN` for codes not listed. */
const char *curl_failure_name(CURLcode code);

#endif
