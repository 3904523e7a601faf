-- Whatever bytes an answer has and wherever: nothing raises, the status survives, and every text of a report
-- or an event is valid UTF-8 of visible characters, with a ceiling. EXCHANGE_TEXTS_SEED repeats a failing case,
-- EXCHANGE_TEXTS_ROUNDS=2000 tries more.

local Output = require "autopilot.cli.output"
local SeededRandom = require "support.seeded_random"
local cjson = require "cjson"
local shared_answer = require "autopilot.share.shared_answer"
local json_suite = require "support.json_suite"
local mistakes = require "support.mistakes"
local virtual_world = require "support.virtual_world"

local rounds = tonumber(os.getenv "EXCHANGE_TEXTS_ROUNDS") or 100
local random = SeededRandom.new "EXCHANGE_TEXTS_SEED"

--- What must not be in a text, by the names of Unicode. Written for reading, not for speed.
local unwanted = {
  ["C0, DEL"] = "[%z\1-\31\127]",
  ["C1"] = "\194[\128-\159]",
  ["soft hyphen"] = "\194\173",
  ["Arabic letter mark"] = "\216\156",
  ["zero width, direction marks"] = "\226\128[\139-\143]",
  ["line ends, embeddings, overrides"] = "\226\128[\168-\174]",
  ["isolates"] = "\226\129[\160-\175]",
  ["byte order mark"] = "\239\187\191",
  ["tags"] = "\243\160[\128\129]",
}

local sequences = {
  "[\194-\223][\128-\191]",
  "\224[\160-\191][\128-\191]",
  "[\225-\236\238-\239][\128-\191][\128-\191]",
  "\237[\128-\159][\128-\191]",
  "\240[\144-\191][\128-\191][\128-\191]",
  "[\241-\243][\128-\191][\128-\191][\128-\191]",
  "\244[\128-\143][\128-\191][\128-\191]",
}

local function complaint_about(text)
  for what, pattern in pairs(unwanted) do
    if text:find(pattern) then
      return what
    end
  end
  local rest = text:gsub("[%z\1-\127]+", " ")
  for _, sequence in ipairs(sequences) do
    rest = rest:gsub(sequence, " ")
  end
  if rest:find "[\128-\255]" then
    return "no UTF-8"
  end
  return #text > 6000 and "too long" or nil -- characters have up to four bytes
end

local function assert_fit(value, context)
  if type(value) == "table" then
    for name, field in pairs(value) do
      assert_fit(name, context)
      assert_fit(field, context .. "." .. tostring(name))
    end
  elseif type(value) == "string" then
    local complaint = complaint_about(value)
    if complaint then
      error(("%s: %s (%s): %q"):format(context, complaint, tostring(random), value), 0)
    end
  end
end

local pieces = {
  "Not allowed ",
  "id-5c0e ",
  "\27[2J\27]0;owned\7",
  "\194\155 2J",
  "\155 2J",
  "\226\128\174gnp.exe",
  "\226\129\166",
  "\226\128\143",
  "\216\156",
  "\192\155",
  "\224\128\155",
  "\240\128\128\155",
  "\237\160\128",
  "\r\n",
  "\0",
  "\127",
  "\133",
  "\244\144\128\128",
  "\195\164",
  "\240\159\152\128",
  "\239\187\191",
  "\194\173",
  "\243\160\129\129",
  "\\u001b",
  "\\u202e",
  "&#27;",
  "&#x202e;",
  "&#155;",
  "%1B",
  "<b>",
  '"',
  "{",
  "}",
  "\\",
}

local function hostile_text()
  local parts = {}
  local count = random:integer(1, random:integer(1, 12) == 1 and 900 or 14)
  for index = 1, count do
    if random:integer(1, 4) == 1 then
      parts[index] = string.char(random:integer(0, 255), random:integer(128, 255))
    else
      parts[index] = random:pick(pieces)
    end
  end
  return table.concat(parts)
end

--- The text as it can stand in JSON: bytes stay, valid or not.
local function quoted(text)
  return '"'
    .. text:gsub('[%c"\\]', function(character)
      return ("\\u%04x"):format(character:byte())
    end)
    .. '"'
end

local bodies = {
  function()
    local inner = ('{"request-id":%s,"code":%s}'):format(
      quoted(hostile_text()),
      quoted(hostile_text())
    )
    return ('{"error":{"code":%s,"message":%s,"innerError":%s}}'):format(
      quoted(hostile_text()),
      quoted(hostile_text()),
      inner
    )
  end,
  function()
    return ('{"error":{"code":"Forbidden","message":%s}}'):format(
      quoted(
        ('{"Message":%s}'):format(quoted(hostile_text() .. " - Activity ID: " .. hostile_text()))
      )
    )
  end,
  function()
    return "<html><title>" .. hostile_text() .. "</title>" .. hostile_text()
  end,
  function()
    local record = '{"syncStatus":%s,"lastSyncDateTime":%s}'
    return record:format(quoted(hostile_text()), quoted(hostile_text()))
  end,
  hostile_text,
}

