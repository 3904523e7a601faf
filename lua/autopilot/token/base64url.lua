--- Base64 without padding and with `-` and `_`, as tokens and assertions are written (RFC 4648
-- section 5). Reading takes both alphabets, with padding or without.
--
-- Writing is plain arithmetic: Lua 5.1 has no bit operators. What the bytes mean is left to the caller.

local core = require "autopilot.core"

local base64url = {}

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local characters = {}
for index = 1, #alphabet do
  characters[index - 1] = alphabet:sub(index, index)
end

--- Three bytes as four characters; of the last ones there may be fewer.
local function encode_group(group)
  local first, second, third = group:byte(1, 3)
  local bits = first * 65536 + (second or 0) * 256 + (third or 0)
  local text = characters[math.floor(bits / 262144)]
    .. characters[math.floor(bits / 4096) % 64]
    .. characters[math.floor(bits / 64) % 64]
    .. characters[bits % 64]
  return text:sub(1, #group + 1)
end

---@param bytes string
---@return string text without padding
function base64url.encode(bytes)
  local groups = {}
  for start = 1, #bytes, 3 do
    groups[#groups + 1] = encode_group(bytes:sub(start, start + 2))
  end
  return table.concat(groups)
end

--- The bytes, or nil when the text is no base64: a strange character, padding in the middle or of a
-- wrong length, a lone last character, bits left over.
---@param text string
---@return string? bytes
base64url.decode = core.base64_decode

return base64url
