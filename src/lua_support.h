/* What the bindings share: helpers, the objects that they pass to each other, and the differences
 * between Lua 5.1, 5.2 to 5.5 and LuaJIT. Only src/lua_*.c and src/core.c include it. */
#ifndef AUTOPILOT_LUA_SUPPORT_H
#define AUTOPILOT_LUA_SUPPORT_H

#include <stdbool.h>
#include <lua.h>
#include <lauxlib.h>

#include "transfer.h"

#if LUA_VERSION_NUM == 501
#define lua_setuservalue lua_setfenv
#define lua_getuservalue lua_getfenv
#undef luaL_setfuncs /* LuaJIT has it */
#define luaL_setfuncs(L, functions, upvalues) luaL_register(L, NULL, functions)
#endif

/* Each sets a field of the table at the top of the stack. A text that is NULL sets nothing. */
void lua_support_set_text(lua_State *L, const char *name, const char *text);
void lua_support_set_integer(lua_State *L, const char *name, lua_Integer number);
void lua_support_set_flag(lua_State *L, const char *name, bool flag);

/* Creates a type of userdata. `end` releases what an object holds, and may be called again: it is
 * what the collector and `local … <close>` call. */
void lua_support_new_type(lua_State *L, const char *type_name, lua_CFunction end,
                          const luaL_Reg *methods);

/* Pushes a zeroed userdata that already has its metatable, so that it is ended after any later
 * error. */
void *lua_support_new_object(lua_State *L, size_t size, const char *type_name);

/* The prepared request at this index; raises for any other value. */
struct prepared_request *lua_request_check(lua_State *L, int index);

/* Reads an attempt from the table at this index: `connect` and `total` (seconds), and optionally
 * `token`, `client_request_id` and `retry_attempt`. Leaves the two texts on the stack, which keeps
 * them alive. Raises for what cannot be sent, and never quotes it. */
void lua_request_check_attempt(lua_State *L, int index, struct transfer_attempt *attempt);

/* Pushes a new transfer object, zeroed, and returns what is in it. */
struct transfer *lua_transfer_new(lua_State *L);

/* Each binding file adds its functions to the module table at the top of the stack. */
void lua_functions_open(lua_State *L);
void lua_secret_echo_open(lua_State *L);
void lua_request_open(lua_State *L);
void lua_transfer_open(lua_State *L);
void lua_transfer_thread_open(lua_State *L);

#endif
