/* src/socket_watch: how much of the work that waits is done at a time. POSIX only. */
#define _POSIX_C_SOURCE 200809L

#include <curl/curl.h>

#include "loopback_request.h"
#include "platform.h"
#include "socket_watch.h"

enum { COUNT = 3 };

static int answers; /* that libcurl has begun to read */

/* Is called for each header line. Takes as long as a slow TLS handshake. */
static size_t take_long(char *line, size_t size, size_t count, void *context) {
    (void)context;
    if (strncmp(line, "HTTP/", 5) == 0) {
        answers++;
        for (double ends = platform_clock() + 0.02; platform_clock() < ends;) {
        }
    }
    return size * count;
}

static CURL *begin(struct socket_watch *watch, const struct peer *peer) {
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", peer->port);
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_long);
    /* No timeout of libcurl comes in between. */
    curl_easy_setopt(easy, CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS, 1000000L);
    CHECK(curl_multi_add_handle(watch->multi, easy) == CURLM_OK);
    return easy;
}

/* Sends all the requests; on return libcurl waits for the answers. */
static void send_requests(struct socket_watch *watch, struct peer *peer) {
    while (peer_requests(peer) < COUNT) {
        peer_step(peer);
        socket_watch_wait(watch, 1);
        CHECK(socket_watch_act(watch) == CURLM_OK);
    }
    for (int i = 0; i < 10; i++) {
        CHECK(socket_watch_act_on_time(watch) == CURLM_OK);
    }
}

static size_t sockets_with_news(const struct socket_watch *watch) {
    size_t count = 0;
    for (size_t i = 0; i < watch->count; i++) {
        count += watch->sockets[i].revents != 0;
    }
    return count;
}

static void leaves_the_rest_for_later_when_it_took_long(void) {
    struct peer peer;
    struct socket_watch watch = {0};
    CURL *easy[COUNT];
    peer_open(&peer, NULL);
    CHECK(socket_watch_init(&watch));
    for (int i = 0; i < COUNT; i++) {
        easy[i] = begin(&watch, &peer);
    }
    send_requests(&watch, &peer);
    for (int i = 0; i < COUNT; i++) {
        send(peer.clients[i], no_content, strlen(no_content), MSG_NOSIGNAL);
    }
    while (sockets_with_news(&watch) < COUNT) {
        socket_watch_wait(&watch, 1000);
    }
    for (int i = 1; i <= COUNT; i++) {
        CHECK(socket_watch_has_news(&watch));
        CHECK(socket_watch_act(&watch) == CURLM_OK);
        CHECK(answers == i);
    }
    for (int i = 0; i < COUNT; i++) {
        curl_multi_remove_handle(watch.multi, easy[i]);
        curl_easy_cleanup(easy[i]);
    }
    socket_watch_free(&watch);
    peer_close(&peer);
}

int main(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    check_case("leaves the rest for later when it took long",
               leaves_the_rest_for_later_when_it_took_long);
    curl_global_cleanup();
    return check_summary();
}
