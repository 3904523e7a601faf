-- A file of trusted certificates is read once for all connections of a set, where libcurl keeps what it has read.

local core = require "autopilot.core"
local files = require "support.files"
local hostile = require "support.hostile_server"
local libcurl = require "support.libcurl"
local wire = require "support.wire"

-- libcurl keeps the certificates of a file, unless it reads a folder too. From 8.21 on it has to be kept
-- from its own folder by another one.
local function keeps_certificates()
  return libcurl.is_between("7.87", "8.20") and (core.info().ssl or ""):find("OpenSSL", 1, true)
end

describe("a file of trusted certificates", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("is read once for all connections of a set", function()
    if not keeps_certificates() then
      return pending "this libcurl reads the file for each connection"
    end
    local ca_file, remove = files.temporary(files.read(wire.certificates().ca))
    local server =
      hostile.listen(wire.tls(wire.answers("HTTP/1.1 204 No Content\r\n\r\n", "close")))
    local url = server:url("/", "https")
    local request = core.request { method = "GET", url = url, ca_file = ca_file, proxy = "" }

    --- The status that the set gets over a new connection, or libcurl's name for why it gets none.
    local function ask(set)
      local seconds = 5 * hostile.patience
      local transfer = set:add(request, { connect = seconds, total = seconds })
      hostile.wait(set, transfer)
      local response, network = transfer:result()
      return response and response.status or network.name
    end

    local set = core.transfer_set()
    assert.equal(204, ask(set))
    remove()
    assert.equal(204, ask(set))
    assert.equal("CURLE_SSL_CACERT_BADFILE", ask(core.transfer_set()))
  end)
end)
