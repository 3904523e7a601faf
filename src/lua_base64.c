/* core.base64_decode(text) -> the bytes, or nil for a text that is not base64
 *
 * Both alphabets of RFC 4648 are read, with padding or without. In Lua this took more than half of
 * a fleet's time: the token of every tenant is read once. */
#include "lua_support.h"

/* One more than the six bits that each character stands for; 0 for all other characters. */
static const unsigned char values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['-'] = 63,
    ['/'] = 64, ['_'] = 64,
};

/* Writes the bytes, of which there are fewer than characters, and returns how many; -1 for a
 * character outside of the alphabet, or for left over bits that are not zero. */
static long decode(const char *text, size_t length, char *bytes) {
    unsigned int bits = 0, width = 0;
    long count = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned int value = values[(unsigned char)text[i]];
        if (value == 0) {
            return -1;
        }
        bits = bits << 6 | (value - 1);
        width += 6;
        if (width >= 8) {
            width -= 8;
            bytes[count++] = (char)(bits >> width & 0xff);
        }
    }
    return (bits & ((1U << width) - 1)) == 0 ? count : -1;
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
