/* The strict parsers as Lua sees them: text in, a number or a table out, nil for what cannot be
 * read. What they accept is said, and decided, in the parsers' own headers. A wrong type is the
 * caller's mistake and raises; numbers are not taken for text. Nothing here holds a resource while
 * Lua may raise. */
#include "lua_support.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "challenge.h"
#include "http_date.h"
#include "retry_after.h"
#include "timestamp.h"

/* The string argument at `index`. */
static const char *check_text(lua_State *L, int index, size_t *length) {
    luaL_checktype(L, index, LUA_TSTRING);
    return lua_tolstring(L, index, length);
}

/* The Unix seconds at `index`; the system's clock where none are given. */
static double optional_now(lua_State *L, int index) {
    double now;
    if (lua_isnoneornil(L, index)) {
        return (double)time(NULL);
    }
    luaL_checktype(L, index, LUA_TNUMBER);
    now = lua_tonumber(L, index);
    luaL_argcheck(L, isfinite(now), index, "finite number expected");
    return now;
}

/* core.http_date(text [, now]) -> Unix seconds | nil */
static int http_date(lua_State *L) {
    size_t length;
    int64_t seconds;
    const char *text = check_text(L, 1, &length);
    if (!http_date_parse(text, length, optional_now(L, 2), &seconds)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushnumber(L, (lua_Number)seconds);
    return 1;
}

/* core.timestamp(text) -> Unix seconds | nil */
static int timestamp(lua_State *L) {
    size_t length;
    double seconds;
    const char *text = check_text(L, 1, &length);
    if (!timestamp_parse(text, length, &seconds)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushnumber(L, seconds);
    return 1;
}

/* core.retry_after(text [, now]) -> seconds >= 0 | nil */
static int retry_after(lua_State *L) {
    size_t length;
    double seconds;
    const char *text = check_text(L, 1, &length);
    if (!retry_after_parse(text, length, optional_now(L, 2), &seconds)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushnumber(L, seconds);
    return 1;
}

/* Pushes a scheme or a parameter's name, which case does not tell apart, in small letters. */
static void push_lower_case(lua_State *L, struct challenge_slice name) {
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (size_t i = 0; i < name.length; i++) {
        char byte = name.start[i];
        luaL_addchar(&buffer, (char)(byte >= 'A' && byte <= 'Z' ? byte - 'A' + 'a' : byte));
    }
    luaL_pushresult(&buffer);
}

/* Pushes a parameter's value as it is meant. */
static void push_value(lua_State *L, const struct challenge_item *item) {
    char *unquoted;
    size_t length;
    if (!item->quoted || memchr(item->value.start, '\\', item->value.length) == NULL) {
        lua_pushlstring(L, item->value.start, item->value.length);
        return;
    }
    unquoted = lua_newuserdata(L, item->value.length); /* Lua's, so that no error can leak it */
    length = challenge_unquote(item->value, unquoted);
    lua_pushlstring(L, unquoted, length);
    lua_remove(L, -2);
}

enum { TEXT = 1, CHALLENGES, CHALLENGE, PARAMETERS }; /* the stack of `challenges` */

/* Appends a new challenge to the list, and makes it and its parameters the current ones. */
static void begin_challenge(lua_State *L, struct challenge_slice scheme, int number) {
    lua_settop(L, CHALLENGES);
    lua_newtable(L);
    lua_pushvalue(L, CHALLENGE);
    lua_rawseti(L, CHALLENGES, number);
    push_lower_case(L, scheme);
    lua_setfield(L, CHALLENGE, "scheme");
    lua_newtable(L);
    lua_pushvalue(L, PARAMETERS);
    lua_setfield(L, CHALLENGE, "parameters");
}

/* Adds a parameter to the current challenge, unless it has one of that name. */
static void add_parameter(lua_State *L, const struct challenge_item *item) {
    push_lower_case(L, item->name);
    lua_pushvalue(L, -1);
    lua_rawget(L, PARAMETERS);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        push_value(L, item);
        lua_rawset(L, PARAMETERS);
    }
    lua_settop(L, PARAMETERS);
}

/* core.challenges(text) -> list [, message]; list of {scheme =, token68 = | nil, parameters = {}}
 *
 * Schemes and names are in small letters. Where a parameter is repeated, against the RFC, the first
 * holds: what is appended to a value changes nothing that stood there. The message says that the
 * text is malformed and where; the list is then what stood before, its last challenge perhaps short
 * of parameters, so that a broken tail cannot hide a good beginning. */
static int challenges(lua_State *L) {
    struct challenge_reader reader;
    struct challenge_item item;
    size_t length;
    int count = 0;
    const char *text = check_text(L, TEXT, &length);

    lua_settop(L, TEXT);
    lua_newtable(L);
    challenge_reader_init(&reader, text, length);
    for (;;) {
        switch (challenge_reader_next(&reader, &item)) {
        case CHALLENGE_SCHEME:
            begin_challenge(L, item.name, ++count);
            break;
        case CHALLENGE_TOKEN68:
            lua_pushlstring(L, item.value.start, item.value.length);
            lua_setfield(L, CHALLENGE, "token68");
            break;
        case CHALLENGE_PARAMETER:
            add_parameter(L, &item);
            break;
        case CHALLENGE_END:
            lua_settop(L, CHALLENGES);
            return 1;
        case CHALLENGE_MALFORMED:
            lua_settop(L, CHALLENGES);
            lua_pushfstring(L, "malformed challenge at byte %d",
                            (int)(item.value.start - text) + 1);
            return 2;
        }
    }
}

void lua_parsers_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"http_date", http_date},
        {"timestamp", timestamp},
        {"retry_after", retry_after},
        {"challenges", challenges},
        {NULL, NULL},
    };
    lua_support_set_functions(L, functions);
}
