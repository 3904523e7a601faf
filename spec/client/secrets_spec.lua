-- No option can forge a header, and no secret option is shown.

local autopilot_client = require "autopilot.client"
local mistakes = require "support.mistakes"
local virtual_world = require "support.virtual_world"

local mistake, raised = mistakes.of_client, mistakes.raised

describe("autopilot.client: secrets and header values", function()
  it("refuses what is more than a token at once, without quoting it", function()
    for _, bad in ipairs {
      "secret\r",
      "secret\n",
      "\nsecret",
      "sec\0ret",
      "secret\r\nX: y",
      "Bearer secret",
      "bearer secret",
    } do
      local message = mistake { token = bad }
      assert.is_truthy(
        message:find "option 'token' must be without CR, LF, NUL and the word 'Bearer'$"
      )
      assert.is_nil(message:find "secret")
      assert.is_nil(message:find "sec")
    end
  end)

  it("refuses an empty token, and one that is not text or a provider", function()
    assert.is_truthy(mistake({ token = "" }):find "option 'token' must not be empty")
    for _, bad in ipairs { 5, true, {} } do
      assert.is_truthy(
        mistake({ token = bad }):find "option 'token' must be a string or a function"
      )
    end
  end)

  it("refuses control characters in the user agent, without quoting it", function()
    for _, bad in ipairs { "fleet\r\nX: y", "fleet\n", "fleet\0", "fleet\127" } do
      local message = mistake { http = { user_agent = bad } }
      assert.is_truthy(message:find "option 'http.user_agent' must not contain control characters")
      assert.is_nil(message:find "fleet")
    end
  end)

  it("refuses a client_request_id that is not a plain id, without quoting it", function()
    local client, transport = virtual_world.new():scripted {}
    local bad_ids = { "", "fleet\r\nX: y", "fleet\0", "fleet 1", "fleet:1", ("f"):rep(129) }
    for _, bad in ipairs(bad_ids) do
      local message = raised(client.sync, client, { client_request_id = bad })
      assert.is_truthy(message:find "client:sync: option 'client_request_id' must", bad)
      assert.is_nil(message:find "fleet")
    end
    assert.equal(0, #transport.requests)
  end)

  it("does not show the token or a proxy's password in tostring or in an error", function()
    local client = autopilot_client { token = "hush-hush", tenant = "contoso" }
    assert.equal("autopilot.client (contoso, https://graph.microsoft.com)", tostring(client))
    assert.is_nil(mistake({ http = { proxy = "ftp://me:hunter2@proxy" } }):find "hunter2")
  end)

  it("refuses a proxy for http, to which the token would be readable", function()
    local line
    local message = raised(function()
      line = mistakes.this_line() + 1
      autopilot_client {
        token = "t",
        base_url = "http://127.0.0.1:8080",
        http = { proxy = "http://proxy:3128" },
      }
    end)
    assert.is_truthy(message:find "http.proxy")
    mistakes.assert_raised_at(line, message)
  end)
end)
