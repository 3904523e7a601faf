--- What an administrator can do about a network failure before the request was sent, by the stage that failed. Pure.

-- Failures on the client's side of the network, by name: the message alone says what to do.
local kept_back_by = {
  CANCELLED = true,
  CLOSED = true,
  DEADLINE = true,
  LEASE_ENDED = true,
  CURLE_FAILED_INIT = true,
  PHASE = true,
  C_BOUNDARY = true,
}

-- PEER stands for what was to be asked, and SETTING for what names its address.
local hints_of_stages = {
  resolve = "The PEER's name was not found and the request was not sent: check the name in "
    .. "SETTING, if one is given, then DNS and the network.",
  connect = "No connection to the PEER was made and the request was not sent: check SETTING, if "
    .. "one is given, then the network and its firewalls.",
  tls = "The connection could not be made secure and the request was not sent: where a "
    .. "company's proxy signs it anew, name its authority (--ca-file, http.ca_file or "
    .. "SSL_CERT_FILE). A wrong clock of this machine does this too.",
  proxy = "The proxy (--proxy, http.proxy or the environment's) could not be used and the request "
    .. "was not sent: check that it runs and lets this host through.",
}

local environment_proxy = "The proxy that %s names could not be used and the request was not sent: "
  .. "correct or unset it, or except the host by no_proxy."

local wrong_clock =
  "The PEER's certificate is not yet valid by this machine's clock: set the clock."

local other_name = "The PEER's certificate is for another name and the request was not sent: check "
  .. "SETTING, if one is given, then DNS, and whether a proxy or portal answers in the "
  .. "PEER's place."

--- The hint; nil for a stage without one.
---@param network { stage: string?, name: string?, message: string? } the message without secrets
---@param peer "service"|"token endpoint" what was to be asked
---@param setting string the option or variable that names its address
---@return string? hint one sentence
return function(network, peer, setting)
  local stage, message = network.stage, network.message or ""
  local variable = stage == "proxy" and message:match "%(proxy set by ([%w_]+)%)$"
  if kept_back_by[network.name] and network.message then
    return ("The request to the %s was not sent: %s."):format(peer, message)
  elseif variable then
    return environment_proxy:format(variable)
  end
  local hint = hints_of_stages[stage]
  if stage == "tls" and message:find "not yet valid" then
    hint = wrong_clock
  elseif stage == "tls" and message:find "target host ?name" then
    hint = other_name
  end
  return hint and hint:gsub("%u%u%u%u+", { PEER = peer, SETTING = setting }) or nil
end
