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

--- The bytes, or nil when the text is no base64: a strange character, padding in the middle or of a
-- wrong length, a lone last character, bits left over.
---@param text string
---@return string? bytes
function base64url.decode(text)
  local digits, padding = text:match "^([%w+/_-]*)(=*)$"
  if not digits or #digits % 4 == 1 or not is_padding_right(digits, padding) then
    return nil
  end
  local parts, bits, width = {}, 0, 0
  for index = 1, #digits do
    local value = values[digits:byte(index)]
    if not value then
      return nil -- a letter of some locale
    end
    bits, width = bits * 64 + value, width + 6
    if width >= 8 then
      width = width - 8
      local unit = 2 ^ width
      local byte = math.floor(bits / unit)
      parts[#parts + 1] = string.char(byte)
      bits = bits - byte * unit
    end
  end
  return bits == 0 and table.concat(parts) or nil
end

return base64url
