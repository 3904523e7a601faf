--- Asks a hostile server through the libcurl transport, and checks what must hold whatever happens:
-- nothing raises, the failure is told in full and truthfully, no secret is in it, and the transport
-- works afterwards. The checks of a particular fault are in its spec.

local assert = require "luassert"
local certificates = require "support.certificates"
local curl = require "autopilot.transport.curl"
local hostile = require "support.hostile_server"
local http2 = require "support.http2_frames"
local overlay = require "support.overlay"

local wire = {}

local patience = hostile.patience

wire.token = "the-secret-token"
wire.proxy_password = "the-proxy-password"

local stages =
  { resolve = true, connect = true, proxy = true, tls = true, send = true, receive = true }

---@class WireOutcome what came of one request
---@field response table?
---@field network table?
---@field status integer?
---@field sends integer
---@field server HostileServer
---@field transport table

--- A transport that steps every hostile server while it waits, and that no proxy of the machine's
-- environment comes in the way of.
---@param http table? as in `curl.new`
---@return table
function wire.transport(http)
  local given = overlay({ proxy = "" }, http)
  return curl.new { http = given, drive = hostile.drive() }
end

local made

--- The certificates of this spec file, made when first asked for.
---@return Certificates
function wire.certificates()
  made = made or certificates.make()
  return made
end

--- Closes all servers; for `after_each`.
wire.close = hostile.close

--- Removes the certificates; for `teardown`.
function wire.teardown()
  if made then
    certificates.remove(made)
    made = nil
  end
end

--- A script that speaks TLS before it runs.
---@param script fun(connection: HostileConnection)
---@param tls { certificate: string?, alpn: string? }? `certificate` by its name, default "good"
function wire.tls(script, tls)
  local have = wire.certificates()
  local certificate = have[tls and tls.certificate or "good"]
  return function(connection)
    connection:start_tls { certificate = certificate, key = have.key, alpn = tls and tls.alpn }
    script(connection)
  end
end

--- A script that speaks HTTP/2 over TLS.
---@param script fun(http2: Http2Connection, connection: HostileConnection)
function wire.http2(script)
  return wire.tls(function(connection)
    script(http2.start(connection), connection)
  end, { alpn = "h2" })
end

--- A script that reads a request, sends `answer`, and then does the further steps.
---@param answer string
---@param ending ("close"|"cut"|"reset"|"stall")? default: reads on
function wire.answers(answer, ending)
  return function(connection)
    connection:read_head()
    connection:read_body()
    connection:send(answer)
    if ending then
      connection[ending](connection)
    end
  end
end

--- A script that answers every request.
---@param answer string? default: 204
function wire.serves(answer)
  return function(connection)
    connection:serve(answer)
  end
end

--- How many requests the server saw, those to a proxy not counted.
---@param server HostileServer
---@return integer
function wire.seen(server)
  local seen = 0
  for _, request in ipairs(server.requests) do
    seen = seen + (request.method == "CONNECT" and 0 or 1)
  end
  return seen
end

--- What all connections of the server received, after decryption, one after the other.
local function transcript(server)
  local all = {}
  for index, connection in ipairs(server.connections) do
    all[index] = connection.transcript
  end
  return table.concat(all, "\n")
end

local function check_failure(network)
  assert.is_true(stages[network.stage], network.stage)
  assert.matches("^CURLE_[%u%d_]+$", network.name)
  assert.are_not.equal("CURLE_OK", network.name)
  assert.are_not.equal("CURLE_UNKNOWN", network.name)
  assert.is_string(network.message)
  assert.are_not.equal("", network.message)
  assert.is_boolean(network.timeout)
  assert.are.equal(network.name == "CURLE_OPERATION_TIMEDOUT", network.timeout)
  for _, secret in ipairs { wire.token, wire.proxy_password } do
    assert.is_nil(network.message:find(secret, 1, true), network.message)
  end
end

