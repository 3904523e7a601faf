--- Unpredictable values for made-up accounts, private folders and ports.

local random = {}

---@class autopilot.cli.Random
---@field hex fun(bytes: integer): string
---@field guid fun(): string a version 4 UUID
---@field integer fun(low: integer, high: integer): integer both included; the span is below 65536

--- Opens the system's source of random bytes.
---@return autopilot.cli.Random?
---@return string? message
function random.open()
  local source, message = io.open("/dev/urandom", "rb")
  if not source then
    return nil, "there are no random numbers: " .. message
  end
  local bytes = source:read(512) -- more than one start of the service takes
  source:close()
  local used = 0

  local function take(count)
    used = used + count
    assert(used <= #bytes)
    return bytes:sub(used - count + 1, used)
  end

  local function hex(count)
    return (take(count):gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
    end))
  end

  local function integer(low, high)
    local a, b = take(2):byte(1, 2)
    return low + (a * 256 + b) % (high - low + 1)
  end

  local function guid()
    local variant = ("%x"):format(integer(8, 11))
    return table.concat(
      { hex(4), hex(2), "4" .. hex(2):sub(2), variant .. hex(2):sub(2), hex(6) },
      "-"
    )
  end

  return { hex = hex, guid = guid, integer = integer }
end

return random
