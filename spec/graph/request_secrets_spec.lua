-- No part of the token appears in a report, wherever a service echoes it.

local refused_token = require "support.refused_token"
local token_world = require "support.token_world"
local virtual_world = require "support.virtual_world"

local assert_nowhere = token_world.assert_nowhere
local provider_of, unauthorized = refused_token.provider_of, refused_token.unauthorized

describe("autopilot.client: a service that echoes the token", function()
  local opaque = "hush-4f6c1d0e9a7b-hush"
  local jwt = "eyJ0eXAiOiJKV1QifQ.eyJ0aWQiOiJjb250b3NvIn0.c2lnbmF0dXJl-c2lnbmF0dXJl"

  local function json_text(text)
    return (require("cjson.safe").encode(text))
  end

  local function unicode_escapes(text)
    return (
      text:gsub(".", function(character)
        return ("\\u%04x"):format(character:byte())
      end)
    )
  end

  for _, token in ipairs { opaque, jwt } do
    local bodies = {
      token,
      '{"error":{"code":"' .. token .. '","message":"bad token ' .. token .. '"}}',
      '{"error":{"code":"x","message":"bad ' .. unicode_escapes(token) .. '"}}',
      '{"error":{"code":"x","message":' .. json_text(
        '{"Message":' .. json_text("bad " .. token) .. "}"
      ) .. "}}",
      '{"error":{"code":"x","message":' .. json_text(
        '{"Message":"' .. unicode_escapes(token) .. '"}'
      ) .. "}}",
      '{"error":{"code":"x","innerError":{"request-id":"'
        .. token
        .. '","client-request-id":"'
        .. token
        .. '"},"message":"Activity ID: '
        .. token
        .. '"}}',
      "<html><h1>" .. token .. "</h1></html>",
      -- In pieces that reading the body puts together: an invisible character, a NUL.
      '{"error":{"code":"x","message":"bad ' .. token:gsub("^....", "%0\194\133") .. '"}}',
      '{"error":{"code":"x","message":"bad ' .. token:gsub("^....", "%0\\u0000") .. '"}}',
    }

    it("does not get it into report, tostring or events: " .. token:sub(1, 4), function()
      for _, status in ipairs { 200, 302, 400, 401, 403, 404, 409, 429, 500, 503 } do
        for _, body in ipairs(bodies) do
          local world = virtual_world.new()
          local client = world:scripted({
            {
              status = status,
              body = body,
              headers = {
                ["request-id"] = token,
                ["x-ms-ags-diagnostic"] = '{"ServerInfo":"' .. token .. '"}',
                ["Retry-After"] = token,
                ["Sunset"] = token,
                ["Date"] = token,
                ["WWW-Authenticate"] = "Bearer " .. token,
                ["Location"] = "https://evil.example/?" .. token,
              },
            },
          }, { token = token, retry = false, recover = false })
          local report, failure = client:sync()
          assert.is_nil(report)
          assert_nowhere(token, failure)
          assert_nowhere(token, tostring(failure))
          assert_nowhere(token, world.events)
        end
      end
    end)

    it("does not get it into the report by a message or record: " .. token:sub(1, 4), function()
      local world = virtual_world.new()
      local client = world:scripted({
        { network = { stage = "tls", message = "no certificate for " .. token } },
        { status = 200, body = ('{"syncStatus":"%s"}'):format(token) },
        { status = 200, body = "not JSON: " .. token },
      }, { token = token, retry = false })
      assert_nowhere(token, select(2, client:sync()))
      for _ = 1, 2 do
        local report, failure = client:status()
        assert_nowhere(token, report or failure)
        assert_nowhere(token, tostring(report or failure))
      end
      assert_nowhere(token, world.events)
    end)
  end

  it("does not get it into the report as an unknown state of a record", function()
    local token = "hush4f6c1d0e9a7bhush"
    local world = virtual_world.new()
    local told = {}
    local client = world:scripted({
      { status = 200, body = ('{"syncStatus":"%s"}'):format(token) },
      last = "repeat",
    }, { token = token })
    local function on_progress(progress)
      told[#told + 1] = progress
    end
    assert_nowhere(token, client:status())
    assert_nowhere(token, select(2, client:wait { timeout = 10, on_progress = on_progress }))
    assert_nowhere(token, told)
    assert.is_true(#told > 0)
  end)

  it("does not reveal the refused token either, once it was refreshed", function()
    local provider = provider_of(opaque, "another-token-0123456789")
    local world = virtual_world.new()
    local client = world:scripted({
      unauthorized,
      { status = 403, body = '{"error":{"code":"x","message":"still ' .. opaque .. '"}}' },
    }, { token = provider })
    local failure = select(2, client:sync())
    assert_nowhere(opaque, failure)
    assert_nowhere(opaque, world.events)
  end)

  it("does not reveal secrets by a provider's message", function()
    local asked = 0
    local client = virtual_world.new():scripted({ unauthorized }, {
      token = function()
        asked = asked + 1
        if asked > 1 then
          error("cannot refresh " .. opaque)
        end
        return opaque
      end,
    })
    local failure = select(2, client:sync())
    assert.is_truthy(failure.hint:find "cannot refresh")
    assert_nowhere(opaque, failure)
  end)
end)
