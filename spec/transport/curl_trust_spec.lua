-- Which certificates are trusted: those that the caller names and no others, with every libcurl. The specs
-- stand in for the machine's own certificates, and for a TLS library that cannot read folders.

local files = require "support.files"
local hostile = require "support.hostile_server"
local overlay = require "support.overlay"
local preloaded = require "support.preloaded"
local wire = require "support.wire"

-- Moves libcurl's default folder and bundle, as Debian and many others have them, to TRUST_FOLDER.
-- REFUSE_FOLDERS has libcurl refuse the options that name a folder, even for NULL. NO_SOURCES hides its own
-- sources. TELL_OPTIONS prints how TLS is to be used. TLS_LIBRARY is what it says it uses.
local source = [[
#include <curl/curl.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#undef curl_easy_setopt

static const char *moved(const char *path, char room[4096]) {
    static const char folder[] = "/etc/ssl/certs";
    const char *target = getenv("TRUST_FOLDER");
    if (target == NULL || strncmp(path, folder, sizeof folder - 1) != 0) {
        return path;
    }
    snprintf(room, 4096, "%s%s", target, path + sizeof folder - 1);
    return room;
}

#define NEXT(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))
FILE *fopen(const char *path, const char *mode) {
    char room[4096];
    return NEXT(fopen)(moved(path, room), mode);
}
FILE *fopen64(const char *path, const char *mode) {
    char room[4096];
    return NEXT(fopen64)(moved(path, room), mode);
}
int open(const char *path, int flags, ...) {
    char room[4096];
    return NEXT(open)(moved(path, room), flags, 0600);
}
int stat(const char *path, struct stat *status) {
    char room[4096];
    return NEXT(stat)(moved(path, room), status);
}
int lstat(const char *path, struct stat *status) {
    char room[4096];
    return NEXT(lstat)(moved(path, room), status);
}
DIR *opendir(const char *path) {
    char room[4096];
    return NEXT(opendir)(moved(path, room));
}

curl_version_info_data *curl_version_info(CURLversion age) {
    static curl_version_info_data data;
    data = *((__typeof__(curl_version_info) *)of_libcurl("curl_version_info"))(age);
    const char *library = getenv("TLS_LIBRARY");
    data.ssl_version = library != NULL ? library : data.ssl_version;
    if (getenv("NO_SOURCES") != NULL) {
        data.cainfo = data.capath = NULL;
    }
    return &data;
}

CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...) {
    va_list list;
    va_start(list, option);
    void *value = va_arg(list, void *);
    va_end(list);
    if (getenv("REFUSE_FOLDERS") != NULL &&
        (option == CURLOPT_CAPATH || option == CURLOPT_PROXY_CAPATH)) {
        return CURLE_NOT_BUILT_IN;
    }
    if (getenv("TELL_OPTIONS") != NULL &&
        (option == CURLOPT_SSL_OPTIONS || option == CURLOPT_PROXY_SSL_OPTIONS)) {
        fprintf(stderr, "%s%ld ", option == CURLOPT_SSL_OPTIONS ? "" : "proxy ", (long)value);
    }
    return ((__typeof__(curl_easy_setopt) *)of_libcurl("curl_easy_setopt"))(easy, option, value);
}
]]

-- Prints the status of the answer, or where the request failed and libcurl's name for that.
local program = [[
local url, ca_file, ca_path, proxy = ...
local function given(text)
  return text ~= "" and text or nil
end
local http = { ca_file = given(ca_file), ca_path = given(ca_path), proxy = proxy }
local transport = require("autopilot.transport.curl").new { http = http }
local response, network = transport { method = "GET", url = url }
print(response and response.status or network.stage .. " " .. network.name)
]]

