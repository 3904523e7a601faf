--- Azure Arc's challenge: the agent's first answer names a file with a key, and the second request contains
-- that key. Only users who may have a token can read the file.
--
-- If the answer names a file outside the agent's own folder, it is not read.

local endpoint = require "autopilot.token.endpoint"
local merged = require "autopilot.base.merged"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

local need = provider.need

local arc = {}

local longest_key = 4096 -- bytes

--- The folder of the keys, with its last separator; nil when the machine does not tell where it is.
local function key_folder(variable)
  if package.config:sub(1, 1) ~= "\\" then
    return "/var/opt/azcmagent/tokens/"
  end
  local data = variable "ProgramData"
  return data and data:gsub("[\\/]+$", "") .. "\\AzureConnectedMachineAgent\\Tokens\\"
end

--- The file that the header of a challenge names, or nil when it is not a key in the folder of keys.
function arc.key_path(challenge, folder)
  local realm = type(challenge) == "string" and challenge:match "^%s*[Bb]asic%s+[Rr]ealm=(.-)%s*$"
  if not realm then
    return nil
  end
  realm = realm:match '^"(.*)"$' or realm
  local start, file = realm:sub(1, #folder), realm:sub(#folder + 1)
  local is_windows = folder:sub(-1) == "\\"
  local is_inside = start == folder or (is_windows and start:lower() == folder:lower())
  -- A name in the folder itself: without separator, colon (a device or stream) or leading dot.
  return is_inside and #file <= 255 and file:find "^[%w_-][%w_.-]*%.key$" and folder .. file or nil
end

--- The key in the file that a challenge names.
local function key_for(challenge, variable)
  local folder = key_folder(variable)
  local path = folder and arc.key_path(challenge, folder)
  need(path, "Azure Arc's challenge does not name a key file in its own folder")
  local text = secret_file.read(path, true)
  local key = text and #text <= longest_key and text:match "^%s*([\33-\126]+)%s*$"
  return need(
    key,
    "Azure Arc's key file cannot be read as a key of at most 4096 bytes: run as root or a member "
      .. "of the group himds (Linux), or as an administrator or member of 'Hybrid agent extension "
      .. "applications' (Windows)"
  )
end

--- Sends a request as `endpoint.request` does, and once more with the key when the agent challenges it.
---@param ask autopilot.TokenAsk
---@param request autopilot.token.HttpRequest
---@param checked { variable: fun(name: string): string? }
---@return table? object, string? message, autopilot.token.Details? details
function arc.send(ask, request, checked)
  local object, message, details, answer = endpoint.request(ask, request)
  if not answer or answer.status ~= 401 then
    return object, message, details
  end
  local key = key_for(answer.headers["www-authenticate"], checked.variable)
  local headers = merged(request.headers, { Authorization = "Basic " .. key })
  return endpoint.request(ask, merged(request, { headers = headers, secrets = { key } }))
end

return arc
