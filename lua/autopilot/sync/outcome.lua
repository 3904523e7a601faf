--- What an answer of the service, or the lack of one, means: outcome, delivery, hint. Pure.
--
-- The one table of outcomes. How to react (retry, wait, recover) is left to policies and operations.

local outcome = {}

--- Only failures need it, and it brings JSON along.
local function graph_error()
  return require "autopilot.graph.error"
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

--- What the command ends with for each outcome: the contract with scripts that call it.
---@type table<integer, string>
outcome.exit_codes = {
  [0] = "started completed fresh",
  [1] = "rejected unexpected redirected not_found",
  [3] = "in_progress",
  [4] = "cooldown throttled",
  [5] = "token_error unauthenticated forbidden not_licensed",
  [6] = "unreachable interrupted unavailable",
  [7] = "sync_failed",
  [8] = "timed_out",
  [9] = "cancelled",
}

--- The exit code for a report. A status that was read has no outcome and ends in 0.
---@param report autopilot.Report
---@return integer
function outcome.exit_code(report)
  for code, names in pairs(outcome.exit_codes) do
    if report.outcome and (" " .. names .. " "):find(" " .. report.outcome .. " ", 1, true) then
      return code
    end
  end
  return report.ok and 0 or 1
end

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
---@param is_intermediary boolean? a proxy, filter or portal answered: its 4xx says nothing of the service
---@return autopilot.Outcome
function outcome.of_status(status, service_error, has_retry_after, is_sync_request, is_intermediary)
  if is_intermediary and status >= 400 and status <= 499 then
    return "unexpected"
  elseif by_status[status] then
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
---@param is_intermediary boolean? it surely comes from something in between
---@return "yes"|"unknown"
function outcome.delivered_by(status, is_intermediary)
  local is_telling = status == 204 or (status >= 400 and status <= 499)
  return is_telling and not is_intermediary and "yes" or "unknown"
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

--- What came instead of the answer hoped for.
---@class autopilot.StrayAnswer
---@field status integer
---@field content_type string?
---@field page string? the title of a page
---@field location string? where a redirect leads
---@field is_intermediary boolean

--- The host that a redirect leads to; nil where it names none. Nothing else of the address is told.
local function host_of(location)
  local authority = (location or ""):match "^%a[%w+.-]*://([^/?#]*)"
    or (location or ""):match "^//([^/?#]*)"
  local host = authority and authority:match "[^@]*$"
  local is_host = host and (host:find "^[%w.-]+:?%d*$" or host:find "^%[[%x:.]+%]:?%d*$")
  return is_host and #host <= 253 and host or nil
end

--- Status, and the title of the page or the type of the body: `HTTP 403, "Access blocked"`.
local function told_by(stray)
  local kind = (stray.content_type or ""):match "^%a[%w/+.-]*"
  local what = stray.page and ('"%s"'):format(stray.page) or kind and kind:sub(1, 60)
  return ("HTTP %d%s"):format(stray.status, what and ", " .. what or "")
end

--- Hints that depend on what came, by outcome.
---@type table<autopilot.Outcome, fun(stray: autopilot.StrayAnswer, service_error: autopilot.GraphError?): string?>
local of_stray = {
  redirected = function(stray)
    local host = host_of(stray.location)
    return host
      and "The answer is a redirect to "
        .. host
        .. ", which is never followed: check base_url and proxies."
  end,
  unexpected = function(stray)
    local told = told_by(stray)
    if stray.is_intermediary then
      return "A proxy, filter or portal answered in place of the service ("
        .. told
        .. "): have it let requests to Microsoft Graph through."
    end
    return "The service answered "
      .. told
      .. ", which is no answer to this request: check base_url and api_version."
  end,
  unavailable = function(stray)
    local hint = "A gateway or proxy answered in place of the service (%s): ask again later."
    return stray.is_intermediary and hint:format(told_by(stray))
  end,
  rejected = function(_, service_error)
    local has_reason = service_error and (service_error.code or service_error.message)
    return not has_reason
      and "The service refused the request and gave no reason: check base_url and api_version."
  end,
}

-- What to look at when the service could not be reached, by the stage that failed.
local of_stage = {
  resolve = "The service's name was not found and nothing was sent: check DNS and the network.",
  tls = "The connection could not be made secure and nothing was sent: where a company's proxy "
    .. "signs it anew, name its authority (--ca-file, http.ca_file or SSL_CERT_FILE). A wrong "
    .. "clock of this machine does this too.",
  proxy = "The proxy (--proxy, http.proxy or the environment's) could not be used and nothing was "
    .. "sent: check that it runs and lets this host through.",
}

local environment_proxy = "The proxy that %s names could not be used and nothing was sent: correct "
  .. "or unset it, or except the host by no_proxy."

--- What to do about a service that could not be reached.
local function hint_of_network(network)
  if not_sent_by_us[network.name] and network.message then
    return "Nothing was asked of the service: " .. network.message .. "."
  end
  local message = network.message or ""
  local variable = network.stage == "proxy" and message:match "%(proxy set by ([%w_]+)%)$"
  if network.stage == "tls" and message:find "not yet valid" then
    return "The service's certificate is not yet valid by this machine's clock: set the clock."
  end
  return variable and environment_proxy:format(variable) or of_stage[network.stage]
end

--- One sentence for the administrator.
---@param name autopilot.Outcome
---@param service_error autopilot.GraphError?
---@param network autopilot.NetworkFailure?
---@param stray autopilot.StrayAnswer? the answer, where one came
---@return string?
function outcome.hint(name, service_error, network, stray)
  if name == "forbidden" and service_error then
    local missing = graph_error().missing_permissions(service_error)
    if missing and #missing > 0 then
      return "Grant the application one of these permissions, with admin consent: "
        .. table.concat(missing, ", ")
        .. "."
    end
  elseif
    (name == "rejected" or name == "not_found") and graph_error().is_unknown_segment(service_error)
  then
    return "The service has no such action in this cloud and version: check cloud and api_version "
      .. "(the sync is in beta)."
  end
  local row = outcome.all[name]
  local particular = name == "unreachable" and network and hint_of_network(network)
    or stray and of_stray[name] and of_stray[name](stray, service_error)
  return particular or row and row.hint
end

return outcome
