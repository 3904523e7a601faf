-- One reader and writer of JSON, also in a host program whose locale has a decimal comma.

local files = require "support.files"
local interpreter = require("support.command_process").interpreter
local json = require "autopilot.base.json"
local source_tree = require "support.source_tree"

describe("autopilot.base.json", function()
  it("reads and writes JSON, and says what is wrong with a text", function()
    assert.are.same({ a = { 1, "x", true, 2.5 } }, json.decode '{"a":[1,"x",true,2.5]}')
    assert.equal(json.null, json.decode "null")
    assert.equal('{"a":1.5}', json.encode { a = 1.5 })
    for _, text in ipairs { "", "{", "nope", '{"a":}', "[1.5,]" } do
      local value, message = json.decode(text)
      assert.is_nil(value)
      assert.is_string(message)
    end
    assert.is_nil((json.decode(nil)))
    assert.is_nil((json.decode(5)))
    assert.is_nil((json.encode(print)))
    assert.is_nil((json.encode(0 / 0)))
  end)

  it("skips one byte order mark", function()
    local mark = "\239\187\191"
    assert.are.same({ a = 1 }, json.decode(mark .. '{"a":1}'))
    assert.is_nil((json.decode(mark .. mark .. "{}")))
    assert.is_nil((json.decode(mark)))
  end)

  it("keeps its settings from other users of lua-cjson", function()
    local others = require "cjson"
    others.decode_max_depth(1)
    others.encode_number_precision(3)
    assert.are.same({ { { 1 } } }, json.decode "[[[1]]]")
    assert.equal("[1.23456789]", json.encode { 1.23456789 })
    others.decode_max_depth(1000)
    others.encode_number_precision(14)
  end)

  it("is the only JSON reader of all modules", function()
    local users = {}
    for _, path in ipairs(source_tree.files("lua", "lua")) do
      local text = source_tree.bare_lua(source_tree.read(path))
      if text:find "require[%s(]*[\"']cjson" then
        users[#users + 1] = path
      end
    end
    assert.are.same({ "lua/autopilot/base/json.lua" }, users)
  end)
end)

-- The program that a host with a decimal comma is: it loads the library, sets its locale, and goes on.
local program = [==[
local autopilot = require "autopilot"
local json = require "autopilot.base.json"
local report_pieces = require "autopilot.cli.json"
json.decode "[1.5]"
assert(os.setlocale("de_DE.UTF-8", "numeric"), "there is no such locale")
assert(json.decode("[1.5]")[1] == 3 / 2)
assert(json.encode { 3 / 2 } == "[1.5]")
assert(table.concat(report_pieces { a = 3 / 2, b = 1785000000.5 }) == '{"a":1.5,"b":1785000000.5}')

local answers = {
  { status = 200, body = '\239\187\191{"access_token":"t","expires_in":"3599.5","ext":0.25}' },
  { status = 200, body = '{"access_token":"t","expires_in":3599.5,"expires_on":"99999999999.5"}' },
}
local function transport()
  return table.remove(answers, 1)
end
local ask = { transport = transport, tenant = "contoso.test", sleep = function() end }
local application = require "autopilot.token.application"
local secret = application.client_secret { client_id = "c", client_secret = "s" }
local token, seconds = secret(ask)
assert(token == "t" and seconds == 7199 / 2)
token, seconds = require "autopilot.token.managed_identity" { getenv = function() end } (ask)
assert(token == "t" and seconds == 7199 / 2)

local record = '\239\187\191{"syncStatus":"completed","x":0.5,'
  .. '"lastSyncDateTime":"2026-07-23T11:23:15.0768271Z"}'
assert(require("autopilot.sync.record").parse(record).sync_status == "completed")
local body = '\239\187\191{"error":{"code":"c","message":"m"},"x":0.5}'
local told = require("autopilot.graph.error").parse(body)
assert(told.code == "c")
local client = autopilot.client { token = "t", transport = function()
  return { status = 429, headers = { ["retry-after"] = "2.5", ["request-id"] = "r" }, body = "" }
end, retry = false }
assert(select(2, client:sync()).retry_after == 5 / 2)
print "read"
]==]

describe("a host program with a decimal comma", function()
  local folder = os.tmpname()

  setup(function()
    os.remove(folder)
    local command = "mkdir -p %s && localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1"
    os.execute(command:format(folder, folder))
  end)

  teardown(function()
    os.execute("rm -rf " .. folder)
  end)

  it("still reads and writes numbers, and skips byte order marks", function()
    local path, remove = files.temporary(program)
    local line = ("LOCPATH=%s exec %s %s 2>&1"):format(folder, interpreter, path)
    local pipe = io.popen(line, "r")
    local output = pipe:read "*a"
    pipe:close()
    remove()
    assert.equal("read\n", output)
  end)
end)
