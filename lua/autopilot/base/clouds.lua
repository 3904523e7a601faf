--- The clouds that Microsoft Graph lives in, each with its hosts.
--
-- Source: Microsoft Graph, "National cloud deployments". A token of one cloud is never sent to another.

---@class autopilot.Cloud
---@field graph string root of the service
---@field authority string where tokens come from

---@type table<string, autopilot.Cloud>
return {
  global = {
    graph = "https://graph.microsoft.com",
    authority = "https://login.microsoftonline.com",
  },
  us_gov = {
    graph = "https://graph.microsoft.us",
    authority = "https://login.microsoftonline.us",
  },
  us_gov_dod = {
    graph = "https://dod-graph.microsoft.us",
    authority = "https://login.microsoftonline.us",
  },
  china = {
    graph = "https://microsoftgraph.chinacloudapi.cn",
    authority = "https://login.partner.microsoftonline.cn",
  },
}
