#include "../platform.h"

#ifdef _WIN32

#include <winsock2.h> /* before windows.h, which would bring the old one */
#include <windows.h>
#include <aclapi.h>
#include <bcrypt.h>
#include <errno.h>
#include <io.h>
#include <sddl.h>
#include <string.h>

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

static bool is_interrupt(DWORD event) {
    return event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT;
}

static volatile LONG interrupts = 0;

/* Called in a thread of its own. The handler of the interpreter is called next. */
static BOOL WINAPI count_interrupt(DWORD event) {
    if (is_interrupt(event)) {
        InterlockedIncrement(&interrupts);
    }
    return FALSE;
}

double platform_sleep(double seconds) {
    const double longest_slice = 0.05;
    const LONG before = interrupts;
    const double end = platform_clock() + seconds;
    SetConsoleCtrlHandler(count_interrupt, TRUE);
    for (double left = seconds; left > 0 && interrupts == before; left = end - platform_clock()) {
        Sleep((DWORD)((left < longest_slice ? left : longest_slice) * 1e3 + 0.999));
    }
    SetConsoleCtrlHandler(count_interrupt, FALSE);
    return 0; /* whatever the interpreter makes of an interrupt, it does so a little later */
}

long platform_process_id(void) {
    return (long)GetCurrentProcessId();
}

void platform_pin_module(void) {
    static const char anchor = 0; /* an address in this module */
    HMODULE module;
    GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                       &anchor, &module);
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

/* True unless the handle is that of a console at which no key has been pressed. Other events are
 * taken away. After a key, a read waits for the end of the line. */
static bool has_keys(HANDLE handle) {
    INPUT_RECORD event;
    DWORD count = 0;
    while (PeekConsoleInputA(handle, &event, 1, &count) != 0) {
        if (count == 0 || (event.EventType == KEY_EVENT && event.Event.KeyEvent.bKeyDown)) {
            return count > 0;
        }
        ReadConsoleInputA(handle, &event, 1, &count);
    }
    return true;
}

/* Reads past the text mode of the stream, which would wait for what follows a carriage return. */
long platform_read_waiting(FILE *stream, void *memory, size_t room) {
    HANDLE handle = (HANDLE)_get_osfhandle(_fileno(stream));
    DWORD count = 0, waiting = has_keys(handle);
    if (GetFileType(handle) == FILE_TYPE_PIPE) {
        PeekNamedPipe(handle, NULL, 0, NULL, &waiting,
                      NULL); /* if that fails, the read tells why */
    }
    if (waiting == 0) {
        return 0;
    }
    bool is_read = ReadFile(handle, memory, (DWORD)room, &count, NULL) != 0;
    DWORD problem = is_read ? ERROR_SUCCESS : GetLastError();
    if (problem == ERROR_OPERATION_ABORTED) { /* Ctrl-C */
        return 0;
    } else if (problem == ERROR_SUCCESS || problem == ERROR_BROKEN_PIPE) {
        return count > 0 ? (long)count : PLATFORM_AT_END;
    }
    errno = (int)problem;
    return PLATFORM_UNREADABLE;
}

