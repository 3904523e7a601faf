/* A server on loopback in a thread of its own, for the plain C tests that have many transfers at
 * once: it answers each request with 204 and, as x-id, the request's client-request-id. POSIX only.
 */
#ifndef AUTOPILOT_ECHO_SERVICE_H
#define AUTOPILOT_ECHO_SERVICE_H

#include <poll.h>
#include <pthread.h>

#include "loopback_peer.h"

enum { MOST_VISITORS = 384, LONGEST_HEAD = 1024 };

struct visitor {
    char head[LONGEST_HEAD];
    size_t length;
};

struct service {
    pthread_t thread;
    int listener, port;
    int control[2]; /* closing its first end ends the service */
    nfds_t quorum;  /* answers only once so many are connected at a time */
};

/* Answers a head that is whole with the client-request-id that it has. */
static inline void answer_head(int descriptor, struct visitor *visitor) {
    static const char name[] = "client-request-id: ";
    char answer[200];
    visitor->head[visitor->length] = '\0';
    const char *id = strstr(visitor->head, name);
    if (strstr(visitor->head, "\r\n\r\n") == NULL || id == NULL) {
        return;
    }
    id += sizeof name - 1;
    int length = snprintf(answer, sizeof answer, "HTTP/1.1 204 No Content\r\nx-id: %.*s\r\n\r\n",
                          (int)strcspn(id, "\r"), id);
    send(descriptor, answer, (size_t)length, MSG_NOSIGNAL);
    visitor->length = 0;
}

/* Reads what has come; false at the end of the connection. */
static inline bool serve_visitor(int descriptor, struct visitor *visitor) {
    size_t room = sizeof visitor->head - 1 - visitor->length;
    ssize_t length = recv(descriptor, visitor->head + visitor->length, room, 0);
    if (length <= 0) {
        return false;
    }
    visitor->length += (size_t)length;
    return true;
}

static inline void *serve(void *context) {
    struct service *service = context;
    static struct visitor visitors[MOST_VISITORS];
    struct pollfd watched[MOST_VISITORS + 2];
    nfds_t count = 2;
    watched[0] = (struct pollfd){.fd = service->control[1], .events = POLLIN};
    watched[1] = (struct pollfd){.fd = service->listener, .events = POLLIN};
    while (poll(watched, count, -1) >= 0 && watched[0].revents == 0) {
        for (nfds_t i = count; i-- > 2;) {
            if (watched[i].revents != 0 && !serve_visitor(watched[i].fd, &visitors[i - 2])) {
                close(watched[i].fd);
                watched[i] = watched[--count];
                visitors[i - 2] = visitors[count - 2];
            }
        }
        if (watched[1].revents != 0 && count < MOST_VISITORS + 2) {
            visitors[count - 2].length = 0;
            watched[count] = (struct pollfd){.fd = accept(service->listener, NULL, NULL)};
            watched[count++].events = POLLIN;
        }
        service->quorum = count - 2 < service->quorum ? service->quorum : 0;
        for (nfds_t i = 2; i < count && service->quorum == 0; i++) {
            answer_head(watched[i].fd, &visitors[i - 2]);
        }
    }
    while (count > 2) {
        close(watched[--count].fd);
    }
    return NULL;
}

static inline void service_open(struct service *service, nfds_t quorum) {
    struct peer listening;
    service->quorum = quorum;
    peer_open(&listening, NULL);
    service->listener = listening.listener;
    service->port = listening.port;
    fcntl(service->listener, F_SETFL, 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, service->control) == 0);
    CHECK(pthread_create(&service->thread, NULL, serve, service) == 0);
}

static inline void service_close(struct service *service) {
    close(service->control[0]);
    pthread_join(service->thread, NULL);
    close(service->control[1]);
    close(service->listener);
}

#endif