local statuses = { 200, 204, 302, 400, 401, 403, 404, 409, 429, 500, 503 }

local function answer(status, intermediary)
  return {
    status = status,
    http_version = hostile_text(),
    body = random:pick(bodies)(),
    intermediary = intermediary,
    headers = {
      ["request-id"] = hostile_text(),
      ["client-request-id"] = hostile_text(),
      ["x-ms-ags-diagnostic"] = hostile_text(),
      ["sunset"] = hostile_text(),
      ["content-type"] = random:pick { "text/html", "application/json", hostile_text() },
      ["location"] = "https://" .. hostile_text(),
      ["retry-after"] = hostile_text(),
      ["date"] = hostile_text(),
      ["www-authenticate"] = hostile_text(),
    },
  }
end

--- Does both operations with a client of a world of its own.
local function check(response, network, context)
  local world = virtual_world.new()
  local client = world:client {
    retry = false,
    recover = false,
    transport = function()
      return response, network
    end,
  }
  for _, operation in ipairs { "sync", "status" } do
    local report, failure =
      client[operation](client, operation == "sync" and { force = true } or nil)
    local told = report or failure
    if response then
      assert(told.status == response.status, context)
    end
    assert_fit(told, context)
    assert_fit(tostring(told), context)
  end
  assert_fit(world.events, context)
end

describe("the texts of reports and events", function()
  it("have no control characters, for any head and body of an answer", function()
    for round = 1, rounds do
      local intermediary = ({ true, false })[random:integer(1, 3)]
      local status = random:pick(statuses)
      check(answer(status, intermediary), nil, "round " .. round)
    end
  end)

  it("have no control characters, for any network failure of a transport", function()
    for round = 1, rounds / 2 do
      local network = {
        stage = hostile_text(),
        name = hostile_text(),
        message = hostile_text(),
        delivered = random:pick { "no", "unknown" },
      }
      check(nil, network, "round " .. round)
      check(answer(429), network, "round " .. round)
    end
  end)

  it("have no control characters, and the right status, for every case of JSONTestSuite", function()
    for _, case in ipairs(json_suite.cases()) do
      for _, body in ipairs {
        case.text,
        '{"error":{"code":"Forbidden","message":' .. case.text .. "}}",
        '{"error":{"code":"Forbidden","message":' .. cjson.encode(case.text) .. "}}",
      } do
        check({ status = 403, headers = { ["request-id"] = "5c0e" }, body = body }, nil, case.name)
      end
      local record = '{"syncStatus":' .. case.text .. ',"lastSyncDateTime":' .. case.text .. "}"
      check({ status = 200, headers = {}, body = case.text }, nil, case.name)
      check({ status = 200, headers = {}, body = record }, nil, case.name)
    end
  end)

  it("have no control characters if they come from a store", function()
    local reader = virtual_world.new():client()
    for round = 1, rounds / 5 do
      local texts = {}
      for _, name in ipairs { "code", "message", "reason", "stage", "name" } do
        texts[name] = hostile_text()
      end
      local text = cjson.encode {
        id = "claim",
        told_by = "claim",
        sent = "1000.5",
        took = 1,
        attempts = 1,
        answer = {
          outcome = "forbidden",
          delivered = "yes",
          http_version = hostile_text(),
          request_id = hostile_text(),
          activity_id = hostile_text(),
          diagnostics = hostile_text(),
          hint = hostile_text(),
          error = texts,
          network = texts,
        },
      }
      local result = assert(shared_answer.read(cjson.decode(text), reader))
      assert_fit(result.answer, "round " .. round)
    end
  end)

  it("contain no tenant's name with control characters, or of unbounded length", function()
    for _, tenant in ipairs { "a\194\155b", "a\155b", "a\226\128\174b", "a\27b", ("a"):rep(256) } do
      assert.is_truthy(mistakes.of_client({ tenant = tenant }):find "tenant id or a domain")
    end
    assert.equal(
      "b\195\188cher.example",
      virtual_world.new():client({ tenant = "b\195\188cher.example" }).tenant
    )
  end)
end)

describe("what the command prints", function()
  it("is one line of visible characters, for any input", function()
    local printed = {}
    local stream = {
      write = function(_, ...)
        printed[#printed + 1] = table.concat { ... }
        return true
      end,
      flush = function()
        return true
      end,
    }
    local output = Output.new(stream, stream)
    for round = 1, rounds do
      output:line(hostile_text():sub(1, 1500))
      output:complain(hostile_text():sub(1, 1500))
      for _, line in ipairs(printed) do
        assert_fit(line:gsub("\n$", ""), "round " .. round)
      end
      printed = {}
    end
    output:line "  b\195\188cher   2"
    assert.equal("  b\195\188cher   2", (table.concat(printed):gsub("\n", "")))
  end)
end)
