/* src/transfer_thread, from the side of an event loop: this program is the loop, its peer a
 * listener on loopback. To be run under ThreadSanitizer too. */
#define _GNU_SOURCE 1

#include <signal.h>
#include <stdlib.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "echo_service.h"
#include "event_loop_side.h"
#include "platform.h"

static void serves_one_after_another(void) {
    set_up(no_content);
    int connection = attach(thread);
    for (int i = 0; i < 20; i++) {
        CHECK(exchange(thread, connection, request, &peer) == 204);
    }
    CHECK(peer.client_count == 1); /* the connection to the peer was used again */
    close(connection);
    tear_down();
}

static void sends_one_byte_until_all_are_taken(void) {
    set_up(no_content);
    int connection = attach(thread);
    char bytes[8];
    struct transfer transfer;
    for (int i = 0; i < 2; i++) {
        transfer_thread_submit(thread, request, &usual);
        transfer_thread_submit(thread, request, &usual);
        EVENTUALLY(&peer, peer_requests(&peer) == 2 * (i + 1));
        poll(NULL, 0, 50);
        CHECK(recv(connection, bytes, sizeof bytes, MSG_DONTWAIT) == 1);
        for (int taken = 0, waited = 0; taken < 2 && waited < PATIENCE_MILLISECONDS; waited++) {
            if (transfer_thread_take(thread, &transfer) != 0) {
                transfer_free(&transfer);
                taken++;
            }
            poll(NULL, 0, 1);
        }
        CHECK(take(thread, 0) == -1);
        recv(connection, bytes, sizeof bytes, MSG_DONTWAIT); /* of one that came late */
    }
    close(connection);
    tear_down();
}

static void sends_to_the_last_connection(void) {
    set_up(no_content);
    int first = attach(thread), second = attach(thread);
    CHECK(read_byte(first, NULL) == 0);
    CHECK(exchange(thread, second, request, &peer) == 204);
    CHECK(!transfer_thread_accept(thread)); /* no other one waits */
    CHECK(is_closed(second));
    unsigned long number = transfer_thread_submit(thread, request, &usual);
    CHECK(look_for(thread, number, &peer) == 204);
    close(first);
    close(second);
    tear_down();
}

/* As after a connection for which there was no descriptor. */
static void accepts_the_last_of_several_connections(void) {
    set_up(no_content);
    int left = connect_to(transfer_thread_listen(thread)), last = attach(thread);
    CHECK(read_byte(left, NULL) == 0);
    CHECK(exchange(thread, last, request, &peer) == 204);
    close(left);
    close(last);
    tear_down();
}

static void sends_a_byte_now_and_then_while_it_waits(void) {
    set_up(NULL);
    int connection = attach(thread);
    transfer_thread_submit(thread, request, &usual);
    for (int i = 0; i < 3; i++) {
        CHECK(read_byte(connection, &peer) == '+');
        CHECK(take(thread, 0) == -1);
    }
    close(connection);
    tear_down();
}

/* Something else happens in each fifth of a second, which must not put the byte off. */
static void sends_a_byte_in_time_whatever_happens(void) {
    set_up(NULL);
    enum { OTHERS = 30 };
    unsigned long others[OTHERS];
    int connection = attach(thread), happened = 0;
    transfer_thread_submit(thread, request, &usual);
    for (int i = 0; i < OTHERS; i++) {
        others[i] = transfer_thread_submit(thread, request, &usual);
    }
    EVENTUALLY(&peer, peer_requests(&peer) == OTHERS + 1);
    CHECK(read_byte(connection, &peer) == '+');
    for (int i = 0; i < 3; i++) {
        struct pollfd asked = {.fd = connection, .events = POLLIN};
        CHECK(take(thread, 0) == -1);
        while (happened < OTHERS && poll(&asked, 1, 200) == 0) {
            transfer_thread_discard(thread, others[happened++]);
        }
        CHECK(happened < OTHERS);
        CHECK(read_byte(connection, &peer) == '+');
    }
    close(connection);
    tear_down();
}

static void gives_up_what_is_discarded(void) {
    set_up(NULL);
    unsigned long number = transfer_thread_submit(thread, request, &usual);
    EVENTUALLY(&peer, peer_requests(&peer) == 1);
    CHECK(!transfer_thread_discard(thread, number));
    CHECK(read_byte(peer.clients[0], NULL) == 0);
    CHECK(take(thread, 0) == -1);
    CHECK(!transfer_thread_discard(thread, number));
    tear_down();
}

static void forgets_what_has_finished_and_is_discarded(void) {
    set_up(no_content);
    int connection = attach(thread);
    unsigned long number = transfer_thread_submit(thread, request, &usual);
    CHECK(read_byte(connection, &peer) == '+');
    CHECK(!transfer_thread_discard(thread, number));
    CHECK(take(thread, 0) == -1);
    close(connection);
    tear_down();
}

