/* A transfer as Lua sees it: whether it has finished, and what came of it.
 *
 *   transfer:is_finished()      -> boolean
 *   transfer:status()           -> of the final answer, as far as it came; nil when none did
 *   transfer:result()           -> status | nil, http_version | nil, body, sends, is_complete,
 *                                  name_lookup, connect, tls, first_byte, total (seconds)
 *   transfer:failure()          -> nil when the whole answer came, else stage, name, message,
 *                                  timeout, delivered ("no" | "unknown")
 *   transfer:header(name, ...)  -> for each name the value of its fields, joined by ", ", or nil
 *   transfer:headers()          -> {[lower-case name] = value}
 *
 * The collector gives up a transfer that is still in flight. */
#include "lua_transfer.h"
#include "curl_failure.h"
#include "transfer_set.h"

#include <string.h>
#include <time.h>

static const char type_name[] = "autopilot.transfer";

struct transfer *lua_transfer_new(lua_State *L) {
    return lua_support_new_object(L, sizeof(struct transfer), type_name);
}

struct transfer *lua_transfer_check(lua_State *L, int index) {
    return lua_support_check_object(L, index, type_name);
}

static struct transfer *check(lua_State *L) {
    return lua_support_check_object(L, 1, type_name);
}

static int is_finished(lua_State *L) {
    lua_pushboolean(L, check(L)->finished);
    return 1;
}

static int status(lua_State *L) {
    int status_code = transfer_status(check(L));
    if (status_code <= 0) {
        return 0;
    }
    lua_pushinteger(L, status_code);
    return 1;
}

static const char *version_text(long version) {
    switch (version) {
    case CURL_HTTP_VERSION_1_0:
        return "1.0";
    case CURL_HTTP_VERSION_1_1:
        return "1.1";
    case CURL_HTTP_VERSION_2_0:
        return "2";
    case CURL_HTTP_VERSION_3:
        return "3";
    default:
        return NULL;
    }
}

/* Appends the field's value to the text in the slot, where there is one. Joining is what RFC 9110
 * section 5.2 allows for every field this library reads. */
static void join(lua_State *L, int slot, const struct header_field *field) {
    if (lua_isnil(L, slot)) {
        lua_pushlstring(L, field->value, field->value_length);
    } else {
        lua_pushvalue(L, slot);
        lua_pushliteral(L, ", ");
        lua_pushlstring(L, field->value, field->value_length);
        lua_concat(L, 3);
    }
    lua_replace(L, slot);
}

static int result(lua_State *L) {
    const struct transfer *transfer = check(L);
    int status_code = transfer_status(transfer);
    const char *version = status_code > 0 ? version_text(transfer->http_version) : NULL;
    lua_settop(L, 1);
    if (status_code > 0) {
        lua_pushinteger(L, status_code);
    } else {
        lua_pushnil(L);
    }
    if (version != NULL) {
        lua_pushstring(L, version);
    } else {
        lua_pushnil(L);
    }
    lua_pushlstring(L, transfer->body.length > 0 ? transfer->body.bytes : "",
                    transfer->body.length);
    lua_pushinteger(L, (lua_Integer)transfer->sends);
    lua_pushboolean(L, transfer_is_complete(transfer));
    lua_pushnumber(L, transfer->timings.name_lookup);
    lua_pushnumber(L, transfer->timings.connect);
    lua_pushnumber(L, transfer->timings.tls);
    lua_pushnumber(L, transfer->timings.first_byte);
    lua_pushnumber(L, transfer->timings.total);
    return lua_gettop(L) - 1;
}

static int failure(lua_State *L) {
    const struct transfer *transfer = check(L);
    if (!transfer->finished || transfer->code == CURLE_OK) {
        return 0;
    }
    lua_pushstring(L, transfer->failed_stage);
    lua_pushstring(L, curl_failure_name(transfer->code));
    lua_pushstring(L, transfer->message);
    lua_pushboolean(L, transfer->code == CURLE_OPERATION_TIMEDOUT);
    lua_pushstring(L, transfer->sends == 0 ? "no" : "unknown");
    return 5;
}

static int header(lua_State *L) {
    const struct transfer *transfer = check(L);
    struct header_field field;
    int names = lua_gettop(L) - 1;
    luaL_checkstack(L, names + 3, "too many names");
    for (int i = 0; i < names; i++) {
        size_t length;
        const char *name = luaL_optlstring(L, 2 + i, "", &length);
        lua_pushnil(L);
        int slot = lua_gettop(L);
        for (size_t position = 0; response_head_next(&transfer->head, &position, &field);) {
            if (header_field_is(&field, name, length)) {
                join(L, slot, &field);
            }
        }
    }
    return names;
}

static void push_lower(lua_State *L, const char *text, size_t length) {
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (size_t i = 0; i < length; i++) {
        char byte = text[i];
        luaL_addchar(&buffer, (char)(byte >= 'A' && byte <= 'Z' ? byte - 'A' + 'a' : byte));
    }
    luaL_pushresult(&buffer);
}

static int headers(lua_State *L) {
    enum { TABLE = 2 };
    const struct transfer *transfer = check(L);
    struct header_field field;
    lua_settop(L, 1);
    lua_newtable(L);
    for (size_t position = 0; response_head_next(&transfer->head, &position, &field);) {
        push_lower(L, field.name, field.name_length);
        lua_pushvalue(L, -1);
        lua_rawget(L, TABLE);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushlstring(L, field.value, field.value_length);
        } else {
            lua_pushliteral(L, ", ");
            lua_pushlstring(L, field.value, field.value_length);
            lua_concat(L, 3);
        }
        lua_rawset(L, TABLE);
    }
    return 1;
}

static int collect(lua_State *L) {
    struct transfer *transfer = check(L);
    transfer_set_remove(transfer);
    transfer_free(transfer);
    return 0;
}

void lua_transfer_open(lua_State *L) {
    static const luaL_Reg metamethods[] = {{"__gc", collect}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"is_finished", is_finished},
        {"status", status},
        {"result", result},
        {"failure", failure},
        {"header", header},
        {"headers", headers},
        {NULL, NULL},
    };
    lua_support_new_type(L, type_name, metamethods, methods);
}
