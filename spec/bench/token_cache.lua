-- token_cache.lua static|cached|coroutines|day [COUNT]: what the cache of tokens costs and saves. Needs
-- no server: every request is answered here.
--
--   static COUNT      so many syncs with a token that is a text
--   cached COUNT      so many syncs with a token from a cache; counted by callgrind, the difference of
--                     both is what the cache costs for each sync
--   coroutines COUNT  so many coroutines that ask at once, the cache empty: prints the token requests
--   day COUNT         so many tenants that sync every hour for a day, on the minute or up to ten minutes
--                     early or late, with tokens of one hour: prints for both how often was asked, the
--                     token requests and the least that are possible when none may be sent with less
--                     than 300 s left
local autopilot = require "autopilot"
local turns = require "support.turns"
local mode, count = arg[1], tonumber(arg[2])

local token = "eyJ" .. ("a"):rep(97) .. ".eyJ" .. ("b"):rep(1353) .. "." .. ("c"):rep(342)

-- An HTTP layer that prepares requests, as that of libcurl does: nothing but the client is measured.
local function answering()
  local response = { status = 204, headers = {}, http_version = "1.1", sends = 1, timings = {} }
  local transport = {}
  function transport.prepare()
    return function()
      return response
    end
  end
  return setmetatable(transport, {
    __call = function()
      return response
    end,
  })
end

-- No garbage is collected: where in a collection the last sync falls would count for more than the cache,
-- which leaves none behind.
local function syncs(provider)
  collectgarbage "stop"
  local client = autopilot.client {
    token = provider,
    tenant = "contoso",
    transport = answering(),
    cooldown = 0,
  }
  for _ = 1, count do
    assert(client:sync())
  end
end

local function coroutines()
  local requests, threads = 0, {}
  local provider = autopilot.token.cached(function()
    requests = requests + 1
    coroutine.yield()
    return token, 3600
  end)
  for index = 1, count do
    threads[index] = coroutine.create(function()
      assert(
        provider { tenant = "contoso", cloud = "global", scope = "x", sleep = coroutine.yield }
      )
    end)
  end
  turns.run_all(threads)
  print(requests)
end

-- The least number of requests that serve these moments, when a token is good for `life` seconds: each
-- one fetched at the first moment that the one before does not serve.
local function least(moments, life)
  local requests, good_until = 0, -math.huge
  for _, moment in ipairs(moments) do
    if moment >= good_until then
      requests, good_until = requests + 1, moment + life
    end
  end
  return requests
end

-- A linear congruential generator: the same day in every run.
local seed = 1
local function random(limit)
  seed = (seed * 16807) % 2147483647
  return seed % limit
end

local function day(title, spread)
  local time, requests, minimum, asked = 0, 0, 0, 0
  local lifetime, minimum_life = 3600, 300
  local provider = autopilot.token.cached(function()
    requests = requests + 1
    return token, lifetime
  end)
  local steps = {}
  for index = 1, count do
    local tenant, moments = "tenant-" .. index, {}
    for hour = 0, 23 do
      -- A sync asks to begin, while it runs, and when it has completed.
      local began = hour * 3600 + index % 1800 + 900 + random(2 * spread + 1) - spread
      for _, after in ipairs { 0, 1, 20, 60 } do
        moments[#moments + 1] = began + after
        steps[#steps + 1] = { time = began + after, tenant = tenant }
      end
    end
    minimum = minimum + least(moments, lifetime - minimum_life)
  end
  table.sort(steps, function(a, b)
    return a.time < b.time
  end)
  local ask = { cloud = "global", scope = "https://graph.microsoft.com/.default" }
  function ask.now()
    return time
  end
  for _, step in ipairs(steps) do
    time, ask.tenant, asked = step.time, step.tenant, asked + 1
    assert(provider(ask))
  end
  print(("%s\t%d\t%d\t%d"):format(title, asked, requests, minimum))
end

if mode == "static" then
  syncs(token)
elseif mode == "cached" then
  syncs(autopilot.token.cached(function()
    return token, 3600
  end))
elseif mode == "coroutines" then
  coroutines()
elseif mode == "day" then
  day("on the minute", 0)
  day("early or late", 600)
else
  error("token_cache.lua static|cached|coroutines|day COUNT", 0)
end
