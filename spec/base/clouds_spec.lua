-- The hosts of each cloud: a wrong one would send a token to a stranger.

local clouds = require "autopilot.base.clouds"

describe("autopilot.base.clouds", function()
  it("has Microsoft Graph and the authority of the four clouds, and no other", function()
    assert.same({
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
    }, clouds)
  end)
end)
