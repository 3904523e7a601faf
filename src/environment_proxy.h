/* Finds the proxy that libcurl takes from the environment. Before 8.7 libcurl does not tell whether
 * it used one, before 8.10 not whether it failed to use one, and the failure of a dead proxy would
 * be blamed on the service. */
#ifndef AUTOPILOT_ENVIRONMENT_PROXY_H
#define AUTOPILOT_ENVIRONMENT_PROXY_H

#include <curl/curl.h>

/* The URL of the proxy for an https request to the host, which is in lower case, an IPv6 address in
 * brackets; and the variable that names it, as `https_proxy`. Both are NULL where no proxy is used.
 * Asks the handle that has sent the request, or tried to; where that does not tell, or is NULL, it
 * reads the environment as libcurl does. */
const char *environment_proxy_for(CURL *easy, const char *host, const char **variable);

#endif
