--- A name server that does not answer until a spec says so, without any: getaddrinfo itself waits.
--
-- libcurl asks the system's getaddrinfo in another thread, and would ask real name servers. A library
-- that is preloaded takes its place for names below example.test, which are then 127.0.0.1, after so many
-- other addresses of loopback (127.0.0.2 and on) as the spec says.

local preloaded = require "support.preloaded"

local slow_dns = {}

local source = [[
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    resolver *real = (resolver *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *gate = getenv("DNS_GATE"), *others = getenv("DNS_OTHERS");
    if (name != NULL && gate != NULL && strstr(name, ".example.test") != NULL) {
        for (int tries = 0; tries < 6000 && access(gate, F_OK) != 0; tries++) {
            usleep(5000);
        }
        name = "127.0.0.1";
        for (int i = 2; i < 2 + (others != NULL ? atoi(others) : 0); i++) {
            char address[sizeof "127.0.0.255"];
            snprintf(address, sizeof address, "127.0.0.%d", i);
            int status = real(address, service, hints, found);
            if (status != 0) {
                return status; /* IPv6 alone was asked for */
            }
            for (; *found != NULL; found = &(*found)->ai_next) {
            }
        }
    }
    return real(name, service, hints, found);
}
]]

---@class SlowDns
---@field environment table<string, string> for the program that is to wait
local SlowDns = {}
SlowDns.__index = SlowDns

--- Makes one, whose names are not found until `open`.
---@param others integer? how many addresses come before 127.0.0.1; default none
---@return SlowDns
function slow_dns.new(others)
  local folder, library = preloaded.build(source)
  local self = setmetatable({ folder = folder }, SlowDns)
  self.environment = {
    LD_PRELOAD = library,
    DNS_GATE = folder .. "/gate",
    DNS_OTHERS = tostring(others or 0),
  }
  return self
end

--- From now on names are found at once, also those that were asked for before.
function SlowDns:open()
  assert(io.open(self.environment.DNS_GATE, "w")):close()
end

function SlowDns:remove()
  preloaded.remove(self.folder)
end

return slow_dns
