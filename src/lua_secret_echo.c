/* core.may_echo(secrets, text) -> whether the text needs a closer look
 *
 * A quick check, because most texts have no secret: in Lua it takes a quarter of a call's
 * instructions. False is certain: the text is short, is visible ASCII
 * without encodings, and repeats no part of a secret, with or without blanks in it. All other
 * texts are redacted by base/redact.lua. Secrets that are not strings are ignored. */
#include "lua_support.h"

#include <string.h>

/* TELLING characters of a secret in a row count as a part of it, as in redact.lua. Every such part
 * contains one of the blocks of BLOCK bytes that end at TELLING and every STEP bytes after it. */
enum { LONGEST = 1000, TELLING = 16, BLOCK = 5, STEP = TELLING - BLOCK + 1 };

struct text {
    const char *bytes;
    size_t length;
};

static bool stands_in(struct text needle, struct text text) {
    const char *at = text.bytes, *end = text.bytes + text.length;
    while ((size_t)(end - at) >= needle.length &&
           (at = memchr(at, needle.bytes[0], (size_t)(end - at) - needle.length + 1)) != NULL) {
        if (at[needle.length - 1] == needle.bytes[needle.length - 1] &&
            memcmp(at, needle.bytes, needle.length) == 0) {
            return true;
        }
        at++;
    }
    return false;
}

/* True when the text may hold a token (`eyJ`, `Bearer`), or has a byte that may belong to an
 * encoding or to an invisible character. */
static bool is_suspect(struct text text) {
    static const struct text signs[] = {{"eyJ", 3}, {"earer", 5}};
    for (size_t i = 0; i < text.length; i++) {
        char byte = text.bytes[i];
        if (byte < ' ' || byte > '~' || byte == '%' || byte == '&' || byte == '+' || byte == '<' ||
            byte == '\\') {
            return true;
        }
    }
    return stands_in(signs[0], text) || stands_in(signs[1], text);
}

/* True when a secret looks different without blanks, encodings and invisible characters. A longer
 * secret is a token or a key, which has no characters beyond ASCII. */
static bool looks_different_decoded(struct text secret) {
    enum { LONGEST_PASSWORD = 256 };
    for (size_t i = 0; i < secret.length && secret.length <= LONGEST_PASSWORD; i++) {
        if (secret.bytes[i] < '!' || secret.bytes[i] > '~') {
            return true;
        }
    }
    for (const char *sign = "\\%&+< "; *sign != '\0'; sign++) {
        if (memchr(secret.bytes, *sign, secret.length) != NULL) {
            return true;
        }
    }
    return false;
}

/* True when a part of the secret may stand in the text, from which the blanks were taken. */
static bool repeats(struct text secret, struct text text) {
    if (looks_different_decoded(secret)) {
        return true;
    }
    if (secret.length < TELLING) {
        return stands_in(secret, text);
    }
    for (size_t end = TELLING; end <= text.length; end += STEP) {
        if (stands_in((struct text){text.bytes + end - BLOCK, BLOCK}, secret)) {
            return true;
        }
    }
    return false;
}

static int may_echo(lua_State *L) {
    enum { SECRETS = 1, TEXT };
    char visible[LONGEST];
    size_t length = 0;
    struct text text, secret;
    luaL_checktype(L, SECRETS, LUA_TTABLE);
    text.bytes = luaL_checklstring(L, TEXT, &text.length);
    bool is_found = text.length > LONGEST || is_suspect(text);
    for (size_t i = 0; i < text.length && !is_found; i++) {
        visible[length] = text.bytes[i];
        length += text.bytes[i] != ' ';
    }
    const struct text squeezed = {visible, length};
    lua_pushnil(L);
    while (!is_found && lua_next(L, SECRETS) != 0) {
        if (lua_type(L, -1) == LUA_TSTRING) {
            secret.bytes = lua_tolstring(L, -1, &secret.length);
            is_found = secret.length > 0 && repeats(secret, squeezed);
        }
        lua_pop(L, 1);
    }
    lua_pushboolean(L, is_found);
    return 1;
}

void lua_secret_echo_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"may_echo", may_echo}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
