/* accept4 and struct ucred are extensions in glibc. */
#define _GNU_SOURCE 1
#define _DARWIN_C_SOURCE 1

#include "wake_socket.h"
#include "platform.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

/* Accepts a connection, which exec closes. Where the system can, that is set at once, because
 * another thread of the process may be forking. */
static int accept_uninherited(int listener) {
#ifdef SOCK_CLOEXEC
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
#else
    int connection = accept(listener, NULL, NULL);
    fcntl(connection, F_SETFD, FD_CLOEXEC);
    return connection;
#endif
}

/* True when this process is at the other end; on systems that tell only the user: this user. */
static bool is_from_us(int connection) {
#ifdef SO_PEERCRED
#ifdef __OpenBSD__
    struct sockpeercred peer; /* getsockopt(2): named as in Linux, ordered otherwise */
#else
    struct ucred peer;
#endif
    socklen_t size = sizeof peer;
    return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           peer.pid == getpid();
#else
    uid_t user;
    gid_t group;
    return getpeereid(connection, &user, &group) == 0 && user == geteuid();
#endif
}

int wake_socket_accept(struct wake_socket *wake) {
    int connection = accept_uninherited(wake->listener);
    while (connection >= 0 && !is_from_us(connection)) {
        close(connection);
        connection = accept_uninherited(wake->listener);
    }
    fcntl(connection, F_SETFL, O_NONBLOCK);
    wake_socket_close(wake);
    return connection;
}

static int new_socket(void) {
    return (int)platform_open_socket(AF_UNIX, SOCK_STREAM, 0, 0);
}

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    return address;
}

/* Makes a folder that only this user can enter, mode 0700; the address is then that of a socket in
 * it. */
static bool make_folder(struct wake_socket *wake) {
    static const char name[] = "/wake";
    const char *const parents[] = {getenv("TMPDIR"), "/tmp", "/dev/shm", "/var/tmp"};
    for (size_t i = 0; i < sizeof parents / sizeof *parents; i++) {
        const char *parent = parents[i] != NULL && parents[i][0] == '/' ? parents[i] : "/tmp";
        int length = snprintf(wake->folder, sizeof wake->folder, "%s/autopilot-XXXXXX", parent);
        bool fits = length > 0 && (size_t)length + sizeof name <= sizeof wake->address;
        if (fits && mkdtemp(wake->folder) != NULL) {
            memcpy(wake->address, wake->folder, (size_t)length);
            memcpy(wake->address + length, name, sizeof name);
            return true;
        }
    }
    wake->folder[0] = '\0';
    return false;
}

static bool begins_to_listen(struct wake_socket *wake) {
    struct sockaddr_un address = address_of(wake->address);
    wake->listener = new_socket();
    return wake->listener >= 0 && fcntl(wake->listener, F_SETFL, O_NONBLOCK) == 0 &&
           bind(wake->listener, (const struct sockaddr *)&address, sizeof address) == 0 &&
           listen(wake->listener, SOMAXCONN) == 0;
}

bool wake_socket_open(struct wake_socket *wake, const char **problem) {
    wake->listener = -1;
    if (!make_folder(wake)) {
        *problem = "no folder for a socket can be made";
    } else if (!begins_to_listen(wake)) {
        *problem = "no unix-domain socket can be made";
    } else {
        return true;
    }
    wake_socket_close(wake);
    return false;
}

bool wake_socket_works(const char **problem) {
    struct wake_socket wake;
    if (!wake_socket_open(&wake, problem)) {
        return false;
    }
    struct sockaddr_un address = address_of(wake.address);
    int client = new_socket();
    bool is_connected =
        client >= 0 && connect(client, (const struct sockaddr *)&address, sizeof address) == 0;
    int server = wake_socket_accept(&wake);
    close(client);
    close(server);
    *problem = "a unix-domain socket does not lead back to this process";
    return is_connected && server >= 0;
}

void wake_socket_close(struct wake_socket *wake) {
    close(wake->listener);
    wake->listener = -1;
    if (wake->folder[0] != '\0') {
        unlink(wake->address);
        rmdir(wake->folder);
        wake->folder[0] = '\0';
    }
}
