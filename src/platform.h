/* The operating system: POSIX in platform/posix.c, Windows in platform/windows.c. */
#ifndef AUTOPILOT_PLATFORM_H
#define AUTOPILOT_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Marks the function that the module exports. PLATFORM_HAS_TRANSFER_THREAD: the files of
 * transfer_thread.h are part of the module. */
#ifdef _WIN32
#define PLATFORM_EXPORTED __declspec(dllexport)
#define PLATFORM_HAS_TRANSFER_THREAD 0
#else
#define PLATFORM_EXPORTED __attribute__((visibility("default")))
#define PLATFORM_HAS_TRANSFER_THREAD 1
#endif

/* Fills memory from the system's generator; false when it cannot. */
bool platform_random(void *memory, size_t length);

/* Unix seconds, with fraction. */
double platform_now(void);

/* Seconds on a clock that never jumps; only differences have a meaning. */
double platform_clock(void);

/* Waits; returns early when a signal arrives. Returns the seconds that are left then, or 0 to give
 * an interpreter the time to act on it. */
double platform_sleep(double seconds);

/* The number of this process. After a fork, objects with sockets of the parent are not used. */
long platform_process_id(void);

/* True when the socket can be read, or has been closed at the other end. Never blocks. */
bool platform_has_input(intptr_t socket);

/* Whether this process ignores SIGPIPE; makes it ignore SIGPIPE. */
bool platform_ignores_broken_pipes(void);
void platform_ignore_broken_pipes(void);

/* True when the internet socket has a peer. */
bool platform_is_connected(intptr_t socket);

/* Reads what waits in a pipe or a terminal, which must not be read in another way: bytes that the
 * stream has buffered are not seen. Returns the number of bytes, 0 when there are none yet, or one
 * of these; errno is set for the second. */
enum { PLATFORM_AT_END = -1, PLATFORM_UNREADABLE = -2 };
long platform_read_waiting(FILE *stream, void *memory, size_t room);

/* Makes a socket, -1 if the system refuses. No program that this process starts inherits it. On
 * Linux the system also closes its connection when data that was sent over it, also to connect, has
 * not been acknowledged for so many seconds; 0: no limit. */
intptr_t platform_open_socket(int family, int type, int protocol, double unacknowledged);

/* Opens those of the descriptors 0 to 2 that are closed, so that no socket gets their numbers, into
 * which the program would then print. Reading from or writing to them fails as before. */
void platform_occupy_standard_descriptors(void);

/* Calls the function and then makes exec close the files that it opened, up to 16 of them. Where
 * another thread starts a program or opens a file meanwhile, that program inherits them, or that
 * file is closed by exec too. */
void *platform_make_uninherited(void *(*make)(void));

/* Keeps this module in memory until the process ends: libcurl's resolver threads may outlive the
 * Lua state that loaded us. */
void platform_pin_module(void);

/* Columns of the terminal on standard error; 0 when unknown, -1 when it is not a terminal. */
int platform_terminal_width(void);

enum platform_file_kind {
    PLATFORM_NOTHING,
    PLATFORM_FILE,
    PLATFORM_FOLDER,
    PLATFORM_LINK,
    PLATFORM_PIPE,
    PLATFORM_DEVICE,
    PLATFORM_SOCKET,
};

struct platform_file {
    enum platform_file_kind kind;
    double size;            /* of a regular file, in bytes */
    bool is_world_readable; /* every user may read it, by its mode or access list */
};

/* What has this name in the file system; PLATFORM_LINK only where links are not followed. The file
 * is not opened: closing it again would release the locks that this process has on it. */
struct platform_file platform_look_up(const char *path, bool follow_links);

/* Creates an empty file that only its owner can read and write (mode 0600), or takes further rights
 * from an existing one. On Windows the system and administrators keep theirs. False when that
 * fails, when this process cannot use the file, or when it is a symbolic link or not a regular
 * file. */
bool platform_make_private(const char *path);

/* Room for the name of a file that Windows can open: 260 characters at most. */
enum { PLATFORM_NAME_ROOM = 3 * 260 };

/* The name of a file as SQLite takes it: in UTF-8 on Windows, where other functions take the code
 * page of the system, else unchanged. NULL when it cannot be converted. */
const char *platform_sqlite_name(const char *path, char room[PLATFORM_NAME_ROOM]);

/* From now on the first Ctrl-C or SIGTERM (on Windows Ctrl-Break) is only noted, and ends a sleep;
 * the second ends the process as usual. False when that is not possible. */
bool platform_note_interrupt(void);

/* From now on the first SIGTERM does what Ctrl-C does, which interpreters turn into an error; the
 * second ends the process. False, and nothing is changed, if no handler for Ctrl-C is set. */
bool platform_pass_on_termination(void);

/* Signals that came since then. */
enum platform_interruption { PLATFORM_NONE, PLATFORM_INTERRUPTED, PLATFORM_TERMINATED };
enum platform_interruption platform_interruption(void);

/* Undoes both functions: signals have their earlier handlers again. May be called without them. */
void platform_release_interrupt(void);

/* A lock for what is set up once in a process. No Lua function may be called between the two,
 * because it may leave by longjmp. */
void platform_lock(void);
void platform_unlock(void);

/* Adds to a count that several threads change, and returns the new value. What a thread wrote
 * before is seen by one that reads the count afterwards. */
long platform_add(long *count, long change);

/* How many files and sockets this process may have open; 0 when unknown. */
long platform_descriptor_limit(void);

/* Calls `visit` for each entry of the folder; not at all if it cannot be read, or on Windows. */
void platform_each_entry(const char *folder, void (*visit)(void *context, const char *name),
                         void *context);

#endif
