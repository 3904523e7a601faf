#include "lua_support.h"

#include <string.h>

void lua_support_set_text(lua_State *L, const char *name, const char *text) {
    if (text != NULL) {
        lua_pushstring(L, text);
        lua_setfield(L, -2, name);
    }
}

void lua_support_set_integer(lua_State *L, const char *name, lua_Integer number) {
    lua_pushinteger(L, number);
    lua_setfield(L, -2, name);
}

void lua_support_set_flag(lua_State *L, const char *name, bool flag) {
    lua_pushboolean(L, flag);
    lua_setfield(L, -2, name);
}

void lua_support_new_type(lua_State *L, const char *type_name, lua_CFunction end,
                          const luaL_Reg *methods) {
    const luaL_Reg metamethods[] = {{"__gc", end}, {"__close", end}, {NULL, NULL}};
    luaL_newmetatable(L, type_name);
    luaL_setfuncs(L, metamethods, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    /* Lua 5.1 to 5.3 would otherwise hand the metatable, and with it __gc, to any script. */
    lua_pushliteral(L, "autopilot.core");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void *lua_support_new_object(lua_State *L, size_t size, const char *type_name) {
    void *object = lua_newuserdata(L, size);
    memset(object, 0, size);
    luaL_getmetatable(L, type_name);
    lua_setmetatable(L, -2);
    return object;
}
