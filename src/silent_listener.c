#define _POSIX_C_SOURCE 200809L

#include "silent_listener.h"

#ifndef _WIN32

#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int silent_listener_open(int *port) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (descriptor < 0) {
        return -1;
    }
    if (fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0 ||
        bind(descriptor, (const struct sockaddr *)&address, size) != 0 ||
        listen(descriptor, 4) != 0 ||
        getsockname(descriptor, (struct sockaddr *)&address, &size) != 0) {
        close(descriptor);
        return -1;
    }
    *port = ntohs(address.sin_port);
    return descriptor;
}

void silent_listener_close(int descriptor) {
    if (descriptor >= 0) {
        close(descriptor);
    }
}

#endif
