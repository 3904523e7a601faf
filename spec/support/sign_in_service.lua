--- The emulated service over real sockets, with an account for each way to sign in.

local base64url = require "autopilot.base.base64url"
local emulated_service = require "support.emulated_service"
local key_files = require "support.key_files"

local sign_in_service = {}

--- Starts it. Besides its own account it knows the applications `certified`, by the certificate of the key
-- files, `platform`, by an assertion of https://issuer.test for the subject `s`, and `desk`, with which
-- people sign in, and `partner`, with the same certificate, to which people sign in in a browser; and the machine's
-- identity `machine`, and the build server whose jobs `platform` trusts.
---@param folder string of `support.key_files`
---@param machine_key string the header that the machine's identity endpoint wants
---@param device_code table? as for the emulator: how people sign in
---@return table service see `support.emulated_service`
function sign_in_service.start(folder, machine_key, device_code)
  return emulated_service.start {
    duration = 0,
    cooldown = 0,
    emulator = {
      clients = {
        certified = { certificates = { base64url.encode(key_files.read(folder, "thumbprint")) } },
        platform = { federated = { { issuer = "https://issuer.test", subject = "s" } } },
        desk = { public = true },
        partner = {
          secret = machine_key,
          certificates = { base64url.encode(key_files.read(folder, "thumbprint")) },
        },
      },
      device_code = device_code,
      build_server = {
        key = machine_key,
        issuer = "https://issuer.test",
        subject = "s",
        service_connection = "connection",
      },
      identity = { tenant = "machines", client_id = "machine", header = machine_key },
    },
  }
end

return sign_in_service
