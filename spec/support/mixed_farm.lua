--- A host whose nodes speak different versions of HTTP, or whose clients do.
--
-- Connections over HTTP/1.1 answer by the token: `even` in it is answered 204, `odd` 409. Those over HTTP/2
-- answer 404, which none of the others does. So an answer that becomes another request's is detected.

local hostile = require "support.hostile_server"
local http2 = require "support.http2_frames"
local wire = require "support.wire"

local mixed_farm = {}

local by_token = {
  even = "HTTP/1.1 204 No Content\r\n\r\n",
  odd = "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n",
}

--- How many steps of the server an answer takes: others begin meanwhile.
local steps_to_answer = 30

--- Whether more has come than the request that is being answered.
local function has_more(connection)
  local whole, why, part = connection.socket:receive(65536)
  connection.buffer = connection.buffer .. (whole or part or "")
  connection.has_ended = why == "closed"
  return connection.buffer ~= ""
end

local function serve_http1(farm, connection)
  while true do
    local head = connection:read_head()
    farm.http1 = farm.http1 + 1
    for _ = 1, steps_to_answer do
      connection:wait()
    end
    if has_more(connection) then
      farm.shared = farm.shared + 1
    end
    connection:send(by_token[head.headers.authorization:match "odd" or "even"])
  end
end

local function serve_http2(farm, connection)
  local session = http2.start(connection)
  while true do
    local stream = session:read_request()
    farm.http2 = farm.http2 + 1
    session:headers(stream, { { ":status", 404 } }, true)
  end
end

---@class MixedFarm
---@field server HostileServer
---@field http1 integer requests that came over HTTP/1.1
---@field http2 integer requests that came over HTTP/2
---@field shared integer how often another request came over HTTP/1.1 before an answer

--- Starts one.
---@param kind "nodes"|"clients" every second connection lacks HTTP/2, or each has what its client wants
---@return MixedFarm
function mixed_farm.start(kind)
  local farm, count = { http1 = 0, http2 = 0, shared = 0 }, 0
  farm.server = hostile.listen(function(connection)
    local have = wire.certificates()
    count = count + 1
    local alpn = (kind == "clients" or count % 2 == 0) and { "h2", "http/1.1" } or "http/1.1"
    local protocol = connection:start_tls { certificate = have.good, key = have.key, alpn = alpn }
    local serve = protocol == "h2" and serve_http2 or serve_http1
    serve(farm, connection)
  end)
  return farm
end

--- Of `count` tenants the names, by which their tokens are answered.
---@param count integer
---@return string[]
function mixed_farm.tenants(count)
  local names = {}
  for index = 1, count do
    names[index] = (index % 2 == 0 and "even-" or "odd-") .. index
  end
  return names
end

--- Whether a report tells the answer that was the tenant's own.
---@param tenant string
---@param report { status: integer?, http_version: string? }
---@return boolean
function mixed_farm.is_right(tenant, report)
  local own = report.http_version == "2" and 404 or tenant:match "even" and 204 or 409
  return report.status == own
end

return mixed_farm
