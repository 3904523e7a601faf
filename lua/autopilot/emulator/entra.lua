--- The token endpoint: client credentials with a secret or with a signed assertion.

local answers = require "autopilot.emulator.answers"

local entra = {}

---@class autopilot.emulator.Application
---@field secret string? nil refuses every secret
---@field secret_expires number? Unix seconds; nil for never
---@field roles string[]? permissions in its tokens; default: the one that the sync needs
---@field verify (fun(assertion: string, form: table<string, string>): boolean, string?)? judges a client assertion: good or not, and why not

local jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

local function decoded(text)
  local spaced = text:gsub("+", " ")
  local plain = spaced:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end)
  return plain
end

local function read_form(body)
  local form = {}
  for field in (body or ""):gmatch "[^&]+" do
    local name, value = field:match "^([^=]*)=(.*)$"
    if name then
      form[decoded(name)] = decoded(value)
    end
  end
  return form
end

--- Nil when the application has proven who it is, else the refusal: AADSTS number and sentence.
local function refusal_of_proof(application, form, now)
  if form.client_assertion then
    if form.client_assertion_type ~= jwt_bearer then
      return 900023, "The parameter 'client_assertion_type' has an unsupported value."
    elseif not application.verify then
      return 700027, "The key that signed the client assertion is not registered for this app."
    end
    local good, why = application.verify(form.client_assertion, form)
    if not good then
      return 700027, "The client assertion is not valid: " .. (why or "wrong signature") .. "."
    end
    return nil
  elseif not form.client_secret then
    return 7000218, "The request body must contain 'client_assertion' or 'client_secret'."
  elseif form.client_secret ~= application.secret then
    return 7000215, "Invalid client secret provided."
  elseif application.secret_expires and application.secret_expires <= now then
    return 7000222, "The provided client secret keys for this app are expired."
  end
  return nil
end

--- What is wrong with the form before anybody is looked up: OAuth error, AADSTS number, sentence.
local function refusal_of_form(form)
  for _, name in ipairs { "grant_type", "client_id", "scope" } do
    if not form[name] then
      local sentence = ("The request body must contain the parameter '%s'."):format(name)
      return "invalid_request", 900144, sentence
    end
  end
  if form.grant_type ~= "client_credentials" then
    return "unsupported_grant_type", 70003, "The grant type is not supported."
  elseif not form.scope:match "^https://[^%s/]+/%.default$" then
    return "invalid_scope", 1002012, "The scope must be a resource with '/.default' after it."
  end
  return nil
end

--- Answers a request to `/{tenant}/oauth2/v2.0/token`.
---@param service table clients, tokens, find_tenant, token_lifetime: what the emulator has
---@param call autopilot.emulator.Call
---@param request table
---@return table response
function entra.answer(service, call, request)
  if request.method ~= "POST" then
    local sentence = "The endpoint only accepts POST requests."
    return answers.entra_error(call, 400, "invalid_request", 900561, sentence)
  end
  local form = read_form(request.body)
  local code, number, sentence = refusal_of_form(form)
  if code then
    return answers.entra_error(call, 400, code, number, sentence)
  end
  local tenant = service.find_tenant(call.tenant_in_path)
  if not tenant then
    sentence = ("Tenant '%s' not found."):format(call.tenant_in_path)
    return answers.entra_error(call, 400, "invalid_request", 90002, sentence)
  end
  local application = service.clients[form.client_id]
  if not application then
    sentence = ("Application '%s' was not found in the directory."):format(form.client_id)
    return answers.entra_error(call, 400, "unauthorized_client", 700016, sentence)
  end
  number, sentence = refusal_of_proof(application, form, call.now)
  if number then
    return answers.entra_error(call, 401, "invalid_client", number, sentence)
  end
  local token = service.tokens:issue({
    tenant = tenant,
    client_id = form.client_id,
    roles = application.roles,
    audience = form.scope:gsub("/%.default$", ""),
    expires = call.now + service.token_lifetime,
  }, call.now)
  return answers.json(call, {
    token_type = "Bearer",
    expires_in = service.token_lifetime,
    ext_expires_in = service.token_lifetime,
    access_token = token,
  })
end

return entra
