/* What the transfer set's binding needs to know of the request's. */
#ifndef AUTOPILOT_LUA_REQUEST_H
#define AUTOPILOT_LUA_REQUEST_H

#include "lua_support.h"
#include "prepared_request.h"

/* The prepared request at this index; raises when the value is none. */
struct prepared_request *lua_request_check(lua_State *L, int index);

#endif
