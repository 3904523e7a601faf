--- Signs an application in with its secret (OAuth 2.0 client credentials, RFC 6749 section 4.4).

local oauth = require "autopilot.token.oauth"
local proof = require "autopilot.token.proof"

---@class autopilot.token.ClientSecretOptions: autopilot.token.CommonOptions
---@field client_id string
---@field client_secret (string|fun(ask: autopilot.TokenAsk): string?, string?)? the secret, or a function that is asked for it at each request
---@field client_secret_file string? a file that holds nothing else; read once
---@field allow_world_readable boolean? take a file that every user can read; default false

return oauth.application("client_secret", proof.secret)
