/* A listener on loopback for the plain C tests that need somebody to talk to: it answers every
 * request with the same text when it is stepped, and keeps what it saw. POSIX only. */
#ifndef AUTOPILOT_LOOPBACK_PEER_H
#define AUTOPILOT_LOOPBACK_PEER_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

enum { MOST_CLIENTS = 48 };

struct peer {
    int listener;
    int port;
    int clients[MOST_CLIENTS];
    int client_count;
    char seen[8192]; /* all that came, from all clients */
    size_t seen_length;
    size_t answered; /* how much of it */
    const char *answer;
};

/* Listens on a port that the system gives; `answer` NULL: never answers. */
static inline void peer_open(struct peer *peer, const char *answer) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    memset(peer, 0, sizeof *peer);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->answer = answer;
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    fcntl(peer->listener, F_SETFL, O_NONBLOCK);
    CHECK(bind(peer->listener, (struct sockaddr *)&address, size) == 0);
    CHECK(listen(peer->listener, 512) == 0);
    CHECK(getsockname(peer->listener, (struct sockaddr *)&address, &size) == 0);
    peer->port = ntohs(address.sin_port);
}

/* Closes every connection, and listens no more. */
static inline void peer_close(struct peer *peer) {
    for (int i = 0; i < peer->client_count; i++) {
        close(peer->clients[i]);
    }
    close(peer->listener);
}

/* Accepts one who waits, reads what has come, answers a head that is whole. Never blocks. */
static inline void peer_step(struct peer *peer) {
    int client = accept(peer->listener, NULL, NULL);
    if (client >= 0 && peer->client_count < MOST_CLIENTS) {
        fcntl(client, F_SETFL, O_NONBLOCK);
        peer->clients[peer->client_count++] = client;
    }
    for (int i = 0; i < peer->client_count; i++) {
        size_t room = sizeof peer->seen - 1 - peer->seen_length;
        ssize_t length = recv(peer->clients[i], peer->seen + peer->seen_length, room, 0);
        if (length <= 0) {
            continue;
        }
        peer->seen_length += (size_t)length;
        peer->seen[peer->seen_length] = '\0';
        const char *end = strstr(peer->seen + peer->answered, "\r\n\r\n");
        if (end != NULL && peer->answer != NULL) {
            peer->answered = (size_t)(end - peer->seen) + 4;
            send(peer->clients[i], peer->answer, strlen(peer->answer), MSG_NOSIGNAL);
        }
    }
}

/* How many heads came in all. */
static inline int peer_requests(const struct peer *peer) {
    int count = 0;
    for (const char *at = peer->seen; (at = strstr(at, "\r\n\r\n")) != NULL; at += 4) {
        count++;
    }
    return count;
}

#endif
