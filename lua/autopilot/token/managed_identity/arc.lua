--- Azure Arc: a machine elsewhere with the agent of Azure (Arc-enabled servers, "managed identity").
--
-- The agent's first answer names a file that only those may read who may have a token; the key in it
-- goes into the second request. No other file is ever read, whatever the answer names.

local endpoint = require "autopilot.token.managed_identity.endpoint"
local exchange = require "autopilot.token.managed_identity.exchange"

local arc = {}

arc.variables = { "IDENTITY_ENDPOINT", "IMDS_ENDPOINT" }

arc.name = "Azure Arc"

arc.is_local = true

arc.identities = {}

local source = "managed identity of Azure Arc"

local longest_key = 4096

--- The folder of the keys, with its last separator; nil when the machine does not say where.
local function key_folder(variable)
  if package.config:sub(1, 1) ~= "\\" then
    return "/var/opt/azcmagent/tokens/"
  end
  local data = variable "ProgramData"
  return data and data:gsub("[\\/]+$", "") .. "\\AzureConnectedMachineAgent\\Tokens\\"
end

--- The file that a challenge names, or nil when it is not a key in the folder of keys.
---@param challenge any the header
---@param folder string
---@return string? path
function arc.key_path(challenge, folder)
  local realm = type(challenge) == "string" and challenge:match "^%s*[Bb]asic%s+[Rr]ealm=(.-)%s*$"
  if not realm then
    return nil
  end
  realm = realm:match '^"(.*)"$' or realm
  local is_windows = folder:sub(-1) == "\\"
  local start = realm:sub(1, #folder)
  local is_inside = start == folder or (is_windows and start:lower() == folder:lower())
  local file = realm:sub(#folder + 1)
  -- No separator, colon or leading dot: a name in the folder itself, and of no device or stream.
  return is_inside and #file <= 255 and file:find "^[%w_-][%w_.-]*%.key$" and folder .. file or nil
end

--- The key, or nil and a sentence without a word of it.
local function read_key(path)
  local file = io.open(path, "rb")
  if not file then
    return nil,
      "the agent's key file cannot be read: run as root or a member of the group himds (Linux), or "
        .. "as an administrator or member of 'Hybrid agent extension applications' (Windows)"
  end
  local text = file:read(longest_key + 1) or ""
  file:close()
  local key = text:match "^%s*([\33-\126]+)%s*$"
  if #text > longest_key or not key then
    return nil, "the agent's key file must hold a key of at most 4096 bytes and nothing else"
  end
  return key
end

--- The key for a challenge, or nil and a sentence.
local function key_for(challenge, variable)
  local folder = key_folder(variable)
  local path = folder and arc.key_path(challenge, folder)
  if not path then
    return nil, "the agent's challenge does not name a key file in its own folder"
  end
  return read_key(path)
end

---@param place autopilot.token.IdentityPlace
function arc.request(place)
  local request = {
    source = source,
    url = endpoint.with_query(place.values.IDENTITY_ENDPOINT, {
      ["api-version"] = "2020-06-01",
      resource = place.resource,
    }),
    headers = { ["Metadata"] = "true" },
  }
  local answer, message, details = exchange.send(place.ask, request)
  if not answer then
    return nil, message, details
  elseif answer.status == 401 then
    local key
    key, message = key_for(answer.headers["www-authenticate"], place.variable)
    if not key then
      return nil, source .. ": " .. message, { is_transient = false }
    end
    request.headers = { ["Metadata"] = "true", ["Authorization"] = "Basic " .. key }
    request.secrets = { key }
    answer, message, details = exchange.send(place.ask, request)
    if not answer then
      return nil, message, details
    end
  end
  local token, expires_in, extra = exchange.read(place.ask, request, answer)
  return token, expires_in, extra
end

return arc
