/* Finds the proxy that libcurl takes from the environment. Before 8.7 libcurl does not tell whether
 * it used one, before 8.10 not whether it failed to use one, and the failure of a dead proxy would
 * be blamed on the service. */
#ifndef AUTOPILOT_ENVIRONMENT_PROXY_H
#define AUTOPILOT_ENVIRONMENT_PROXY_H

#include <stdbool.h>
#include <curl/curl.h>

struct environment_proxy {
    const char *variable; /* the variable that names it, as `https_proxy`; NULL: no proxy is used */
    bool is_socks;
};

/* The proxy for an https request to the host, which is in lower case, an IPv6 address in brackets.
 * Asks the handle that has sent it, or tried to; where that does not tell, or is NULL, it reads the
 * environment as libcurl does. */
struct environment_proxy environment_proxy_for(CURL *easy, const char *host);

#endif
