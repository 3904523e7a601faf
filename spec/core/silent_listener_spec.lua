-- core.silent_listener: a server that says nothing is enough for a set to read the certificates that it
-- trusts, once for all its connections.

local core = require "autopilot.core"
local files = require "support.files"
local hostile = require "support.hostile_server"
local libcurl = require "support.libcurl"
local wire = require "support.wire"

local limit = 5 * hostile.patience

local function request_to(url, ca_file)
  return core.request { method = "GET", url = url, ca_file = ca_file, proxy = "" }
end

--- Waits for a transfer's end; its status, or nil and libcurl's name for why there is none.
local function finish(set, transfer)
  hostile.until_true(function()
    return transfer:is_finished()
  end, function()
    set:step(0.001)
  end)
  local response, network = transfer:result()
  return response and response.status, network and network.name
end

-- libcurl keeps the certificates of a file, unless it reads a folder too. From 8.21 on it has to be kept
-- from its own folder by another one.
local function keeps_certificates()
  return libcurl.is_between("7.87", "8.20") and (core.info().ssl or ""):find("OpenSSL", 1, true)
end

describe("core.silent_listener", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("is connected to, and never answers", function()
    local listener, port = core.silent_listener()
    local set = core.transfer_set()
    local url = ("http://127.0.0.1:%d/"):format(port)
    local transfer = set:add(request_to(url), { connect = limit, total = 0.2 * hostile.patience })
    local status, name = finish(set, transfer)
    assert.is_nil(status)
    assert.equal("CURLE_OPERATION_TIMEDOUT", name)
    assert.equal(1, (select(2, transfer:result())).sends) -- it was connected, and sent
    listener:close()
    listener:close()
    assert.equal(
      "CURLE_COULDNT_CONNECT",
      select(2, finish(set, set:add(request_to(url), { connect = limit, total = limit })))
    )
  end)

  if keeps_certificates() then
    it("has a set read the trusted certificates, which it then needs no more", function()
      local ca_file = os.tmpname()
      files.write(ca_file, files.read(wire.certificates().ca))
      local set, unprepared = core.transfer_set(), core.transfer_set()
      local listener, port = core.silent_listener()
      local silent = request_to(("https://127.0.0.1:%d/"):format(port), ca_file)
      finish(set, set:add(silent, { connect = limit, total = 0.2 * hostile.patience }))
      listener:close()
      assert(os.remove(ca_file))

      local server =
        hostile.listen(wire.tls(wire.answers("HTTP/1.1 204 No Content\r\n\r\n", "close")))
      local request = request_to(server:url("/", "https"), ca_file)
      assert.equal(204, (finish(set, set:add(request, { connect = limit, total = limit }))))
      local _, name =
        finish(unprepared, unprepared:add(request, { connect = limit, total = limit }))
      assert.equal("CURLE_SSL_CACERT_BADFILE", name)
    end)
  end
end)
