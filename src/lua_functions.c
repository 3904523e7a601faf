/* Functions without an object: those of the operating system, base64, and the version of libcurl.
 * They are described in lua/autopilot/types/core.lua. */
#include "ca_store.h"
#include "lua_support.h"
#include "platform.h"

#include <curl/curl.h>
#include <errno.h>
#include <lualib.h> /* Lua 5.1 has the name of its files there */
#include <stdint.h>
#include <string.h>

static int now(lua_State *L) {
    lua_pushnumber(L, platform_now());
    return 1;
}

static int clock_seconds(lua_State *L) {
    lua_pushnumber(L, platform_clock());
    return 1;
}

/* The hook of the main thread, with which an interpreter ends a program at Ctrl-C. Lua 5.1 does not
 * tell which thread is the main one; in LuaJIT all threads have the same hook. */
static lua_Hook main_hook(lua_State *L) {
#ifdef LUA_RIDX_MAINTHREAD
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    lua_Hook hook = lua_gethook(lua_tothread(L, -1));
    lua_pop(L, 1);
    return hook;
#else
    return lua_gethook(L);
#endif
}

/* core.sleep: goes on after a signal, unless the signal is to end the program. A caller that sleeps
 * until the service allows a request must not send it earlier. */
static int sleep_seconds(lua_State *L) {
    lua_Hook hook = main_hook(L);
    double left = platform_sleep(luaL_checknumber(L, 1));
    while (left > 0 && main_hook(L) == hook && platform_interruption() == PLATFORM_NONE) {
        left = platform_sleep(left);
    }
    if (main_hook(L) != hook && lua_gethook(L) != main_hook(L)) {
        return luaL_error(L, "interrupted!"); /* the hook does not reach this coroutine */
    }
    return 0;
}

static int process_id(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)platform_process_id());
    return 1;
}

static int terminal_width(lua_State *L) {
    int width = platform_terminal_width();
    lua_pushinteger(L, width);
    return width >= 0 ? 1 : 0;
}

static int file_kind(lua_State *L) {
    static const char *const names[] = {NULL, "file", "folder", "link", "pipe", "device", "socket"};
    struct platform_file file = platform_look_up(luaL_checkstring(L, 1), lua_toboolean(L, 2));
    lua_pushstring(L, names[file.kind]);
    if (file.kind != PLATFORM_FILE) {
        return 1;
    }
    lua_pushnumber(L, file.size);
    lua_pushboolean(L, file.is_world_readable);
    return 3;
}

static int make_private(lua_State *L) {
    lua_pushboolean(L, platform_make_private(luaL_checkstring(L, 1)));
    return 1;
}

static int sqlite_name(lua_State *L) {
    char room[PLATFORM_NAME_ROOM];
    lua_pushstring(L, platform_sqlite_name(luaL_checkstring(L, 1), room)); /* nil for NULL */
    return 1;
}

/* The file of Lua's io library, whose layout depends on the version. */
static FILE *check_file(lua_State *L, int index) {
#if LUA_VERSION_NUM >= 502
    luaL_Stream *file = luaL_checkudata(L, index, LUA_FILEHANDLE);
    luaL_argcheck(L, file->closef != NULL, index, "the file is closed");
    return file->f;
#else
    FILE **file = luaL_checkudata(L, index, LUA_FILEHANDLE);
    luaL_argcheck(L, *file != NULL, index, "the file is closed");
    return *file;
#endif
}

static int read_waiting(lua_State *L) {
    char text[16384];
    long count = platform_read_waiting(check_file(L, 1), text, sizeof text);
    if (count > 0) {
        lua_pushlstring(L, text, (size_t)count);
    } else if (count == 0) {
        lua_pushboolean(L, 0);
    } else {
        lua_pushnil(L);
    }
    if (count != PLATFORM_UNREADABLE) {
        return 1;
    }
    lua_pushfstring(L, "error %d of the system", errno);
    return 2;
}

static int ignore_broken_pipes(lua_State *L) {
    (void)L;
    platform_ignore_broken_pipes();
    return 0;
}

static int note_interrupt(lua_State *L) {
    lua_pushboolean(L, platform_note_interrupt());
    return 1;
}

static int pass_on_termination(lua_State *L) {
    lua_pushboolean(L, platform_pass_on_termination());
    return 1;
}

static int was_interrupted(lua_State *L) {
    enum platform_interruption interruption = platform_interruption();
    lua_pushboolean(L, interruption != PLATFORM_NONE);
    lua_pushboolean(L, interruption == PLATFORM_TERMINATED);
    return 2;
}

static int release_interrupt(lua_State *L) {
    (void)L;
    platform_release_interrupt();
    return 0;
}

static void fill_random(lua_State *L, void *memory, size_t length) {
    if (!platform_random(memory, length)) {
        luaL_error(L, "the system's random generator failed");
    }
}

static int random_fraction(lua_State *L) {
    uint64_t bits;
    fill_random(L, &bits, sizeof bits);
    lua_pushnumber(L, (double)(bits >> 11) / 9007199254740992.0); /* 53 bits; 2^53 */
    return 1;
}

