-- A libcurl that autopilot.core refuses, when it is loaded or built, each in one sentence.

local files = require "support.files"
local preloaded = require "support.preloaded"
local shell = require "autopilot.cli.emulate.shell"

local source = [[
#include <curl/curl.h>
#include <stdlib.h>

curl_version_info_data *curl_version_info(CURLversion age) {
    static curl_version_info_data told;
    told.version = getenv("TOLD_VERSION");
    told.version_num = told.version[0] == '7' ? 0x074f01 : 0x080000;
    told.ssl_version = getenv("TOLD_TLS");
    return &told;
}
]]

local program = [[print(select(2, pcall(require, "autopilot.core")))]]

describe("a libcurl", function()
  local folder, library

  setup(function()
    folder, library = preloaded.build(source)
  end)

  teardown(function()
    preloaded.remove(folder)
  end)

  local function load_with(version, tls)
    local told = { LD_PRELOAD = library, TOLD_VERSION = version, TOLD_TLS = tls }
    return preloaded.run(told, program)
  end

  it("before 7.80 is refused when the module is loaded", function()
    local sentence = "libcurl 7.79.1 is too old: autopilot-sync needs 7.80.0 or later\n"
    assert.equal(sentence, load_with("7.79.1", "OpenSSL/3.0.9"))
  end)

  it("with NSS is refused when the module is loaded", function()
    local sentence = "libcurl with NSS/3.87 verifies servers unreliably: "
      .. "autopilot-sync needs one with OpenSSL or GnuTLS\n"
    assert.equal(sentence, load_with("8.0.0", "NSS/3.87"))
  end)

  it("whose OpenSSL is hidden by an older one of the program is refused, with a remedy", function()
    local sentence = "this program contains an OpenSSL that takes the place of libcurl's newer "
      .. "one, so TLS fails: build it with that shared OpenSSL, "
      .. "or use a libcurl with GnuTLS (libcurl4-gnutls-dev)\n"
    assert.equal(sentence, load_with("8.0.0", "OpenSSL/not available"))
  end)

  it("before 7.80 is refused by make before anything is compiled", function()
    local tool = folder .. "/pkg-config"
    files.write(
      tool,
      [[#!/bin/sh
case "$*" in
  *'libcurl < 7.80'*) ;;
  *--modversion*) echo 7.74.0 ;;
  *libcurl*'>='*) exit 1 ;;
esac
]]
    )
    local make =
      'unset MAKEFLAGS MFLAGS MAKELEVEL; chmod 755 "$2" && make BUILD="$1" PKG_CONFIG="$2" 2>&1'
    local sentence, status =
      shell.read(make, folder .. "/build", tool):match "^([^\n]+)\n(make: [^\n]+)\n$"
    assert.equal("libcurl 7.74.0 is too old: autopilot-sync needs 7.80.0 or later", sentence)
    assert.matches("headers", status)
  end)

  it("before 7.80 is refused by the compiler, which LuaRocks calls for this file first", function()
    local headers = folder .. "/headers"
    shell.read('mkdir -p "$1/curl"', headers)
    files.write(headers .. "/lua.h", "")
    files.write(headers .. "/lauxlib.h", "")
    --- The compiler's errors with the headers of a libcurl 7.MINOR.0.
    local function errors_with(minor)
      local version = "#define LIBCURL_VERSION_NUM 0x07%02x00\n#define LIBCURL_VERSION_MAJOR 7\n"
        .. "#define LIBCURL_VERSION_MINOR %d\n#define LIBCURL_VERSION_PATCH 0\n"
      files.write(headers .. "/curl/curl.h", version:format(minor, minor))
      return shell.read('LC_ALL=C cc -E -I"$1" src/core.c 2>&1 >/dev/null | grep error', headers)
    end
    local sentence = "libcurl 7.74.0 is too old: autopilot-sync needs 7.80.0 or later"
    assert.equal(sentence, errors_with(74):match "error: ([^\n]*)\n")
    assert.equal("", errors_with(80))
  end)
end)
