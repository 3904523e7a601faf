--- What an answer of the service, or the lack of one, means: outcome, delivery, hint. Pure.
--
-- The one table of outcomes. How to react (retry, wait, recover) is left to policies and operations.

local outcome = {}

--- Only failures need it, and it brings JSON along.
local function graph_error()
  return require "autopilot.graph_error"
end

---@alias autopilot.Outcome
---| "started" | "completed" | "fresh"
---| "in_progress" | "cooldown" | "throttled"
---| "unauthenticated" | "forbidden" | "not_licensed" | "not_found" | "rejected"
---| "unavailable" | "redirected" | "unexpected"
---| "unreachable" | "interrupted" | "token_error" | "cancelled" | "sync_failed" | "timed_out"

--- For each outcome whether it is a result, and what an administrator should do about it.
---@type table<autopilot.Outcome, { ok: boolean, hint: string? }>
outcome.all = {
  started = { ok = true },
  completed = { ok = true },
  fresh = { ok = true },
  in_progress = {
    ok = false,
    hint = "A sync is already running: wait for it to end. It may not include devices that were "
      .. "imported after it began.",
  },
  cooldown = {
    ok = false,
    hint = "The service accepts one sync in 10 minutes for each tenant, whoever asks: ask again "
      .. "when that time is over.",
  },
  throttled = {
    ok = false,
    hint = "The service is throttling this client: ask again after the time it names.",
  },
  unauthenticated = {
    ok = false,
    hint = "The service refused the token: check its audience, tenant and expiry.",
  },
  forbidden = {
    ok = false,
    hint = "Grant the application DeviceManagementServiceConfig.ReadWrite.All with admin consent; "
      .. "a signed-in user also needs an Intune role.",
  },
  not_licensed = {
    ok = false,
    hint = "The tenant has no Intune licence, or Intune is not its MDM authority.",
  },
  not_found = {
    ok = false,
    hint = "The service does not know this address: check base_url and api_version.",
  },
  rejected = { ok = false, hint = "The service refused the request: see the error it gave." },
  unavailable = { ok = false, hint = "The service failed: ask again later." },
  redirected = {
    ok = false,
    hint = "The answer is a redirect, which is never followed: check base_url and proxies.",
  },
  unexpected = {
    ok = false,
    hint = "The answer is not the service's: check for a captive portal or a proxy in between.",
  },
  unreachable = {
    ok = false,
    hint = "The service could not be reached and the request was not sent: check network, DNS and "
      .. "certificates.",
  },
  interrupted = {
    ok = false,
    hint = "The connection broke after the request may have been sent: a sync may have started.",
  },
  token_error = { ok = false, hint = "No token could be had: see what its provider said." },
  cancelled = {
    ok = false,
    hint = "Nothing was asked of the service: the run ended before this tenant was begun with.",
  },
  sync_failed = { ok = false, hint = "The service says that the sync failed: ask for another." },
  timed_out = { ok = false, hint = "The sync did not finish in the time given; it may still." },
}

--- Statuses that mean the same for every request.
local by_status = {
  [403] = "forbidden",
  [404] = "not_found",
}

--- What a status other than the one hoped for means.
---@param status integer
---@param service_error autopilot.GraphError from the body
---@param has_retry_after boolean
---@param is_sync_request boolean 409 and a bare 429 have their meaning only for the sync action
---@return autopilot.Outcome
function outcome.of_status(status, service_error, has_retry_after, is_sync_request)
  if by_status[status] then
    return by_status[status]
  elseif status == 401 then
    -- Intune wraps its own refusal in a 401: another token would not change it.
    return graph_error().is_forbidden(service_error) and "forbidden" or "unauthenticated"
  elseif status == 400 and graph_error().is_not_licensed(service_error) then
    return "not_licensed"
  elseif status == 409 and is_sync_request then
    return "in_progress"
  elseif status == 429 then
    return (is_sync_request and not has_retry_after) and "cooldown" or "throttled"
  elseif status >= 500 and status <= 599 then
    return "unavailable"
  elseif status >= 400 and status <= 499 then
    return "rejected"
  elseif status >= 300 and status <= 399 then
    return "redirected"
  end
  return "unexpected"
end

--- Did the sync request arrive at the service? A 3xx, a 5xx or a strange answer may come from
-- something in between.
---@param status integer
---@return "yes"|"unknown"
function outcome.delivered_by(status)
  return (status == 204 or (status >= 400 and status <= 499)) and "yes" or "unknown"
end

-- What keeps a request from being sent and is on our side of the network, by the names of failures.
local not_sent_by_us = {
  CANCELLED = true,
  CLOSED = true,
  DEADLINE = true,
  TENANT_CIRCUIT_OPEN = true,
  PHASE = true,
  C_BOUNDARY = true,
}

--- One sentence for the administrator.
---@param name autopilot.Outcome
---@param service_error autopilot.GraphError?
---@param network autopilot.NetworkFailure?
---@return string?
function outcome.hint(name, service_error, network)
  if name == "forbidden" and service_error then
    local missing = graph_error().missing_permissions(service_error)
    if missing and #missing > 0 then
      return "Grant the application one of these permissions, with admin consent: "
        .. table.concat(missing, ", ")
        .. "."
    end
  elseif name == "unreachable" and network and not_sent_by_us[network.name] and network.message then
    return "Nothing was asked of the service: " .. network.message .. "."
  end
  local row = outcome.all[name]
  return row and row.hint
end

return outcome
