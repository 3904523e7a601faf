#include "idle_sockets.h"
#include "platform.h"

#include <string.h>

void idle_sockets_init(struct idle_sockets *sockets) {
    const unsigned first_that_looks_itself = 0x080000;
    memset(sockets, 0, sizeof *sockets);
    sockets->are_needed = curl_version_info(CURLVERSION_NOW)->version_num < first_that_looks_itself;
}

/* The index of the connection from that port; MOST_IDLE_SOCKETS when it is not listed. */
static unsigned find(const struct idle_sockets *sockets, long local_port) {
    unsigned index = 0;
    while (index < MOST_IDLE_SOCKETS && sockets->entries[index].local_port != local_port) {
        index++;
    }
    return index;
}

static bool is_new_connection(CURL *easy) {
    long connects = 0;
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    return connects > 0;
}

void idle_sockets_note(struct idle_sockets *sockets, CURL *easy) {
    long version = 0, local_port = 0;
    curl_socket_t socket = CURL_SOCKET_BAD;
    if (!sockets->are_needed ||
        curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version) != CURLE_OK ||
        version >= CURL_HTTP_VERSION_2_0 ||
        curl_easy_getinfo(easy, CURLINFO_LOCAL_PORT, &local_port) != CURLE_OK) {
        return;
    }
    /* One entry for a port: an earlier connection from it has ended, and its socket's number may
     * have been given to another. */
    unsigned index = find(sockets, local_port);
    if (index < MOST_IDLE_SOCKETS && !is_new_connection(easy)) {
        return; /* known: asking for its socket would search all connections */
    }
    if (curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &socket) != CURLE_OK ||
        socket == CURL_SOCKET_BAD) {
        return;
    }
    if (index == MOST_IDLE_SOCKETS) {
        index = sockets->next;
        sockets->next = (sockets->next + 1) % MOST_IDLE_SOCKETS;
    }
    sockets->entries[index].local_port = local_port;
    sockets->entries[index].socket = socket;
}

bool idle_sockets_have_input(const struct idle_sockets *sockets, CURL *easy, long local_port) {
    if (is_new_connection(easy)) {
        return false;
    }
    unsigned index = find(sockets, local_port);
    return index < MOST_IDLE_SOCKETS &&
           platform_has_input((intptr_t)sockets->entries[index].socket);
}