describe("the trusted certificates", function()
  local library_folder, library, theirs, ours

  setup(function()
    library_folder, library = preloaded.build(source)
    -- Two folders with hashed names: one trusts the server, and stands for the machine's.
    theirs, ours = (files.folder()), (files.folder())
    for folder, authority in pairs { [theirs] = "ca", [ours] = "untrusted" } do
      files.write(folder .. "/ca-certificates.crt", files.read(wire.certificates()[authority]))
      os.execute(("openssl rehash '%s' 2>/dev/null"):format(folder))
    end
  end)

  teardown(function()
    for _, folder in ipairs { library_folder, theirs, ours } do
      preloaded.remove(folder)
    end
    wire.teardown()
  end)

  after_each(wire.close)

  --- What comes of a request to a server, whose certificate only the machine trusts.
  local function ask(how)
    local server = hostile.listen(wire.tls(wire.serves()))
    local url = server:url("", "https")
    local environment = overlay({
      LD_PRELOAD = library,
      TRUST_FOLDER = theirs,
      SSL_CERT_FILE = "",
      SSL_CERT_DIR = "",
    }, how.environment)
    local proxy = how.is_proxied and url:gsub("/$", "") or ""
    local target = how.is_proxied and "https://graph.example.test/" or url
    local output =
      preloaded.run(environment, program, target, how.ca_file or "", how.ca_path or "", proxy)
    return (output:gsub("\n$", ""))
  end

  local function is_moved()
    if ask {} == "204" then
      return true
    end
    pending "libcurl's own certificates are not in /etc/ssl/certs"
  end

  it("are not the machine's if the caller names others", function()
    if is_moved() then
      local refused = "tls CURLE_PEER_FAILED_VERIFICATION"
      local file = ours .. "/ca-certificates.crt"
      assert.equal(refused, ask { ca_file = file })
      assert.equal(refused, ask { ca_path = ours })
      assert.equal(refused, ask { ca_file = file, ca_path = ours })
      assert.equal(refused, ask { environment = { SSL_CERT_FILE = file } })
      assert.equal(refused, ask { environment = { SSL_CERT_DIR = ours } })
    end
  end)

  it("are not those of the machine for a proxy either", function()
    if is_moved() then
      local refused = "proxy CURLE_PEER_FAILED_VERIFICATION"
      local file = ours .. "/ca-certificates.crt"
      assert.equal(refused, ask { ca_file = file, is_proxied = true })
      assert.equal(refused, ask { ca_path = ours, is_proxied = true })
    end
  end)

  for _, place in ipairs { "bundle", "folder" } do
    it("are the machine's folder and bundle, if its " .. place .. " has more of them", function()
      if not is_moved() then
        return
      end
      local theirs_alone = files.read(wire.certificates().ca)
      local machines = files.read(wire.certificates().untrusted)
      local folder, remove = files.folder()
      finally(remove)
      files.write(folder .. "/machines.pem", machines)
      if place == "folder" then
        files.write(folder .. "/company.pem", theirs_alone)
      end
      os.execute(("openssl rehash '%s' 2>/dev/null"):format(folder))
      local bundle = place == "bundle" and machines .. theirs_alone or machines
      files.write(folder .. "/ca-certificates.crt", bundle)
      assert.equal("204", ask { environment = { TRUST_FOLDER = folder } })
    end)
  end

  it("are those that the caller names", function()
    assert.equal("204", ask { ca_file = theirs .. "/ca-certificates.crt" })
    assert.equal("204", ask { ca_path = theirs })
  end)

  it("may be a file if the TLS library reads no folders, and a folder is refused", function()
    local environment = { REFUSE_FOLDERS = "yes" }
    local file = theirs .. "/ca-certificates.crt"
    assert.equal("204", ask { ca_file = file, environment = environment })
    assert.equal("connect CURLE_NOT_BUILT_IN", ask { ca_path = theirs, environment = environment })
  end)

  it("may be a file beside a folder that the TLS library does not read", function()
    local file = theirs .. "/ca-certificates.crt"
    assert.equal(
      "204",
      ask {
        environment = { REFUSE_FOLDERS = "yes", SSL_CERT_FILE = file, SSL_CERT_DIR = ours },
      }
    )
  end)

  it("are the system's only if neither the caller nor libcurl names any", function()
    local revoke_best_effort, native_ca = 8, 16
    local function told(how)
      how.environment = overlay({ TELL_OPTIONS = "yes" }, how.environment)
      return ask(how):match "^(%d+ proxy %d+) "
    end
    local without = ("%d proxy %d"):format(revoke_best_effort, revoke_best_effort)
    local with = ("%d proxy %d"):format(
      revoke_best_effort + native_ca,
      revoke_best_effort + native_ca
    )
    assert.equal(without, told {})
    assert.equal(without, told { ca_path = theirs, environment = { NO_SOURCES = "yes" } })
    assert.equal(with, told { environment = { NO_SOURCES = "yes" } })
  end)

  it("would apply to other clients too with NSS, which is refused", function()
    local output = ask { ca_file = "", environment = { TLS_LIBRARY = "NSS/3.87" } }
    assert.matches("libcurl with NSS/3.87 verifies servers unreliably", output)
  end)
end)
