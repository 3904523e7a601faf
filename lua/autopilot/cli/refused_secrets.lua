--- Options that would make a secret an argument, refused by name.
--
-- Every user of a machine can read the arguments of its processes, and a shell keeps them in a file.
-- An option that is merely unknown would leave people looking for its right spelling.

local refused_secrets = {}

-- What people try, and what to do instead.
local refused = {
  {
    names = "--token --access-token --bearer --bearer-token --assertion --client-assertion "
      .. "--refresh-token",
    instead = "give the token in AUTOPILOT_TOKEN, or in a file with --token-file",
  },
  {
    names = "--secret --client-secret --password",
    instead = "give the secret in AZURE_CLIENT_SECRET, or in a file with --client-secret-file",
  },
  {
    names = "--passphrase --certificate-password",
    instead = "give the passphrase in AZURE_CLIENT_CERTIFICATE_PASSWORD",
  },
}

local sentence = "option '%s' does not exist, because other users of the machine can read "
  .. "arguments: %s"

--- Makes the parser know them, so that their value is taken for nothing else.
---@param parser table of argparse
---@param refuse fun(sentence: string) must not return
function refused_secrets.declare(parser, refuse)
  for _, group in ipairs(refused) do
    for name in group.names:gmatch "%S+" do
      parser:option(name):args("?"):hidden(true):target("refused " .. name):action(function()
        refuse(sentence:format(name, group.instead))
      end)
    end
  end
end

return refused_secrets
