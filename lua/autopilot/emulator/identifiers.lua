--- Made-up identifiers: they look random and are the same in every run.

local identifiers = {}

--- The name of the key that every token claims to be signed with.
identifiers.key_id = "emulated"

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

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
      letters[index] = alphabet:sub(at, at)
    end
    return table.concat(letters)
  end

  return { guid = guid, text = text }
end

return identifiers
