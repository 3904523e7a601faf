--- Which failures are worth another attempt: the policy's option `on`.

local condition = {}

-- Every failure that a report can tell, and whether another attempt is made unless told otherwise.
-- Successes are not here: to retry one is a mistake, and refused as an unknown name.
local retried = {
  -- Asking again soon has a fair chance, and cannot do harm.
  unreachable = true,
  unavailable = true,
  throttled = true,
  -- The service allows one sync in 600 s for a tenant: it answers the same until that time is over.
  cooldown = false,
  in_progress = false,
  -- The first request may have arrived. Only the caller knows whether a second is welcome.
  interrupted = false,
  -- A refusal, such as that of a wrong secret: repeating it fills the sign-in log and can lock the
  -- application out. A token endpoint that fails or is out of reach is asked again (`is_transient`).
  token_error = false,
  -- Somebody has to change something first.
  unauthenticated = false,
  forbidden = false,
  not_licensed = false,
  not_found = false,
  rejected = false,
  redirected = false,
  unexpected = false,
  cancelled = false,
  sync_failed = false,
  timed_out = false,
}

local outcome_rules = {}
for outcome in pairs(retried) do
  outcome_rules[outcome] = { type = "boolean" }
end

local function is_plain_table(value)
  if type(value) ~= "table" then
    return false
  end
  local metatable = getmetatable(value)
  return not (type(metatable) == "table" and metatable.__call)
end

local function ambiguous()
  return "must be a list of outcomes, or a table {outcome = true or false}"
end

--- Reads the option `on` as it was given.
---@param on any
---@return any on a list of names is now a table {name = true}
---@return autopilot.OptionRule rule what it must obey
---@return boolean exact it names all that is retried, instead of exceptions from the defaults
function condition.read(on)
  if on == nil or not is_plain_table(on) then
    return on, { type = { "table", "function" } }, false
  end
  local listed, count = {}, 0
  for index, name in ipairs(on) do
    listed[name], count = true, index
  end
  local keys = 0
  for _ in pairs(on) do
    keys = keys + 1
  end
  -- An empty table could mean "nothing" as well as "no exceptions": the caller has to say which.
  if keys == 0 or (count > 0 and count < keys) then
    return on, { type = "any", check = ambiguous }, false
  end
  local exact = count > 0
  return exact and listed or on, { type = "table", fields = outcome_rules }, exact
end

--- Whether the failure is of a file of authorities that cannot be used: it is the same in ten seconds.
local function is_of_file(report)
  local network = report.network
  return type(network) == "table" and network.name == "CURLE_SSL_CACERT_BADFILE"
end

--- Whether the token endpoint, not the request itself, failed: nothing was sent, and the endpoint may
-- answer the next time.
---@param report any
---@return boolean
function condition.is_harmless(report)
  return type(report) == "table" and report.is_transient == true
end

--- The default: by the outcome, and by what surely stays as it is.
---@param report any
---@return boolean
function condition.default(report)
  if condition.is_harmless(report) then
    return true
  end
  return type(report) == "table" and retried[report.outcome] == true and not is_of_file(report)
end

--- Makes the predicate that a checked `on` stands for.
---@param on table|function|nil as `read` returned it, checked
---@param exact boolean as `read` returned it
---@param otherwise fun(report: any): boolean decides about outcomes that `on` does not name
---@return fun(report: any): boolean any true value means yes
function condition.compile(on, exact, otherwise)
  if on == nil then
    return otherwise
  elseif not is_plain_table(on) then
    return on
  end
  return function(report)
    local named
    if type(report) == "table" and report.outcome ~= nil then
      named = on[report.outcome]
    end
    if named == nil and not exact then
      return otherwise(report)
    end
    return named == true
  end
end

return condition