--- What must hold for any outcome.
---@param outcome WireOutcome
---@param seen_before integer
---@param transcript_before string
local function check_truth(outcome, seen_before, transcript_before)
  local response, network, server = outcome.response, outcome.network, outcome.server
  assert.is_true(response ~= nil or network ~= nil)
  if response then
    assert.is_number(response.status)
    assert.is_string(response.body)
    assert.is_table(response.headers)
    assert.is_true(outcome.sends >= 1)
  end
  if network then
    check_failure(network)
    assert.are.equal(outcome.sends == 0 and "no" or "unknown", network.delivered)
  end
  -- What the server saw is at most what is owned up to; "no" means not a byte.
  local seen = wire.seen(server) - seen_before
  assert.is_true(seen <= outcome.sends, ("%d seen, %d told"):format(seen, outcome.sends))
  if outcome.sends == 0 then
    local received = transcript(server):sub(#transcript_before + 1)
    assert.is_nil(received:find("POST", 1, true))
    assert.is_nil(received:find(wire.token, 1, true))
  end
end

local function check_usable(transport)
  local friendly = hostile.listen(wire.serves())
  local response, network = transport { method = "POST", url = friendly:url() }
  assert.is_nil(network)
  assert.are.equal(204, response.status)
  assert.are.equal(1, #friendly.requests)
  friendly:close()
end

---@class WireRequest how to ask; all of it may be nil
---@field transport table default a new one, with `http` as its options
---@field http table
---@field scheme string
---@field path string
---@field url string instead of the server's
---@field method string default "POST"
---@field connect number multiplied by the patience of the specs; default: more than a spec may take
---@field total number multiplied by the patience of the specs; default: more than a spec may take
---@field retry_attempt integer default 0

--- Sends one request, as a client does, and checks what must always hold.
---@param server HostileServer
---@param how WireRequest?
---@return WireOutcome
function wire.ask(server, how)
  how = how or {}
  local transport = how.transport or wire.transport(how.http)
  local send = transport:prepare {
    method = how.method or "POST",
    url = how.url or server:url(how.path, how.scheme),
    headers = { ["Accept"] = "application/json" },
  }
  local seen, received = wire.seen(server), transcript(server)
  local id = "11111111-2222-4333-8444-555555555555"
  local response, network = send {
    connect = patience * (how.connect or 60),
    total = patience * (how.total or 60),
    token = wire.token,
    client_request_id = id,
    retry_attempt = how.retry_attempt or 0,
  }
  local outcome = {
    response = response,
    network = network,
    status = response and response.status,
    sends = (response or network).sends,
    server = server,
    transport = transport,
  }
  check_truth(outcome, seen, received)
  check_usable(transport)
  return outcome
end

--- The same over TLS, trusting the authority of the certificates.
---@param server HostileServer
---@param how table?
---@return WireOutcome
function wire.ask_tls(server, how)
  local given = overlay({ scheme = "https", http = {} }, how)
  local http = overlay({ ca_file = wire.certificates().ca }, given.http)
  given.http = http
  return wire.ask(server, given)
end

--- Asks over plain HTTP and over TLS.
---@param run fun(scheme: string, ask: function, over: function) `ask` as here; `over` adapts a server's script
function wire.over_both(run)
  run("http", wire.ask, function(script)
    return script
  end)
  run("https", wire.ask_tls, wire.tls)
end

--- How far a request has to get before its time runs out.
local is_there = {
  ["in TLS"] = function(outcome)
    return outcome.network.stage == "tls"
  end,
  sent = function(outcome)
    return outcome.sends > 0
  end,
  answered = function(outcome) -- its status has come
    return outcome.status
  end,
}

--- Asks with a time that is to run out where the server stalls: with a longer one, if the machine was too slow to
-- get there.
---@param where "in TLS"|"sent"|"answered"
---@param seconds number
---@param ask fun(seconds: number): WireOutcome asks a new server
---@return WireOutcome
function wire.run_out(where, seconds, ask)
  local outcome
  for _, factor in ipairs { 1, 10, 100 } do
    outcome = ask(factor * seconds)
    if is_there[where](outcome) then
      break
    end
  end
  return outcome
end

--- Asserts that nothing was sent, and why.
---@param outcome WireOutcome
---@param stage string
---@param name string? libcurl's
function wire.assert_unsent(outcome, stage, name)
  assert.is_nil(outcome.response)
  assert.are.equal(stage, outcome.network.stage)
  assert.are.equal("no", outcome.network.delivered)
  assert.are.equal(0, outcome.sends)
  if name then
    assert.are.equal(name, outcome.network.name)
  end
end

--- Asserts that the request may have arrived, and how often it was sent.
---@param outcome WireOutcome
---@param sends integer? default 1
function wire.assert_unknown(outcome, sends)
  assert.is_nil(outcome.response)
  assert.are.equal("unknown", outcome.network.delivered)
  assert.are.equal(sends or 1, outcome.sends)
end

return wire
