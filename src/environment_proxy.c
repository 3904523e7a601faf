#include "environment_proxy.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* In the order in which libcurl reads them. */
static const char *const proxy_variables[] = {"https_proxy", "HTTPS_PROXY", "all_proxy",
                                              "ALL_PROXY"};
static const char *const exempting_variables[] = {"no_proxy", "NO_PROXY"};

/* The name of the first variable that is set and not empty; NULL when there is none. */
static const char *first_set(const char *const names[], size_t count, const char **value) {
    for (size_t i = 0; i < count; i++) {
        *value = getenv(names[i]);
        if (*value != NULL && **value != '\0') {
            return names[i];
        }
    }
    return NULL;
}

static char lower(char byte) {
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

static bool is_same(const char *one, const char *other, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (lower(one[i]) != lower(other[i])) {
            return false;
        }
    }
    return true;
}

/* Reads 1 to `most` decimal digits; -1 for fewer or more. */
static long read_number(const char **text, const char *end, int most) {
    long number = 0;
    int digits = 0;
    for (; *text < end && **text >= '0' && **text <= '9'; (*text)++, digits++) {
        number = digits < most ? 10 * number + (**text - '0') : number;
    }
    return digits > 0 && digits <= most ? number : -1;
}

/* Reads an address like `192.0.2.0` and moves *text behind it. */
static bool read_address(const char **text, const char *end, uint32_t *address) {
    *address = 0;
    for (int i = 0; i < 4; i++) {
        if (i > 0 && (*text == end || *(*text)++ != '.')) {
            return false;
        }
        long part = read_number(text, end, 3);
        if (part < 0 || part > 255) {
            return false;
        }
        *address = *address << 8 | (uint32_t)part;
    }
    return true;
}

/* True when the entry is the IPv4 address, or a network with it: `192.0.2.0/24`. */
static bool has_address(const char *entry, size_t length, uint32_t address) {
    const char *end = entry + length;
    uint32_t network;
    long bits = 32;
    if (!read_address(&entry, end, &network)) {
        return false;
    }
    if (entry < end && *entry++ == '/') {
        bits = read_number(&entry, end, 2);
    }
    if (entry != end || bits < 0 || bits > 32) {
        return false;
    }
    /* libcurl takes `/0` for `/32`. */
    uint32_t mask = bits == 0 ? 0xffffffffU : 0xffffffffU << (32 - bits);
    return (network & mask) == (address & mask);
}

/* libcurl before 7.86 takes addresses for names, and a final dot for part of the name. */
static bool knows_addresses(void) {
    return curl_version_info(CURLVERSION_NOW)->version_num >= 0x075600;
}

/* True when the entry, without a leading dot, is the name or a domain that it belongs to. */
static bool has_name(const char *entry, size_t length, const char *name, size_t name_length) {
    if (length > 0 && entry[0] == '.') {
        entry++;
        length--;
    }
    if (length > 0 && entry[length - 1] == '.' && knows_addresses()) {
        length--;
    }
    if (length == 0 || length > name_length) {
        return false;
    }
    const char *tail = name + name_length - length;
    return is_same(tail, entry, length) && (length == name_length || tail[-1] == '.');
}

/* True when the list names the host: `*`, or entries between commas and blanks. */
static bool exempts(const char *list, const char *host) {
    static const char separators[] = ", \t";
    size_t host_length = strlen(host);
    const char *text = host;
    uint32_t address;
    bool is_address =
        knows_addresses() && read_address(&text, host + host_length, &address) && *text == '\0';
    if (strcmp(list, "*") == 0) {
        return true;
    }
    if (host[0] == '[') {
        host++;
        host_length = strcspn(host, "]");
    } else if (host_length > 0 && host[host_length - 1] == '.') {
        host_length--;
    }
    for (size_t length; *list != '\0'; list += length) {
        list += strspn(list, separators);
        length = strcspn(list, separators);
        if (is_address ? has_address(list, length, address)
                       : has_name(list, length, host, host_length)) {
            return true;
        }
    }
    return false;
}

/* Whether libcurl used a proxy, or tried to: 1 or 0; -1 when it does not tell. */
static long is_used(CURL *easy) {
    const CURLINFO used_proxy = (CURLINFO)(CURLINFO_LONG + 66); /* CURLINFO_USED_PROXY of 8.7 */
    long used = -1;
    if (easy != NULL && curl_easy_getinfo(easy, used_proxy, &used) == CURLE_OK && used == 0 &&
        curl_version_info(CURLVERSION_NOW)->version_num < 0x080a00) {
        return -1; /* it may only not have been reached */
    }
    return used;
}

struct environment_proxy environment_proxy_for(CURL *easy, const char *host) {
    enum { PROXIES = sizeof proxy_variables / sizeof *proxy_variables };
    enum { EXEMPTIONS = sizeof exempting_variables / sizeof *exempting_variables };
    struct environment_proxy proxy = {NULL, false};
    const char *list = NULL, *url = NULL;
    long used = is_used(easy);
    if (used == 0 || (used < 0 && first_set(exempting_variables, EXEMPTIONS, &list) != NULL &&
                      exempts(list, host))) {
        return proxy;
    }
    proxy.variable = first_set(proxy_variables, PROXIES, &url);
    proxy.is_socks = proxy.variable != NULL && strlen(url) > 5 && is_same(url, "socks", 5);
    return proxy;
}
