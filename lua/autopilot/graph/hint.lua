--- What an administrator can do about a failure, if it shows more than its outcome does. Pure.
--
-- The hints that hold for every failure with the same outcome are in `autopilot.sync.outcome`.

local lazy = require "autopilot.base.lazy"

local graph_error = lazy "autopilot.graph.error"
local network_hint = lazy "autopilot.base.network_hint"

--- The answer that came instead of the expected one.
---@class autopilot.StrayAnswer
---@field status integer
---@field content_type string?
---@field page string? the title of a page
---@field location string? where a redirect leads
---@field is_intermediary boolean

--- The host of a redirect; nil if it has none. Nothing else of the address is shown.
local function host_of(location)
  local authority = (location or ""):match "^%a[%w+.-]*://([^/?#]*)"
    or (location or ""):match "^//([^/?#]*)"
  local host = authority and authority:match "[^@]*$"
  local is_host = host and (host:find "^[%w.-]+:?%d*$" or host:find "^%[[%x:.]+%]:?%d*$")
  return is_host and #host <= 253 and host or nil
end

--- Status, and the title of the page or the type of the body: `HTTP 403, "Access blocked"`.
local function summary_of(stray)
  local kind = (stray.content_type or ""):match "^%a[%w/+.-]*"
  local what = stray.page and ('"%s"'):format(stray.page) or kind and kind:sub(1, 60)
  return ("HTTP %d%s"):format(stray.status, what and ", " .. what or "")
end

local unexpected_of_intermediary = "A proxy, filter or portal answered in place of the service "
  .. "(%s): have it let requests to Microsoft Graph through."
local unexpected_of_service = "The service answered %s, which is no answer to this request: check "
  .. "base_url and api_version."

--- Hints that depend on the answer, by outcome.
---@type table<autopilot.Outcome, fun(stray: autopilot.StrayAnswer, service_error: autopilot.GraphError?): string?>
local hints_of_answers = {
  redirected = function(stray)
    local hint =
      "The answer is a redirect to %s, which is never followed: check base_url and proxies."
    local host = host_of(stray.location)
    return host and hint:format(host)
  end,
  unexpected = function(stray)
    local hint = stray.is_intermediary and unexpected_of_intermediary or unexpected_of_service
    return hint:format(summary_of(stray))
  end,
  unavailable = function(stray)
    local hint = "A gateway or proxy answered in place of the service (%s): ask again later."
    return stray.is_intermediary and hint:format(summary_of(stray))
  end,
  rejected = function(_, service_error)
    local has_reason = service_error and (service_error.code or service_error.message)
    return not has_reason
      and "The service refused the request and gave no reason: check base_url and api_version."
  end,
}

--- The hint; nil if that of the outcome is enough.
---@param outcome autopilot.Outcome
---@param service_error autopilot.GraphError?
---@param network autopilot.NetworkFailure?
---@param stray autopilot.StrayAnswer? the answer, where one came
---@return string? hint one sentence
return function(outcome, service_error, network, stray)
  if outcome == "unreachable" then
    return network and network_hint(network, "service", "base_url")
  elseif outcome == "forbidden" and service_error then
    local missing = table.concat(graph_error.missing_permissions(service_error), ", ")
    return missing ~= ""
        and ("Grant the application one of these permissions, with admin consent: %s."):format(
          missing
        )
      or nil
  elseif
    (outcome == "rejected" or outcome == "not_found")
    and graph_error.says(service_error, "unknown_segment")
  then
    return "The service has no such action in this cloud and version: check cloud and api_version "
      .. "(the sync is in beta)."
  end
  local particular = stray and hints_of_answers[outcome]
  return particular and particular(stray, service_error) or nil
end
