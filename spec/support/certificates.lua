--- Certificates for TLS on loopback, made by the openssl command when a spec asks for them.
--
-- One authority (`ca`) signs `good` (127.0.0.1 and *.example.test), `expired` and `wrong_host`;
-- `untrusted` has signed itself. All share one key. How a server uses them is left to the specs.

local files = require "support.files"

local certificates = {}

---@class Certificates
---@field ca string path of the authority's certificate
---@field folder string a private folder, which `remove` deletes
---@field key string path of the key of all the others
---@field good string
---@field expired string
---@field wrong_host string
---@field untrusted string

local authority = [[
[ca]
default_ca = authority
[authority]
certificate = ca.pem
private_key = ca.key
new_certs_dir = .
database = issued
rand_serial = yes
default_md = sha256
unique_subject = no
policy = anything
[anything]
commonName = supplied
[right]
subjectAltName = IP:127.0.0.1, DNS:*.example.test
[elsewhere]
subjectAltName = DNS:elsewhere.example.test
]]

local commands = [[
set -e
cd '%s'
umask 077
exec >log 2>&1 </dev/null
touch issued
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }
key ca.key
key leaf.key
openssl req -x509 -new -key ca.key -subj '/CN=Authority of the specs' -days 30 -out ca.pem
openssl req -new -key leaf.key -subj '/CN=Server of the specs' -out leaf.csr
openssl req -x509 -new -key leaf.key -subj '/CN=Nobody' -days 30 -out untrusted.pem \
  -addext 'subjectAltName = IP:127.0.0.1'
sign() { openssl ca -batch -notext -config ca.cnf -in leaf.csr "$@"; }
sign -out good.pem -extensions right -days 30
sign -out wrong_host.pem -extensions elsewhere -days 30
sign -out expired.pem -extensions right -startdate 20200101000000Z -enddate 20200201000000Z
]]

local function succeeds(command)
  local first, _, code = os.execute(command)
  return first == true and (code == nil or code == 0) or first == 0
end

--- Makes all of them, in a folder of their own; some 100 ms.
---@return Certificates
function certificates.make()
  local folder = files.folder()
  files.write(folder .. "/ca.cnf", authority)
  assert(succeeds(commands:format(folder)), "openssl failed, see " .. folder .. "/log")
  local made = { folder = folder, key = folder .. "/leaf.key" }
  for _, name in ipairs { "ca", "good", "expired", "wrong_host", "untrusted" } do
    made[name] = ("%s/%s.pem"):format(folder, name)
  end
  return made
end

--- Deletes what `make` has made.
---@param made Certificates
function certificates.remove(made)
  succeeds(("rm -rf '%s'"):format(made.folder))
end

return certificates
