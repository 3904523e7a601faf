--- GET /: the dashboard, one file of HTML with its script and style.
--
-- The policy lets the browser run what is in that file and nothing else: each answer has a new nonce.

local core = require "autopilot.core"

local dashboard = {}

-- The script sets text only: with trusted types, HTML made of text would be refused.
local policy = table.concat({
  "default-src 'none'",
  "script-src 'nonce-%s'",
  "style-src 'nonce-%s'",
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
}, "; ")

local file = assert(io.open(ngx.config.prefix() .. "/dashboard.html"))
local page = file:read "*a"
file:close()

--- Answers the current request.
function dashboard.answer()
  local nonce = core.uuid()
  ngx.header["Content-Type"] = "text/html; charset=utf-8"
  ngx.header["Content-Security-Policy"] = policy:format(nonce, nonce)
  ngx.header["Cache-Control"] = "no-store"
  ngx.header["Referrer-Policy"] = "no-referrer"
  ngx.header["X-Content-Type-Options"] = "nosniff"
  ngx.header["Cross-Origin-Opener-Policy"] = "same-origin"
  ngx.print((page:gsub("{nonce}", nonce)))
end

return dashboard
