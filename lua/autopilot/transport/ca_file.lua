--- Files of certificate authorities.

local named_file = require "autopilot.base.named_file"

local ca_file = {}

local certificate = "%-%-%-%-%-BEGIN [%u%d ]*CERTIFICATE%-%-%-%-%-"

--- Why a file of certificate authorities cannot be used; nil when it can. libcurl reads it more than once, so
-- it cannot be a pipe.
---@param path string
---@return string? complaint
function ca_file.complaint_about(path)
  local shown = path:gsub("%c", "?")
  local cannot = "cannot be read: " .. shown .. ": %s"
  local complaint = named_file.read_complaint(path)
  if complaint then
    return cannot:format(complaint)
  end
  local file, reason = io.open(path, "rb")
  if not file then
    return ("cannot be read: %s"):format((reason:gsub("%c", "?")))
  elseif not file:seek "cur" then
    file:close()
    return cannot:format "it is a pipe, and is read more than once"
  end
  local text
  text, reason = file:read "*a"
  file:close()
  if not text or text == "" then
    return cannot:format(reason or "it is empty")
  elseif not text:find(certificate) then
    local has_none = "must hold certificates in PEM ('-----BEGIN CERTIFICATE-----'); %s has none"
    return has_none:format(shown)
  end
end

return ca_file
