/* core.transfer_set: a curl multi as Lua sees it (lua/autopilot/types/core.lua).
 *
 * Transfers in flight are kept alive by the set (in its uservalue, by their address), so that an
 * abandoned one still runs to its end while the set lives. */
#include "lua_support.h"
#include "transfer_set.h"

static const char type_name[] = "autopilot.transfer_set";

/* The set of the object at index 1; raises if it is closed, or made before a fork. */
static struct transfer_set *check(lua_State *L) {
    struct transfer_set **object = luaL_checkudata(L, 1, type_name);
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
    struct transfer_set **object = lua_support_new_object(L, sizeof(void *), type_name);
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
    struct transfer_set *set = check(L);
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
    struct transfer_set *set = check(L);
    lua_pushinteger(L, transfer_set_step(set, luaL_optnumber(L, 2, 0)));
    return 1;
}

static int is_due(lua_State *L) {
    lua_pushboolean(L, transfer_set_is_due(check(L)));
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
    struct transfer_set *set = check(L);
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
    struct transfer_set **object = luaL_checkudata(L, SET, type_name);
    struct transfer *transfer = lua_transfer_check(L, TRANSFER);
    lua_settop(L, TRANSFER);
    if (*object == NULL) {
        return 0; /* a set that is closed has given it up already */
    }
    check(L);
    lua_getuservalue(L, SET);
    transfer_set_remove(transfer);
    let_go(L, KEPT, transfer);
    return 0;
}

static int close(lua_State *L) {
    struct transfer_set **object = luaL_checkudata(L, 1, type_name);
    transfer_set_destroy(*object);
    *object = NULL;
    return 0;
}

void lua_transfer_set_open(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"add", add},     {"step", step},     {"take", take}, {"discard", discard},
        {"close", close}, {"is_due", is_due}, {NULL, NULL},
    };
    static const luaL_Reg functions[] = {{"transfer_set", create}, {NULL, NULL}};
    lua_support_new_type(L, type_name, close, methods);
    lua_support_set_functions(L, functions);
}
