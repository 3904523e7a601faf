/* What a failed libcurl transfer means: in which stage it failed and what libcurl calls it. Whether
 * the request may have been sent is the transfer's knowledge: the code alone does not tell (28 is a
 * timeout before and after sending, 56 a refused CONNECT and a reset after the request). */
#ifndef AUTOPILOT_CURL_FAILURE_H
#define AUTOPILOT_CURL_FAILURE_H

#include <stdbool.h>
#include <curl/curl.h>

/* How far the exchange had come when it failed. */
struct transfer_progress {
    bool resolved;     /* the host name had an address, or needed none */
    bool connected;    /* TCP connection to the host or its proxy */
    bool proxied;      /* the way leads through a proxy, as far as that is known */
    bool socks;        /* that may be a SOCKS proxy, which leaves no status behind */
    long proxy_status; /* what an HTTP proxy, named or not, answered to CONNECT; 0: nothing */
    bool secured;      /* TLS handshake done, or none needed */
    bool sent;         /* the request may have been put on the wire */
};

/* `resolve`, `connect`, `proxy`, `tls`, `send` or `receive`. */
const char *curl_failure_stage(CURLcode code, const struct transfer_progress *progress);

/* libcurl's name for the code (`CURLE_COULDNT_CONNECT`); `CURLE_UNKNOWN` for one newer than we are.
 */
const char *curl_failure_name(CURLcode code);

#endif
