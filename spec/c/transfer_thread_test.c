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

static void serves_one_after_another(void) {
    set_up(no_content);
    int connection = connect_to(transfer_thread_address(thread));
    for (int i = 0; i < 20; i++) {
        CHECK(exchange(thread, connection, request, &peer) == 204);
    }
    CHECK(transfer_thread_backlog(thread) == 0);
    CHECK(peer.client_count == 1); /* the connection to the peer was used again */
    close(connection);
    tear_down();
}

static void begins_when_somebody_waits(void) {
    set_up(no_content);
    unsigned long first = transfer_thread_submit(thread, request, &usual);
    int connection = connect_to(transfer_thread_address(thread));
    CHECK(exchange(thread, connection, request, &peer) == 204);
    CHECK(peer_requests(&peer) == 1);
    CHECK(transfer_thread_backlog(thread) == 1);
    CHECK(transfer_thread_withdraw(thread, first));
    CHECK(!transfer_thread_withdraw(thread, first));
    CHECK(transfer_thread_backlog(thread) == 0);
    close(connection);
    tear_down();
}

static void gives_up_what_nobody_waits_for(void) {
    set_up(NULL);
    int connection = connect_to(transfer_thread_address(thread));
    unsigned long number = transfer_thread_submit(thread, request, &usual);
    wait_for(connection, number);
    EVENTUALLY(&peer, peer_requests(&peer) == 1);
    CHECK(!transfer_thread_withdraw(thread, number));
    CHECK(claim(thread, number) == -1);
    close(connection);
    CHECK(read_byte(peer.clients[0], NULL) == 0);
    CHECK(transfer_thread_backlog(thread) == 0);
    tear_down();
}

static void forgets_what_was_told_and_not_claimed(void) {
    set_up(no_content);
    int connection = connect_to(transfer_thread_address(thread));
    unsigned long number = transfer_thread_submit(thread, request, &usual);
    wait_for(connection, number);
    CHECK(read_byte(connection, &peer) == '+');
    CHECK(transfer_thread_backlog(thread) == 1);
    close(connection);
    EVENTUALLY(&peer, transfer_thread_backlog(thread) == 0);
    CHECK(claim(thread, number) == -1);
    tear_down();
}

static void closes_on_anything_but_a_number(void) {
    static const char *const wrong[] = {"\n",    "0\n",    "x\n",
                                        "-1\n",  "+1\n",   " 1\n",
                                        "1 \n",  "99\n",   "18446744073709551617\n",
                                        "1\n\n", "1\n2\n", "111111111111111111111111"};
    set_up(no_content);
    int other = connect_to(transfer_thread_address(thread));
    CHECK(exchange(thread, other, request, &peer) == 204);
    unsigned long waiting = transfer_thread_submit(thread, request, &usual);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int connection = connect_to(transfer_thread_address(thread));
        say(connection, wrong[i]);
        CHECK_ABOUT(read_byte(connection, &peer) == 0, wrong[i], strlen(wrong[i]));
        close(connection);
    }
    int twice = connect_to(transfer_thread_address(thread));
    wait_for(twice, waiting);
    CHECK(read_byte(twice, &peer) == '+');
    wait_for(twice, waiting);
    CHECK(read_byte(twice, &peer) == 0);
    CHECK(exchange(thread, other, request, &peer) == 204);
    close(twice);
    close(other);
    tear_down();
}

static void closes_on_a_number_too_many(void) {
    set_up(NULL);
    int connection = connect_to(transfer_thread_address(thread));
    unsigned long next = transfer_thread_submit(thread, request, &usual);
    wait_for(connection, transfer_thread_submit(thread, request, &usual));
    EVENTUALLY(&peer, peer_requests(&peer) == 1);
    wait_for(connection, next);
    CHECK(read_byte(connection, &peer) == 0);
    CHECK(transfer_thread_withdraw(thread, next));
    close(connection);
    tear_down();
}

