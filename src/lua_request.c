/* core.request: a prepared request as a Lua object without methods, for transfer sets and threads
 * (lua/autopilot/types/core.lua). */
#include "lua_support.h"

#include <string.h>

static const char type_name[] = "autopilot.request";
static const lua_Number default_max_body = 1024 * 1024;

enum { OPTIONS = 1 }; /* where the options of core.request are on the stack */

struct prepared_request *lua_request_check(lua_State *L, int index) {
    struct prepared_request **object = luaL_checkudata(L, index, type_name);
    luaL_argcheck(L, *object != NULL, index, "the request was never made");
    return *object;
}

/* The text in this field of the attempt, or NULL. Leaves it on the stack. */
static const char *attempt_text(lua_State *L, int index, const char *name) {
    size_t length;
    lua_getfield(L, index, name);
    const char *text = luaL_optlstring(L, -1, NULL, &length);
    if (text != NULL && !prepared_request_is_header_text(text, length)) {
        luaL_error(L, "a header value contains CR, LF or NUL"); /* never quoted: it may be secret */
    }
    return text;
}

/* The number in this field of the attempt; an optional one is 0 without it. */
static lua_Number attempt_number(lua_State *L, int index, const char *name, bool is_optional) {
    lua_getfield(L, index, name);
    lua_Number number = lua_tonumber(L, -1);
    if (!lua_isnumber(L, -1) && !(is_optional && lua_isnil(L, -1))) {
        luaL_error(L, "attempt: '%s' must be a number", name);
    }
    lua_pop(L, 1);
    return number;
}

void lua_request_check_attempt(lua_State *L, int index, struct transfer_attempt *attempt) {
    memset(attempt, 0, sizeof *attempt);
    luaL_checktype(L, index, LUA_TTABLE);
    attempt->connect_timeout = attempt_number(L, index, "connect", false);
    attempt->total_timeout = attempt_number(L, index, "total", false);
    attempt->send_by = attempt_number(L, index, "send_by", true);
    lua_Number retry = attempt_number(L, index, "retry_attempt", true);
    luaL_argcheck(L, retry >= 0 && retry <= 1e9, index, "'retry_attempt' is out of range");
    attempt->retry_attempt = (unsigned)retry;
    attempt->token = attempt_text(L, index, "token");
    attempt->client_request_id = attempt_text(L, index, "client_request_id");
}

static int collect(lua_State *L) {
    struct prepared_request **object = luaL_checkudata(L, 1, type_name);
    prepared_request_release(*object);
    *object = NULL;
    return 0;
}

static void check(lua_State *L, const char *problem) {
    if (problem != NULL) {
        luaL_error(L, "request: %s", problem);
    }
}

/* Pushes the field of the options, a string or nil; NULL for nil. Raises for other types, and for a
 * NUL where `length` is NULL: a C string would be cut there. */
static const char *string_field(lua_State *L, const char *name, size_t *length) {
    size_t whole;
    lua_getfield(L, OPTIONS, name);
    if (lua_isnil(L, -1)) {
        return NULL;
    }
    if (lua_type(L, -1) != LUA_TSTRING) {
        luaL_error(L, "request: '%s' must be a string", name);
    }
    const char *text = lua_tolstring(L, -1, &whole);
    if (length != NULL) {
        *length = whole;
    } else if (strlen(text) != whole) {
        luaL_error(L, "request: '%s' contains a NUL", name);
    }
    return text;
}

static void set_text(lua_State *L, const char *name, char **member) {
    const char *text = string_field(L, name, NULL);
    if (text != NULL && !byte_buffer_copy(member, text)) {
        check(L, "not enough memory");
    }
}

static void set_body(lua_State *L, struct prepared_request *request) {
    size_t length;
    const char *body = string_field(L, "body", &length);
    if (body == NULL) {
        /* Without this libcurl would send the type of a form, though there is no body. */
        check(L, prepared_request_add_header(request, "Content-Type", ""));
    } else if (byte_buffer_add(&request->body, body, length) != BYTE_BUFFER_OK) {
        check(L, "not enough memory");
    }
}

static void set_headers(lua_State *L, struct prepared_request *request) {
    lua_getfield(L, OPTIONS, "headers");
    if (lua_isnil(L, -1)) {
        return;
    }
    if (!lua_istable(L, -1)) {
        luaL_error(L, "request: 'headers' must be a table");
    }
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        size_t name_length, value_length;
        /* lua_tolstring would change a number in place, and confuse lua_next. */
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) {
            check(L, "the name and the value of a header must be strings");
        }
        const char *name = lua_tolstring(L, -2, &name_length);
        const char *value = lua_tolstring(L, -1, &value_length);
        /* A text with a NUL would be cut there: an empty name has it refused. */
        bool is_cut = strlen(name) != name_length || strlen(value) != value_length;
        check(L, prepared_request_add_header(request, is_cut ? "" : name, value));
    }
}

static void set_limits(lua_State *L, struct prepared_request *request) {
    const char *version = string_field(L, "http_version", NULL);
    if (version != NULL) {
        bool is_old = strcmp(version, "1.1") == 0;
        if (!is_old && strcmp(version, "2") != 0) {
            check(L, "'http_version' must be '1.1' or '2'");
        }
        request->http_version = is_old ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS;
    }
    lua_getfield(L, OPTIONS, "max_body");
    lua_Number limit = luaL_optnumber(L, -1, default_max_body);
    if (!(limit >= 0 && limit <= 1e9)) {
        check(L, "'max_body' must be between 0 and 1e9");
    }
    request->max_body = (size_t)limit;
    lua_getfield(L, OPTIONS, "inspect");
    request->is_inspected = lua_toboolean(L, -1);
    lua_getfield(L, OPTIONS, "facts");
    request->has_facts = request->is_inspected || lua_toboolean(L, -1);
}

static int create(lua_State *L) {
    const char *problem;
    luaL_checktype(L, OPTIONS, LUA_TTABLE);
    lua_settop(L, OPTIONS);
    const char *method = string_field(L, "method", NULL), *url = string_field(L, "url", NULL);
    luaL_argcheck(L, method != NULL && url != NULL, OPTIONS, "'method' and 'url' are required");
    struct prepared_request **object = lua_support_new_object(L, sizeof(void *), type_name);
    int result = lua_gettop(L);
    struct prepared_request *request = *object = prepared_request_create(method, url, &problem);
    check(L, problem);
    set_headers(L, request);
    set_limits(L, request);
    set_body(L, request);
    set_text(L, "ca_file", &request->ca_file);
    set_text(L, "ca_path", &request->ca_path);
    set_text(L, "proxy", &request->proxy);
    const char *agent = string_field(L, "user_agent", NULL);
    if (agent != NULL) {
        /* Sent as a usual header: libcurl formats its own option for it twice. */
        check(L, prepared_request_add_header(request, "User-Agent", agent));
    }
    lua_settop(L, result);
    return 1;
}

/* core.is_header_text(text): whether it can be sent in a header: it has no CR, LF or NUL. */
static int is_header_text(lua_State *L) {
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    lua_pushboolean(L, prepared_request_is_header_text(text, length));
    return 1;
}

void lua_request_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"request", create}, {"is_header_text", is_header_text}, {NULL, NULL}};
    static const luaL_Reg no_methods[] = {{NULL, NULL}};
    lua_support_new_type(L, type_name, collect, no_methods);
    luaL_setfuncs(L, functions, 0);
}
