--- Keeps the tenants fresh: a timer in one worker looks at one tenant after the other, and starts again.
--
-- Looks never overlap: the next one is planned when the last has ended, and a claim in the store keeps apart
-- the old and the new workers of a reload, and the hosts of one portal. The claim expires, so that a
-- worker that was killed in the middle of a look does not stop the others for long.

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
  local store = settings.store
  local mine = ("%d %s %s"):format(ngx.worker.pid(), ngx.now(), tostring {})
  if not store:add(claim_key, mine, claim_lifetime) then
    return
  end
  for _, tenant in ipairs(settings.tenants) do
    -- A reload waits for its old workers: this one leaves the rest to the next.
    if ngx.worker.exiting() or store:get(claim_key) ~= mine then
      break
    end
    store:set(claim_key, mine, claim_lifetime)
    look_at(tenant)
  end
  store:delete_if(claim_key, mine)
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
