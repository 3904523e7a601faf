--- Several providers, one after the other, until one has a token.
--
-- The one that had it is asked first from then on, so that a way to sign in which takes long to fail is
-- not tried each time. Where none has a token, the message tells what each of them said. Tokens are kept
-- by the members, which know for how long.

local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"
local redact = require "autopilot.base.redact"

local name = "autopilot.token.chain"

-- Somebody may give a token for a provider, so what was given is never quoted.
local rule = { type = "function", required = true, secret = true }

-- Seconds (Azure's own chain gives its metadata service one).
local probe = 1

-- A report's message has room for so much (characters).
local room, least = 470, 60

--- What one member failed with, on one line.
local function reason_of(message, longest)
  if type(message) ~= "string" or message == "" then
    return "no token"
  end
  local line = redact.text(message):gsub("%s+", " "):gsub("%c", " ")
  return #line > longest and line:sub(1, longest - 3) .. "..." or line
end

--- What all of them failed with, in their order.
local function message_of(failures, names)
  local longest = math.max(least, math.floor(room / #failures) - 24)
  local reasons = {}
  for index, failure in ipairs(failures) do
    reasons[index] = ("%s: %s"):format(
      names and names[index] or index,
      reason_of(failure.message, longest)
    )
  end
  return "no provider has a token. " .. table.concat(reasons, "; ")
end

--- The facts of the failure that tells most: an authority's refusal rather than what is not set up.
local function details_of(failures)
  local combined, retry_after, is_transient = {}, nil, false
  for _, failure in ipairs(failures) do
    local details = type(failure.details) == "table" and failure.details or {}
    if details.code and not combined.code then
      combined = details
    elseif next(combined) == nil then
      combined = { hint = details.hint }
    end
    local wait = details.retry_after
    if type(wait) == "number" then
      retry_after = math.min(retry_after or wait, wait)
    end
    is_transient = is_transient or details.is_transient == true
  end
  local copy = {}
  for key, value in pairs(combined) do
    copy[key] = value
  end
  copy.retry_after, copy.is_transient = retry_after, is_transient
  return copy
end

--- Asks one member: its token and the rest, or nil, message and details.
local function ask_member(member, ask)
  local ok, token, second, third = protected_call(member, ask)
  if not ok then
    return nil, token
  elseif type(token) ~= "string" or token == "" then
    return nil, second, third
  end
  return token, second, third
end

--- A copy of the question that tells in how many seconds to find out whether there is anybody to ask.
local function probing(ask)
  local copy = {}
  for key, value in pairs(ask or {}) do
    copy[key] = value
  end
  copy.probe = probe
  return copy
end

--- Makes a provider of several.
---@param members autopilot.TokenProvider[] at least one, in the order in which they are asked
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@param names string[]? what the message calls them; default their numbers
---@return autopilot.TokenProvider
local function new(members, level, names)
  level = level or 2
  if type(members) ~= "table" or #members == 0 then
    local got = type(members) == "table" and "none" or type(members)
    error(("%s: needs a list of token providers (got %s)"):format(name, got), level)
  end
  local list, given, rules = {}, {}, {}
  for index = 1, #members do
    local option = ("provider %d"):format(index)
    list[index], given[option], rules[option] = members[index], members[index], rule
  end
  options.check(name, rules, given, level)
  local winner
  return function(ask)
    ask = probing(ask)
    local failures = {}
    local function try(index)
      local token, second, third = ask_member(list[index], ask)
      if token then
        winner = index
        return token, second, third
      end
      failures[index] = { message = second, details = third }
    end
    local first = winner
    local token, second, third
    if first then
      token, second, third = try(first)
    end
    for index = 1, #list do
      if token then
        break
      elseif index ~= first then
        token, second, third = try(index)
      end
    end
    if token then
      return token, second, third
    end
    return nil, message_of(failures, names), details_of(failures)
  end
end

return new
