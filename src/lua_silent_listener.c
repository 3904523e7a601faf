/* core.silent_listener: a port of loopback at which nobody answers. Missing on Windows.
 *
 *   core.silent_listener()     -> listener, port; or nil
 *   listener:close()           also done by the collector */
#include "lua_support.h"

#ifdef _WIN32

void lua_silent_listener_open(lua_State *L) {
    (void)L;
}

#else

#include "silent_listener.h"

static const char type_name[] = "autopilot.silent_listener";

struct listener_object {
    int descriptor; /* -1: none */
};

static int create(lua_State *L) {
    int port = 0;
    struct listener_object *object = lua_support_new_object(L, sizeof *object, type_name);
    object->descriptor = silent_listener_open(&port);
    if (object->descriptor < 0) {
        return 0;
    }
    lua_pushinteger(L, port);
    return 2;
}

static int close(lua_State *L) {
    struct listener_object *object = luaL_checkudata(L, 1, type_name);
    silent_listener_close(object->descriptor);
    object->descriptor = -1;
    return 0;
}

void lua_silent_listener_open(lua_State *L) {
    static const luaL_Reg metamethods[] = {{"__gc", close}, {"__close", close}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"close", close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"silent_listener", create}, {NULL, NULL}};
    lua_support_new_type(L, type_name, metamethods, methods);
    lua_support_set_functions(L, functions);
}

#endif
