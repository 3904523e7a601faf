/* One transfer set and its peer on loopback, stepped in turn, for the tests of src/transfer_set.
 * POSIX only. */
#ifndef AUTOPILOT_STEPPED_SET_H
#define AUTOPILOT_STEPPED_SET_H

#include <time.h>

#include <curl/curl.h>

#include "loopback_request.h"
#include "transfer_set.h"

static const struct transfer_attempt usual = {
    .token = "secret", .connect_timeout = 2, .total_timeout = 2};

/* Steps set and peer until the transfer has finished; false when it never does. */
static inline bool finish_transfer(struct transfer_set *set, const struct transfer *transfer,
                                   struct peer *peer) {
    time_t began = time(NULL);
    while (!transfer->finished && time(NULL) - began < 10) {
        peer_step(peer);
        transfer_set_step(set, 0.001);
    }
    return transfer->finished;
}

/* One exchange in the set; its status. */
static inline int exchange(struct transfer_set *set, struct prepared_request *request,
                           struct peer *peer) {
    struct transfer transfer = {0};
    transfer_init(&transfer, request, &usual);
    transfer_set_add(set, &transfer);
    CHECK(finish_transfer(set, &transfer, peer));
    transfer_set_remove(&transfer);
    int status = transfer_status(&transfer);
    transfer_free(&transfer);
    return status;
}

/* Takes the machine's proxies away. */
static inline void clear_environment(void) {
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                        "all_proxy",  "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsetenv(names[i]);
    }
}

#endif