static void does_not_mind_slow_writers(void) {
    set_up(no_content);
    int connection = connect_to(transfer_thread_address(thread));
    char line[32];
    snprintf(line, sizeof line, "%lu\n", transfer_thread_submit(thread, request, &usual));
    for (size_t i = 0; line[i] != '\0'; i++) {
        CHECK(send(connection, &line[i], 1, MSG_NOSIGNAL) == 1);
        poll(NULL, 0, 2);
    }
    CHECK(read_byte(connection, &peer) == '+');
    close(connection);
    tear_down();
}

#ifdef SO_PEERCRED /* elsewhere every process of this user is let in */
/* A child has the descriptors and the memory, but neither the thread nor a way to its socket. */
static int try_in_child(void) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", transfer_thread_address(thread));
    bool is_stranger = !transfer_thread_is_ours(thread);
    transfer_thread_stop(thread);
    int connection = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte;
    bool is_refused =
        connect(connection, (struct sockaddr *)&address, sizeof address) != 0 ||
        (send(connection, "1\n", 2, MSG_NOSIGNAL) >= -1 && recv(connection, &byte, 1, 0) <= 0);
    return is_stranger && is_refused ? 0 : 1;
}

static void lets_no_other_process_in(void) {
    set_up(no_content);
    unsigned long number = transfer_thread_submit(thread, request, &usual);
    pid_t child = fork();
    if (child == 0) {
        _exit(try_in_child());
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    int connection = connect_to(transfer_thread_address(thread));
    wait_for(connection, number);
    CHECK(read_byte(connection, &peer) == '+');
    CHECK(claim(thread, number) == 204);
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
    const char *address = transfer_thread_address(thread);
#ifdef O_PATH
    CHECK(strncmp(address, "/proc/self/fd/", 14) == 0); /* it has no name in the file system */
#endif
    CHECK(strlen(address) > 0);
    int idle = connect_to(address), busy = connect_to(address), half = connect_to(address);
    transfer_thread_submit(thread, request, &usual);
    wait_for(busy, transfer_thread_submit(thread, request, &usual));
    say(half, "1");
    EVENTUALLY(&peer, peer_requests(&peer) == 1);
    prepared_request_release(request);
    transfer_thread_stop(thread); /* with transfers in every state */
    CHECK(read_byte(busy, NULL) == 0);
    close(idle);
    close(busy);
    close(half);
    peer_close(&peer);
    CHECK(count_descriptors() == before);
}

/* ---- Many waiters at once -------------------------------------------------------------------- */

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

/* A light thread: what it waits for, if anything. */
struct waiter {
    int connection;
    unsigned long number; /* 0: nothing */
    char id[16];
};

static void begin_waiting(struct waiter *waiter, int *last_id) {
    struct transfer_attempt attempt = usual;
    snprintf(waiter->id, sizeof waiter->id, "%d", ++*last_id);
    attempt.client_request_id = waiter->id;
    attempt.client_request_id_length = strlen(waiter->id);
    waiter->number = transfer_thread_submit(thread, request, &attempt);
    wait_for(waiter->connection, waiter->number);
}

static void end_waiting(struct waiter *waiter) {
    struct transfer transfer;
    CHECK(read_byte(waiter->connection, NULL) == '+');
    CHECK(transfer_thread_claim(thread, waiter->number, &transfer));
    CHECK(answers(&transfer, waiter->id));
    transfer_free(&transfer);
    waiter->number = 0;
}

/* As a light thread is killed, or its client goes away. */
static void go_away(struct waiter *waiter) {
    close(waiter->connection);
    waiter->connection = connect_to(transfer_thread_address(thread));
    waiter->number = 0;
}

static void survives_waiters_that_go_at_any_moment(void) {
    enum { WAITERS = 40, ROUNDS = 4000 };
    static struct waiter waiters[WAITERS];
    struct service service;
    int last_id = 0;
    service_open(&service, 0);
    peer.port = service.port;
    thread = start();
    request = request_to(&peer);
    for (int i = 0; i < WAITERS; i++) {
        waiters[i].connection = connect_to(transfer_thread_address(thread));
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct waiter *waiter = &waiters[check_random(WAITERS)];
        if (waiter->number == 0) {
            begin_waiting(waiter, &last_id);
        } else if (check_random(4) == 0) {
            go_away(waiter);
        } else {
            end_waiting(waiter);
        }
    }
    for (int i = 0; i < WAITERS; i++) {
        close(waiters[i].connection);
    }
    for (int waited = 0; transfer_thread_backlog(thread) > 0 && waited < 5000; waited++) {
        poll(NULL, 0, 1);
    }
    CHECK(transfer_thread_backlog(thread) == 0);
    prepared_request_release(request);
    transfer_thread_stop(thread);
    service_close(&service);
}

/* A request that is released while the thread still holds it. */
static void shares_requests_with_the_thread(void) {
    set_up(no_content);
    int connection = connect_to(transfer_thread_address(thread));
    for (int i = 0; i < 100; i++) {
        struct prepared_request *own = request_to(&peer);
        unsigned long number = transfer_thread_submit(thread, own, &usual);
        wait_for(connection, number);
        prepared_request_release(own);
        CHECK(read_byte(connection, &peer) == '+');
        CHECK(claim(thread, number) == 204);
        if (peer.seen_length > sizeof peer.seen - 1000) {
            peer.seen_length = peer.answered = 0;
        }
    }
    close(connection);
    tear_down();
}

/* Another transfer opens another connection. */
static void closes_unused_connections(void) {
    peer_open(&peer, no_content);
    thread = start_keeping(0.2);
    request = request_to(&peer);
    int connection = connect_to(transfer_thread_address(thread));
    for (int i = 0; i < 3; i++) {
        CHECK(exchange(thread, connection, request, &peer) == 204);
        CHECK(exchange(thread, connection, request, &peer) == 204);
        CHECK(peer.client_count == i + 1);
        CHECK(read_byte(peer.clients[i], NULL) == 0);
    }
    close(connection);
    tear_down();
}

/* When nothing is to be done, nothing is done. */
static void rests_when_idle(void) {
    set_up(NULL);
    int idle = connect_to(transfer_thread_address(thread));
    int busy = connect_to(transfer_thread_address(thread));
    wait_for(busy, transfer_thread_submit(thread, request, &usual));
    EVENTUALLY(&peer, peer_requests(&peer) == 1);
    double before = processor_seconds();
    poll(NULL, 0, 200);
    CHECK(processor_seconds() - before < 0.02);
    close(idle);
    close(busy);
    tear_down();
}

int main(void) {
    unsetenv("http_proxy");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return EXIT_FAILURE;
    }
    check_case("serves one transfer after another on a connection", serves_one_after_another);
    check_case("begins with a transfer when somebody waits for it", begins_when_somebody_waits);
    check_case("gives up what nobody waits for any more", gives_up_what_nobody_waits_for);
    check_case("forgets what was told and not claimed", forgets_what_was_told_and_not_claimed);
    check_case("closes a connection on anything but a number", closes_on_anything_but_a_number);
    check_case("closes a connection that asks for another while it waits",
               closes_on_a_number_too_many);
    check_case("does not mind a number that comes in pieces", does_not_mind_slow_writers);
#ifdef SO_PEERCRED
    check_case("lets no other process in, a child least of all", lets_no_other_process_in);
#endif
    check_case("leaves signals to the program", leaves_signals_to_the_program);
    check_case("leaves nothing behind, whatever state transfers are in", leaves_nothing_behind);
    check_case("hands out no other answer, whenever waiters go",
               survives_waiters_that_go_at_any_moment);
    check_case("shares requests with whoever made them", shares_requests_with_the_thread);
    check_case("closes connections that are not used for long", closes_unused_connections);
    check_case("rests when there is nothing to do", rests_when_idle);
    return check_summary();
}
