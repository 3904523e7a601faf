#include "environment_proxy.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The name of the first variable that is set and not empty; NULL when there is none. */
static const char *first_set(const char *const names[], const char **value) {
    for (; *names != NULL; names++) {
        *value = getenv(*names);
        if (*value != NULL && **value != '\0') {
            return *names;
        }
    }
    return NULL;
}

/* Reads a number of decimal digits and moves *text behind it; -1 where there is none. */
static long read_number(const char **text) {
    char *end = NULL;
    bool is_there = **text >= '0' && **text <= '9';
    long number = is_there ? strtol(*text, &end, 10) : -1;
    *text = is_there ? end : *text;
    return number;
}

/* Reads an address like `192.0.2.0` and moves *text behind it. */
static bool read_address(const char **text, uint32_t *address) {
    *address = 0;
    for (int i = 0; i < 4; i++) {
        if (i > 0 && *(*text)++ != '.') {
            return false;
        }
        long part = read_number(text);
        if (part < 0 || part > 255) {
            return false;
        }
        *address = *address << 8 | (uint32_t)part;
    }
    return true;
}

/* True when the entry is the IPv4 address, or a network with it: `192.0.2.0/24`. */
static bool has_address(const char *entry, uint32_t address) {
    uint32_t network;
    long bits = 32;
    if (!read_address(&entry, &network)) {
        return false;
    }
    if (*entry == '/') {
        entry++;
        bits = read_number(&entry);
    }
    if (*entry != '\0' || bits < 0 || bits > 32) {
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

/* True when the entry is the name or a domain that it belongs to; it may begin with a dot. */
static bool has_name(const char *entry, const char *name, size_t name_length) {
    entry += entry[0] == '.';
    size_t length = strlen(entry);
    if (length > 0 && entry[length - 1] == '.' && knows_addresses()) {
        length--;
    }
    if (length == 0 || length > name_length) {
        return false;
    }
    const char *tail = name + name_length - length;
    return curl_strnequal(tail, entry, length) && (length == name_length || tail[-1] == '.');
}

/* True when the list names the host: `*`, or entries between commas and blanks. */
static bool exempts(const char *list, const char *host) {
    static const char separators[] = ", \t";
    const char *text = host;
    uint32_t address;
    bool is_address = knows_addresses() && read_address(&text, &address) && *text == '\0';
    if (strcmp(list, "*") == 0) {
        return true;
    }
    host += host[0] == '[';
    size_t host_length = strcspn(host, "]");
    if (host_length > 0 && host[host_length - 1] == '.') {
        host_length--;
    }
    for (size_t length; *list != '\0'; list += length) {
        char entry[256]; /* more than a name may have */
        list += strspn(list, separators);
        length = strcspn(list, separators);
        (void)snprintf(entry, sizeof entry, "%.*s", (int)length, list);
        if (is_address ? has_address(entry, address) : has_name(entry, host, host_length)) {
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

const char *environment_proxy_for(CURL *easy, const char *host, const char **variable) {
    /* In the order in which libcurl reads them. */
    static const char *const exempting[] = {"no_proxy", "NO_PROXY", NULL};
    static const char *const naming[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                                         NULL};
    const char *list = NULL, *url = NULL;
    long used = is_used(easy);
    bool is_exempt = used < 0 && first_set(exempting, &list) != NULL && exempts(list, host);
    *variable = used == 0 || is_exempt ? NULL : first_set(naming, &url);
    return *variable != NULL ? url : NULL;
}