/* What it says is true at every moment at which a transfer may be discarded. */
static void never_sends_what_had_not_begun(void) {
    enum { TRANSFERS = 200 };
    set_up(NULL);
    int possible = 0;
    for (int i = 0; i < TRANSFERS; i++) {
        unsigned long number = transfer_thread_submit(thread, request, &usual);
        for (unsigned spins = check_random(3000); spins > 0; spins--) {
            (void)transfer_thread_is_ours(thread);
        }
        possible += !transfer_thread_discard(thread, number);
    }
    for (int waited = 0; waited < 50; waited++) {
        peer_step(&peer);
        poll(NULL, 0, 1);
    }
    CHECK(peer_requests(&peer) <= possible);
    tear_down();
}

#ifdef SO_PEERCRED /* elsewhere every process of this user is let in */
/* A child has the descriptors and the memory, but neither the thread nor a way to its socket. */
static int try_in_child(const char *path, int told) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    bool is_stranger = !transfer_thread_is_ours(thread);
    transfer_thread_stop(thread);
    int connection = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte;
    bool is_connected = connect(connection, (struct sockaddr *)&address, sizeof address) == 0;
    bool is_told = write(told, "+", 1) == 1;
    return is_stranger && is_connected && is_told && recv(connection, &byte, 1, 0) <= 0 ? 0 : 1;
}

static void lets_no_other_process_in(void) {
    set_up(no_content);
    const char *path = transfer_thread_listen(thread);
    int told[2], status = 1;
    char byte;
    CHECK(pipe(told) == 0);
    pid_t child = fork();
    if (child == 0) {
        _exit(try_in_child(path, told[1]));
    }
    CHECK(read(told[0], &byte, 1) == 1);
    close(told[0]);
    close(told[1]);
    CHECK(!transfer_thread_accept(thread));
    int connection = attach(thread);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(exchange(thread, connection, request, &peer) == 204);
    close(connection);
    tear_down();
}
#endif

static void leaves_signals_to_the_program(void) {
    sigset_t signals, pending;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    set_up(no_content);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    kill(getpid(), SIGUSR1); /* would end us in a thread that does not block it */
    poll(NULL, 0, 20);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGUSR1));
    int taken = 0;
    sigwait(&signals, &taken);
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
    tear_down();
}

static int count_descriptors(void) {
    int count = 0;
    for (int i = 0; i < 1024; i++) {
        count += fcntl(i, F_GETFD) >= 0;
    }
    return count;
}

static void leaves_nothing_behind(void) {
    set_up(NULL);
    tear_down();
    int before = count_descriptors();
    set_up(NULL);
    int connection = attach(thread), pending = connect_to(transfer_thread_listen(thread));
    transfer_thread_submit(thread, request, &usual);
    EVENTUALLY(&peer, peer_requests(&peer) == 1);
    transfer_thread_submit(thread, request, &usual);
    prepared_request_release(request);
    transfer_thread_stop(thread);
    CHECK(is_closed(connection));
    close(connection);
    close(pending);
    peer_close(&peer);
    CHECK(count_descriptors() == before);
}

/* However the process ends, even without closing anything. */
static void leaves_no_file_once_it_is_connected(void) {
    char folder[108];
    set_up(NULL);
    const char *path = transfer_thread_listen(thread);
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    CHECK(access(folder, F_OK) == 0);
    int connection = connect_to(path);
    CHECK(transfer_thread_accept(thread));
    CHECK(access(folder, F_OK) != 0);
    transfer_thread_listen(thread); /* not connected to */
    CHECK(!transfer_thread_accept(thread));
    CHECK(access(folder, F_OK) != 0);
    close(connection);
    tear_down();
}

/* ---- Many transfers at once ------------------------------------------------------------------ */

/* True when the answer carries this id. */
static bool answers(const struct transfer *transfer, const char *id) {
    struct header_field field;
    for (size_t position = 0; response_head_next(&transfer->head, &position, &field);) {
        if (header_field_is(&field, "x-id")) {
            return field.value_length == strlen(id) &&
                   memcmp(field.value, id, field.value_length) == 0;
        }
    }
    return false;
}

/* Takes all that have finished, each with its own id. `is_wanted` is by number. */
static int take_all(bool *is_wanted) {
    struct transfer transfer;
    int count = 0;
    for (unsigned long number; (number = transfer_thread_take(thread, &transfer)) != 0; count++) {
        char id[24];
        snprintf(id, sizeof id, "%lu", number);
        CHECK(is_wanted[number] && answers(&transfer, id));
        is_wanted[number] = false;
        transfer_free(&transfer);
    }
    return count;
}

