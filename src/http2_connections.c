#include "http2_connections.h"

#include <string.h>

#include <curl/curl.h>

void http2_connections_init(struct http2_connections *connections) {
    const unsigned first_that_looks_itself = 0x080500;
    memset(connections, 0, sizeof *connections);
    connections->are_needed =
        curl_version_info(CURLVERSION_NOW)->version_num < first_that_looks_itself;
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ at[i]) * 0x100000001b3; /* FNV-1a */
    }
    return hash;
}

uint64_t http2_connections_id(const char *primary_ip, int primary_port, const char *local_ip,
                              int local_port) {
    uint64_t hash = 0xcbf29ce484222325;
    hash = hash_bytes(hash, primary_ip, strlen(primary_ip));
    hash = hash_bytes(hash, &primary_port, sizeof primary_port);
    hash = hash_bytes(hash, local_ip, strlen(local_ip));
    hash = hash_bytes(hash, &local_port, sizeof local_port);
    return hash != 0 ? hash : 1;
}

static unsigned bit_of(uint64_t id) {
    return 1U << (id & 7);
}

static size_t byte_of(uint64_t id) {
    return (id >> 3) & ((1 << 13) - 1);
}

void http2_connections_note(struct http2_connections *connections, uint64_t id, bool is_http2) {
    unsigned others = connections->bits[byte_of(id)] & ~bit_of(id);
    connections->bits[byte_of(id)] = (unsigned char)(others | (is_http2 ? bit_of(id) : 0));
}

bool http2_connections_has(const struct http2_connections *connections, uint64_t id) {
    return (connections->bits[byte_of(id)] & bit_of(id)) != 0;
}

/* `ALPN: server accepted h2`, before 7.84 `ALPN, server accepted to use h2`. */
void http2_connections_read_trace(const char *text, size_t length, bool *is_http2) {
    static const char subject[] = "ALPN";
    char line[128];
    size_t copied = length < sizeof line - 1 ? length : sizeof line - 1;
    memcpy(line, text, copied);
    line[copied] = '\0';
    if (strncmp(line, subject, sizeof subject - 1) == 0 && strstr(line, "accepted ") != NULL) {
        *is_http2 = strstr(line, " h2") != NULL;
    }
}
