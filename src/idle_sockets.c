#include "idle_sockets.h"
#include "platform.h"

#include <stdlib.h>
#include <string.h>

void idle_sockets_free(struct idle_sockets *sockets) {
    free(sockets->entries);
    memset(sockets, 0, sizeof *sockets);
}

static bool is_new_connection(CURL *easy) {
    long connects = 0;
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    return connects > 0;
}

static const struct idle_socket *find(const struct idle_sockets *sockets, uint64_t connection) {
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->entries[i].connection == connection) {
            return &sockets->entries[i];
        }
    }
    return NULL;
}

/* Removes what was known of this id and of this socket. */
static void forget(struct idle_sockets *sockets, uint64_t connection, curl_socket_t socket) {
    for (size_t i = sockets->count; i-- > 0;) {
        if (sockets->entries[i].connection == connection || sockets->entries[i].socket == socket) {
            sockets->entries[i] = sockets->entries[--sockets->count];
        }
    }
}

static bool has_room(struct idle_sockets *sockets) {
    if (sockets->count < sockets->room) {
        return true;
    }
    size_t room = sockets->room == 0 ? 8 : 2 * sockets->room;
    struct idle_socket *longer = realloc(sockets->entries, room * sizeof *longer);
    if (longer == NULL) {
        return false;
    }
    sockets->entries = longer;
    sockets->room = room;
    return true;
}

void idle_sockets_note(struct idle_sockets *sockets, CURL *easy, uint64_t connection) {
    long version = 0;
    curl_socket_t socket = CURL_SOCKET_BAD;
    curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
    if (version == 0 || !is_new_connection(easy)) {
        return; /* over, or known: asking for its socket would search all connections */
    }
    curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &socket);
    forget(sockets, connection, socket);
    if (version < CURL_HTTP_VERSION_2_0 && socket != CURL_SOCKET_BAD && has_room(sockets)) {
        sockets->entries[sockets->count++] = (struct idle_socket){connection, socket};
    }
}

bool idle_sockets_have_input(const struct idle_sockets *sockets, CURL *easy, uint64_t connection) {
    const struct idle_socket *known = is_new_connection(easy) ? NULL : find(sockets, connection);
    return known != NULL && platform_has_input((intptr_t)known->socket);
}
