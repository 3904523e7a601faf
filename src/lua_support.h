/* Helpers for the bindings, and the few differences between Lua 5.1, 5.2 to 5.5 and LuaJIT. Only
 * src/lua_*.c and src/core.c include it. */
#ifndef AUTOPILOT_LUA_SUPPORT_H
#define AUTOPILOT_LUA_SUPPORT_H

#include <stdbool.h>
#include <lua.h>
#include <lauxlib.h>

#if LUA_VERSION_NUM == 501 && !defined(LUAJIT_VERSION)
#define lua_rawlen lua_objlen
#endif

/* Adds the functions to the table at the top of the stack. (luaL_setfuncs is missing in 5.1.) */
void lua_support_set_functions(lua_State *L, const luaL_Reg *functions);

/* Each sets a field of the table at the top of the stack. A text that is NULL sets nothing. */
void lua_support_set_text(lua_State *L, const char *name, const char *text);
void lua_support_set_number(lua_State *L, const char *name, double number);
void lua_support_set_flag(lua_State *L, const char *name, bool flag);

/* Creates the metatable `type_name` with `metamethods` and an __index of `methods`; pushes nothing.
 */
void lua_support_new_type(lua_State *L, const char *type_name, const luaL_Reg *metamethods,
                          const luaL_Reg *methods);

/* Pushes a zeroed userdata that already has its metatable, so that __gc runs after any later error.
 */
void *lua_support_new_object(lua_State *L, size_t size, const char *type_name);

/* Each binding file adds its functions to the module table at the top of the stack. */
void lua_system_open(lua_State *L);
void lua_base64_open(lua_State *L);
void lua_secret_echo_open(lua_State *L);
void lua_request_open(lua_State *L);
void lua_transfer_set_open(lua_State *L);
void lua_transfer_thread_open(lua_State *L);

#endif
