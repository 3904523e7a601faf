/* `make test` includes it before some sources and their tests: it takes away what only Linux has,
 * so that what the code does on other systems is compiled and tested, too. */
#ifndef AUTOPILOT_PLAIN_UNIX_H
#define AUTOPILOT_PLAIN_UNIX_H

#define _GNU_SOURCE 1

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* As on the BSDs and macOS. */
static inline int getpeereid(int connection, uid_t *user, gid_t *group) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    int status = getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    *user = status == 0 ? peer.uid : (uid_t)-1;
    *group = status == 0 ? peer.gid : (gid_t)-1;
    return status;
}

#undef CLOCK_BOOTTIME
#undef O_PATH
#undef RTLD_NODELETE
#undef SOCK_CLOEXEC
#undef SOCK_NONBLOCK
#undef SO_PEERCRED
#undef __linux__

#endif
