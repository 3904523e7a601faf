-- A request that wants facts of its connection; and an inspected one: it goes over a new connection, and its answer or failure tells of the other end.

local hostile = require "support.hostile_server"
local libcurl = require "support.libcurl"
local wire = require "support.wire"

--- Sends a request, inspected or not, and gives the facts of what came.
local function facts_of(transport, server, inspect, wants_facts)
  local response, network = transport {
    method = "GET",
    url = server:url("", "https"),
    inspect = inspect,
    facts = wants_facts,
    timeout = { connect = 2 * hostile.patience, total = 2 * hostile.patience },
  }
  local facts = {}
  for name, value in ((response or network).facts or ""):gmatch "([%w ]+):([^%z]*)%z" do
    facts[name] = value
  end
  return facts, response, network
end

describe("an inspected request", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("reports the address and the certificate, each time over a new connection", function()
    local server = hostile.listen(wire.tls(wire.serves()))
    local transport = wire.transport { ca_file = wire.certificates().ca }
    for count = 1, 3 do
      local facts = facts_of(transport, server, true)
      assert.equal("127.0.0.1", facts["Address"])
      assert.matches("Authority of the specs", facts["Issuer"])
      assert.matches("Server of the specs", facts["Subject"])
      assert.matches("20%d%d", facts["Expire date"] or facts["Expire Date"])
      assert.equal("new", facts["Connection"])
      assert.equal(count, #server.connections)
    end
  end)

  it("does not affect other requests, which report nothing and share a connection", function()
    local server = hostile.listen(wire.tls(wire.serves()))
    local transport = wire.transport { ca_file = wire.certificates().ca }
    for _ = 1, 3 do
      local _, response = facts_of(transport, server)
      assert.equal(204, response.status)
      assert.is_nil(response.facts)
    end
    assert.equal(1, #server.connections)
  end)

  -- Whether libcurl then knows the address depends on its version: 8.14.1 does not, 8.23.0 does again.
  it("verifies the certificate as usual, and reports the address if libcurl does", function()
    local server = hostile.listen(wire.tls(wire.serves(), { certificate = "untrusted" }))
    local transport = wire.transport { ca_file = wire.certificates().ca }
    local facts, response, network = facts_of(transport, server, true)
    assert.is_nil(response)
    assert.equal("tls", network.stage)
    if facts["Address"] or libcurl.is_between("7.80", "8.10") then
      assert.equal("127.0.0.1", facts["Address"])
    end
  end)
end)

describe("a request with facts", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("reports the connection, and does not force a new one", function()
    local server = hostile.listen(wire.tls(wire.serves()))
    local transport = wire.transport { ca_file = wire.certificates().ca }
    for count = 1, 3 do
      local facts, response = facts_of(transport, server, nil, true)
      assert.equal(204, response.status)
      assert.equal("127.0.0.1", facts["Address"])
      assert.equal(count == 1 and "new" or "open before", facts["Connection"])
      assert.matches(count == 1 and "^TLSv?1%.[23]$" or "^$", facts["TLS"] or "")
      assert.is_nil(facts["Proxy"])
    end
    assert.equal(1, #server.connections)
  end)

  it("reports the connection over which libcurl sent it again", function()
    local is_first = true
    local server = hostile.listen(wire.tls(function(connection)
      if is_first then
        is_first = false
        wire.answers "HTTP/1.1 204 X\r\n\r\n"(connection)
        connection:read_head()
        connection:cut()
      else
        connection:serve()
      end
    end))
    local transport = wire.transport { ca_file = wire.certificates().ca }
    facts_of(transport, server, nil, true)
    local facts, response = facts_of(transport, server, nil, true)
    assert.equal(2, response.sends)
    assert.equal("new", facts["Connection"])
    assert.matches("^TLSv?1%.[23]$", facts["TLS"])
  end)
end)
