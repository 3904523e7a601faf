--- Who may use the portal from a browser: its own pages only.
--
-- The portal signs nobody in. What it can do is to refuse what a page of another site has a browser send:
-- such a page cannot add a header, is told apart by Sec-Fetch-Site or Origin, and a name of its own that
-- leads to this server (DNS rebinding) is not in PORTAL_HOSTS. An address cannot be made to lead elsewhere.

local answers = require "portal.answers"
local settings = require "portal.settings"

local guard = {}

--- Refuses a request that was sent to a name that is not the portal's.
function guard.check_host()
  local host = ngx.var.http_host and ngx.var.host -- nil: no browser sends a request without it
  local is_address = host and (host:find "^[%d.]+$" or host:find "^%[")
  if host and not is_address and not settings.is_host[host] then
    return answers.refuse(421, "the portal has another name; PORTAL_HOSTS lists its names")
  end
end

--- Whether the request comes from a page of this server, or from no page at all.
local function is_same_origin()
  local site, origin = ngx.var.http_sec_fetch_site, ngx.var.http_origin
  if site then
    return site == "same-origin"
  end
  return not origin or origin:match "^https?://(.+)$" == ngx.var.http_host
end

--- Refuses a request for a change that a page of another site may have caused.
function guard.check_write()
  guard.check_host()
  if ngx.req.get_method() ~= "POST" then
    ngx.header["Allow"] = "POST"
    return answers.refuse(405, "ask with POST: it starts a sync")
  elseif not is_same_origin() then
    return answers.refuse(403, "only the portal's own pages may start a sync")
  elseif (ngx.var.http_x_requested_with or "") == "" then
    return answers.refuse(403, "the header X-Requested-With is missing; its value does not matter")
  end
end

return guard
