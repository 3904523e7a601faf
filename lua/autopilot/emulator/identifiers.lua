--- Made-up identifiers: they look random, and every run makes the same ones.

local base64url = require "autopilot.base.base64url"

--- Makes a generator. `guid` gives a version 4 UUID, `text` letters, digits, `-` and `_`.
---@return { guid: (fun(): string), text: (fun(length: integer): string) }
return function()
  local state = 20260101

  -- The generator of Park and Miller, modulo 2^31 - 1: every product is exact in a double.
  local function draw(below)
    state = (state * 48271) % 2147483647
    return state % below
  end

  local identifiers = {}

  function identifiers.guid()
    local form = "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx"
    local guid = form:gsub("[xy]", function(digit)
      return ("%x"):format(digit == "x" and draw(16) or 8 + draw(4))
    end)
    return guid
  end

  function identifiers.text(length)
    local bytes = (" "):rep(length):gsub(" ", function()
      return string.char(draw(256))
    end)
    return base64url.encode(bytes):sub(1, length)
  end

  return identifiers
end
