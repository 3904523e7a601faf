--- The platforms that give a managed identity, in the order in which Microsoft's libraries look for them,
-- and how each of them is asked.

local arc = require "autopilot.token.managed_identity.arc"
local metadata_service = require "autopilot.token.managed_identity.metadata_service"

---@class autopilot.token.IdentityPlatform
---@field name string for messages
---@field variables string[] environment variables that are all set on this platform
---@field endpoint string the variable that holds the address
---@field default_endpoint string? the address where the variable is not set
---@field path string? goes behind the address, which must then be a host only
---@field is_local boolean? the endpoint is on this machine: http goes to loopback addresses only
---@field version string? of its interface
---@field identities table<string, string> parameters that choose an identity, by the provider's option
---@field default_identity string? the variable that holds an identity to choose without such an option
---@field headers table<string, string>
---@field secret { header: string, variable: string }? the header that proves who asks
---@field is_form boolean? the parameters are sent as a form
---@field takes_refused boolean? it can be told which token was refused, and drops that from its cache
---@field unreachable_hint string?
--- Sends a request, as `http.request`, where more than one request may be needed.
---@field send (fun(ask: autopilot.TokenAsk, request: autopilot.token.HttpRequest, context: table): ...)?

---@type autopilot.token.IdentityPlatform[]
return {
  -- "Leverage a Service Fabric application's managed identity". Its endpoint has a certificate that the
  -- cluster made itself; other libraries recognize it by its thumbprint. Here it is checked like any other
  -- certificate, before the request with the secret header is sent. Which identity an application has is
  -- set where it is deployed.
  {
    name = "Service Fabric",
    variables = { "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT" },
    endpoint = "IDENTITY_ENDPOINT",
    is_local = true,
    version = "2019-07-01-preview",
    identities = {},
    headers = {},
    secret = { header = "Secret", variable = "IDENTITY_HEADER" },
    takes_refused = true,
    unreachable_hint = "The endpoint's certificate must be trusted: give that of the cluster to "
      .. "the client's http.ca_file; it must name the host of IDENTITY_ENDPOINT.",
  },
  -- App Service, Functions, Container Apps and Automation (App Service, "REST endpoint reference"). Azure
  -- Automation needs the header Metadata.
  {
    name = "App Service",
    variables = { "IDENTITY_ENDPOINT", "IDENTITY_HEADER" },
    endpoint = "IDENTITY_ENDPOINT",
    version = "2019-08-01",
    identities = { client_id = "client_id", resource_id = "mi_res_id", object_id = "object_id" },
    headers = { Metadata = "true" },
    secret = { header = "X-IDENTITY-HEADER", variable = "IDENTITY_HEADER" },
    takes_refused = true,
  },
  -- The endpoint of Machine Learning's compute, in the version of 2017, which knows no other ids.
  {
    name = "Azure Machine Learning",
    variables = { "MSI_ENDPOINT", "MSI_SECRET" },
    endpoint = "MSI_ENDPOINT",
    version = "2017-09-01",
    identities = { client_id = "clientid" },
    default_identity = "DEFAULT_IDENTITY_CLIENT_ID",
    headers = {},
    secret = { header = "secret", variable = "MSI_SECRET" },
  },
  -- A machine outside Azure with Azure's agent (Arc-enabled servers, "managed identity").
  {
    name = "Azure Arc",
    variables = { "IDENTITY_ENDPOINT", "IMDS_ENDPOINT" },
    endpoint = "IDENTITY_ENDPOINT",
    is_local = true,
    version = "2020-06-01",
    identities = {},
    headers = { Metadata = "true" },
    send = arc.send,
  },
  -- The token is that of the person whose shell it is.
  {
    name = "Cloud Shell",
    variables = { "MSI_ENDPOINT" },
    endpoint = "MSI_ENDPOINT",
    is_local = true,
    identities = {},
    headers = { ["Content-Type"] = "application/x-www-form-urlencoded", Metadata = "true" },
    is_form = true,
  },
  -- The Azure Instance Metadata Service ("use managed identities on a virtual machine to acquire access
  -- token"). It is asked where the environment names no other platform.
  {
    name = "the virtual machine",
    variables = {},
    endpoint = "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    default_endpoint = "http://169.254.169.254",
    path = "/metadata/identity/oauth2/token",
    version = "2018-02-01",
    identities = { client_id = "client_id", resource_id = "msi_res_id", object_id = "object_id" },
    headers = { Metadata = "true" },
    send = metadata_service.send,
  },
}
