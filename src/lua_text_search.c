/* core.text_finder(list) -> function(text, ...) -> does any text of the list stand in any of these?
 *
 * What to look for is prepared once. Anything in the list but a string is passed over, as is what
 * is asked about; an empty string stands nowhere. */
#include "lua_support.h"
#include "text_search.h"

enum { NEEDLES = 1, STRINGS = 2 }; /* upvalues of a finder: the second keeps the first's texts */

struct needle_list {
    size_t count;
    struct text_needle needles[];
};

static bool stands_in_any(const struct needle_list *list, const char *text, size_t length) {
    for (size_t i = 0; i < list->count; i++) {
        if (text_needle_stands_in(&list->needles[i], text, length)) {
            return true;
        }
    }
    return false;
}

static int find(lua_State *L) {
    const struct needle_list *list = lua_touserdata(L, lua_upvalueindex(NEEDLES));
    int count = lua_gettop(L);
    bool is_found = false;
    for (int i = 1; i <= count && !is_found; i++) {
        if (lua_type(L, i) == LUA_TSTRING) {
            size_t length;
            const char *text = lua_tolstring(L, i, &length);
            is_found = stands_in_any(list, text, length);
        }
    }
    lua_pushboolean(L, is_found);
    return 1;
}

static int text_finder(lua_State *L) {
    enum { GIVEN = 1, LIST, KEPT, ITEM };
    luaL_checktype(L, GIVEN, LUA_TTABLE);
    lua_settop(L, GIVEN);
    int count = (int)lua_rawlen(L, GIVEN);
    struct needle_list *list =
        lua_newuserdata(L, sizeof *list + (size_t)count * sizeof list->needles[0]);
    list->count = 0;
    lua_createtable(L, count, 0); /* of its own: nobody else can take a string out of it */
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, GIVEN, i);
        if (lua_type(L, ITEM) == LUA_TSTRING) {
            size_t length;
            const char *text = lua_tolstring(L, ITEM, &length);
            list->needles[list->count++] = text_needle_of(text, length);
            lua_rawseti(L, KEPT, (int)list->count);
        }
        lua_settop(L, KEPT);
    }
    lua_pushcclosure(L, find, STRINGS);
    return 1;
}

void lua_text_search_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"text_finder", text_finder}, {NULL, NULL}};
    lua_support_set_functions(L, functions);
}
