--- Reads files that hold a secret or an assertion, and says what is wrong with them.
--
-- No message contains any of a file's content. How often a file is read is left to the provider.

local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"

local secret_file = {}

-- Bytes. A key with its chain of certificates has some ten thousand; an endless input is not a secret.
local longest = 256 * 1024

local failure = named_file.failure

secret_file.printable = named_file.printable

--- Why a file is not secret: every user of this machine can read it. Nil if not.
function secret_file.exposure(path)
  if not select(3, core.file_kind(path, true)) then
    return nil
  end
  local remedy = package.config:sub(1, 1) == "\\"
      and 'icacls /inheritance:r /grant:r "%USERNAME%:R"'
    or "chmod o-r"
  local message = "%s can be read by every user of this machine: take that right away (%s), or set "
    .. "allow_world_readable = true"
  return message:format(secret_file.printable(path), remedy)
end

--- The whole text of a file; or nil and a sentence. A file that every user may read is not secret, and is
-- refused unless `allow_world_readable` is true.
---@return string? text, string? message
function secret_file.read(path, allow_world_readable)
  local text, message = named_file.read(path, longest)
  local exposure = text and not allow_world_readable and secret_file.exposure(path)
  if not text or exposure then
    return nil, exposure or message
  end
  return text
end

--- The only line of a text, without white space around it; or nil and what is wrong with the text.
---@return string? line, string? complaint such as `is empty`
function secret_file.only_line(text)
  if text:find "^\255\254" or text:find "^\254\255" then
    return nil, "is text in UTF-16: save it as UTF-8"
  end
  text = text:gsub("^\239\187\191", "") -- the mark that editors on Windows put before UTF-8
  -- In two steps: one pattern for both ends would take quadratic time.
  local line = (text:match "%S.*" or ""):match "^.*%S"
  if not line then
    return nil, "is empty"
  elseif line:find "%c" then
    return nil, "must hold one line and nothing else"
  end
  return line
end

--- The only line of a file; or nil and a sentence.
---@return string? line, string? message
function secret_file.read_line(path, allow_world_readable)
  local text, message = secret_file.read(path, allow_world_readable)
  local line, complaint = secret_file.only_line(text or "")
  if text and not line then
    return failure(path, "it " .. complaint)
  end
  return line, message
end

return secret_file
