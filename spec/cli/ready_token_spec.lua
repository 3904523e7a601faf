local command = require "support.command"
local files = require "support.files"
local scripted = require "autopilot.transport.scripted"

-- Runs `sync`; returns the tokens that were sent, and how it ended.
local function run(args, given, answers)
  local transport = scripted(answers or { { status = 204 } })
  given.transport = transport
  local ran = command.run("sync " .. args, given)
  local tokens = {}
  for index, request in ipairs(transport.requests) do
    tokens[index] = request.headers.Authorization:match "^Bearer (.*)$"
  end
  return tokens, ran
end

local function stdin_of(text)
  return {
    read = function(_, most)
      local part = text:sub(1, most)
      return part ~= "" and part or nil
    end,
  }
end

describe("the command's token", function()
  it("comes from AUTOPILOT_TOKEN", function()
    local tokens = run("", { env = { AUTOPILOT_TOKEN = "from-environment" } })
    assert.are.same({ "from-environment" }, tokens)
  end)

  it("comes from a file before the environment", function()
    local path, remove = files.temporary " from-file\r\n"
    local tokens = run("--token-file " .. path, { env = { AUTOPILOT_TOKEN = "from-environment" } })
    assert.are.same({ "from-file" }, tokens)
    remove()
  end)

  it("comes from standard input for -", function()
    local tokens = run("--token-file -", { stdin = stdin_of "from-input\n" })
    assert.are.same({ "from-input" }, tokens)
  end)

  it("is read again when it was refused, and sent if it has changed", function()
    local path, remove = files.temporary "first"
    local tokens, ran = run("--token-file " .. path, {}, {
      function()
        files.write(path, "second\n")
        return { status = 401 }
      end,
      { status = 204 },
    })
    assert.are.same({ "first", "second" }, tokens)
    assert.equal(0, ran.code)
    remove()
  end)

  it("is not read again for another attempt if it was not refused", function()
    local path, remove = files.temporary "first"
    local tokens = run("--token-file " .. path, { sleep = function() end }, {
      function()
        files.write(path, "second")
        return nil, { stage = "connect" }
      end,
      { status = 204 },
    })
    assert.are.same({ "first", "first" }, tokens)
    remove()
  end)

  it("is not sent twice if the file has no other token", function()
    for _, later in ipairs { "first\n", "", "two words", false } do
      local path, remove = files.temporary "first"
      local tokens, ran = run("--token-file " .. path, {}, {
        function()
          os.remove(path)
          if later then
            files.write(path, later)
          end
          return { status = 401 }
        end,
      })
      assert.are.same({ "first" }, tokens)
      assert.equal(5, ran.code)
      assert.is_truthy(ran.err:find("unauthenticated", 1, true))
      remove()
    end
  end)
end)

describe("a missing token", function()
  local function mistake(args, given)
    local tokens, ran = run(args, given)
    assert.are.same({}, tokens)
    assert.equal(2, ran.code)
    assert.equal("", ran.out)
    assert.is_nil(ran.err:find("hidden", 1, true))
    return (ran.err:match "^autopilot%-sync: ([^\n]*)\n$")
  end

  it("ends in 2, and says how to give one", function()
    local sentence = "there is no token: sign in as an application with --client-id and "
      .. "--client-secret-file, or in another way with --auth; or give a token in AUTOPILOT_TOKEN "
      .. "or by --token-file"
    assert.equal(sentence, mistake("", {}))
    assert.equal(sentence, mistake("", { env = { AUTOPILOT_TOKEN = "" } }))
    assert.equal(sentence, mistake("--json", {}))
  end)

  it("ends in 2, and says what is wrong with the file", function()
    assert.equal(
      "--token-file cannot be read: /no/such/file: No such file or directory",
      mistake("--token-file /no/such/file", { env = { AUTOPILOT_TOKEN = "hidden" } })
    )
    assert.equal("--token-file cannot be read: /: it is a folder", mistake("--token-file /", {}))
    for text, wrong in pairs {
      [""] = "--token-file cannot be read: %s: it is empty",
      [" \r\n"] = "--token-file: %s is empty",
      ["hidden hidden"] = "--token-file: %s must hold a token and nothing else",
      ["Bearer hidden"] = "--token-file: %s must hold a token and nothing else",
      ["hidden\0hidden"] = "--token-file: %s must hold one line and nothing else",
      ["\255\254h\0i\0"] = "--token-file: %s is text in UTF-16: save it as UTF-8",
      [("hidden"):rep(20000)] = "--token-file cannot be read: %s: it is too large",
    } do
      local path, remove = files.temporary(text)
      assert.equal(wrong:format(path), mistake("--token-file " .. path, {}))
      remove()
    end
  end)

  it("ends in 2, and says what is wrong with the input or the variable", function()
    assert.equal("standard input is empty", mistake("--token-file -", { stdin = stdin_of "" }))
    assert.equal(
      "standard input is too large for a token",
      mistake("--token-file -", { stdin = stdin_of(("hidden"):rep(20000)) })
    )
    assert.equal(
      "AUTOPILOT_TOKEN must hold one line and nothing else",
      mistake("", { env = { AUTOPILOT_TOKEN = "hidden\r\nX-Header: hidden" } })
    )
    assert.equal("AUTOPILOT_TOKEN is empty", mistake("", { env = { AUTOPILOT_TOKEN = "  " } }))
  end)

  it(
    "ends in 2 at once for an input or a variable that has blanks only, or many line ends",
    function()
      local began, blanks = os.clock(), (" "):rep(60000)
      assert.equal(
        "standard input is empty",
        mistake("--token-file -", { stdin = stdin_of(blanks) })
      )
      assert.equal(
        "standard input is empty",
        mistake("--client-secret-file - --client-id x --tenant contoso.example", {
          stdin = stdin_of(blanks),
        })
      )
      assert.equal(
        "AUTOPILOT_TOKEN must hold one line and nothing else",
        mistake("", { env = { AUTOPILOT_TOKEN = "x" .. ("\n"):rep(60000) .. "x" } })
      )
      assert.is_true(os.clock() - began < 5, "quadratic time")
    end
  )
end)
