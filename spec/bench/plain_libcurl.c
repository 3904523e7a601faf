/* The yardstick: the same call made with plain libcurl by a program that does nothing else. It sends
 * the headers that the library sends, captures headers and body, and reads the status.
 *
 *   plain_libcurl URL TOKEN_FILE COUNT [CA_FILE]      exits with 1 unless every answer is a 204 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

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

static void write_request_id(char *header) {
    static const char digits[] = "0123456789abcdef";
    unsigned char random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        exit(2);
    }
    random[6] = (unsigned char)((random[6] & 0x0f) | 0x40);
    random[8] = (unsigned char)((random[8] & 0x3f) | 0x80);
    char *out = header + strlen("client-request-id: ");
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *out++ = '-';
        }
        *out++ = digits[random[i] >> 4];
        *out++ = digits[random[i] & 15];
    }
    *out = '\0';
}

static int call(CURL *easy, const char *authorization, struct captured *head,
                struct captured *body) {
    char request_id[64] = "client-request-id: ";
    write_request_id(request_id);
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

int main(int argc, char **argv) {
    static struct captured head, body;
    static char authorization[16384] = "Authorization: Bearer ";
    if (argc < 4) {
        return 2;
    }
    FILE *file = fopen(argv[2], "r");
    char *token = authorization + strlen(authorization);
    if (file == NULL || fgets(token, (int)(sizeof authorization - strlen(authorization)), file) == NULL) {
        return 2;
    }
    token[strcspn(token, "\n")] = '\0';
    fclose(file);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, argv[1]);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "autopilot-sync/0.1.0");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 60000L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, capture);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &head);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, capture);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
    if (argc > 4) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, argv[4]);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    int all_started = 1;
    for (long count = strtol(argv[3], NULL, 10); count > 0; count--) {
        all_started &= call(easy, authorization, &head, &body);
    }
    curl_easy_cleanup(easy);
    curl_global_cleanup();
    return all_started ? 0 : 1;
}
