-- Random bodies: nothing raises, the result is well formed and true, the work is bounded.
-- A failing case names its seed; GRAPH_ERROR_SEED repeats it. Where a tool slows the specs down
-- (SPEC_PATIENCE) there are fewer and shorter cases.

local SeededRandom = require "support.seeded_random"
local cjson = require "cjson"
local error_bodies = require "support.error_bodies"
local graph_error = require "autopilot.graph.error"
local json_suite = require "support.json_suite"

local patience = tonumber(os.getenv "SPEC_PATIENCE")
local rounds, stride, hostile_size = 1500, 1, 2 ^ 20
if patience then
  rounds, stride, hostile_size = 100, 17, 2 ^ 16
end

local random = SeededRandom.new "GRAPH_ERROR_SEED"
local ellipsis = "\226\128\166"

local longest = {
  code = 128,
  message = 4000, -- 1000 characters of up to four bytes
  reason = 4000,
  activity_id = 64,
  request_id = 64,
}

--- Valid UTF-8 by the table of the Unicode standard (3-7), written for reading, not for speed.
local function is_utf8(text)
  local rest = text:gsub("[%z\1-\127]+", " ")
  for _, sequence in ipairs {
    "[\194-\223][\128-\191]",
    "\224[\160-\191][\128-\191]",
    "[\225-\236\238-\239][\128-\191][\128-\191]",
    "\237[\128-\159][\128-\191]",
    "\240[\144-\191][\128-\191][\128-\191]",
    "[\241-\243][\128-\191][\128-\191][\128-\191]",
    "\244[\128-\143][\128-\191][\128-\191]",
  } do
    rest = rest:gsub(sequence, " ")
  end
  return not rest:find "[\128-\255]"
end

