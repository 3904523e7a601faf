--- Base64 in the alphabet of URLs, without padding, as tokens and assertions are written (RFC 4648
-- section 5). The decoder accepts both alphabets, with padding or without.
--
-- Lua 5.1 has no bit operators. The decoder looks up what each character adds to the bytes of its group,
-- because a fleet reads a token for each of its tenants, and arithmetic takes twice the time.

local base64url = {}

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local characters = {} -- by value, 0 to 63

-- What a character adds to the bytes of a group of four characters, by its character code and its place
-- in the group. The second and the third character are parts of two bytes each.
local first, second_high, second_low, third_high, third_low, fourth = {}, {}, {}, {}, {}, {}

local function add_character(code, value)
  first[code] = value * 4
  second_high[code], second_low[code] = math.floor(value / 16), value % 16 * 16
  third_high[code], third_low[code] = math.floor(value / 4), value % 4 * 64
  fourth[code] = value
end

for value = 0, 63 do
  characters[value] = alphabet:sub(value + 1, value + 1)
  add_character(alphabet:byte(value + 1), value)
end
add_character(("+"):byte(), 62)
add_character(("/"):byte(), 63)

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
  end
  if padding ~= "" and #padding ~= -#digits % 4 then
    return nil
  end
  -- Two groups at a time: the calls of functions are most of what this costs.
  local parts, length, byte, char = {}, #digits, string.byte, string.char
  digits = digits .. ("A"):rep(-length % 8)
  for index = 1, length, 8 do
    local a, b, c, d, e, f, g, h = byte(digits, index, index + 7)
    parts[#parts + 1] = char(
      first[a] + second_high[b],
      second_low[b] + third_high[c],
      third_low[c] + fourth[d],
      first[e] + second_high[f],
      second_low[f] + third_high[g],
      third_low[g] + fourth[h]
    )
  end
  return table.concat(parts):sub(1, math.floor(length * 3 / 4))
end

return base64url
