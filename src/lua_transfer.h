/* Transfers as Lua objects, for the bindings that make and finish them. */
#ifndef AUTOPILOT_LUA_TRANSFER_H
#define AUTOPILOT_LUA_TRANSFER_H

#include "lua_support.h"
#include "transfer.h"

/* Pushes a new transfer object, zeroed, and returns what is in it. */
struct transfer *lua_transfer_new(lua_State *L);

/* The transfer at this index; raises for any other value. */
struct transfer *lua_transfer_check(lua_State *L, int index);

/* Registers the type. */
void lua_transfer_open(lua_State *L);

#endif