--- Parses; fails unless all promises about the form of the result are kept.
local function parse(body, content_type, context)
  context = context or body:sub(1, 200)
  local ok, found = pcall(graph_error.parse, body, content_type)
  assert(ok, tostring(found) .. " for " .. context)
  for name, value in pairs(found) do
    if name == "retry_after" then
      assert(type(value) == "number" and value >= 0 and value <= 2 ^ 31, context)
    else
      local where = name .. " of " .. context
      assert(longest[name], where)
      assert(type(value) == "string" and value ~= "" and #value <= longest[name], where)
      assert(not value:find "[%z\1-\31\127]" and not value:find "^ " and not value:find " $", where)
      assert(is_utf8(value), where)
    end
  end
  local _, characters = (found.message or ""):gsub("[^\128-\191]", "")
  assert(characters <= 1000, context)
  assert(type(graph_error.is_forbidden(found)) == "boolean", context)
  assert(type(graph_error.says(found, "not_licensed")) == "boolean", context)
  assert(type(graph_error.missing_permissions(found)) == "table", context)
  return found
end

--- Bodies, what follows their sentence, and the codes that stand in them; in a fixed order, so that a
--- seed means the same everywhere.
local fixtures = {
  {
    name = "entra",
    body = error_bodies.entra,
    follows = " Trace ID:",
    codes = { "invalid_client" },
  },
}
for name, body in pairs(error_bodies.forbidden) do
  local codes = { "Forbidden", "UnknownError" }
  fixtures[#fixtures + 1] = { name = name, body = body, follows = " - Operation ID", codes = codes }
end
local function is_beginning_of_one(text, texts)
  for _, whole in ipairs(texts) do
    if whole:sub(1, #text) == text then
      return true
    end
  end
  return false
end

table.sort(fixtures, function(a, b)
  return a.name < b.name
end)

describe(("autopilot.graph_error with any bytes (%s)"):format(tostring(random)), function()
  it("returns its documented form for every case of JSONTestSuite", function()
    local cases = json_suite.cases()
    assert.is_true(#cases > 300)
    for _, case in ipairs(cases) do
      parse(case.text, nil, case.name)
      parse(case.text, "application/json", case.name)
      parse(case.text, "text/html", case.name)
      parse('{"error":{"code":"Forbidden","message":' .. case.text .. "}}", nil, case.name)
      parse(error_bodies.graph("Forbidden", case.text), nil, case.name)
      parse("Forbidden: " .. case.text, nil, case.name)
      parse(case.text .. error_bodies.forbidden.wrapped, nil, case.name)
    end
  end)

  it("finds the code before a member that is a valid case of JSONTestSuite", function()
    for _, case in ipairs(json_suite.cases()) do
      if case.class == "y" and not case.text:find "message" then
        local found = parse('{"error":{"code":"Forbidden","x":' .. case.text .. "}}")
        assert.equal("Forbidden", found.code, case.name)
      end
    end
  end)

  it("claims nothing untrue about an answer that was cut at any byte", function()
    for _, fixture in ipairs(fixtures) do
      local whole = parse(fixture.body)
      -- What a message may begin with: the sentence and some of what follows it; where there is
      -- nothing else to be read, a code that was cut, or a document as it stands.
      local beginnings = { whole.message .. fixture.follows, fixture.body, fixture.codes[1] }
      for length = 0, #fixture.body, stride do
        local text = fixture.body:sub(1, length)
        local context = ("%s cut at %d"):format(fixture.name, length)
        local found = parse(text, nil, context)
        local is_code = found.code == fixture.codes[1] or found.code == fixture.codes[2]
        assert(found.code == nil or is_code, context .. ": " .. tostring(found.code))
        for _, name in ipairs { "activity_id", "request_id" } do
          assert(found[name] == nil or found[name] == whole[name], context .. ": " .. name)
        end
        local message = (found.message or ""):gsub(ellipsis .. "$", "")
        local is_document = message:find '^["{%[]'
        local is_true = is_document or is_beginning_of_one(message, beginnings)
        assert(is_true, context .. ": " .. message)
        if fixture.name ~= "words" then
          -- Text without marks around it does not tell that it was cut.
          for index, permission in ipairs(graph_error.missing_permissions(found)) do
            assert(permission == error_bodies.permissions[index], context .. ": " .. permission)
          end
        end
      end
    end
  end)

  it("recognizes a missing permission as soon as its sentence is complete", function()
    for _, fixture in ipairs(fixtures) do
      local _, finish = fixture.body:find("ReadWrite.All", 1, true)
      for length = finish or #fixture.body + 1, #fixture.body, stride do
        local found = parse(fixture.body:sub(1, length))
        local context = ("%s cut at %d"):format(fixture.name, length)
        assert(graph_error.is_forbidden(found), context)
        assert(found.message:find("one of the following scopes", 1, true), context)
      end
    end
  end)

  it("returns its documented form for bodies with random damage", function()
    local telling =
      { '"', "\\", "{", "}", "[", "]", ":", ",", "<", "\0", "\255", "\226", "null", " - " }
    for _ = 1, rounds do
      local body = random:pick(fixtures).body
      for _ = 1, random:integer(1, 6) do
        local from = random:integer(1, #body)
        local to = math.min(#body, from + random:integer(0, 20))
        local damage = random:integer(1, 4)
        if damage == 1 then
          body = body:sub(1, from) .. random:pick(telling) .. body:sub(from + 1)
        elseif damage == 2 then
          body = body:sub(1, from - 1) .. body:sub(to + 1)
        elseif damage == 3 then
          body = body:sub(1, to) .. body:sub(from)
        else
          body = body:sub(1, from - 1) .. string.char(random:integer(0, 255)) .. body:sub(from + 1)
        end
        body = #body > 0 and body or " "
      end
      parse(body, nil, tostring(random) .. ": " .. body)
    end
  end)

  it("returns its documented form for random documents with known names", function()
    local names =
      { "error", "code", "message", "Message", "ErrorCode", "details", "innerError", "value" }
    for _, name in ipairs { "RetryAfter", "request-id", "error_codes", "CustomApiErrorPhrase" } do
      names[#names + 1] = name
    end
    local scalars =
      { cjson.null, true, 0, -1, 1e300, "", "A", "two words", "1", "\0", "<b>c</b>", " - " }
    local function value(depth)
      local kind = depth > 0 and random:integer(1, 4) or 1
      if kind == 1 then
        return random:pick(scalars)
      elseif kind == 2 then
        return cjson.encode { value(depth - 1) } -- a document inside a text
      end
      local made = {}
      for index = 1, random:integer(0, 4) do
        made[kind == 3 and index or random:pick(names)] = value(depth - 1)
      end
      return made
    end
    for _ = 1, rounds do
      local body = cjson.encode(value(random:integer(1, 8)))
      parse(body, nil, tostring(random) .. ": " .. body)
    end
  end)

  it("takes time in proportion to a hostile text", function()
    local function filled(with)
      return with:rep(math.floor(hostile_size / #with))
    end
    local nested = '"'
    for _ = 1, 15 do
      nested = cjson.encode(nested)
    end
    local object = '{"error":'
    local hostile = {
      filled("["),
      filled("{"),
      filled(object),
      '"' .. filled("\\"),
      '"' .. filled("\\u"),
      filled("\\"),
      filled('"'),
      filled(" ") .. "x",
      "x" .. filled(" ") .. "x",
      filled("{ "),
      "{" .. filled(" "),
      filled("<"),
      "<title" .. filled("<title"),
      "<title>" .. filled("&"),
      "<h1>" .. filled("<b"),
      filled("\0"),
      filled("\255"),
      filled("\194\128"),
      filled("\226\128\174"),
      filled("a"),
      filled("a "),
      filled(" - "),
      filled(" - Operation ID"),
      filled("Activity ID"),
      filled("AADSTS"),
      "AADSTS" .. filled("1"),
      "one of the following scopes: " .. filled("a"),
      "one of the following scopes: " .. filled("a."),
      filled("one of the following scopes: "),
      '{"error":{"details":[' .. filled("{},"),
      '{"error":{"details":[' .. filled('{"message":"{\\"message\\":1}"},') .. "{}]}}",
      filled('{"code":"'),
      filled('"code":'),
      '{"a":NaN,' .. filled('"code" : \\"'),
      '{"a":NaN' .. filled(',"code":"'),
      filled(nested),
      '{"Message":' .. cjson.encode(nested) .. "}",
    }
    for index, text in ipairs(hostile) do
      local cut = '{"error":{"message":"' .. text
      for _, body in ipairs { text, cut, error_bodies.graph("A", text) } do
        local began = os.clock()
        parse(body, nil, "hostile text " .. index)
        -- Quadratic work in a megabyte would take minutes.
        assert.is_true(os.clock() - began < 5 * (patience or 1), "hostile text " .. index)
      end
    end
  end)
end)
