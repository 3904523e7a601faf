#include "curl_trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool curl_trace_may_show_proxy(void) {
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    bool is_named = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *url = getenv(names[i]);
        is_named = is_named || (url != NULL && url[0] != '\0');
    }
    return is_named;
}

void curl_trace_read(struct curl_trace *trace, const char *text, size_t length) {
    static const char proxied[] = "Uses proxy env variable ", separator[] = " == '";
    static const char secured[] = "SSL connection using ";
    char line[128];
    (void)snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line),
                   text);
    const char *name = line + sizeof proxied - 1, *end = strstr(line, separator);
    /* `ALPN: server accepted h2`, before 7.84 `ALPN, server accepted to use h2`. */
    if (strncmp(line, "ALPN", 4) == 0 && strstr(line, "accepted ") != NULL) {
        trace->has_agreed_http2 = strstr(line, " h2") != NULL;
    } else if (strncmp(line, secured, sizeof secured - 1) == 0) {
        const char *version = line + sizeof secured - 1;
        (void)snprintf(trace->tls_version, sizeof trace->tls_version, "%.*s",
                       (int)strcspn(version, " /\n"), version);
    } else if (strncmp(line, proxied, sizeof proxied - 1) == 0 && end != NULL &&
               !curl_strnequal(name, "no_proxy", 8)) {
        (void)snprintf(trace->proxy_variable, sizeof trace->proxy_variable, "%.*s",
                       (int)(end - name), name);
        trace->is_socks_proxy = curl_strnequal(end + sizeof separator - 1, "socks", 5);
    }
}

static int on_trace(CURL *easy, curl_infotype kind, char *text, size_t length, void *context) {
    (void)easy;
    if (kind == CURLINFO_TEXT) {
        curl_trace_read(context, text, length);
    }
    return 0;
}

CURLcode curl_trace_configure(struct curl_trace *trace, CURL *easy) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_DEBUGDATA, (void *)trace);
    return code == CURLE_OK ? curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_trace) : code;
}
