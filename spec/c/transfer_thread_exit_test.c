/* src/transfer_thread where its process exits or forks while the thread is inside of TLS. */
#define _GNU_SOURCE 1

#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "event_loop_side.h"
#include "transfer_set.h"

/* How often each case is tried, at moments spread over the first milliseconds of a handshake. */
enum { TRIES = 30, LONGEST_MICROSECONDS = 30000, PATIENCE_SECONDS = 20 };

/* Begins TLS with a listener that accepts and stays silent. Reading a whole bundle keeps the thread
 * inside of OpenSSL for some 20 ms. */
static void begin_handshake(int port) {
    const char *bundle = curl_version_info(CURLVERSION_NOW)->cainfo;
    thread = start();
    request = request_for("https", "127.0.0.1", port);
    if (bundle != NULL) {
        CHECK(byte_buffer_copy(&request->ca_file, bundle));
    }
    transfer_thread_submit(thread, request, &usual);
}

static void pause_for(int try) {
    struct timespec moment = {0, 1000L * (LONGEST_MICROSECONDS / TRIES) * try};
    nanosleep(&moment, NULL);
}

/* Runs `live`, which exits, in a child of its own with a listener of its own; true when it ends by
 * itself, well and in time. */
static bool ends_well(void (*live)(int try), int try) {
    int status = 1;
    fflush(stdout);
    peer_open(&peer, NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(PATIENCE_SECONDS);
        check_failures = 0;
        live(try);
    }
    peer_close(&peer);
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void finish(bool is_well) {
    exit(is_well && check_failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void exit_soon(int try) {
    begin_handshake(peer.port);
    pause_for(try);
    finish(true);
}

static void lets_the_process_exit_at_any_moment(void) {
    for (int try = 0; try < TRIES; try++) {
        CHECK(ends_well(exit_soon, try));
    }
}

static void stop_one_and_exit(int try) {
    struct transfer_thread *first = start(), *second = start();
    begin_handshake(peer.port);
    transfer_thread_stop(second);
    pause_for(try);
    transfer_thread_stop(first);
    finish(true);
}

static void stops_at_exit_what_was_not_stopped(void) {
    CHECK(ends_well(stop_one_and_exit, 1));
}

/* TLS of the child's own, which needs whatever of OpenSSL the thread of its parent was using. */
static void go_on_alone(int try) {
    struct transfer transfer;
    struct transfer_set *set = transfer_set_create(0, 0);
    struct prepared_request *own = request_for("https", "127.0.0.1", peer.port);
    (void)try;
    memset(&transfer, 0, sizeof transfer);
    transfer_init(&transfer, own, &usual);
    transfer_set_add(set, &transfer);
    for (int i = 0; i < 5; i++) {
        transfer_set_step(set, 0.01);
    }
    transfer_set_destroy(set);
    transfer_free(&transfer);
    prepared_request_release(own);
#ifdef __SANITIZE_ADDRESS__
    _exit(EXIT_SUCCESS); /* what OpenSSL keeps for the parent's thread would be told as a leak */
#endif
    finish(true);
}

static void fork_soon(int try) {
    begin_handshake(peer.port);
    /* While a thread starts, the address sanitizer holds locks that a child would inherit. */
    EVENTUALLY(&peer, peer.client_count > 0);
    pause_for(try);
    finish(ends_well(go_on_alone, try));
}

static void lets_the_process_fork_at_any_moment(void) {
    for (int try = 0; try < TRIES; try++) {
        CHECK(ends_well(fork_soon, try));
    }
}

int main(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    check_case("lets the process exit at any moment", lets_the_process_exit_at_any_moment);
    check_case("stops at exit what was not stopped before", stops_at_exit_what_was_not_stopped);
    check_case("lets the process fork at any moment", lets_the_process_fork_at_any_moment);
    return check_summary();
}