intptr_t platform_open_socket(int family, int type, int protocol, double unacknowledged) {
    (void)unacknowledged;
    return (intptr_t)WSASocketW(family, type, protocol, NULL, 0,
                                WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
}

void platform_occupy_standard_descriptors(void) {
}

void *platform_make_uninherited(void *(*make)(void)) {
    return make(); /* a program there inherits sockets only on request */
}

int platform_terminal_width(void) {
    CONSOLE_SCREEN_BUFFER_INFO screen;
    HANDLE console = (HANDLE)_get_osfhandle(_fileno(stderr));
    return GetConsoleScreenBufferInfo(console, &screen) != 0
               ? screen.srWindow.Right - screen.srWindow.Left + 1
               : -1;
}

/* True when the access list of the file allows everybody, or every user, to read it. */
static bool is_readable_by_all(HANDLE file) {
    static const WELL_KNOWN_SID_TYPE everybody[] = {WinWorldSid, WinAuthenticatedUserSid,
                                                    WinBuiltinUsersSid};
    const DWORD reading = FILE_READ_DATA | GENERIC_READ | GENERIC_ALL;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    PACL list = NULL;
    ACCESS_ALLOWED_ACE *entry;
    if (GetSecurityInfo(file, SE_FILE_OBJECT, DACL_SECURITY_INFORMATION, NULL, NULL, &list, NULL,
                        &descriptor) != ERROR_SUCCESS) {
        return false;
    }
    bool is_readable = list == NULL; /* no list, no restriction */
    for (DWORD i = 0; !is_readable && GetAce(list, i, (void **)&entry) != 0; i++) {
        bool counts = entry->Header.AceType == ACCESS_ALLOWED_ACE_TYPE &&
                      (entry->Header.AceFlags & INHERIT_ONLY_ACE) == 0 &&
                      (entry->Mask & reading) != 0;
        for (size_t j = 0; counts && j < sizeof everybody / sizeof *everybody; j++) {
            is_readable = is_readable || IsWellKnownSid(&entry->SidStart, everybody[j]) != 0;
        }
    }
    LocalFree(descriptor);
    return is_readable;
}

/* True for a symbolic link or a junction; files that a cloud keeps are reparse points too. */
static bool is_link(HANDLE file) {
    FILE_ATTRIBUTE_TAG_INFO tag;
    return GetFileInformationByHandleEx(file, FileAttributeTagInfo, &tag, sizeof tag) != 0 &&
           (tag.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0 &&
           (tag.ReparseTag == IO_REPARSE_TAG_SYMLINK ||
            tag.ReparseTag == IO_REPARSE_TAG_MOUNT_POINT);
}

/* Opens no data: locks of this process stay. */
static HANDLE open_attributes(const char *path, bool follow_links) {
    const DWORD flags = FILE_FLAG_BACKUP_SEMANTICS; /* for folders */
    return CreateFileA(path, FILE_READ_ATTRIBUTES | READ_CONTROL,
                       FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                       follow_links ? flags : flags | FILE_FLAG_OPEN_REPARSE_POINT, NULL);
}

struct platform_file platform_look_up(const char *path, bool follow_links) {
    static const char pipes[] = "\\\\.\\pipe\\";
    struct platform_file file = {PLATFORM_NOTHING, 0, false};
    BY_HANDLE_FILE_INFORMATION data;
    if (_strnicmp(path, pipes, sizeof pipes - 1) == 0) {
        file.kind = PLATFORM_PIPE; /* opening it would connect to it */
        return file;
    }
    HANDLE handle = open_attributes(path, follow_links);
    if (handle == INVALID_HANDLE_VALUE) {
        return file;
    }
    if (GetFileInformationByHandle(handle, &data) == 0) {
        file.kind = PLATFORM_DEVICE;
    } else {
        file.size = (double)data.nFileSizeHigh * 4294967296.0 + (double)data.nFileSizeLow;
        file.kind = !follow_links && is_link(handle)                          ? PLATFORM_LINK
                    : (data.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0 ? PLATFORM_FOLDER
                                                                              : PLATFORM_FILE;
        file.is_world_readable = is_readable_by_all(handle);
    }
    CloseHandle(handle);
    return file;
}

/* Only the owner, the system and administrators, who may do everything anyway. */
static const char private_access[] = "D:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;BA)";

bool platform_make_private(const char *path) {
    SECURITY_ATTRIBUTES attributes = {.nLength = sizeof attributes};
    if (ConvertStringSecurityDescriptorToSecurityDescriptorA(
            private_access, SDDL_REVISION_1, &attributes.lpSecurityDescriptor, NULL) == 0) {
        return false;
    }
    HANDLE file =
        CreateFileA(path, GENERIC_WRITE, 0, &attributes, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    bool is_private = file != INVALID_HANDLE_VALUE;
    if (is_private) {
        CloseHandle(file);
    } else if (platform_look_up(path, false).kind == PLATFORM_FILE) {
        is_private =
            SetFileSecurityA(path, DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
                             attributes.lpSecurityDescriptor) != 0 &&
            (GetFileAttributesA(path) & FILE_ATTRIBUTE_READONLY) == 0;
    }
    LocalFree(attributes.lpSecurityDescriptor);
    return is_private;
}

const char *platform_sqlite_name(const char *path, char room[PLATFORM_NAME_ROOM]) {
    wchar_t wide[MAX_PATH];
    int length = MultiByteToWideChar(CP_ACP, MB_ERR_INVALID_CHARS, path, -1, wide, MAX_PATH);
    int written =
        WideCharToMultiByte(CP_UTF8, 0, wide, length, room, PLATFORM_NAME_ROOM, NULL, NULL);
    return length > 0 && written > 0 ? room : NULL;
}

static volatile LONG interruption = PLATFORM_NONE;

/* Ctrl-Break, the one that a program can send, stands for SIGTERM. */
static BOOL WINAPI note_interrupt(DWORD event) {
    LONG noted = event == CTRL_C_EVENT ? PLATFORM_INTERRUPTED : PLATFORM_TERMINATED;
    if (!is_interrupt(event)) {
        return FALSE;
    }
    if (InterlockedCompareExchange(&interruption, noted, PLATFORM_NONE) != PLATFORM_NONE) {
        ExitProcess((UINT)STATUS_CONTROL_C_EXIT); /* as the system's own handler does */
    }
    return TRUE;
}

bool platform_note_interrupt(void) {
    platform_release_interrupt();
    interruption = PLATFORM_NONE;
    return SetConsoleCtrlHandler(note_interrupt, TRUE) != 0;
}

bool platform_pass_on_termination(void) {
    return false; /* there is no SIGTERM */
}

enum platform_interruption platform_interruption(void) {
    return (enum platform_interruption)interruption;
}

void platform_release_interrupt(void) {
    SetConsoleCtrlHandler(note_interrupt, FALSE);
}

void platform_each_entry(const char *folder, void (*visit)(void *context, const char *name),
                         void *context) {
    (void)folder, (void)visit, (void)context; /* libcurls for Windows name no folder */
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

long platform_descriptor_limit(void) {
    return 0; /* sockets are no descriptors there, and have no such limit */
}

#endif
