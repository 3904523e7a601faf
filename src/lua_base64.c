/* core.base64_decode(text) -> the bytes, or nil for a text that is not base64
 *
 * Both alphabets of RFC 4648 are read, with padding or without. In Lua this took more than half of
 * a fleet's time: the token of every tenant is read once. */
#include "lua_support.h"

/* The six bits that a character stands for, in every locale; -1 for other characters. */
static int value_of(char character) {
    if (character >= 'A' && character <= 'Z') {
        return character - 'A';
    }
    if (character >= 'a' && character <= 'z') {
        return character - 'a' + 26;
    }
    if (character >= '0' && character <= '9') {
        return character - '0' + 52;
    }
    if (character == '+' || character == '-') {
        return 62;
    }
    return character == '/' || character == '_' ? 63 : -1;
}

/* Writes the bytes, of which there are fewer than characters, and returns how many; -1 for a
 * character outside of the alphabet, or for left over bits that are not zero. */
static long decode(const char *text, size_t length, char *bytes) {
    unsigned int bits = 0, width = 0;
    long count = 0;
    for (size_t i = 0; i < length; i++) {
        int value = value_of(text[i]);
        if (value < 0) {
            return -1;
        }
        bits = bits << 6 | (unsigned int)value;
        width += 6;
        if (width >= 8) {
            width -= 8;
            bytes[count++] = (char)(bits >> width & 0xff);
            bits &= (1U << width) - 1;
        }
    }
    return bits == 0 ? count : -1;
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
