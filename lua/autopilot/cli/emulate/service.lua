--- What runs inside nginx: the emulator behind HTTP, and controls for tests under `/emulator/`.
--
-- Graph has no such path. With the controls, which doc/testing.md lists, a test over real sockets moves the clock,
-- injects faults and reads what truly happened, as it would with an emulator in its own process.

-- nginx's LuaJIT cannot load a C module that was built for another Lua. The emulator uses these of its functions.
if _G.ngx then
  package.preload["autopilot.core"] = function()
    local decode = require("ngx.base64").decode_base64url
    return {
      base64_decode = function(text)
        return decode((text:gsub("[+/]", { ["+"] = "-", ["/"] = "_" })))
      end,
    }
  end
end

local emulator = require "autopilot.emulator"
local json = require "autopilot.base.json"
local merged = require "autopilot.base.merged"

local ngx = _G.ngx
local ffi = ngx and require "ffi" -- here, so that nginx does not start without it

local service = {}

local emulated, settings

local function reset()
  emulated = emulator.new(merged(settings, { now = ngx.now, sleep = ngx.sleep }))
  return {}
end

--- Makes the emulator. Called when nginx starts, in the private folder.
function service.start()
  local file = assert(io.open("settings.json", "rb"))
  settings = assert(json.decode(file:read "*a"))
  file:close()
  reset()
end

--- Reports that nginx listens. From then on: removes the private folder and ends nginx when the supervisor, the
-- parent of this process, or the command has ended. Only the command holds the other end of standard input, a pipe.
---@param removal string the shell's command to remove the folder
function service.watch(removal)
  ffi.cdef [[
    struct autopilot_pollfd { int fd; short events, revents; };
    int poll(struct autopilot_pollfd *, unsigned long, int);
    int getppid(void);
  ]]
  local file = assert(io.open "supervisor.pid")
  local supervisor = file:read "*n"
  file:close()
  local outcome = assert(io.open("outcome", "wb"))
  outcome:write "ready\n"
  outcome:close()
  local input = ffi.new "struct autopilot_pollfd[1]" -- only the end of the pipe counts
  assert(ngx.timer.every(0.05, function()
    if ffi.C.poll(input, 1, 0) > 0 or ffi.C.getppid() ~= supervisor then
      os.execute(removal)
      os.exit()
    end
  end))
end

local function send(status, headers, body)
  ngx.status = status
  for name, value in pairs(headers) do
    ngx.header[name] = value
  end
  if body ~= "" then
    ngx.print(body)
  end
end

-- By method and name: takes the decoded body, returns what is answered.
local controls = {
  ["POST reset"] = reset,
  ["GET state"] = function()
    return { now = emulated:now(), requests = emulated.requests }
  end,
  ["GET log"] = function()
    return emulated.log
  end,
  ["POST advance"] = function()
    emulated:advance(tonumber(ngx.req.get_uri_args().seconds))
    return { now = emulated:now() }
  end,
  ["POST faults"] = function(body)
    for _, fault in ipairs(body[1] and body or { body }) do
      emulated:inject(fault)
    end
    return {}
  end,
  ["POST trigger"] = function(body)
    local tenant = body.tenant
    body.tenant = nil
    local started, reason = emulated:trigger(tenant, body)
    return { started = started or false, reason = reason }
  end,
  ["POST approve"] = function(body)
    return { known = emulated:approve(body.user_code, body.user) }
  end,
  ["POST decline"] = function(body)
    return { known = emulated:decline(body.user_code) }
  end,
  ["POST tokens"] = function(body)
    return { token = emulated:issue_token(body) }
  end,
  ["POST refreshtokens"] = function(body)
    return { refresh_token = emulated:issue_refresh_token(body) }
  end,
}

local function control(name, body)
  local act = controls[ngx.req.get_method() .. " " .. name]
  local status, value = 404, { error = "no such control" }
  if act then
    local given = json.decode(body)
    local is_right, result = pcall(act, type(given) == "table" and given or {})
    status = is_right and 200 or 400
    value = is_right and result or { error = tostring(result):gsub("^[^:]*:%d+: ", "") }
  end
  -- An empty table is a list here: none of these answers is an empty object.
  local text = next(value) == nil and "[]" or json.encode(value)
  send(status, { ["content-type"] = "application/json", ["content-length"] = #text }, text)
end

local function request_headers()
  local headers = {}
  for name, value in pairs(ngx.req.get_headers(0)) do
    headers[name] = type(value) == "table" and table.concat(value, ", ") or value
  end
  return headers
end

--- Answers the current request. Where the emulator gives no answer, the connection is closed.
function service.answer()
  ngx.req.read_body()
  local body = ngx.req.get_body_data()
  local name = ngx.var.uri:match "^/emulator/(%l+)$"
  if name then
    return control(name, body)
  end
  local response = emulated:handle {
    method = ngx.req.get_method(),
    url = ngx.var.request_uri,
    headers = request_headers(),
    body = body,
  }
  if not response then
    return ngx.exit(444)
  end
  return send(response.status, response.headers, response.body)
end

return service
