-- A secret in a text that is encoded: percent-encoding, JSON, character references, and all of them in one another.

local cjson = require "cjson"
local redact = require "autopilot.base.redact"

local opaque = "Q~s3cr3t/with+every=kind&of \"character\" \\ and 100% 'more'"

local function percent_encoded(text, hexadecimal)
  return (
    text:gsub("[^%w._~-]", function(character)
      return "%" .. hexadecimal:format(character:byte())
    end)
  )
end

describe("autopilot.base.redact.text", function()
  it("withholds a text with a percent-encoded one, as a URL or as a form writes it", function()
    local upper, lower = percent_encoded(opaque, "%02X"), percent_encoded(opaque, "%02x")
    local form = upper:gsub("%%20", "+")
    local sparing = opaque:gsub("%%", "%%25")
    local all = opaque:gsub(".", function(character)
      return ("%%%02X"):format(character:byte())
    end)
    local loose = opaque:gsub(" ", "%%20")
    for _, encoded in ipairs { upper, lower, form, sparing, all, loose } do
      local text = "secret=" .. encoded .. "&next=1%20%"
      assert.equal("[redacted]", redact.text(text, { opaque }))
    end
    assert.equal("[redacted]", redact.text("p=a%26b&", { "a&b" }))
  end)

  it("withholds a text with one that is escaped for JSON, however deep", function()
    local key = '-----BEGIN KEY-----\nlines\r\n\tof "it"\n\\end/\195\182\226\130\172'
    for _, secret in ipairs { opaque, key, 'a"b/c', "p\195\164ss" } do
      local text, marked = secret, "[redacted]"
      for _ = 1, 4 do
        text = cjson.encode { m = "<" .. text .. ">" }
        marked = cjson.encode { m = "<" .. marked .. ">" }
        local is_as_it_is = text:find(secret, 1, true) -- nothing in it needs an escape
        assert.equal(is_as_it_is and marked or "[redacted]", redact.text(text, { secret }))
      end
    end
  end)

  it("withholds a text with one that is written in \\u escapes", function()
    local escaped = opaque:gsub("[^%d]", function(character)
      return ("\\u%04x"):format(character:byte())
    end)
    assert.equal("[redacted]", redact.text('{"a":"' .. escaped .. '"}', { opaque }))
    assert.equal(
      "[redacted]",
      redact.text('{"a":"p\\u00E4\\u20ac\\n"}', { "p\195\164\226\130\172" })
    )
    assert.equal("[redacted]", redact.text("a\\u005cu0062\\\\u005Cnc'", { "ab\nc" }))
    assert.equal("[redacted]", redact.text("a\\u005cx\\\\u005Cyc'", { "a\\x\\yc" }))
    local slashes = "/start/with/a/slash"
    assert.equal("[redacted]", redact.text('"\\/start\\/with\\/a\\/slash\\/x"', { slashes }))
  end)

  it(
    "withholds a text with 16 characters that look encoded themselves, however they are encoded",
    function()
      local secret = "head %41bcdefghijklm& \\\\x41 &#x26;lt;<b> n&#65;%25 tail"
      local function decimal(text)
        return (
          text:gsub(".", function(character)
            return ("&#%d;"):format(character:byte())
          end)
        )
      end
      for _, encoded in ipairs {
        "%41bcdefghijklm&amp;",
        decimal "%41bcdefghijklm&",
        decimal "& \\\\x41 &#x26;lt",
        cjson.encode "& \\\\x41 &#x26;lt",
        percent_encoded(decimal "<b> n&#65;%25 ta", "%02X"),
        (percent_encoded("lt;<b> n&#65;%25", "%02X"):gsub("%%20", "+")),
      } do
        assert.equal("[redacted]", redact.text("'" .. encoded .. "'", { secret }))
      end
    end
  )

  it("withholds a text with one whose encoded characters are encoded in part themselves", function()
    local secret = "0Ct36ng84~a;ghnehhyy"
    local function in_digits(form, begin, rest, finish)
      local function encoded(digit)
        return rest:format(digit:byte())
      end
      return (
        secret:gsub(".", function(character)
          return begin .. form:format(character:byte()):gsub("%w", encoded) .. finish
        end)
      )
    end
    for _, text in ipairs {
      in_digits("%d", "&#", "%c", "&#x3b;"),
      in_digits("%04x", "\\u", "\\u%04x", ""),
      in_digits("%02x", "\\x", "\\x%02x", ""),
    } do
      assert.equal("[redacted]", redact.text("'" .. text .. "'", { secret }), text)
    end
  end)

  it("withholds a text with one in codes with encoded blanks or tags in them", function()
    local secret = "0Ct36ng84~a&ghnehhyy"
    for _, form in ipairs { "\\x%02x", "&#x%02x;", "%%%02x" } do
      for _, filler in ipairs { "&#32;", "\\u200b", "&lt;b&gt;" } do
        local echo = secret:gsub(".", function(character)
          return (form:format(character:byte()):gsub("%x;?$", filler .. "%0"))
        end)
        assert.equal("[redacted]", redact.text("'" .. echo .. "'", { secret }), echo)
      end
    end
    assert.equal("[redacted]", redact.text("0Ct36ng84~a&ampghnehhyy", { secret }))
  end)

  it("withholds a text with one that has tags, whatever else their codes look like", function()
    local secret = "0Ct36ng84~a;ghnehhyy"
    for _, tag in ipairs {
      "%3\\x4&#00051;br/>", -- "<", or ">" if the reference ends before its "1"
      "<span class&#0006&#x0031;;'x'>", -- "=", which looks like "<" and ">" on the way
    } do
      local echo = secret:gsub("n", { n = tag .. "n" })
      assert.equal("[redacted]", redact.text("'" .. echo .. "'", { secret }), echo)
    end
  end)

  it("reads a reference to a character that does not exist as it is", function()
    for _, digits in ipairs { "110000", "ffffffffffffffff", "fffffffffffffffffffffffe" } do
      local text = "a&#x" .. digits .. ";b"
      assert.equal(text, redact.text(text, { opaque }))
    end
  end)

  it("withholds a text with one that is escaped for JSON and then percent-encoded", function()
    local encoded = percent_encoded(cjson.encode(opaque):sub(2, -2), "%02X")
    assert.equal("[redacted]", redact.text("body=%22" .. encoded .. "%22", { opaque }))
  end)
end)