static int uuid(lua_State *L) {
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[16];
    char text[36], *end = text;
    fill_random(L, bytes, sizeof bytes);
    bytes[6] = (unsigned char)(0x40 | (bytes[6] & 0x0f)); /* version */
    bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f)); /* variant */
    for (size_t i = 0; i < sizeof bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *end++ = '-';
        }
        *end++ = digits[bytes[i] >> 4];
        *end++ = digits[bytes[i] & 15];
    }
    lua_pushlstring(L, text, sizeof text);
    return 1;
}

/* ---- Base64: both alphabets of RFC 4648, with padding or without ----------------------------- */

/* In Lua this took more than half of a fleet's time: the token of every tenant is read once. */

enum { IN_ALPHABET = 64 };

/* The six bits that each character of the two alphabets stands for, with IN_ALPHABET added. */
static const unsigned char values[256] = {
    ['A'] = 64,  ['B'] = 65,  ['C'] = 66,  ['D'] = 67,  ['E'] = 68,  ['F'] = 69,  ['G'] = 70,
    ['H'] = 71,  ['I'] = 72,  ['J'] = 73,  ['K'] = 74,  ['L'] = 75,  ['M'] = 76,  ['N'] = 77,
    ['O'] = 78,  ['P'] = 79,  ['Q'] = 80,  ['R'] = 81,  ['S'] = 82,  ['T'] = 83,  ['U'] = 84,
    ['V'] = 85,  ['W'] = 86,  ['X'] = 87,  ['Y'] = 88,  ['Z'] = 89,  ['a'] = 90,  ['b'] = 91,
    ['c'] = 92,  ['d'] = 93,  ['e'] = 94,  ['f'] = 95,  ['g'] = 96,  ['h'] = 97,  ['i'] = 98,
    ['j'] = 99,  ['k'] = 100, ['l'] = 101, ['m'] = 102, ['n'] = 103, ['o'] = 104, ['p'] = 105,
    ['q'] = 106, ['r'] = 107, ['s'] = 108, ['t'] = 109, ['u'] = 110, ['v'] = 111, ['w'] = 112,
    ['x'] = 113, ['y'] = 114, ['z'] = 115, ['0'] = 116, ['1'] = 117, ['2'] = 118, ['3'] = 119,
    ['4'] = 120, ['5'] = 121, ['6'] = 122, ['7'] = 123, ['8'] = 124, ['9'] = 125, ['+'] = 126,
    ['-'] = 126, ['/'] = 127, ['_'] = 127,
};

static int base64_decode(lua_State *L) {
    size_t whole;
    const char *text = luaL_checklstring(L, 1, &whole);
    size_t length = whole;
    while (length > 0 && text[length - 1] == '=') {
        length--;
    }
    size_t padding = whole - length, count = length * 3 / 4;
    bool is_valid = length % 4 != 1 && (padding == 0 || (padding <= 2 && whole % 4 == 0));
    unsigned common = IN_ALPHABET; /* without it, a character is in neither alphabet */
    char few[4096];                /* a token's text is shorter */
    char *bytes = length + 4 <= sizeof few ? few : lua_newuserdata(L, length + 4), *end = bytes;
    memcpy(bytes, text, length);
    memcpy(bytes + length, "AAA", 4); /* A is 0, as bits that no byte has must be */
    for (size_t i = 0; i < length; i += 4) {
        unsigned a = values[(unsigned char)bytes[i]], b = values[(unsigned char)bytes[i + 1]];
        unsigned c = values[(unsigned char)bytes[i + 2]], d = values[(unsigned char)bytes[i + 3]];
        unsigned bits = (a & 63) << 18 | (b & 63) << 12 | (c & 63) << 6 | (d & 63);
        common &= a & b & c & d;
        *end++ = (char)(bits >> 16);
        *end++ = (char)(bits >> 8);
        *end++ = (char)bits;
    }
    *end = '\0';
    if (is_valid && common != 0 && bytes[count] == '\0') {
        lua_pushlstring(L, bytes, count);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int info(lua_State *L) {
    const curl_version_info_data *libcurl = curl_version_info(CURLVERSION_NOW);
    const struct ca_store *store = ca_store_default();
    if (store == NULL) {
        return luaL_error(L, "not enough memory");
    }
    lua_newtable(L);
    lua_support_set_text(L, "libcurl", libcurl->version);
    lua_support_set_text(L, "ssl", libcurl->ssl_version);
    lua_support_set_text(L, "ca_file", store->file);
    lua_support_set_text(L, "ca_path", store->path);
    lua_support_set_flag(L, "http2", (libcurl->features & CURL_VERSION_HTTP2) != 0);
    return 1;
}

void lua_functions_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"now", now},
        {"clock", clock_seconds},
        {"sleep", sleep_seconds},
        {"process_id", process_id},
        {"terminal_width", terminal_width},
        {"file_kind", file_kind},
        {"make_private", make_private},
        {"sqlite_name", sqlite_name},
        {"read_waiting", read_waiting},
        {"ignore_broken_pipes", ignore_broken_pipes},
        {"note_interrupt", note_interrupt},
        {"pass_on_termination", pass_on_termination},
        {"was_interrupted", was_interrupted},
        {"release_interrupt", release_interrupt},
        {"random", random_fraction},
        {"uuid", uuid},
        {"base64_decode", base64_decode},
        {"info", info},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
