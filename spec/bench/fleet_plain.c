/* The yardstick of a fleet: as many requests made with plain libcurl's multi interface by a program
 * that does nothing else. Each tenant has a token of its own; every answer must be a 204.
 *
 *   fleet_plain URL TOKEN_FILE COUNT CONCURRENCY USER_AGENT CA_FILE|- VERSION(1|2)
 *
 * prints the milliseconds of processor time, and those that all took. It does what is known
 * to be best: handles are used again, over HTTP/2 as many connections as the streams need. */
#define _GNU_SOURCE
#include "call_inputs.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

struct slot {
    CURL *easy;
    struct curl_slist *headers;
    size_t head_length, body_length;
    char head[4096], body[4096];
    char authorization[4096];
};

struct settings {
    const char *url, *user_agent, *ca_file;
    char token[4096];
    long version;
};

static size_t keep(char *bytes, size_t size, char *kept, size_t *length, size_t room) {
    if (*length + size > room) {
        return 0;
    }
    memcpy(kept + *length, bytes, size);
    *length += size;
    return size;
}

static size_t on_head(char *bytes, size_t size, size_t count, void *context) {
    struct slot *slot = context;
    return keep(bytes, size * count, slot->head, &slot->head_length, sizeof slot->head);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context) {
    struct slot *slot = context;
    return keep(bytes, size * count, slot->body, &slot->body_length, sizeof slot->body);
}

static void configure(struct slot *slot, const struct settings *settings) {
    CURL *easy = slot->easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, settings->url);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, settings->user_agent);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 60000L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, slot);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     settings->version == 2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, settings->version == 2 ? 1L : 0L);
    if (settings->ca_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
}

/* Writes the number into the token, in its own alphabet, so that each tenant has another. */
static void write_authorization(struct slot *slot, const struct settings *settings, long number) {
    int length = snprintf(slot->authorization, sizeof slot->authorization,
                          "Authorization: Bearer %s", settings->token);
    (void)snprintf(slot->authorization + length - 8, 9, "%08ld", number);
}

static bool start(CURLM *multi, struct slot *slot, const struct settings *settings, long number) {
    static const char name[] = "client-request-id: ";
    char request_id[sizeof name + REQUEST_ID_LENGTH];
    memcpy(request_id, name, sizeof name);
    if (!write_request_id(request_id + sizeof name - 1)) {
        return false;
    }
    write_authorization(slot, settings, number);
    slot->headers = curl_slist_append(NULL, slot->authorization);
    slot->headers = curl_slist_append(slot->headers, request_id);
    slot->headers = curl_slist_append(slot->headers, "Accept: application/json");
    slot->headers = curl_slist_append(slot->headers, "Content-Type:");
    slot->head_length = slot->body_length = 0;
    curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, slot->headers);
    return curl_multi_add_handle(multi, slot->easy) == CURLM_OK;
}

static bool finish(CURLM *multi, struct slot *slot, CURLcode code) {
    long status = 0;
    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(multi, slot->easy);
    curl_slist_free_all(slot->headers);
    return code == CURLE_OK && status == 204;
}

static bool run(CURLM *multi, struct slot *slots, const struct settings *settings, long count,
                long concurrency) {
    long begun = 0, ended = 0;
    bool right = true;
    while (begun < count && begun < concurrency) {
        right = start(multi, &slots[begun], settings, begun) && right;
        begun++;
    }
    while (right && ended < count) {
        int running = 0, queued = 0;
        const CURLMsg *message;
        if (curl_multi_perform(multi, &running) != CURLM_OK) {
            return false;
        }
        bool has_ended = false;
        while ((message = curl_multi_info_read(multi, &queued)) != NULL) {
            CURLcode code = message->data.result;
            char *context = NULL;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &context);
            struct slot *slot = (struct slot *)(void *)context;
            right = finish(multi, slot, code) && right;
            ended++;
            has_ended = true;
            if (begun < count) {
                right = start(multi, slot, settings, begun++) && right;
            }
        }
        if (!has_ended && ended < count) {
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
        }
    }
    return right;
}

static double seconds_of(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

int main(int argc, char **argv) {
    static struct settings settings;
    if (argc < 8 || !read_token(argv[2], settings.token, sizeof settings.token)) {
        return 2;
    }
    const long count = strtol(argv[3], NULL, 10), concurrency = strtol(argv[4], NULL, 10);
    settings.url = argv[1];
    settings.user_agent = argv[5];
    settings.ca_file = strcmp(argv[6], "-") != 0 ? argv[6] : NULL;
    settings.version = strtol(argv[7], NULL, 10);
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM *multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, concurrency + 8);
    if (settings.version == 2) {
        curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, (concurrency + 99) / 100);
    }
    struct slot *slots = calloc((size_t)concurrency, sizeof *slots);
    if (slots == NULL) {
        return 2;
    }
    for (long i = 0; i < concurrency; i++) {
        configure(&slots[i], &settings);
    }
    bool right = run(multi, slots, &settings, count, concurrency);
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%.3f\n%.3f\n", (seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime)) * 1e3,
           ((double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9) *
               1e3);
    for (long i = 0; i < concurrency; i++) {
        curl_easy_cleanup(slots[i].easy);
    }
    curl_multi_cleanup(multi);
    free(slots);
    curl_global_cleanup();
    return right ? 0 : 1;
}
