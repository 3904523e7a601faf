--- The HTTP layers that come with the library: libcurl, and answers from a list for tests.

---@class autopilot.transport
---@field curl { new: fun(given: { http: autopilot.HttpOptions? }?): autopilot.CurlTransport }
---@field scripted fun(given: autopilot.ScriptedEntry[]): autopilot.ScriptedTransport

return {
  curl = require "autopilot.transport.curl",
  scripted = require "autopilot.transport.scripted",
}
