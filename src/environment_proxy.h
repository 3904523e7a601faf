/* Which proxy libcurl takes from the environment. Before 8.7 it does not tell afterwards whether it
 * used one, so that a proxy that is dead or silent would be taken for the service. */
#ifndef AUTOPILOT_ENVIRONMENT_PROXY_H
#define AUTOPILOT_ENVIRONMENT_PROXY_H

#include <stdbool.h>

struct environment_proxy {
    const char *variable; /* its name as it was found, `https_proxy`; NULL: no proxy is used */
    bool is_socks;
};

/* The proxy for an https request to the host, which is as a URL has it: in lower case, an IPv6
 * address in brackets. Read anew each time, as libcurl does. */
struct environment_proxy environment_proxy_for(const char *host);

#endif
