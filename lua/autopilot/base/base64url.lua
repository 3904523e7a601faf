--- Base64 without padding and with `-` and `_`, as tokens and assertions are written (RFC 4648
-- section 5). Reading takes both alphabets, with padding or without.
--
-- Plain arithmetic: Lua 5.1 has no bit operators. What the bytes mean is left to the caller.

local base64url = {}

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local characters, values = {}, { [("+"):byte()] = 62, [("/"):byte()] = 63 }
for index = 1, #alphabet do
  characters[index - 1] = alphabet:sub(index, index)
  values[alphabet:byte(index)] = index - 1
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

local function is_padding_right(text, padding)
  return padding == "" or (#padding <= 2 and (#text + #padding) % 4 == 0)
end

--- The bytes of the last two or three digits, when there are no four; nil when bits are left over.
local function decode_rest(digits)
  local a, b, c = digits:byte(#digits - #digits % 4 + 1, #digits)
  if not a then
    return ""
  end
  a, b, c = values[a], values[b], c and values[c] or not c and 0
  if not (a and b and c) then
    return nil
  end
  local is_pair = #digits % 4 == 2
  local bits = a * 4096 + b * 64 + c
  local unit = is_pair and 1024 or 4
  if bits % unit ~= 0 then
    return nil
  end
  local first, second = math.floor(bits / 1024), math.floor(bits / 4) % 256
  return is_pair and string.char(first) or string.char(first, second)
end

--- The bytes, or nil when the text is no base64: a strange character, padding in the middle or of a
-- wrong length, a lone last character, bits left over.
---@param text string
---@return string? bytes
function base64url.decode(text)
  local digits, padding = text:match "^([%w+/_-]*)(=*)$"
  if not digits or #digits % 4 == 1 or not is_padding_right(digits, padding) then
    return nil
  end
  local parts, byte, floor, char = {}, string.byte, math.floor, string.char
  for index = 1, #digits - #digits % 4, 4 do
    local a, b, c, d = byte(digits, index, index + 3)
    a, b, c, d = values[a], values[b], values[c], values[d]
    if not (a and b and c and d) then
      return nil -- a letter of some locale
    end
    local low = c % 4 * 64 + d
    parts[#parts + 1] = char(a * 4 + floor(b / 16), b % 16 * 16 + floor(c / 4), low)
  end
  local rest = decode_rest(digits)
  return rest and table.concat(parts) .. rest
end

return base64url
