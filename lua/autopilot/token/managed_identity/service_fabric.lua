--- Azure Service Fabric: detected, and not supported.
--
-- Its endpoint shows a certificate that nobody has signed, to be known by its thumbprint alone. The HTTP
-- layer checks certificates always and cannot be told of one; to leave the check out would give the
-- header's secret to anybody.

local service_fabric = {}

service_fabric.variables = { "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT" }

function service_fabric.request()
  local message = "the managed identity of Service Fabric is not supported: its endpoint has a "
    .. "certificate of its own making, known by its thumbprint, which cannot be checked here"
  return nil,
    message,
    { is_transient = false, hint = "Sign in another way, such as with a certificate." }
end

return service_fabric
