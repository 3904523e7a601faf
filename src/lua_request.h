/* What the bindings that send requests need to know of the request's. */
#ifndef AUTOPILOT_LUA_REQUEST_H
#define AUTOPILOT_LUA_REQUEST_H

#include "lua_support.h"
#include "prepared_request.h"
#include "transfer.h"

/* The prepared request at this index; raises when the value is none. */
struct prepared_request *lua_request_check(lua_State *L, int index);

/* Reads an attempt from five values of the stack, the first of them at this index: connect timeout,
 * total timeout, token, client-request-id, retry attempt; the last three may be nil. Its texts live
 * as long as these values. Raises for what cannot be sent, without quoting it. */
void lua_request_check_attempt(lua_State *L, int first, struct transfer_attempt *attempt);

#endif
