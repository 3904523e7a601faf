/* Transfers, and the set of them that is a curl multi, as Lua sees them
 * (lua/autopilot/types/core.lua).
 *
 * Transfers in flight are kept alive by the set (in its uservalue, by their address), so that an
 * abandoned one still runs to its end while the set lives. The collector cancels one that is still
 * in flight. */
#include "curl_failure.h"
#include "lua_support.h"
#include "transfer_set.h"

static const char transfer_type[] = "autopilot.transfer";
static const char set_type[] = "autopilot.transfer_set";

/* ---- A transfer: whether it has finished, and the tables of its result ----------------------- */

struct transfer *lua_transfer_new(lua_State *L) {
    return lua_support_new_object(L, sizeof(struct transfer), transfer_type);
}

static struct transfer *check_transfer(lua_State *L, int index) {
    return luaL_checkudata(L, index, transfer_type);
}

static int is_finished(lua_State *L) {
    lua_pushboolean(L, check_transfer(L, 1)->finished);
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
 * every header that this library reads. Those behind the first 8 KiB are left out, so that not even
 * thousands of them take long. */
static void push_headers(lua_State *L, const struct response_head *head) {
    const size_t longest_joined = 8192;
    struct header_field field;
    size_t length = 0;
    lua_createtable(L, 0, 16);
    int table = lua_gettop(L);
    for (size_t position = 0; response_head_next(head, &position, &field);) {
        lua_pushlstring(L, field.name, field.name_length);
        lua_pushvalue(L, -1);
        lua_rawget(L, table);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushlstring(L, field.value, field.value_length);
        } else if (lua_tolstring(L, -1, &length) != NULL && length < longest_joined) {
            lua_pushliteral(L, ", ");
            lua_pushlstring(L, field.value, field.value_length);
            lua_concat(L, 3);
        }
        lua_rawset(L, table);
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
    lua_createtable(L, 0, TRANSFER_PHASES);
    for (int i = 0; i < TRANSFER_PHASES; i++) {
        lua_pushnumber(L, transfer->timings[i]);
        lua_setfield(L, -2, transfer_phase_names[i]);
    }
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
    const struct transfer *transfer = check_transfer(L, 1);
    if (!transfer->finished) {
        return 0;
    }
    if (transfer_status(transfer) > 0) {
        push_response(L, transfer);
    } else {
        lua_pushnil(L);
    }
    if (transfer->code == CURLE_OK) {
        return 1;
    }
    push_network(L, transfer);
    return 2;
}

static int collect_transfer(lua_State *L) {
    struct transfer *transfer = check_transfer(L, 1);
    transfer_set_remove(transfer);
    transfer_free(transfer);
    return 0;
}

/* ---- A set ----------------------------------------------------------------------------------- */

/* The set of the object at index 1; raises if it is closed, or made before a fork. */
static struct transfer_set *check_set(lua_State *L) {
    struct transfer_set **object = luaL_checkudata(L, 1, set_type);
    if (*object == NULL) {
        luaL_error(L, "the transfer set is closed");
    } else if (!transfer_set_is_ours(*object)) {
        luaL_error(L, "the transfer set belongs to the process that this one was forked from");
    }
    return *object;
}

static int create(lua_State *L) {
    double concurrency = 0, unacknowledged = 0;
    if (!lua_isnoneornil(L, 1)) {
        luaL_checktype(L, 1, LUA_TTABLE);
        lua_getfield(L, 1, "concurrency");
        concurrency = luaL_optnumber(L, -1, 0);
        lua_getfield(L, 1, "unacknowledged");
        unacknowledged = luaL_optnumber(L, -1, 0);
    }
    luaL_argcheck(L, concurrency >= 0 && concurrency <= 1000000, 1, "'concurrency' out of range");
    luaL_argcheck(L, unacknowledged >= 0 && unacknowledged <= 1000000, 1,
                  "'unacknowledged' out of range");
    struct transfer_set **object = lua_support_new_object(L, sizeof(void *), set_type);
    lua_newtable(L);
    lua_setuservalue(L, -2);
    *object = transfer_set_create((unsigned)concurrency, unacknowledged);
    if (*object == NULL) {
        return luaL_error(L, "transfer_set: not enough memory or descriptors");
    }
    return 1;
}

static int add(lua_State *L) {
    enum { SET = 1, REQUEST, ATTEMPT, TOKEN, ID, TRANSFER, KEPT };
    struct transfer_set *set = check_set(L);
    struct prepared_request *request = lua_request_check(L, REQUEST);
    struct transfer_attempt attempt;
    lua_settop(L, ATTEMPT);
    lua_request_check_attempt(L, ATTEMPT, &attempt); /* pushes TOKEN and ID */
    struct transfer *transfer = lua_transfer_new(L);
    lua_getuservalue(L, SET);
    lua_pushlightuserdata(L, transfer);
    lua_pushvalue(L, TRANSFER);
    lua_rawset(L, KEPT);
    transfer_init(transfer, request, &attempt);
    transfer_set_add(set, transfer);
    lua_settop(L, TRANSFER);
    return 1;
}

static int step(lua_State *L) {
    struct transfer_set *set = check_set(L);
    lua_pushinteger(L, transfer_set_step(set, luaL_optnumber(L, 2, 0)));
    return 1;
}

static int is_due(lua_State *L) {
    lua_pushboolean(L, transfer_set_is_due(check_set(L)));
    return 1;
}

/* Stops keeping the transfer alive. Assigning nil allocates nothing, so it cannot fail. */
static void let_go(lua_State *L, int kept, struct transfer *transfer) {
    lua_pushlightuserdata(L, transfer);
    lua_pushnil(L);
    lua_rawset(L, kept);
}

static int take(lua_State *L) {
    enum { SET = 1, KEPT, TRANSFER };
    struct transfer_set *set = check_set(L);
    lua_settop(L, SET);
    struct transfer *transfer = transfer_set_take(set);
    if (transfer == NULL) {
        return 0;
    }
    lua_getuservalue(L, SET);
    lua_pushlightuserdata(L, transfer);
    lua_rawget(L, KEPT);
    let_go(L, KEPT, transfer);
    return 1;
}

static int discard(lua_State *L) {
    enum { SET = 1, TRANSFER, KEPT };
    struct transfer_set **object = luaL_checkudata(L, SET, set_type);
    struct transfer *transfer = check_transfer(L, TRANSFER);
    lua_settop(L, TRANSFER);
    if (*object == NULL) {
        return 0; /* a set that is closed has given it up already */
    }
    check_set(L);
    lua_getuservalue(L, SET);
    transfer_set_remove(transfer);
    let_go(L, KEPT, transfer);
    return 0;
}

static int close(lua_State *L) {
    struct transfer_set **object = luaL_checkudata(L, 1, set_type);
    transfer_set_destroy(*object);
    *object = NULL;
    return 0;
}

void lua_transfer_open(lua_State *L) {
    static const luaL_Reg transfer_methods[] = {
        {"is_finished", is_finished}, {"result", result}, {NULL, NULL}};
    static const luaL_Reg set_methods[] = {
        {"add", add},     {"step", step},     {"take", take}, {"discard", discard},
        {"close", close}, {"is_due", is_due}, {NULL, NULL},
    };
    static const luaL_Reg functions[] = {{"transfer_set", create}, {NULL, NULL}};
    lua_support_new_type(L, transfer_type, collect_transfer, transfer_methods);
    lua_support_new_type(L, set_type, close, set_methods);
    luaL_setfuncs(L, functions, 0);
}
