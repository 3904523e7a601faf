/* accept4, O_PATH and struct ucred are extensions in glibc. */
#define _GNU_SOURCE 1
#define _DARWIN_C_SOURCE 1

#include "wake_socket.h"

#ifndef _WIN32

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

static const char socket_name[] = "/wake";

/* Folders in which a private folder is tried, in this order. */
static const char *const parents[] = {"/tmp", "/dev/shm", "/var/tmp"};

#ifndef SOCK_CLOEXEC
static bool set_flags(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0;
}
#endif

/* A socket that never blocks and is closed by exec. Where the system can, both are set at once,
 * because another thread of the process may be forking. */
static int new_socket(void) {
#ifdef SOCK_CLOEXEC
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    if (descriptor >= 0 && !set_flags(descriptor)) {
        close(descriptor);
        return -1;
    }
    return descriptor;
#endif
}

static int accept_connection(int listener) {
#ifdef SOCK_CLOEXEC
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
    int descriptor = accept(listener, NULL, NULL);
    if (descriptor >= 0 && !set_flags(descriptor)) {
        close(descriptor);
        errno = ECONNABORTED;
        return -1;
    }
    return descriptor;
#endif
}

/* True when this process is at the other end; where the system does not tell, this user. */
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

/* Leaves room for the socket's name. */
static bool make_folder_below(struct wake_socket *wake, const char *parent) {
    int length = snprintf(wake->folder, sizeof wake->folder, "%s/autopilot-XXXXXX", parent);
    bool fits = length > 0 && (size_t)length + sizeof socket_name <= sizeof wake->folder;
    if (!fits || mkdtemp(wake->folder) == NULL) {
        wake->folder[0] = '\0';
    }
    return wake->folder[0] != '\0';
}

/* Makes a folder that only this user can enter, mode 0700. */
static bool make_folder(struct wake_socket *wake) {
    const char *wanted = getenv("TMPDIR");
    bool is_made = wanted != NULL && wanted[0] == '/' && make_folder_below(wake, wanted);
    for (size_t i = 0; !is_made && i < sizeof parents / sizeof *parents; i++) {
        is_made = make_folder_below(wake, parents[i]);
    }
    return is_made;
}

static void remove_folder(struct wake_socket *wake, const char *path) {
    unlink(path);
    rmdir(wake->folder);
    wake->folder[0] = '\0';
}

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, strlen(path) + 1);
    return address;
}

static bool listen_at(struct wake_socket *wake, const char *path) {
    struct sockaddr_un address = address_of(path);
    wake->listener = new_socket();
    return wake->listener >= 0 &&
           bind(wake->listener, (const struct sockaddr *)&address, sizeof address) == 0 &&
           listen(wake->listener, SOMAXCONN) == 0;
}

/* True when this process can connect to itself there, and is recognised. */
static bool is_reachable(const struct wake_socket *wake, const char *path) {
    struct sockaddr_un address = address_of(path);
    int client = new_socket();
    bool is_right = false;
    if (client >= 0 && connect(client, (const struct sockaddr *)&address, sizeof address) == 0) {
        int server = wake_socket_accept(wake);
        if (server >= 0) {
            is_right = true;
            close(server);
        }
    }
    if (client >= 0) {
        close(client);
    }
    return is_right;
}

/* Removes the socket's name from the file system; it stays reachable through a descriptor. */
static bool hide(struct wake_socket *wake, const char *path) {
#ifdef O_PATH
    wake->node = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (wake->node < 0) {
        return false;
    }
    char address[WAKE_SOCKET_PATH_SIZE];
    int length = snprintf(address, sizeof address, "/proc/self/fd/%d", wake->node);
    if (length <= 0 || !is_reachable(wake, address)) {
        close(wake->node);
        wake->node = -1;
        return false;
    }
    memcpy(wake->address, address, sizeof address);
    remove_folder(wake, path);
    return true;
#else
    (void)wake, (void)path;
    return false;
#endif
}

bool wake_socket_open(struct wake_socket *wake, const char **problem) {
    char path[WAKE_SOCKET_PATH_SIZE];
    memset(wake, 0, sizeof *wake);
    wake->listener = wake->node = -1;
    if (!make_folder(wake)) {
        *problem = "no folder for a socket can be made";
        return false;
    }
    int length = snprintf(path, sizeof path, "%s%s", wake->folder, socket_name);
    bool fits = length > 0 && (size_t)length < sizeof path; /* make_folder has checked that */
    if (!fits || !listen_at(wake, path)) {
        *problem = "no unix-domain socket can be made";
    } else if (hide(wake, path)) {
        return true;
    } else if (is_reachable(wake, path)) {
        memcpy(wake->address, path, sizeof path);
        return true;
    } else {
        *problem = "a unix-domain socket does not lead back to this process";
    }
    memcpy(wake->address, path, sizeof path);
    wake_socket_close(wake);
    return false;
}

int wake_socket_accept(const struct wake_socket *wake) {
    int connection = accept_connection(wake->listener);
    if (connection < 0) {
        bool is_exhausted =
            errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        return is_exhausted ? WAKE_SOCKET_EXHAUSTED : WAKE_SOCKET_NONE;
    }
    if (!is_from_us(connection)) {
        close(connection);
        return WAKE_SOCKET_NONE;
    }
    return connection;
}

void wake_socket_close(struct wake_socket *wake) {
    if (wake->listener >= 0) {
        close(wake->listener);
    }
    if (wake->node >= 0) {
        close(wake->node);
    }
    if (wake->folder[0] != '\0') {
        remove_folder(wake, wake->address);
    }
    wake->listener = wake->node = -1;
}

#endif
