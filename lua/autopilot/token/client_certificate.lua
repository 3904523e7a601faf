--- Signs an application in with a certificate: a JSON Web Token, signed for one request, proves that it
-- has the key (RFC 7523 section 2.2; Microsoft identity platform, "Certificate credentials").

local oauth = require "autopilot.token.oauth"
local proof = require "autopilot.token.proof"

---@class autopilot.token.ClientCertificateOptions: autopilot.token.CommonOptions
---@field client_id string
---@field certificate string PEM text, or the name of a file that holds it or is a PFX file; read once
---@field private_key string? PEM text or file name; default: it is in the text of the certificate
---@field passphrase (string|fun(): string?, string?)? of an encrypted key; a function is called when the key is read
---@field algorithm ("PS256"|"RS256")? default `PS256`
---@field allow_world_readable boolean? take a key file that every user can read; default false

return oauth.application("client_certificate", proof.certificate)
