/* Reads from libcurl's trace what no option of libcurl returns, in every version from 7.80 on:
 * which proxy of the environment a transfer uses, whether a new connection has agreed on HTTP/2,
 * and with OpenSSL and GnuTLS which version of TLS it speaks. A trace is slow: switch
 * CURLOPT_VERBOSE on only while such a line may come. */
#ifndef AUTOPILOT_CURL_TRACE_H
#define AUTOPILOT_CURL_TRACE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

struct curl_trace {
    char proxy_variable[12]; /* the variable that names the proxy in use; empty: none */
    char tls_version[12];    /* of a new connection, for example `TLSv1.3`; empty: unknown */
    bool is_socks_proxy;
    bool has_agreed_http2;
};

/* True when the environment names a proxy for https requests, from which it may exempt hosts. */
bool curl_trace_may_show_proxy(void);

/* Reads one line of the trace, and stores what it says. */
void curl_trace_read(struct curl_trace *trace, const char *text, size_t length);

/* Makes the easy handle pass its trace to `trace` while CURLOPT_VERBOSE is on. */
CURLcode curl_trace_configure(struct curl_trace *trace, CURL *easy);

#endif
