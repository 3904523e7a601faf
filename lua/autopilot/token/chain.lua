--- Asks several providers, one after the other, until one has a token.
--
-- The provider that had a token is asked first from then on, so that one that takes long to fail is not
-- tried each time. When none has a token, the message contains that of each. The members cache their tokens
-- themselves, as they know how long these are valid.

local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"

local name = "autopilot.token.chain"

-- Seconds in which a metadata service must answer (Azure's own chain gives its metadata service one).
local probe = 1

-- Characters that a report's message has room for, and the fewest for one member.
local room, least = 470, 60

--- The messages of all members, in their order.
local function message_of(failures, names)
  local longest = math.max(least, math.floor(room / #failures) - 24)
  local clean, reasons = provider.cleaner(), {}
  for index, failure in ipairs(failures) do
    local reason = clean(failure.message, longest) or "no token"
    reasons[index] = ("%s: %s"):format(names and names[index] or index, reason)
  end
  return "no provider has a token. " .. table.concat(reasons, "; ")
end

--- The details of the most useful failure: the refusal of an authority rather than a way that is not set up.
local function details_of(failures)
  local refusal, hint, retry_after, is_transient
  for _, failure in ipairs(failures) do
    local details = type(failure.details) == "table" and failure.details or {}
    refusal = refusal or details.code and details
    hint = hint or details.hint
    if type(details.retry_after) == "number" then
      retry_after = math.min(retry_after or math.huge, details.retry_after)
    end
    is_transient = is_transient or details.is_transient == true
  end
  local facts = { is_transient = is_transient or false, retry_after = retry_after }
  return merged(refusal or { hint = hint }, facts)
end

--- Makes a provider of several.
---@param members autopilot.TokenProvider[] at least one, in the order in which to ask them
---@param names string[]? of the members in the message; default their numbers
---@return autopilot.TokenProvider
return function(members, names)
  if type(members) ~= "table" or #members == 0 then
    local got = type(members) == "table" and "none" or type(members)
    error(("%s: needs a list of token providers (got %s)"):format(name, got), 2)
  end
  members = merged(members)
  for index = 1, #members do
    local option = ("provider %d"):format(index)
    options.check(name, { [option] = provider.rule }, { [option] = members[index] })
  end
  local last_success = 1
  return function(ask)
    ask = merged(ask, { probe = probe })
    local failures = {}
    for turn = 0, #members do
      local index = turn == 0 and last_success or turn
      if not failures[index] then
        local ok, token, second, third = protected_call(members[index], ask)
        if ok and type(token) == "string" and token ~= "" then
          last_success = index
          return token, second, third
        end
        failures[index] = { message = ok and second or token, details = third }
      end
    end
    return nil, message_of(failures, names), details_of(failures)
  end
end
