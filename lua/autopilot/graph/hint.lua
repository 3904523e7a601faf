--- What an administrator can do about a failure, if it shows more than its outcome does. Pure.
--
-- The hints that hold for every failure with the same outcome are in `autopilot.sync.outcome`.

local lazy = require "autopilot.base.lazy"
local url_parts = require "autopilot.base.url"

local graph_error = lazy "autopilot.graph.error"
local network_hint = lazy "autopilot.base.network_hint"

--- The answer that came instead of the expected one.
---@class autopilot.StrayAnswer
---@field status integer
---@field content_type string?
---@field page string? the title of a page
---@field location string? where a redirect leads
---@field is_intermediary boolean

--- The host of a redirect, with its port; nil if it has none. Nothing else of the address is shown.
local function host_of(location)
  local place = (location or ""):match "^[%w+.-]*:?//([^/?#]*)" or ""
  local _, host, port = url_parts.split("https://" .. place:match "[^@]*$")
  return host and #host <= 253 and host .. port or nil
end

--- Status, and the title of the page or the type of the body: `HTTP 403, "Access blocked"`.
local function summary_of(stray)
  local kind = (stray.content_type or ""):match "^%a[%w/+.-]*"
  local what = stray.page and ('"%s"'):format(stray.page) or kind and kind:sub(1, 60)
  return ("HTTP %d%s"):format(stray.status, what and ", " .. what or "")
end

-- Hints about an answer, by outcome.
local forms = {
  forbidden = "Grant the application one of these permissions, with admin consent: %s.",
  redirected = "The answer is a redirect to %s, which is never followed: check base_url and "
    .. "proxies.",
  unavailable = "A gateway or proxy answered in place of the service (%s): ask again later.",
  unexpected = "The service answered %s, which is no answer to this request: check base_url and "
    .. "api_version.",
}
local unexpected_of_intermediary = "A proxy, filter or portal answered in place of the service "
  .. "(%s): have it let requests to Microsoft Graph through."

--- The hint; nil if that of the outcome is enough.
---@param outcome autopilot.Outcome
---@param service_error autopilot.GraphError?
---@param network autopilot.NetworkFailure?
---@param stray autopilot.StrayAnswer? the answer, where one came
---@return string? hint one sentence
return function(outcome, service_error, network, stray)
  local form, told = forms[outcome], nil
  if outcome == "unreachable" then
    return network and network_hint(network, "service", "base_url")
  elseif
    (outcome == "rejected" or outcome == "not_found")
    and graph_error.says(service_error, "unknown_segment")
  then
    return "The service has no such action in this cloud and version: check cloud and api_version "
      .. "(the sync is in beta)."
  elseif outcome == "forbidden" then
    told = table.concat(graph_error.missing_permissions(service_error), ", ")
  elseif not stray then
    return nil
  elseif outcome == "rejected" and not (service_error.code or service_error.message) then
    return "The service refused the request and gave no reason: check base_url and api_version."
  elseif outcome == "redirected" then
    told = host_of(stray.location)
  elseif outcome == "unexpected" then
    form = stray.is_intermediary and unexpected_of_intermediary or form
    told = summary_of(stray)
  elseif outcome == "unavailable" and stray.is_intermediary then
    told = summary_of(stray)
  end
  return told and told ~= "" and form:format(told) or nil
end
