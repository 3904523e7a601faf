/* src/transfer_set where libcurl runs out of memory, at any point. */
#define _POSIX_C_SOURCE 200809L

#include "stepped_set.h"

/* How many more of libcurl's allocations succeed before one or all of them fail; negative: no
 * limit.
 */
static long allocations_left = -1;
static bool one_fails;

static bool may_allocate(void) {
    if (allocations_left > 0) {
        allocations_left--;
    }
    bool may = allocations_left != 0;
    if (!may && one_fails) {
        allocations_left = -1;
    }
    return may;
}

static void *failing_malloc(size_t size) {
    return may_allocate() ? malloc(size) : NULL;
}

static void *failing_calloc(size_t count, size_t size) {
    return may_allocate() ? calloc(count, size) : NULL;
}

static void *failing_realloc(void *memory, size_t size) {
    return may_allocate() ? realloc(memory, size) : NULL;
}

static char *failing_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = failing_malloc(size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

/* Two transfers, of which one uses what the other leaves, while libcurl may allocate only so often.
 * True when they needed no more. */
static bool exchange_with(long allocations) {
    struct peer peer;
    struct transfer transfers[2] = {{0}, {0}};
    peer_open(&peer, "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2\r\n\r\nok");
    struct prepared_request *request = request_to(&peer);
    allocations_left = allocations;
    struct transfer_set *set = transfer_set_create(0, 0);
    for (int i = 0; i < 2 && set != NULL; i++) {
        transfer_init(&transfers[i], request, &usual);
        transfer_set_add(set, &transfers[i]);
        CHECK(finish_transfer(set, &transfers[i], &peer));
        bool is_complete = transfers[i].code == CURLE_OK;
        CHECK(!is_complete || transfer_status(&transfers[i]) == 200);
        CHECK(is_complete ||
              (transfers[i].failed_stage != NULL && transfers[i].message[0] != '\0'));
    }
    peer_step(&peer);
    CHECK(peer_requests(&peer) <= (int)(transfers[0].sends + transfers[1].sends));
    transfer_set_destroy(set);
    bool is_enough = allocations_left > 0;
    allocations_left = -1;
    transfer_free(&transfers[0]);
    transfer_free(&transfers[1]);
    prepared_request_release(request);
    peer_close(&peer);
    return is_enough;
}

static void survives_any_allocation_that_fails(void) {
    for (int round = 0; round < 2; round++) {
        long allocations = 1;
        one_fails = round == 1;
        while (allocations < 5000 && !exchange_with(allocations)) {
            allocations++;
        }
        CHECK(allocations > 20 && allocations < 5000);
    }
}

/* Makes a request while libcurl may allocate only so often; the problem, or an empty text. */
static const char *make_with(const char *url, long allocations) {
    const char *problem;
    allocations_left = allocations;
    struct prepared_request *request = prepared_request_create("POST", url, &problem);
    allocations_left = -1;
    CHECK((request != NULL) == (problem == NULL));
    prepared_request_release(request);
    return problem != NULL ? problem : "";
}

static bool is_problem(const char *problem, const char *beginning) {
    return beginning[0] == '\0' ? problem[0] == '\0' : strstr(problem, beginning) == problem;
}

static void says_so_when_a_url_cannot_be_read_for_it(void) {
    static const struct {
        const char *url;
        const char *problem;
    } cases[] = {
        {"https://graph.example.test:8443/beta/sync?a=b", ""},
        {"http://127.0.0.1/", ""},
        {"https://user:secret@graph.example.test/", "the URL must be https"},
        {"http://graph.example.test/", "the URL must be https"},
        {"https://", "the URL must be https"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(is_problem(make_with(cases[i].url, -1), cases[i].problem));
        for (int round = 0; round < 2; round++) {
            one_fails = round == 1;
            for (long allocations = 1; allocations < 60; allocations++) {
                const char *problem = make_with(cases[i].url, allocations);
                CHECK_ABOUT(is_problem(problem, cases[i].problem) ||
                                is_problem(problem, "not enough memory"),
                            cases[i].url, strlen(cases[i].url));
            }
        }
    }
}

int main(void) {
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, failing_malloc, free, failing_realloc,
                             failing_strdup, failing_calloc) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    clear_environment();
    check_case("survives any allocation of libcurl's that fails",
               survives_any_allocation_that_fails);
    check_case("says so when there is no memory to read a URL with",
               says_so_when_a_url_cannot_be_read_for_it);
    return check_summary();
}
