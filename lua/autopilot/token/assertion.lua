--- Signs an application in with an assertion that its platform issues (RFC 7523 section 2.2; Microsoft Entra,
-- "Workload identity federation").
--
-- An assertion lives for minutes, so the platform is asked for one at each request.

local authority = require "autopilot.token.authority"
local merged = require "autopilot.base.merged"
local oauth = require "autopilot.token.oauth"
local proof = require "autopilot.token.proof"
local provider = require "autopilot.token.provider"

local need = provider.need

-- The AADSTS number of an assertion that has expired, or is not valid yet.
local not_within_its_time = "700024"

local default_variables = { client_id = "AZURE_CLIENT_ID", tenant = "AZURE_TENANT_ID" }

--- Returns the function that makes the providers of one platform.
---@param name string of the function of `autopilot.token`
---@param own table<string, autopilot.OptionRule> its options, besides the common ones
---@param variables table<string, string>? environment variables of options that are not given
--- `get` returns an assertion, and the place it was read from if the platform is to renew it there. `setting`
-- returns the value of an option, or of a variable by its own name, and ends the sign-in with an error if it is not
-- set.
---@param get fun(ask: autopilot.TokenAsk, setting: fun(name: string): any): string, string?
---@return fun(given: table?, level: integer?): autopilot.TokenProvider new
return function(name, own, variables, get)
  local rules, title = authority.rules(own), name:gsub("_", " ")
  variables = merged(default_variables, variables)
  return provider.kind(name, rules, function(checked)
    local variable = authority.environment(checked)
    local function setting(wanted)
      local from = variables[wanted] or wanted
      local value = checked[wanted] or variable(from)
      local remedy = rules[wanted] and ("set %s or the option %s"):format(from, wanted)
        or "set " .. from
      return need(value, ("%s is not set up: %s"):format(title, remedy))
    end
    return function(ask)
      local fallback = { client_id = setting "client_id", tenant = variable(variables.tenant) }
      local place, origin = authority.find(checked, ask, fallback), nil
      local token, expires_in, extra = oauth.sign_in(ask, place, function()
        local text
        text, origin = get(ask, setting)
        local is_right = type(text) == "string" and text:find "^[\33-\126]+$"
        return proof.by_assertion(
          need(is_right and text, title .. " gave no token that can be used")
        )
      end)
      if extra.reason == not_within_its_time and origin then
        extra.hint = (
          "The token in %s is not within its time: see that the platform renews it, and "
          .. "check this machine's clock."
        ):format(origin)
      end
      return token, expires_in, extra
    end
  end)
end
