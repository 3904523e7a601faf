#include "../platform.h"

#ifdef _WIN32

#include <winsock2.h> /* before windows.h, which would bring the old one */
#include <windows.h>
#include <bcrypt.h>
#include <errno.h>
#include <io.h>

static const double ticks_per_second = 1e7;              /* FILETIME counts 100 ns */
static const double unix_epoch_in_ticks = 1.16444736e17; /* 1601 to 1970 */

bool platform_random(void *memory, size_t length) {
    return BCryptGenRandom(NULL, memory, (ULONG)length, BCRYPT_USE_SYSTEM_PREFERRED_RNG) == 0;
}

double platform_now(void) {
    FILETIME time;
    GetSystemTimePreciseAsFileTime(&time);
    double ticks = (double)time.dwHighDateTime * 4294967296.0 + (double)time.dwLowDateTime;
    return (ticks - unix_epoch_in_ticks) / ticks_per_second;
}

double platform_clock(void) {
    LARGE_INTEGER frequency, count;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&count);
    return (double)count.QuadPart / (double)frequency.QuadPart;
}

void platform_sleep(double seconds) {
    Sleep((DWORD)(seconds * 1e3 + 0.999));
}

long platform_process_id(void) {
    return (long)GetCurrentProcessId();
}

void platform_pin_module(void) {
    HMODULE module;
    GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                       (LPCSTR)(void *)platform_pin_module, &module);
}

bool platform_has_input(intptr_t socket) {
    WSAPOLLFD asked = {.fd = (SOCKET)socket, .events = POLLIN};
    return WSAPoll(&asked, 1, 0) > 0;
}

/* Windows has no such signal. */
bool platform_ignores_broken_pipes(void) {
    return false;
}

void platform_ignore_broken_pipes(void) {
}

bool platform_is_connected(intptr_t socket) {
    struct sockaddr_storage peer = {0};
    int length = sizeof peer;
    return getpeername((SOCKET)socket, (struct sockaddr *)&peer, &length) == 0;
}

long platform_read_waiting(FILE *stream, void *memory, size_t room) {
    int descriptor = _fileno(stream);
    HANDLE handle = (HANDLE)_get_osfhandle(descriptor);
    if (GetFileType(handle) == FILE_TYPE_PIPE) {
        DWORD waiting = 0;
        if (PeekNamedPipe(handle, NULL, 0, NULL, &waiting, NULL) == 0) {
            errno = EIO;
            return GetLastError() == ERROR_BROKEN_PIPE ? PLATFORM_AT_END : PLATFORM_UNREADABLE;
        } else if (waiting == 0) {
            return 0;
        }
    }
    int count = _read(descriptor, memory, (unsigned)room);
    return count > 0 ? count : count == 0 ? PLATFORM_AT_END : PLATFORM_UNREADABLE;
}

void platform_close_on_exec(intptr_t socket) {
    SetHandleInformation((HANDLE)socket, HANDLE_FLAG_INHERIT, 0);
}

void platform_occupy_standard_descriptors(void) {
}

void platform_note_free(int lowest[PLATFORM_LOWEST_FREE]) {
    (void)lowest;
}

void platform_close_on_exec_new(const int lowest[PLATFORM_LOWEST_FREE]) {
    (void)lowest; /* a program there inherits sockets only on request */
}

int platform_terminal_width(void) {
    CONSOLE_SCREEN_BUFFER_INFO screen;
    if (_isatty(_fileno(stderr)) == 0) {
        return -1;
    }
    if (GetConsoleScreenBufferInfo(GetStdHandle(STD_ERROR_HANDLE), &screen) == 0) {
        return 0;
    }
    return screen.srWindow.Right - screen.srWindow.Left + 1;
}

struct platform_file platform_look_up(const char *path, bool follow_links) {
    WIN32_FILE_ATTRIBUTE_DATA data;
    struct platform_file file = {PLATFORM_NOTHING, 0, false};
    if (GetFileAttributesExA(path, GetFileExInfoStandard, &data) != 0) {
        DWORD is = data.dwFileAttributes;
        file.size = (double)data.nFileSizeHigh * 4294967296.0 + (double)data.nFileSizeLow;
        file.kind = !follow_links && (is & FILE_ATTRIBUTE_REPARSE_POINT) != 0 ? PLATFORM_LINK
                    : (is & FILE_ATTRIBUTE_DIRECTORY) != 0                    ? PLATFORM_FOLDER
                    : (is & FILE_ATTRIBUTE_DEVICE) != 0                       ? PLATFORM_DEVICE
                                                                              : PLATFORM_FILE;
    }
    return file;
}

bool platform_make_private(const char *path) {
    HANDLE file =
        CreateFileA(path, GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file != INVALID_HANDLE_VALUE) {
        CloseHandle(file);
        return true;
    }
    return platform_look_up(path, false).kind == PLATFORM_FILE &&
           (GetFileAttributesA(path) & FILE_ATTRIBUTE_READONLY) == 0;
}

static volatile LONG interrupts = 0;

static BOOL WINAPI note_interrupt(DWORD event) {
    /* An event that is not handled here goes to the next handler, which ends the process. */
    return event == CTRL_C_EVENT && InterlockedIncrement(&interrupts) == 1;
}

bool platform_note_interrupt(void) {
    interrupts = 0;
    return SetConsoleCtrlHandler(note_interrupt, TRUE) != 0;
}

bool platform_pass_on_termination(void) {
    return false; /* there is no SIGTERM */
}

enum platform_interruption platform_interruption(void) {
    return interrupts > 0 ? PLATFORM_INTERRUPTED : PLATFORM_NONE;
}

void platform_release_interrupt(void) {
    SetConsoleCtrlHandler(note_interrupt, FALSE);
}

void platform_each_entry(const char *folder, void (*visit)(void *context, const char *name),
                         void *context) {
    (void)folder, (void)visit,
        (void)context; /* hashed certificate folders are used on POSIX only */
}

static SRWLOCK process_lock = SRWLOCK_INIT;

void platform_lock(void) {
    AcquireSRWLockExclusive(&process_lock);
}

void platform_unlock(void) {
    ReleaseSRWLockExclusive(&process_lock);
}

long platform_add(long *count, long change) {
    return InterlockedExchangeAdd(count, change) + change;
}

int platform_listen_silently(int *port) {
    (void)port;
    return -1;
}

void platform_close(int descriptor) {
    (void)descriptor;
}

long platform_descriptor_limit(void) {
    return 0; /* sockets are no descriptors there, and have no such limit */
}

#endif
