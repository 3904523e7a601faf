/* A transfer as Lua sees it (lua/autopilot/types/core.lua): whether it has finished, and the tables
 * of its result. The collector cancels a transfer that is still in flight. */
#include "curl_failure.h"
#include "lua_support.h"
#include "transfer_set.h"

static const char type_name[] = "autopilot.transfer";

struct transfer *lua_transfer_new(lua_State *L) {
    return lua_support_new_object(L, sizeof(struct transfer), type_name);
}

struct transfer *lua_transfer_check(lua_State *L, int index) {
    return luaL_checkudata(L, index, type_name);
}

static int is_finished(lua_State *L) {
    lua_pushboolean(L, lua_transfer_check(L, 1)->finished);
    return 1;
}

static const char *version_text(long version) {
    static const char *const texts[] = {[CURL_HTTP_VERSION_1_0] = "1.0",
                                        [CURL_HTTP_VERSION_1_1] = "1.1",
                                        [CURL_HTTP_VERSION_2_0] = "2",
                                        [CURL_HTTP_VERSION_3] = "3"};
    return version >= 0 && version <= CURL_HTTP_VERSION_3 ? texts[version] : NULL;
}

/* Pushes the table of headers. Repeated ones are joined, which RFC 9110 section 5.2 allows for
 * every header that this library reads. */
static void push_headers(lua_State *L, const struct response_head *head) {
    struct header_field field;
    lua_createtable(L, 0, 16);
    int table = lua_gettop(L);
    for (size_t position = 0; response_head_next(head, &position, &field);) {
        lua_pushlstring(L, field.name, field.name_length);
        lua_pushvalue(L, -1);
        lua_rawget(L, table);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushlstring(L, field.value, field.value_length);
        } else {
            lua_pushliteral(L, ", ");
            lua_pushlstring(L, field.value, field.value_length);
            lua_concat(L, 3);
        }
        lua_rawset(L, table);
    }
}

static void push_timings(lua_State *L, const double *timings) {
    static const char *const names[TRANSFER_PHASES] = {
        [TRANSFER_NAME_LOOKUP] = "name_lookup",
        [TRANSFER_CONNECT] = "connect",
        [TRANSFER_TLS] = "tls",
        [TRANSFER_FIRST_BYTE] = "first_byte",
        [TRANSFER_TOTAL] = "total",
    };
    lua_createtable(L, 0, TRANSFER_PHASES);
    for (int i = 0; i < TRANSFER_PHASES; i++) {
        lua_pushnumber(L, timings[i]);
        lua_setfield(L, -2, names[i]);
    }
}

static void set_facts(lua_State *L, const struct transfer *transfer) {
    if (transfer->facts.length > 0) {
        lua_pushlstring(L, transfer->facts.bytes, transfer->facts.length);
        lua_setfield(L, -2, "facts");
    }
}

static void push_response(lua_State *L, const struct transfer *transfer) {
    lua_createtable(L, 0, 6);
    lua_support_set_integer(L, "status", transfer_status(transfer));
    lua_support_set_text(L, "http_version", version_text(transfer->http_version));
    lua_pushlstring(L, transfer->body.length > 0 ? transfer->body.bytes : "",
                    transfer->body.length);
    lua_setfield(L, -2, "body");
    push_headers(L, &transfer->head);
    lua_setfield(L, -2, "headers");
    push_timings(L, transfer->timings);
    lua_setfield(L, -2, "timings");
    lua_support_set_integer(L, "sends", (lua_Integer)transfer->sends);
    set_facts(L, transfer);
}

static void push_network(lua_State *L, const struct transfer *transfer) {
    lua_createtable(L, 0, 6);
    lua_support_set_text(L, "stage", transfer->failed_stage);
    lua_support_set_text(L, "name", curl_failure_name(transfer->code));
    lua_support_set_text(L, "message", transfer->message);
    lua_support_set_flag(L, "timeout", transfer->code == CURLE_OPERATION_TIMEDOUT);
    lua_support_set_text(L, "delivered", transfer->sends == 0 ? "no" : "unknown");
    lua_support_set_integer(L, "sends", (lua_Integer)transfer->sends);
    set_facts(L, transfer);
}

static int result(lua_State *L) {
    const struct transfer *transfer = lua_transfer_check(L, 1);
    if (!transfer->finished) {
        return 0;
    }
    if (transfer_status(transfer) > 0) {
        push_response(L, transfer);
    } else {
        lua_pushnil(L);
    }
    if (transfer_is_complete(transfer)) {
        return 1;
    }
    push_network(L, transfer);
    return 2;
}

static int collect(lua_State *L) {
    struct transfer *transfer = lua_transfer_check(L, 1);
    transfer_set_remove(transfer);
    transfer_free(transfer);
    return 0;
}

void lua_transfer_open(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"is_finished", is_finished}, {"result", result}, {NULL, NULL}};
    lua_support_new_type(L, type_name, collect, methods);
}
