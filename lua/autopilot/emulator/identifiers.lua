--- Made-up identifiers: they look random and are the same in every run.

local identifiers = {}

local base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

--- Makes a generator of its own sequence.
---@return { guid: (fun(): string), text: (fun(length: integer): string) } generator `guid` gives a version 4 UUID, `text` letters, digits, `-` and `_`
function identifiers.new()
  local state = 20260101

  -- Multiplicative congruence modulo 2^31 - 1: every product is exact in a double.
  local function draw(below)
    state = (state * 48271) % 2147483647
    return state % below
  end

  local function guid()
    return ("%04x%04x-%04x-4%03x-%x%03x-%04x%04x%04x"):format(
      draw(0x10000),
      draw(0x10000),
      draw(0x10000),
      draw(0x1000),
      8 + draw(4),
      draw(0x1000),
      draw(0x10000),
      draw(0x10000),
      draw(0x10000)
    )
  end

  local function text(length)
    local letters = {}
    for index = 1, length do
      local at = draw(64) + 1
      letters[index] = base64url:sub(at, at)
    end
    return table.concat(letters)
  end

  return { guid = guid, text = text }
end

--- Bytes in base64url without padding (RFC 4648, section 5).
---@param bytes string
---@return string
function identifiers.base64url(bytes)
  local letters = {}
  for at = 1, #bytes, 3 do
    local a, b, c = bytes:byte(at, at + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    for place = 1, c and 4 or b and 3 or 2 do
      local index = math.floor(bits / 64 ^ (4 - place)) % 64 + 1
      letters[#letters + 1] = base64url:sub(index, index)
    end
  end
  return table.concat(letters)
end

return identifiers
