/* Opens autopilot.core, the C half of autopilot-sync. C moves bytes, Lua decides: no C callback
 * calls Lua, and no C struct keeps a lua_State. */
#include "lua_support.h"
#include "platform.h"

#include <curl/curl.h>
#include <string.h>

/* Earlier ones do not report that they sent a request twice. LuaRocks compiles this file first. The
 * pragma, unlike #error, can name the version. */
#if LIBCURL_VERSION_NUM < 0x075000
#define FOUND LIBCURL_VERSION_MAJOR.LIBCURL_VERSION_MINOR.LIBCURL_VERSION_PATCH
#define QUOTED(words) #words
#define PRAGMA(words) _Pragma(#words)
#define REFUSE_AS(text) PRAGMA(GCC error text)
#define REFUSE(words) REFUSE_AS(QUOTED(words))
/* clang-format off */
REFUSE(libcurl FOUND is too old: autopilot-sync needs 7.80.0 or later)
/* clang-format on */
#endif

PLATFORM_EXPORTED int luaopen_autopilot_core(lua_State *L);

/* Opens the module. libcurl's global state is set up once and kept until the process ends: others
 * in the process may use it, and resolver threads may outlive this Lua state. */
int luaopen_autopilot_core(lua_State *L) {
    platform_lock(); /* before 7.84 libcurl's own initialisation is not safe with threads */
    CURLcode status = curl_global_init(CURL_GLOBAL_DEFAULT);
    platform_unlock();
    if (status != CURLE_OK) {
        return luaL_error(L, "autopilot.core: libcurl cannot be initialised");
    }
    const curl_version_info_data *libcurl = curl_version_info(CURLVERSION_NOW);
    if (libcurl->version_num < 0x075000) {
        return luaL_error(L, "libcurl %s is too old: autopilot-sync needs 7.80.0 or later",
                          libcurl->version);
    }
    /* With NSS, one client's CA holds for another's connection, and a NUL in a name is accepted. */
    if (libcurl->ssl_version != NULL && strncmp(libcurl->ssl_version, "NSS", 3) == 0) {
        return luaL_error(L,
                          "libcurl with %s verifies servers unreliably: autopilot-sync needs "
                          "one with OpenSSL or GnuTLS",
                          libcurl->ssl_version);
    }
    /* What OpenSSL 1.1.1 answers to libcurl, when a program such as nginx holds it statically. */
    if (libcurl->ssl_version != NULL && strstr(libcurl->ssl_version, "not available") != NULL) {
        return luaL_error(L, "this program contains an OpenSSL that takes the place of libcurl's "
                             "newer one, so TLS fails: build it with that shared OpenSSL, or "
                             "use a libcurl with GnuTLS (libcurl4-gnutls-dev)");
    }
    platform_pin_module();
    platform_occupy_standard_descriptors();
    lua_newtable(L);
    lua_functions_open(L);
    lua_secret_echo_open(L);
    lua_request_open(L);
    lua_transfer_open(L);
#if PLATFORM_HAS_TRANSFER_THREAD
    lua_transfer_thread_open(L);
#endif
    return 1;
}
