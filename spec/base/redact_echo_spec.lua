-- Echoes of made-up secrets, in many encodings, of any part of the secret, in every text of an answer:
-- none gets into a report, an event or a message. REDACT_ECHO_SEED repeats a failing case.

local SeededRandom = require "support.seeded_random"
local cjson = require "cjson"
local redact = require "autopilot.base.redact"
local virtual_world = require "support.virtual_world"

local random = SeededRandom.new "REDACT_ECHO_SEED"

local function made_of(alphabet, length)
  local characters = {}
  for index = 1, length do
    local place = random:integer(1, #alphabet)
    characters[index] = alphabet:sub(place, place)
  end
  return table.concat(characters)
end

local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

local kinds = {
  {
    name = "JWT",
    make = function()
      local base64url = letters .. "-_"
      return "eyJ"
        .. made_of(base64url, 90)
        .. ".eyJ"
        .. made_of(base64url, 200)
        .. "."
        .. made_of(base64url, 86)
    end,
  },
  {
    name = "base64",
    make = function()
      return made_of(letters .. "+/", 86) .. "=="
    end,
  },
  {
    name = "client secret",
    make = function()
      return made_of(letters .. "~_.-", 40)
    end,
  },
  {
    name = "hexadecimal",
    make = function()
      return made_of("0123456789abcdef", 64)
    end,
  },
  {
    name = "with every character",
    make = function()
      local all = {}
      for code = 32, 126 do
        all[#all + 1] = string.char(code)
      end
      return made_of(table.concat(all), 20)
        .. made_of(letters, 25)
        .. made_of(table.concat(all), 20)
    end,
  },
}

local function each(format)
  return function(text)
    return (
      text:gsub(".", function(character)
        return format:format(character:byte())
      end)
    )
  end
end

local function percent(text)
  return (
    text:gsub("[^%w._~-]", function(character)
      return ("%%%02X"):format(character:byte())
    end)
  )
end

local names = {
  ["<"] = "lt",
  [">"] = "gt",
  ["&"] = "amp",
  ['"'] = "quot",
  ["+"] = "plus",
  ["/"] = "sol",
  ["="] = "equals",
  ["_"] = "lowbar",
  ["."] = "period",
  ["-"] = "hyphen",
  ["%"] = "percnt",
  ["\\"] = "bsol",
}

local function html(text)
  return (
    text:gsub("%W", function(character)
      return names[character] and "&" .. names[character] .. ";" or character
    end)
  )
end

local function json(text)
  return cjson.encode(text):sub(2, -2)
end

local function with(...)
  local fillers = { ... }
  return function(text)
    return (
      text:gsub("...?", function(characters)
        return characters .. random:pick(fillers)
      end)
    )
  end
end

local encodings = {
  plain = function(text)
    return text
  end,
  json = json,
  ["json in json"] = function(text)
    return json(json(text))
  end,
  ["unicode escapes"] = each "\\u%04x",
  ["hexadecimal escapes"] = each "\\x%02x",
  percent = percent,
  ["percent, all"] = each "%%%02x",
  ["percent, twice"] = function(text)
    return percent(percent(text))
  end,
  ["percent, all, three times"] = function(text)
    return percent(percent(each "%%%02X"(text)))
  end,
  form = function(text)
    return (percent(text):gsub("%%20", "+"))
  end,
  html = html,
  ["html, decimal"] = each "&#%d;",
  ["html, hexadecimal"] = each "&#x%X;",
  ["html of percent"] = function(text)
    return html(percent(text))
  end,
  blanks = with(" ", "\t", "\n", "  "),
  ["soft hyphens"] = with("\194\173", "&shy;"),
  invisible = with("\226\128\139", "\226\128\174", "\0", "\27", "\239\187\191", "\128", "\194\155"),
  tags = with("<b>", "</b>", "<wbr/>"),
}
local encoding_names = {}
for name in pairs(encodings) do
  encoding_names[#encoding_names + 1] = name
end
table.sort(encoding_names)

--- First and last character of the part that is echoed.
local positions = {
  whole = function(length)
    return 1, length
  end,
  beginning = function(length)
    return 1, random:integer(24, length - 1)
  end,
  ending = function(length)
    return random:integer(2, length - 23), length
  end,
  middle = function(length)
    local first = random:integer(2, length - 24)
    return first, random:integer(first + 23, length - 1)
  end,
  ["middle, short"] = function(length)
    local first = random:integer(2, length - 24)
    return first, first + 23
  end,
  ["ending, short"] = function(length)
    return length - 23, length
  end,
}

--- The text with all encodings undone, to search it for a secret. Written for clarity, not for speed.
local function read_closely(text)
  local before
  repeat
    before = text
    text = text:gsub("\\u(%x%x%x%x)", function(digits)
      local code = tonumber(digits, 16)
      return code < 128 and string.char(code) or ""
    end)
    text = text:gsub("\\x(%x%x)", function(digits)
      return string.char(tonumber(digits, 16))
    end)
    text = text:gsub("%%(%x%x)", function(digits)
      return string.char(tonumber(digits, 16))
    end)
    text = text:gsub("&#x(%x+);", function(digits)
      return string.char(tonumber(digits, 16) % 256)
    end)
    text = text:gsub("&#(%d+);", function(digits)
      return string.char(tonumber(digits) % 256)
    end)
    for character, name in pairs(names) do
      text = text:gsub("&" .. name .. ";", (character:gsub("%%", "%%%%")))
    end
    text = text:gsub("&shy;", "")
  until text == before
  return text
end

local function visible(text)
  return (text:gsub("[^!-~]", ""):gsub("[\\+]", ""))
end

local windows_of = setmetatable({}, { __mode = "v" })

--- All that is 16 characters of the secret in a row.
local function windows(secret)
  local found = windows_of[secret]
  if not found then
    found = {}
    for _, form in ipairs { secret, visible(secret), visible(read_closely(secret)) } do
      for first = 1, #form - 15 do
        found[form:sub(first, first + 15)] = true
      end
    end
    windows_of[secret] = found
  end
  return found
end

--- Whether 16 characters of the secret in a row can be read in the text.
local function shows(text, secret)
  local found, decoded = windows(secret), read_closely(text)
  local untagged = text:gsub("<[^<>]*>", "")
  for _, form in ipairs {
    text,
    visible(text),
    visible(untagged),
    visible(decoded),
    visible(decoded:gsub("<[^<>]*>", "")),
  } do
    for first = 1, #form - 15 do
      if found[form:sub(first, first + 15)] then
        return true
      end
    end
  end
  return false
end

local function assert_nowhere(secret, value, context)
  if type(value) == "table" then
    for _, field in pairs(value) do
      assert_nowhere(secret, field, context)
    end
  elseif type(value) == "string" and shows(value, secret) then
    error(("%s (%s): %s SECRET %q"):format(context, tostring(random), value, secret), 0)
  end
end

--- Calls `try(secret, echo, context)` for every encoding, kind of secret and part of it.
local function for_each_echo(try)
  local count = 0
  for _, encoding in ipairs(encoding_names) do
    for _, kind in ipairs(kinds) do
      for position, range in pairs(positions) do
        local secret = kind.make()
        local part = secret:sub(range(#secret))
        local context = ("%s, %s of %s"):format(encoding, position, kind.name)
        try(secret, "Invalid value '" .. encodings[encoding](part) .. "' given.", context)
        count = count + 1
      end
    end
  end
  return count
end

describe("an echo of a secret", function()
  it("is in no redacted text, in any encoding and any part", function()
    local shown = 0
    local count = for_each_echo(function(secret, echo, context)
      shown = shown + (shows(echo, secret) and 1 or 0)
      assert_nowhere(
        secret,
        redact.text(echo, { "another-secret-of-some-length", secret }),
        context
      )
    end)
    assert.equal(540, count)
    assert.is_true(shown > 500, shown) -- the reader above is no worse than the code under test
  end)

  it("is in no redacted text, even 16 characters that look encoded themselves", function()
    local looks = {
      "%41",
      "%",
      "&amp;",
      "&#65;",
      "&#x41;",
      "&",
      "\\u0041",
      "\\x41",
      "\\",
      "\\\\",
      "+",
      "<",
      " ",
      "aZ",
    }
    local ways = {
      "plain",
      "json",
      "unicode escapes",
      "hexadecimal escapes",
      "percent",
      "percent, all",
      "form",
    }
    for _, way in ipairs { "html", "html, decimal", "html, hexadecimal" } do
      ways[#ways + 1] = way
    end
    for _ = 1, 150 do
      local pieces = {}
      for index = 1, 20 do
        pieces[index] = random:pick(looks)
      end
      local secret = table.concat(pieces)
      local first = random:integer(1, #secret - 15)
      local inner, outer = random:pick(ways), random:pick(ways)
      local echo = encodings[outer](encodings[inner](secret:sub(first, first + 15)))
      local safe = redact.text("'" .. echo .. "'", { secret })
      local context = ("%s, %s, %q in %q"):format(tostring(random), outer, secret, echo)
      assert.is_nil(safe:find(echo, 1, true), context)
    end
  end)

  it("is in no text that was cut before it was redacted", function()
    for_each_echo(function(secret, echo, context)
      for _ = 1, 2 do
        local cut = echo:sub(random:integer(1, 30), random:integer(40, #echo))
        -- Half an encoded character, such as "&#3", could be read as one of the secret by chance.
        cut = cut:gsub("[&%%\\][^&%%\\;]*$", "")
        assert_nowhere(secret, redact.text(cut .. "…", { secret }), context)
      end
    end)
  end)

  it("is in no report and no event, in whichever text of the answer it came", function()
    for_each_echo(function(secret, echo, context)
      local world = virtual_world.new()
      local told =
        { error = { code = "BadRequest", message = echo, innerError = { message = echo } } }
      local client = world:scripted({
        {
          status = 403,
          body = cjson.encode(told),
          headers = {
            ["request-id"] = echo,
            ["x-ms-ags-diagnostic"] = echo,
            ["Sunset"] = echo,
            ["Location"] = "https://" .. echo .. "/",
          },
        },
        { status = 502, body = "<html><title>" .. echo .. "</title></html>", intermediary = true },
        { network = { stage = "tls", message = echo } },
        { status = 204, headers = { ["request-id"] = echo, ["x-ms-ags-diagnostic"] = echo } },
      }, { token = secret, retry = false, recover = false })
      for _ = 1, 4 do
        local report, failure = client:sync { force = true }
        assert_nowhere(secret, report or failure, context)
        assert_nowhere(secret, tostring(report or failure), context)
      end
      assert_nowhere(secret, world.events, context)
    end)
  end)
end)
