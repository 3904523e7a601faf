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

void lua_base64_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"base64_decode", base64_decode}, {NULL, NULL}};
    lua_support_set_functions(L, functions);
}
