--- Base64 in the alphabet of URLs, without padding, as tokens and assertions are written (RFC 4648
-- section 5). The decoder accepts both alphabets, with padding or without.

local base64url = {}

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local characters, values = {}, { ["+"] = 62, ["/"] = 63 } -- 0 to 63
for value = 0, 63 do
  characters[value] = alphabet:sub(value + 1, value + 1)
  values[characters[value]] = value
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

---@param bytes string
---@return string text without padding
function base64url.encode(bytes)
  return (bytes:gsub("..?.?", encode_group))
end

local function decode_group(a, b, c, d)
  local bits = values[a] * 262144 + values[b] * 4096 + values[c] * 64 + values[d]
  return string.char(math.floor(bits / 65536), math.floor(bits / 256) % 256, bits % 256)
end

-- How the characters of a text end, by their number modulo 4: in a group of two or three characters, the
-- bits of the last one that belong to no byte are zero. A single character is no group.
local endings = { [0] = "", [2] = "[AQgw]$", [3] = "[AEIMQUYcgkosw048]$" }

--- The bytes of a text in base64; nil for any other text: a strange character, padding in the middle or
-- of a wrong length, an incomplete last group, unused bits that are not zero.
---@param text string
---@return string? bytes
function base64url.decode(text)
  local digits, padding = text:match "^([A-Za-z0-9+/_-]*)(=*)$"
  local ending = digits and endings[#digits % 4]
  if not ending or not digits:find(ending, -1) then
    return nil
  elseif padding ~= "" and #padding ~= -#digits % 4 then
    return nil
  end
  local groups = digits .. ("A"):rep(-#digits % 4)
  return groups:gsub("(.)(.)(.)(.)", decode_group):sub(1, math.floor(#digits * 3 / 4))
end

-- A fleet reads a token for each tenant: in Lua that takes half of its time. The emulator also runs where
-- the C module is missing.
local has_core, core = pcall(require, "autopilot.core")
if has_core then
  base64url.decode = core.base64_decode
end

return base64url
