--- The world of a token provider, for specs: a transport, and a clock that only sleeping advances.

local cjson = require "cjson.safe"
local emulator = require "autopilot.emulator"
local overlay = require "support.overlay"
local scripted = require "autopilot.transport.scripted"

local token_world = {}

---@class support.TokenWorld
---@field ask table what a provider is called with
---@field slept number[]
---@field requests table[]? of a scripted transport

local start = 1767225600.25

--- An `ask` over any transport; `given` replaces fields of it.
---@return support.TokenWorld
function token_world.over(transport, given)
  local world = { slept = {}, time = start }
  world.ask = {
    tenant = "contoso",
    cloud = "global",
    scope = "https://graph.microsoft.com/.default",
    refresh = false,
    transport = transport,
    sleep = function(seconds)
      world.slept[#world.slept + 1] = seconds
      world.time = world.time + seconds
    end,
    now = function()
      return world.time
    end,
  }
  overlay(world.ask, given)
  return world
end

--- A world whose token endpoint answers from a list.
function token_world.scripted(answers, given)
  local transport = scripted(answers)
  local function call(request)
    return transport(request)
  end
  local world = token_world.over(call, given)
  world.requests = transport.requests
  return world
end

--- A world in which the emulated service gives tokens.
function token_world.emulated(options, given)
  local service = emulator.new(options)
  local requests, answer = {}, service:transport()
  local world = token_world.over(function(request)
    requests[#requests + 1] = request
    return answer(request)
  end, given)
  world.requests, world.service = requests, service
  return world
end

--- An answer of the endpoint as JSON.
function token_world.answer(status, value, headers)
  return { status = status, body = cjson.encode(value), headers = headers }
end

--- The answer with a token.
function token_world.granted(fields)
  local value =
    { token_type = "Bearer", expires_in = 3599, access_token = "opaque-token-0123456789" }
  overlay(value, fields)
  return token_world.answer(200, value)
end

--- Entra's refusal.
function token_world.refused(status, code, number, sentence)
  local id = "11111111-2222-3333-4444-555555555555"
  local trace = "66666666-7777-8888-9999-000000000000"
  return token_world.answer(status, {
    error = code,
    error_description = ("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: 2026"):format(
      number,
      sentence,
      trace,
      id
    ),
    error_codes = { number },
    timestamp = "2026-01-01 00:00:00Z",
    trace_id = trace,
    correlation_id = id,
  })
end

--- The fields of a form, decoded by the rules of forms.
function token_world.form(body)
  local form = {}
  for field in body:gmatch "[^&]+" do
    local name, value = field:match "^([^=]*)=(.*)$"
    form[name] = value:gsub("+", " "):gsub("%%(%x%x)", function(hex)
      return string.char(tonumber(hex, 16))
    end)
  end
  return form
end

--- Adds all texts that can be reached from the value, by tables and `tostring`, to a list.
local function add_texts(texts, value, seen)
  texts[#texts + 1] = tostring(value)
  if type(value) == "table" and not seen[value] then
    seen[value] = true
    for key, field in pairs(value) do
      add_texts(texts, key, seen)
      add_texts(texts, field, seen)
    end
  end
end

--- Fails when one of the needles is in any text that can be reached from the value.
---@param needles string|string[]
function token_world.assert_nowhere(needles, value)
  local texts = {}
  add_texts(texts, value, {})
  local all = table.concat(texts, "\n")
  for _, needle in ipairs(type(needles) == "table" and needles or { needles }) do
    local at = all:find(needle, 1, true)
    assert(not at, at and "it is in: " .. all:sub(math.max(1, at - 200), at + 200))
  end
end

--- `os.getenv` of an environment that holds these variables alone.
function token_world.getenv(variables)
  return function(name)
    return variables[name]
  end
end

return token_world
