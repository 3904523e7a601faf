/* core.may_echo(secrets, text, ...) -> may any of these texts repeat a secret, whosever it is?
 *
 * False is certain, true is worth a closer look. Anything among the secrets or the texts but a
 * string is passed over. */
#include "lua_support.h"
#include "secret_echo.h"

/* True when the text repeats one of the secrets, whose string is then left on the stack. */
static bool repeats_any(lua_State *L, int secrets, const char *text, size_t length) {
    lua_pushnil(L);
    while (lua_next(L, secrets) != 0) {
        if (lua_type(L, -1) == LUA_TSTRING) {
            size_t secret_length;
            const char *secret = lua_tolstring(L, -1, &secret_length);
            if (secret_echo_stands_in(secret, secret_length, text, length)) {
                return true;
            }
        }
        lua_pop(L, 1);
    }
    return false;
}

static int may_echo(lua_State *L) {
    enum { SECRETS = 1, FIRST_TEXT };
    int count = lua_gettop(L);
    bool is_found = false;
    luaL_checktype(L, SECRETS, LUA_TTABLE);
    for (int i = FIRST_TEXT; i <= count && !is_found; i++) {
        if (lua_type(L, i) == LUA_TSTRING) {
            size_t length;
            const char *text = lua_tolstring(L, i, &length);
            is_found =
                secret_echo_is_suspect(text, length) || repeats_any(L, SECRETS, text, length);
        }
    }
    lua_pushboolean(L, is_found);
    return 1;
}

void lua_secret_echo_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"may_echo", may_echo}, {NULL, NULL}};
    lua_support_set_functions(L, functions);
}
