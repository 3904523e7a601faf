/* core.transfer_thread: a thread that moves transfers beside an event loop, as Lua sees it
 * (lua/autopilot/types/core.lua). Missing on Windows. */
#include "lua_support.h"
#include "transfer_thread.h"

static const char type_name[] = "autopilot.transfer_thread";
static const double unused_seconds = 30;

/* The thread of the object at index 1; raises if it is closed, or made before a fork. */
static struct transfer_thread *check(lua_State *L) {
    struct transfer_thread **object = luaL_checkudata(L, 1, type_name);
    if (*object == NULL) {
        luaL_error(L, "the transfer thread is closed");
    } else if (!transfer_thread_is_ours(*object)) {
        luaL_error(L, "the transfer thread belongs to the process that this one was forked from");
    }
    return *object;
}

static int create(lua_State *L) {
    const char *problem = NULL;
    struct transfer_thread **object = lua_support_new_object(L, sizeof(void *), type_name);
    *object = transfer_thread_start(unused_seconds, &problem);
    if (*object == NULL) {
        lua_pushnil(L);
        lua_pushstring(L, problem);
        return 2;
    }
    return 1;
}

static int begin_listening(lua_State *L) {
    lua_pushstring(L, transfer_thread_listen(check(L))); /* nil for NULL */
    return 1;
}

static int accept_connection(lua_State *L) {
    lua_pushboolean(L, transfer_thread_accept(check(L)));
    return 1;
}

static int add(lua_State *L) {
    enum { REQUEST = 2, ATTEMPT };
    struct transfer_thread *thread = check(L);
    struct prepared_request *request = lua_request_check(L, REQUEST);
    struct transfer_attempt attempt;
    lua_settop(L, ATTEMPT);
    lua_request_check_attempt(L, ATTEMPT, &attempt);
    unsigned long number = transfer_thread_submit(thread, request, &attempt);
    if (number == 0) {
        return luaL_error(L, "transfer_thread: not enough memory");
    }
    lua_pushnumber(L, (lua_Number)number);
    return 1;
}

static int take(lua_State *L) {
    struct transfer_thread *thread = check(L);
    struct transfer *transfer = lua_transfer_new(L);
    unsigned long number = transfer_thread_take(thread, transfer);
    lua_pushnumber(L, (lua_Number)number);
    lua_insert(L, -2);
    return number > 0 ? 2 : 0;
}

static int discard(lua_State *L) {
    struct transfer_thread *thread = check(L);
    lua_Number number = luaL_checknumber(L, 2);
    bool is_possible = number >= 1 && number < 9007199254740992.0;
    lua_pushboolean(L, is_possible && transfer_thread_discard(thread, (unsigned long)number));
    return 1;
}

static int close(lua_State *L) {
    struct transfer_thread **object = luaL_checkudata(L, 1, type_name);
    transfer_thread_stop(*object);
    *object = NULL;
    return 0;
}

void lua_transfer_thread_open(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"add", add},
        {"take", take},
        {"discard", discard},
        {"listen", begin_listening},
        {"accept", accept_connection},
        {"close", close},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {{"transfer_thread", create}, {NULL, NULL}};
    lua_support_new_type(L, type_name, close, methods);
    luaL_setfuncs(L, functions, 0);
}
