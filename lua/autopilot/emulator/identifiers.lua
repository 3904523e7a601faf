--- Made-up identifiers: they look random, and every run makes the same ones.

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

--- Makes a generator. `guid` gives a version 4 UUID, `text` letters, digits, `-` and `_`.
---@return { guid: (fun(): string), text: (fun(length: integer): string) }
return function()
  local state = 20260101

  -- The generator of Park and Miller, modulo 2^31 - 1: every product is exact in a double.
  local function draw(below)
    state = (state * 48271) % 2147483647
    return state % below
  end

  local made_up = {}

  function made_up.guid()
    return (
      ("xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx"):gsub("[xy]", function(digit)
        return ("%x"):format(digit == "x" and draw(16) or 8 + draw(4))
      end)
    )
  end

  function made_up.text(length)
    return (
      ("."):rep(length):gsub(".", function()
        local place = draw(64) + 1
        return alphabet:sub(place, place)
      end)
    )
  end

  return made_up
end
