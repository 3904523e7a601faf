--- Base64 in the alphabet of URLs, without padding, as tokens and assertions are written (RFC 4648
-- section 5). The decoder accepts both alphabets, with padding or without.

local core = require "autopilot.core"

local base64url = {}

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local characters = {} -- by value, 0 to 63
for value = 0, 63 do
  characters[value] = alphabet:sub(value + 1, value + 1)
end

--- Three bytes as four characters; fewer bytes as fewer characters.
local function encode_group(group)
  local a, b, c = group:byte(1, 3)
  local bits = a * 65536 + (b or 0) * 256 + (c or 0)
  local text = characters[math.floor(bits / 262144)]
    .. characters[math.floor(bits / 4096) % 64]
    .. characters[math.floor(bits / 64) % 64]
    .. characters[bits % 64]
  return text:sub(1, #group + 1)
end

---@return string text without padding
function base64url.encode(bytes)
  return (bytes:gsub("..?.?", encode_group))
end

--- The bytes of a text in base64; nil for any other text: a strange character, padding in the middle or
-- of a wrong length, an incomplete last group, unused bits that are not zero.
---@type fun(text: string): string?
base64url.decode = core.base64_decode

return base64url