static void survives_what_is_discarded_at_any_moment(void) {
    enum { ROUNDS = 4000, AT_A_TIME = 40 };
    static bool is_wanted[ROUNDS + 1];
    struct service service;
    int waiting = 0;
    service_open(&service, 0);
    peer.port = service.port;
    thread = start();
    request = request_to(&peer);
    int connection = attach(thread);
    for (unsigned long round = 1; round <= ROUNDS; round++) {
        struct transfer_attempt attempt = usual;
        char id[16];
        snprintf(id, sizeof id, "%lu", round);
        attempt.client_request_id = id;
        CHECK(transfer_thread_submit(thread, request, &attempt) == round);
        is_wanted[round] = true;
        waiting++;
        unsigned long other = round > AT_A_TIME ? round - check_random(AT_A_TIME) : round;
        if (check_random(4) == 0 && is_wanted[other]) {
            transfer_thread_discard(thread, other);
            is_wanted[other] = false;
            waiting--;
        }
        waiting -= take_all(is_wanted);
        while (waiting >= AT_A_TIME && read_byte(connection, NULL) == '+') {
            waiting -= take_all(is_wanted);
        }
    }
    while (waiting > 0 && read_byte(connection, NULL) == '+') {
        waiting -= take_all(is_wanted);
    }
    CHECK(waiting == 0);
    close(connection);
    prepared_request_release(request);
    transfer_thread_stop(thread);
    service_close(&service);
}

/* A request that is released while the thread still holds it. */
static void shares_requests_with_the_thread(void) {
    set_up(no_content);
    int connection = attach(thread);
    for (int i = 0; i < 100; i++) {
        struct prepared_request *own = request_to(&peer);
        unsigned long number = transfer_thread_submit(thread, own, &usual);
        prepared_request_release(own);
        CHECK(await(thread, connection, number, &peer) == 204);
        if (peer.seen_length > sizeof peer.seen - 1000) {
            peer.seen_length = peer.answered = 0;
        }
    }
    close(connection);
    tear_down();
}

/* Another transfer opens another connection. That of the event loop is closed too. */
static void closes_unused_connections(void) {
    peer_open(&peer, no_content);
    thread = start_keeping(0.2);
    request = request_to(&peer);
    for (int i = 0; i < 3; i++) {
        int connection = attach(thread);
        CHECK(exchange(thread, connection, request, &peer) == 204);
        CHECK(exchange(thread, connection, request, &peer) == 204);
        CHECK(peer.client_count == i + 1);
        CHECK(read_byte(peer.clients[i], NULL) == 0);
        CHECK(is_closed(connection));
        close(connection);
    }
    tear_down();
}

/* When nothing is to be done, nothing is done. */
static void rests_when_idle(void) {
    set_up(NULL);
    int connection = attach(thread);
    transfer_thread_submit(thread, request, &usual);
    EVENTUALLY(&peer, peer_requests(&peer) == 1);
    double before = processor_seconds();
    poll(NULL, 0, 200);
    CHECK(processor_seconds() - before < 0.02);
    close(connection);
    tear_down();
}

int main(void) {
    unsetenv("http_proxy");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    check_case("serves one transfer after another", serves_one_after_another);
    check_case("sends one byte until all that have finished are taken",
               sends_one_byte_until_all_are_taken);
    check_case("sends bytes to the last connection, or to none", sends_to_the_last_connection);
    check_case("accepts the last of several connections", accepts_the_last_of_several_connections);
    check_case("sends a byte now and then while a transfer is in flight",
               sends_a_byte_now_and_then_while_it_waits);
    check_case("sends it in time, whatever else happens", sends_a_byte_in_time_whatever_happens);
    check_case("gives up what is discarded", gives_up_what_is_discarded);
    check_case("forgets what has finished and is discarded",
               forgets_what_has_finished_and_is_discarded);
    check_case("never sends what it says had not begun", never_sends_what_had_not_begun);
#ifdef SO_PEERCRED
    check_case("lets no other process in, a child least of all", lets_no_other_process_in);
#endif
    check_case("leaves signals to the program", leaves_signals_to_the_program);
    check_case("leaves nothing behind, whatever state transfers are in", leaves_nothing_behind);
    check_case("leaves no file once it is connected", leaves_no_file_once_it_is_connected);
    check_case("hands out no other answer, whatever is discarded, and when",
               survives_what_is_discarded_at_any_moment);
    check_case("shares requests with the program", shares_requests_with_the_thread);
    check_case("closes connections that are not used for long", closes_unused_connections);
    check_case("rests when there is nothing to do", rests_when_idle);
    return check_summary();
}
