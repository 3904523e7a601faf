/* The prepared request and the attempt, for the bindings that send requests. */
#ifndef AUTOPILOT_LUA_REQUEST_H
#define AUTOPILOT_LUA_REQUEST_H

#include "lua_support.h"
#include "prepared_request.h"
#include "transfer.h"

/* The prepared request at this index; raises for any other value. */
struct prepared_request *lua_request_check(lua_State *L, int index);

/* Reads an attempt from the table at this index: `connect` and `total` (seconds), and optionally
 * `token`, `client_request_id` and `retry_attempt`. Leaves the two texts on the stack, which keeps
 * them alive. Raises for what cannot be sent, and never quotes it. */
void lua_request_check_attempt(lua_State *L, int index, struct transfer_attempt *attempt);

#endif
