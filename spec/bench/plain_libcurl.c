/* The yardstick: the same call made with plain libcurl by a program that does nothing else. It
 * sends the headers that the library sends, captures headers and body, and reads the status.
 *
 *   plain_libcurl URL TOKEN_FILE COUNT USER_AGENT [CA_FILE]
 *
 * prints the microseconds that each call but the first took; fails unless every answer is a 204. */
#define _GNU_SOURCE
#include "call_inputs.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <time.h>

struct captured {
    char bytes[65536];
    size_t length;
};

static size_t capture(char *bytes, size_t size, size_t count, void *context) {
    struct captured *captured = context;
    size_t length = size * count;
    if (captured->length + length > sizeof captured->bytes) {
        return 0;
    }
    memcpy(captured->bytes + captured->length, bytes, length);
    captured->length += length;
    return length;
}

static bool call(CURL *easy, const char *authorization, struct captured *head,
                 struct captured *body) {
    static const char name[] = "client-request-id: ";
    char request_id[sizeof name + REQUEST_ID_LENGTH];
    memcpy(request_id, name, sizeof name);
    if (!write_request_id(request_id + sizeof name - 1)) {
        return false;
    }
    struct curl_slist *headers = curl_slist_append(NULL, authorization);
    headers = curl_slist_append(headers, request_id);
    headers = curl_slist_append(headers, "Accept: application/json");
    headers = curl_slist_append(headers, "Content-Type:");
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    head->length = body->length = 0;
    CURLcode code = curl_easy_perform(easy);
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    return code == CURLE_OK && status == 204;
}

static void configure(CURL *easy, const char *url, const char *user_agent, const char *ca_file) {
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, user_agent);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* as the library does for a loopback host */
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 60000L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, capture);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, capture);
    if (ca_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
}

static double clock_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    static struct captured head, body;
    static char authorization[16384] = "Authorization: Bearer ";
    const size_t prefix = strlen(authorization);
    if (argc < 5 || !read_token(argv[2], authorization + prefix, sizeof authorization - prefix)) {
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *easy = curl_easy_init();
    configure(easy, argv[1], argv[4], argc > 5 ? argv[5] : NULL);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &head);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
    const long count = strtol(argv[3], NULL, 10);
    bool started = call(easy, authorization, &head, &body);
    double began = clock_seconds();
    for (long made = 1; made < count; made++) {
        started = call(easy, authorization, &head, &body) && started;
    }
    if (count > 1) {
        printf("%.3f\n", (clock_seconds() - began) / (double)(count - 1) * 1e6);
    }
    curl_easy_cleanup(easy);
    curl_global_cleanup();
    return started ? 0 : 1;
}
