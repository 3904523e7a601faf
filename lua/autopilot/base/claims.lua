--- Claims challenges: what a service wants to see in the next token (OpenID Connect Core section 5.5.1,
-- Microsoft Entra, "Claims challenges, claims requests, and client capabilities").
--
-- A service that refuses a token before its time says so in a 401: `claims`, JSON in base64, mostly beside
-- `error="insufficient_claims"`. From it follows the text that the token endpoint is to get. Whoever asks
-- for the token is somebody else, and so is what a token's own claims say (`inspect`).

local base64url = require "autopilot.base.base64url"
local challenges = require "autopilot.base.challenge"
local json = require "autopilot.base.json"

local claims = {}

-- Headers have some kilobytes in all.
local longest = 16 * 1024

-- So often a beginning is looked for behind what is malformed: a value of nothing else has an end.
local most_beginnings = 16

-- "cp1": this client understands claims challenges.
local capability = "cp1"

--- Whether it is a JSON object, as far as that can be told: an empty list looks the same.
local function is_object(value)
  return type(value) == "table" and #value == 0
end

local function contains(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then
      return true
    end
  end
  return false
end

--- Adds the capability to a claims request, as it was decoded.
---@return boolean done false when the request has another form
local function add_capability(request)
  local wanted = request.access_token
  if wanted == nil or wanted == json.null then
    wanted = {}
  elseif not is_object(wanted) then
    return false
  end
  request.access_token = wanted
  local declared = is_object(wanted.xms_cc) and wanted.xms_cc or {}
  local values = type(declared.values) == "table" and declared.values or {}
  if #values == 0 then
    values = {} -- not a list
  end
  if not contains(values, capability) then
    values[#values + 1] = capability
  end
  declared.values, wanted.xms_cc = values, declared
  return true
end

--- A claims request with this client's capability in it.
---@param text string? a JSON object; nil for the capability alone
---@return string? merged nil when the text is no claims request
function claims.merge(text)
  if text and (#text > longest or not text:find "^%s*{") then
    return nil
  end
  local request = text and json.decode(text, true) or not text and {}
  if not is_object(request) or not add_capability(request) then
    return nil
  end
  return (json.encode(request))
end

--- The claims request of one challenge, or nil.
local function of_challenge(challenge)
  local parameters = challenge.parameters
  local encoded = challenge.scheme == "bearer" and parameters.claims
  if not encoded or #encoded > longest then
    return nil
  end
  local text = base64url.decode(encoded)
  return text and claims.merge(text)
end

--- The claims request of the first challenge of a list that wants some; nil for none.
local function of_list(list)
  for _, challenge in ipairs(list) do
    local request = of_challenge(challenge)
    if request then
      return request
    end
  end
end

--- The same of the challenges that stand behind a malformed one, perhaps in a header of their own:
-- what is wrong with one must not hide another.
local function of_later_ones(header)
  local position = 1
  for _ = 1, most_beginnings do
    local _, last = header:find(",[ \t]*[Bb][Ee][Aa][Rr][Ee][Rr][ \t]", position)
    if not last then
      return nil
    end
    position = last - #"Bearer"
    local request = of_list(challenges.read(header:sub(position)))
    if request then
      return request
    end
  end
end

--- What the next token is asked for with, after a 401: the claims that its challenges want, and this
-- client's capability. Nil when no challenge wants any, or none can be read; malformed ones never raise.
---@param header string|number|nil the WWW-Authenticate headers, repeated ones joined by ", "
---@return string? request JSON
function claims.of_header(header)
  if type(header) ~= "string" then
    return nil
  end
  -- What stands before a malformed part is in the list all the same.
  local list, malformed = challenges.read(header)
  return of_list(list) or (malformed and of_later_ones(header)) or nil
end

return claims
