--- The class of clients. Each of its operations (sync, status, wait, ensure, doctor) is a separate module; here
-- is what they share: the token, the known cooldown and service clock, and events.

local Call = require "autopilot.sync.call"
local Knowledge = require "autopilot.sync.knowledge"
local ServiceClock = require "autopilot.sync.service_clock"
local check_self = require("autopilot.base.options").check_self
local core = require "autopilot.core"
local lazy = require "autopilot.base.lazy"

local protected_call = lazy "autopilot.base.protected_call"
local redact = lazy "autopilot.base.redact"
local sentence = lazy "autopilot.base.sentence"

---@alias autopilot.TokenProvider fun(ask: autopilot.TokenAsk): string?, any

---@class autopilot.TokenAsk
---@field tenant string?
---@field has_several boolean? the client is of a fleet: tokens of several tenants are wanted
---@field cloud string
---@field scope string
---@field claims string? decoded claims challenge (OpenID Connect Core section 5.5)
---@field refresh boolean the previous token was refused
---@field refused string? which one that was
---@field deadline number? Unix time at which waiting for a token ends
---@field waited_until number? Unix time until which the client has slept before it asks
---@field probe number? seconds in which a metadata endpoint must answer; set by a chain
---@field transport function the client's own HTTP layer
---@field sleep fun(seconds: number)
---@field now fun(): number

---@class autopilot.Client of a service (`autopilot.Service`), whose fields are read through it
---@field tenant string|false
---@field tenant_id string|false|nil of the token that was sent last, where it can be read
---@field is_closed boolean
---@field package static_token string|false the token, where it is given as a text
---@field package token_provider autopilot.TokenProvider?
---@field package last_token string? the last token that was obtained
---@field package facts table? what the token that was looked at last says of itself
---@field package secrets string[] what must not get into a report: the tokens sent last
---@field package redacted (fun(text: string): string)? takes them out of a text
---@field package clean_text string? a text that is known to contain no secret
---@field package service_clock autopilot.ServiceClock
---@field package memory autopilot.TenantMemory
---@field package shared autopilot.TenantStore|false what other clients are told, through a store
local Client = {}
Client.__index = Client

local operations = {
  sync = "autopilot.sync.sync",
  status = "autopilot.sync.record",
  wait = "autopilot.sync.wait",
  ensure = "autopilot.sync.ensure",
  doctor = "autopilot.client.doctor",
}

--- The method of an operation, which is loaded when it is first used.
setmetatable(Client, {
  __index = function(class, method)
    if operations[method] then
      class[method] = Call.method(method, require(operations[method]))
      return class[method]
    end
  end,
})

---@package
function Client.new(service, token, tenant)
  local checked, is_text = service.options, type(token) == "string"
  local clock = ServiceClock.new(checked)
  local self = setmetatable({
    options = checked,
    tenant = tenant or false,
    tenant_id = false,
    static_token = is_text and token or false,
    token_provider = not is_text and token or nil,
    last_token = is_text and token or nil,
    facts = false,
    secrets = {}, -- no token has been sent
    is_closed = false,
    shared = false,
    service_clock = clock,
    memory = Knowledge.new(checked, clock),
  }, service.client_metatable)
  if checked.store then
    self.shared = require("autopilot.share.claim").new(self, checked.store)
  end
  return self
end

--- Closes the connections and forgets the token. May be called again. A request that is under way (another coroutine
-- closes the client) restores the secrets when its answer comes, so that its report can be redacted.
function Client:close()
  check_self("client:close", self, "is_closed")
  self.is_closed = true
  self.static_token, self.token_provider, self.last_token = false, nil, nil
  self.facts, self.secrets, self.redacted = nil, {}, nil
  if self.owns_transport then
    self.transport:close()
  end
end

function Client:__tostring()
  return ("autopilot.client (%s%s)"):format(
    self.tenant and self.tenant .. ", " or "",
    self.is_closed and "closed" or self.base_url
  )
end

--- Calls `on_event`. An error in it changes nothing.
---@package
function Client:emit(event_type, event)
  if self.on_event then
    event.type, event.tenant = event_type, self.tenant or nil
    protected_call(self.on_event, event)
  end
end

--- Notes a token that is about to be sent, so that it does not get into a report. The one before is kept
-- too: an answer may still repeat that.
---@package
function Client:hide(token)
  local facts, before = self.facts, self.secrets[1]
  self.tenant_id = facts and facts.token == token and facts.tenant_id or false
  self.secrets, self.redacted, self.clean_text = { token, before }, nil, nil
end

--- Notes again what was noted when a request was sent: its answer may repeat these secrets.
---@package
function Client:restore_secrets(secrets, tenant_id)
  self.secrets, self.tenant_id, self.redacted, self.clean_text = secrets, tenant_id, nil, nil
end

--- Makes a foreign text fit for a report or an event: one line of visible characters, of limited
-- length, without secrets.
---@package
---@param text any anything but a string is returned as it is
---@param longest integer? characters; default 1000
---@return string? text nil when nothing is left of it
function Client:clean(text, longest)
  longest = longest or 1000
  if type(text) ~= "string" or #text <= longest and not core.may_echo(self.secrets, text) then
    return text
  end
  -- Redacted before it is cut: the rest of an encoded secret might not be recognized.
  self.redacted = self.redacted or redact.prepare(self.secrets)
  text = self.redacted(sentence.clean(text, math.huge))
  return text and sentence.clean(text, longest)
end

--- Cleans a text that most answers repeat from the one before: it is examined once for each token.
---@package
function Client:clean_repeated(text)
  if text ~= self.clean_text then
    local cleaned = self:clean(text)
    self.clean_text = cleaned == text and text or nil
    return cleaned
  end
  return text
end

--- Sets the time before which asking again is pointless; removes it where none is given.
---@package
---@param answer table `free_at` is the same as `retry_at`, on the client's clock; a report does not have it
---@param seconds number? from now on
function Client:set_retry(answer, seconds)
  local options = self.options
  answer.retry_after = seconds
  answer.retry_at = seconds and options.now() + seconds
  answer.free_at = seconds and options.clock() + seconds
end

return Client
