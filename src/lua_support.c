#include "lua_support.h"

#include <string.h>

void lua_support_set_functions(lua_State *L, const luaL_Reg *functions) {
    for (; functions->name != NULL; functions++) {
        lua_pushcfunction(L, functions->func);
        lua_setfield(L, -2, functions->name);
    }
}

/* Adds the functions to the table at the top of the stack, each with the value at `upvalue`. */
static void set_methods(lua_State *L, const luaL_Reg *functions, int upvalue) {
    for (; functions->name != NULL; functions++) {
        lua_pushvalue(L, upvalue);
        lua_pushcclosure(L, functions->func, 1);
        lua_setfield(L, -2, functions->name);
    }
}

void lua_support_new_type(lua_State *L, const char *type_name, const luaL_Reg *metamethods,
                          const luaL_Reg *methods) {
    luaL_newmetatable(L, type_name);
    int metatable = lua_gettop(L);
    set_methods(L, metamethods, metatable);
    lua_newtable(L);
    set_methods(L, methods, metatable);
    lua_setfield(L, metatable, "__index");
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

/* Comparing with the upvalue costs less than half of luaL_checkudata, which finds the metatable by
 * its name; that one raises the error. */
void *lua_support_check_own(lua_State *L, int index, const char *type_name) {
    if (lua_getmetatable(L, index)) {
        bool is_own = lua_rawequal(L, -1, lua_upvalueindex(1)) != 0;
        lua_pop(L, 1);
        if (is_own) {
            return lua_touserdata(L, index);
        }
    }
    return luaL_checkudata(L, index, type_name);
}
