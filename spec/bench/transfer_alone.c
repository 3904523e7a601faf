/* The call made by the library's plain C alone: a prepared request, a transfer set, no Lua. What it
 * costs beyond plain_libcurl is what the C level costs.
 *
 *   transfer_alone URL TOKEN_FILE COUNT USER_AGENT [CA_FILE]
 *
 * fails unless every answer is a 204. */
#include "call_inputs.h"
#include "transfer_set.h"

#include <stdlib.h>

static struct prepared_request *prepare(const char *url, const char *user_agent,
                                        const char *ca_file) {
    const char *problem;
    struct prepared_request *request = prepared_request_create("POST", url, &problem);
    if (request == NULL) {
        return NULL;
    }
    request->max_body = 1024 * 1024;
    bool made = prepared_request_add_header(request, "Accept", "application/json") == NULL &&
                prepared_request_add_header(request, "User-Agent", user_agent) == NULL &&
                prepared_request_add_header(request, "Content-Type", "") == NULL && /* no body */
                byte_buffer_copy(&request->proxy, "") &&
                (ca_file == NULL || byte_buffer_copy(&request->ca_file, ca_file));
    if (!made) {
        prepared_request_release(request);
        return NULL;
    }
    return request;
}

static bool call(struct transfer_set *set, struct prepared_request *request, const char *token) {
    char request_id[REQUEST_ID_LENGTH + 1];
    if (!write_request_id(request_id)) {
        return false;
    }
    const struct transfer_attempt attempt = {
        .token = token,
        .client_request_id = request_id,
        .connect_timeout = 10,
        .total_timeout = 60,
    };
    struct transfer transfer = {0};
    transfer_init(&transfer, request, &attempt);
    transfer_set_add(set, &transfer);
    while (!transfer.finished) {
        transfer_set_step(set, 0.5);
    }
    transfer_set_remove(&transfer);
    bool started = transfer_status(&transfer) == 204 && transfer.code == CURLE_OK;
    transfer_free(&transfer);
    return started;
}

int main(int argc, char **argv) {
    static char token[16384];
    if (argc < 5 || !read_token(argv[2], token, sizeof token)) {
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct prepared_request *request = prepare(argv[1], argv[4], argc > 5 ? argv[5] : NULL);
    struct transfer_set *set = transfer_set_create(0, 0);
    if (request == NULL || set == NULL) {
        return 2;
    }
    bool started = true;
    for (long count = strtol(argv[3], NULL, 10); count > 0; count--) {
        started = call(set, request, token) && started;
    }
    transfer_set_destroy(set);
    prepared_request_release(request);
    curl_global_cleanup();
    return started ? 0 : 1;
}
