#include "lua_support.h"

#include <string.h>

void lua_support_set_functions(lua_State *L, const luaL_Reg *functions) {
    for (; functions->name != NULL; functions++) {
        lua_pushcfunction(L, functions->func);
        lua_setfield(L, -2, functions->name);
    }
}

/* Where a metatable has the address of its type's name. */
enum { TYPE_MARK = 1 };

void lua_support_new_type(lua_State *L, const char *type_name, const luaL_Reg *metamethods,
                          const luaL_Reg *methods) {
    luaL_newmetatable(L, type_name);
    lua_pushlightuserdata(L, (void *)type_name);
    lua_rawseti(L, -2, TYPE_MARK);
    lua_support_set_functions(L, metamethods);
    lua_newtable(L);
    lua_support_set_functions(L, methods);
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

/* The mark costs less than half of luaL_checkudata, which looks the metatable up by its name; that
 * one raises the error. */
void *lua_support_check_object(lua_State *L, int index, const char *type_name) {
    void *object = lua_touserdata(L, index);
    if (object != NULL && lua_getmetatable(L, index)) {
        lua_rawgeti(L, -1, TYPE_MARK);
        bool has_mark = lua_touserdata(L, -1) == type_name;
        lua_pop(L, 2);
        if (has_mark) {
            return object;
        }
    }
    return luaL_checkudata(L, index, type_name);
}
