/* What the transfer set's binding needs to know of the transfer's. */
#ifndef AUTOPILOT_LUA_TRANSFER_H
#define AUTOPILOT_LUA_TRANSFER_H

#include "lua_support.h"
#include "transfer.h"

/* Pushes a new transfer object, zeroed, and returns what is in it. */
struct transfer *lua_transfer_new(lua_State *L);

/* The transfer at this index; raises when the value is none. */
struct transfer *lua_transfer_check(lua_State *L, int index);

/* Registers the type. */
void lua_transfer_open(lua_State *L);

#endif
