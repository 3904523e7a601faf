/* dladdr, RTLD_NODELETE and getentropy are extensions in glibc. With 32 bits, stat and readdir
 * would fail for files with large sizes or inode numbers. */
#define _GNU_SOURCE 1
#define _DARWIN_C_SOURCE 1
#define _FILE_OFFSET_BITS 64

#include "../platform.h"

#ifndef _WIN32

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(__APPLE__) || defined(__linux__)
#include <sys/random.h>
#endif

bool platform_random(void *memory, size_t length) {
    return getentropy(memory, length) == 0; /* up to 256 bytes, never blocks after boot */
}

static double read_clock(clockid_t which) {
    struct timespec time;
    clock_gettime(which, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

double platform_now(void) {
    return read_clock(CLOCK_REALTIME);
}

double platform_clock(void) {
#ifdef CLOCK_BOOTTIME /* goes on while the machine sleeps, as CLOCK_MONOTONIC does elsewhere */
    return read_clock(CLOCK_BOOTTIME);
#else
    return read_clock(CLOCK_MONOTONIC);
#endif
}

double platform_sleep(double seconds) {
    const double longest = 1e8; /* three years; keeps the conversion inside time_t everywhere */
    struct timespec duration, left = {.tv_sec = 0};
    if (!(seconds > 0)) { /* or NaN */
        return 0;
    }
    double limited = seconds < longest ? seconds : longest;
    duration.tv_sec = (time_t)limited;
    duration.tv_nsec = (long)((limited - (double)duration.tv_sec) * 1e9);
    nanosleep(&duration, &left);
    return (double)left.tv_sec + (double)left.tv_nsec / 1e9;
}

long platform_process_id(void) {
    return (long)getpid();
}

void platform_pin_module(void) {
#ifdef RTLD_NODELETE
    static const char anchor = 0; /* data of this module: dladdr takes no address of a function */
    Dl_info module;
    if (dladdr(&anchor, &module) != 0 && module.dli_fname != NULL) {
        /* The handle is deliberately not closed. A static build has no module to pin. */
        void *pinned = dlopen(module.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
        (void)pinned;
    }
#endif
}

bool platform_has_input(intptr_t socket) {
    struct pollfd asked = {.fd = (int)socket, .events = POLLIN};
    return poll(&asked, 1, 0) > 0;
}

bool platform_ignores_broken_pipes(void) {
    struct sigaction action;
    return sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void platform_ignore_broken_pipes(void) {
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

bool platform_is_connected(intptr_t socket) {
    struct sockaddr_storage peer = {0};
    socklen_t length = sizeof peer;
    return getpeername((int)socket, (struct sockaddr *)&peer, &length) == 0 &&
           (peer.ss_family == AF_INET || peer.ss_family == AF_INET6);
}

long platform_read_waiting(FILE *stream, void *memory, size_t room) {
    int descriptor = fileno(stream);
    if (!platform_has_input(descriptor)) {
        return 0;
    }
    ssize_t count = read(descriptor, memory, room);
    if (count >= 0) {
        return count > 0 ? (long)count : PLATFORM_AT_END;
    }
    /* Another process that has it open may have read the data. */
    bool is_to_come = errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK;
    return is_to_come ? 0 : PLATFORM_UNREADABLE;
}

#ifndef SOCK_CLOEXEC
#define SOCK_CLOEXEC                                                                               \
    0 /* macOS: a program that another thread starts meanwhile inherits the socket */
#endif

intptr_t platform_open_socket(int family, int type, int protocol, double unacknowledged) {
    int opened = socket(family, type | SOCK_CLOEXEC, protocol);
    fcntl(opened, F_SETFD, FD_CLOEXEC);
#ifdef TCP_USER_TIMEOUT
    unsigned limit = (unsigned)(unacknowledged * 1000); /* milliseconds */
    setsockopt(opened, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
#else
    (void)unacknowledged;
#endif
    return opened;
}

void platform_occupy_standard_descriptors(void) {
    for (int i = 0; i <= 2; i++) {
        if (fcntl(i, F_GETFD) < 0 && errno == EBADF) {
            /* The system takes the lowest free number: this one. */
            int descriptor = open("/dev/null", i == 0 ? O_WRONLY : O_RDONLY);
            if (descriptor > 2) {
                close(descriptor);
            }
        }
    }
}

void *platform_make_uninherited(void *(*make)(void)) {
    int lowest[16]; /* that are free: a new file gets the lowest one */
    for (int i = 0, count = 0; count < 16; i++) {
        if (fcntl(i, F_GETFD) < 0) {
            lowest[count++] = i;
        }
    }
    void *made = make();
    for (int i = 0; i < 16; i++) {
        fcntl(lowest[i], F_SETFD, FD_CLOEXEC); /* fails for one that is still free */
    }
    return made;
}

int platform_terminal_width(void) {
    struct winsize window;
    if (isatty(STDERR_FILENO) != 1) {
        return -1;
    }
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 ? (int)window.ws_col : 0;
}

struct platform_file platform_look_up(const char *path, bool follow_links) {
    struct stat status;
    struct platform_file file = {PLATFORM_NOTHING, 0, false};
    if ((follow_links ? stat(path, &status) : lstat(path, &status)) == 0) {
        file.size = (double)status.st_size;
        file.is_world_readable = (status.st_mode & S_IROTH) != 0;
        file.kind = S_ISREG(status.st_mode)    ? PLATFORM_FILE
                    : S_ISDIR(status.st_mode)  ? PLATFORM_FOLDER
                    : S_ISLNK(status.st_mode)  ? PLATFORM_LINK
                    : S_ISFIFO(status.st_mode) ? PLATFORM_PIPE
                    : S_ISSOCK(status.st_mode) ? PLATFORM_SOCKET
                                               : PLATFORM_DEVICE;
    }
    return file;
}

bool platform_make_private(const char *path) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (descriptor >= 0) {
        close(descriptor);
        return true;
    }
    struct stat file;
    if (errno != EEXIST || lstat(path, &file) != 0 || !S_ISREG(file.st_mode)) {
        return false;
    }
    bool is_private = (file.st_mode & (S_IRWXG | S_IRWXO)) == 0;
    return (is_private || chmod(path, S_IRUSR | S_IWUSR) == 0) && access(path, R_OK | W_OK) == 0;
}

const char *platform_sqlite_name(const char *path, char room[PLATFORM_NAME_ROOM]) {
    (void)room;
    return path;
}

static volatile sig_atomic_t interrupted_by = 0;
static bool notes_interrupt = false;
static struct sigaction before_interrupt, before_termination;

static void note_interrupt(int number) {
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    interrupted_by = number;
    /* The second signal, also the other one, ends the process. */
    sigaction(SIGINT, &by_default, NULL);
    sigaction(SIGTERM, &by_default, NULL);
}

/* Sets handlers, NULL for none, in place of the present ones. */
static bool take_signals(const struct sigaction *interrupt, const struct sigaction *termination) {
    platform_release_interrupt();
    interrupted_by = 0;
    notes_interrupt = sigaction(SIGINT, interrupt, &before_interrupt) == 0 &&
                      sigaction(SIGTERM, termination, &before_termination) == 0;
    return notes_interrupt;
}

bool platform_note_interrupt(void) {
    /* An interrupted write goes on; a wait ends in any case. */
    struct sigaction action = {.sa_handler = note_interrupt, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    return take_signals(&action, &action);
}

static void pass_on_termination(int number) {
    interrupted_by = number;
    (void)raise(SIGINT);
}

bool platform_pass_on_termination(void) {
    /* Without SA_RESTART: opening a named pipe, which waits for its other end, ends too. */
    struct sigaction action = {.sa_handler = pass_on_termination, .sa_flags = (int)SA_RESETHAND};
    struct sigaction interpreter;
    platform_release_interrupt();
    return sigaction(SIGINT, NULL, &interpreter) == 0 && interpreter.sa_handler != SIG_DFL &&
           interpreter.sa_handler != SIG_IGN && take_signals(NULL, &action);
}

enum platform_interruption platform_interruption(void) {
    return interrupted_by == 0         ? PLATFORM_NONE
           : interrupted_by == SIGTERM ? PLATFORM_TERMINATED
                                       : PLATFORM_INTERRUPTED;
}

void platform_release_interrupt(void) {
    if (notes_interrupt) {
        sigaction(SIGINT, &before_interrupt, NULL);
        sigaction(SIGTERM, &before_termination, NULL);
        notes_interrupt = false;
    }
}

void platform_each_entry(const char *folder, void (*visit)(void *context, const char *name),
                         void *context) {
    DIR *stream = opendir(folder);
    if (stream != NULL) {
        for (const struct dirent *entry; (entry = readdir(stream)) != NULL;) {
            visit(context, entry->d_name);
        }
        closedir(stream);
    }
}

static pthread_mutex_t process_lock = PTHREAD_MUTEX_INITIALIZER;

void platform_lock(void) {
    pthread_mutex_lock(&process_lock);
}

void platform_unlock(void) {
    pthread_mutex_unlock(&process_lock);
}

long platform_add(long *count, long change) {
    return __atomic_add_fetch(count, change, __ATOMIC_ACQ_REL);
}

long platform_descriptor_limit(void) {
    struct rlimit limit;
    bool is_known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < LONG_MAX;
    return is_known ? (long)limit.rlim_cur : 0; /* RLIM_INFINITY is larger */
}

#endif
