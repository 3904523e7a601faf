/* Opens autopilot.core, the C half of autopilot-sync. C moves bytes, Lua decides: no C callback
 * calls Lua, and no C struct keeps a lua_State. */
#include "lua_support.h"
#include "platform.h"

#include <curl/curl.h>
#include <string.h>

#if LIBCURL_VERSION_NUM < 0x075000
#error "libcurl 7.80.0 or newer is needed: older ones do not tell when a request is sent again"
#endif

#ifdef _WIN32
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

EXPORTED int luaopen_autopilot_core(lua_State *L);

/* Opens the module. libcurl's global state is set up once and kept until the process ends: others
 * in the process may use it, and resolver threads may outlive this Lua state. */
int luaopen_autopilot_core(lua_State *L) {
    platform_lock(); /* before 7.84 libcurl's own initialisation is not safe with threads */
    CURLcode status = curl_global_init(CURL_GLOBAL_DEFAULT);
    platform_unlock();
    if (status != CURLE_OK) {
        return luaL_error(L, "autopilot.core: libcurl cannot be initialised");
    }
    if (curl_version_info(CURLVERSION_NOW)->version_num < 0x075000) {
        return luaL_error(L, "autopilot.core: libcurl 7.80.0 or newer is needed");
    }
    const char *ssl_version = curl_version_info(CURLVERSION_NOW)->ssl_version;
    if (ssl_version != NULL && strstr(ssl_version, "NSS/") != NULL) {
        return luaL_error(L,
                          "autopilot.core: libcurl with NSS cannot be used: the authorities that "
                          "one client trusts would hold for others too");
    }
    platform_pin_module();
    platform_occupy_standard_descriptors();
    lua_newtable(L);
    lua_system_open(L);
    lua_secret_echo_open(L);
    lua_request_open(L);
    lua_transfer_set_open(L);
    lua_transfer_thread_open(L);
    return 1;
}
