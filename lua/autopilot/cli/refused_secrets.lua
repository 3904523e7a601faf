--- Options that would make a secret an argument, refused by name.
--
-- Every user of a machine can read the arguments of its processes, and a shell keeps them in a file.
-- An option that is merely unknown would leave people looking for its right spelling.

local refused_secrets = {}

local names = [[
  --token --access-token --bearer --bearer-token --secret --client-secret --password --passphrase
  --certificate-password --assertion --client-assertion --refresh-token
]]

local sentence = "option '%s' does not exist, because other users of the machine can read "
  .. "arguments: give the token in AUTOPILOT_TOKEN, or in a file with --token-file"

--- Makes the parser know them, so that their value is taken for nothing else.
---@param parser table of argparse
---@param refuse fun(sentence: string) must not return
function refused_secrets.declare(parser, refuse)
  for name in names:gmatch "%S+" do
    parser:option(name):args("?"):hidden(true):target("refused " .. name):action(function()
      refuse(sentence:format(name))
    end)
  end
end

return refused_secrets
