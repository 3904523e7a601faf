--- Keeps the tenants fresh: a timer in one worker looks at one tenant after the other, and starts again.
--
-- Looks never overlap: the next one is planned when the last has ended, and a claim in the store keeps apart
-- the old and the new workers of a reload, and the hosts of one portal. The claim expires, so that a
-- worker that was killed in the middle of a look does not stop the others for long. Without a store that
-- works nothing keeps looks apart, which is harmless: `ensure` asks only for what is not fresh.

local clients = require "portal.clients"
local metrics = require "portal.metrics"
local settings = require "portal.settings"

local keep_fresh = {}

local claim_key = "portal: keep fresh"
-- Seconds that one tenant may take. The claim is renewed for as long before each tenant.
local patience, claim_lifetime = 50, 60

--- Looks at one tenant: one pass, without sleep or retry. The next look comes soon enough.
local function look_at(tenant)
  local client = clients.of(tenant)
  local report, failure =
    client:ensure { max_age = settings.max_age, wait = false, timeout = patience }
  metrics.count_report(report or failure)
end

local function look_at_all()
  local store, has_complained = settings.store, false
  --- Logs, once a look, that the store has failed.
  local function complain_of(message)
    if message and not has_complained then
      has_complained = true
      ngx.log(ngx.WARN, "keep fresh: the store failed: ", message)
    end
  end

  local mine = ("%d %s %s"):format(ngx.worker.pid(), ngx.now(), tostring {})
  local _, message = store:add(claim_key, mine, claim_lifetime)
  if message == "exists" then
    return
  end
  complain_of(message)
  for _, tenant in ipairs(settings.tenants) do
    local holder, failure = store:get(claim_key)
    complain_of(failure)
    -- A reload waits for its old workers: this one leaves the rest to the next.
    if ngx.worker.exiting() or holder and holder ~= mine then
      break
    end
    complain_of(select(2, store:set(claim_key, mine, claim_lifetime)))
    look_at(tenant)
  end
  complain_of(select(2, store:delete_if(claim_key, mine)))
  metrics.note_look()
end

local plan -- forward: a look plans the next one

local function look(premature)
  if premature then
    return
  end
  local done, message = pcall(look_at_all)
  if not done then
    ngx.log(ngx.ERR, "keep fresh: ", message)
  end
  plan(settings.keep_fresh_every)
end

function plan(seconds)
  local planned, message = ngx.timer.at(seconds, look)
  if not planned and message ~= "process exiting" then
    ngx.log(ngx.ERR, "keep fresh has ended: no timer: ", message)
  end
end

--- Starts the timer in one worker. nginx replaces a worker that died by one with the same number.
function keep_fresh.start()
  if ngx.worker.id() == 0 and settings.keep_fresh_every > 0 and settings.tenants[1] then
    plan(0)
  end
end

return keep_fresh
