/* core.base64_decode(text) -> the bytes, or nil for a text that is not base64
 *
 * Both alphabets of RFC 4648 are read, with padding or without. In Lua this took more than half of
 * a fleet's time: the token of every tenant is read once. */
#include "lua_support.h"

#include <string.h>

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

/* Writes the three bytes of four characters; false when one is outside of the alphabet. */
static bool decode_four(const char *text, char *bytes) {
    unsigned int a = values[(unsigned char)text[0]], b = values[(unsigned char)text[1]];
    unsigned int c = values[(unsigned char)text[2]], d = values[(unsigned char)text[3]];
    unsigned int bits = (a & 63) << 18 | (b & 63) << 12 | (c & 63) << 6 | (d & 63);
    bytes[0] = (char)(bits >> 16);
    bytes[1] = (char)(bits >> 8 & 0xff);
    bytes[2] = (char)(bits & 0xff);
    return (a & b & c & d & IN_ALPHABET) != 0;
}

/* Writes the bytes, with room for one more than there are characters, and returns how many; -1 for
 * a character outside of the alphabet, or for left over bits that are not zero. */
static long decode(const char *text, size_t length, char *bytes) {
    size_t rest = length % 4, whole = length - rest;
    char *end = bytes;
    for (size_t i = 0; i < whole; i += 4, end += 3) {
        if (!decode_four(text + i, end)) {
            return -1;
        }
    }
    if (rest > 0) {
        char last[4] = {'A', 'A', 'A', 'A'}; /* which is zero */
        memcpy(last, text + whole, rest);
        if (!decode_four(last, end) || end[2] != 0 || (rest == 2 && end[1] != 0)) {
            return -1;
        }
        end += rest - 1;
    }
    return (long)(end - bytes);
}

static int base64_decode(lua_State *L) {
    size_t whole;
    const char *text = luaL_checklstring(L, 1, &whole);
    size_t length = whole;
    while (length > 0 && text[length - 1] == '=') {
        length--;
    }
    size_t padding = whole - length;
    bool is_whole = padding == 0 || (padding <= 2 && whole % 4 == 0);
    char *bytes = lua_newuserdata(L, length + 1);
    long count = is_whole && length % 4 != 1 ? decode(text, length, bytes) : -1;
    if (count < 0) {
        lua_pushnil(L);
    } else {
        lua_pushlstring(L, bytes, (size_t)count);
    }
    return 1;
}

void lua_base64_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"base64_decode", base64_decode}, {NULL, NULL}};
    lua_support_set_functions(L, functions);
}
