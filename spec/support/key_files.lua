--- RSA keys and certificates of applications, made by the openssl command when a spec asks for them.
--
-- Signatures are verified by the openssl command, too, and not by this library.

local files = require "support.files"

local key_files = {}

key_files.passphrase = "hush & \"pass' $phrase"

local commands = [[
set -e
cd '%s'
umask 077
exec >log 2>&1 </dev/null
issue() { openssl req -x509 -newkey "$1" -nodes -keyout "$2" -out "$3" -subj /CN=app -days 30; }
issue rsa:2048 key.pem certificate.pem
issue rsa:1025 odd.pem odd_certificate.pem
cat odd_certificate.pem certificate.pem key.pem >together.pem
openssl x509 -in certificate.pem -noout -pubkey >public.pem
openssl x509 -in odd_certificate.pem -noout -pubkey >odd_public.pem
openssl x509 -in certificate.pem -outform DER -out certificate.cer
openssl dgst -sha256 -binary certificate.cer >thumbprint
export P='%s'
pkcs8() { out=$1; shift; openssl pkcs8 -topk8 -in key.pem -passout env:P -out "$out" "$@"; }
pkcs8 default.pem
pfx() { out=$1; shift; openssl pkcs12 -export -in certificate.pem -inkey key.pem -out "$out" "$@"; }
pfx application.pfx -passout env:P
]]

local further_commands = [[
openssl rsa -in key.pem -traditional -out traditional.pem
openssl ecparam -name prime256v1 -genkey -noout -out ec.pem
pkcs8 aes128.pem -v2 aes128 -v2prf hmacWithSHA1
pkcs8 aes192.pem -v2 aes192 -v2prf hmacWithSHA512 -iter 5000
pkcs8 des3.pem -v2 des3 -v2prf hmacWithSHA384
pkcs8 scrypt.pem -scrypt
pkcs8 camellia.pem -v2 camellia-256-cbc
pkcs8 pbe1.pem -v1 PBE-SHA1-3DES
for cipher in aes128 aes256 des3 camellia128; do
  openssl rsa -in key.pem -traditional -"$cipher" -passout env:P -out "older_$cipher.pem"
done
openssl pkcs8 -topk8 -in key.pem -nocrypt -outform DER -out key.der
openssl rsa -in key.pem -traditional -outform DER -out traditional.der
pkcs8 encrypted.der -outform DER
pfx with_chain.pfx -passout env:P -certfile odd_certificate.pem
pfx without_passphrase.pfx -passout pass:
pfx without_key.pfx -passout pass: -nokeys
pfx legacy.pfx -passout env:P -legacy -certpbe PBE-SHA1-RC2-40
pfx open_legacy.pfx -passout pass: -legacy -certpbe PBE-SHA1-RC2-40
openssl crl2pkcs7 -nocrl -certfile certificate.pem -outform DER -out certificate.spc
openssl crl2pkcs7 -nocrl -certfile certificate.pem -out certificate.p7b
cat certificate.pem key.pem | iconv -f UTF-8 -t UTF-16 >utf16.pem
cat certificate.pem key.pem | iconv -f UTF-8 -t UTF-16LE >utf16le.pem
cat certificate.pem key.pem | iconv -f UTF-8 -t UTF-16BE >utf16be.pem
]]

local function succeeds(command)
  local first, _, code = os.execute(command)
  return first == true and (code == nil or code == 0) or first == 0
end

local function quoted(text)
  return (text:gsub("'", "'\\''"))
end

--- Makes them in a private folder; half a second.
---@param has_all boolean? also the rarer forms, which take as long again
---@return string folder
function key_files.make(has_all)
  local folder = files.folder()
  local script = commands:format(folder, quoted(key_files.passphrase))
    .. (has_all and further_commands or "")
  files.write(folder .. "/make", script)
  assert(succeeds(("sh '%s/make'"):format(folder)), "openssl failed, see " .. folder .. "/log")
  return folder
end

--- Writes the key once more, encrypted with another passphrase.
---@param folder string
---@param path string of the new file
---@param passphrase string
function key_files.encrypt(folder, path, passphrase)
  local command = "openssl pkcs8 -topk8 -in '%s/key.pem' -out '%s' -passout 'pass:%s'"
  assert(succeeds(command:format(folder, path, quoted(passphrase))))
end

function key_files.remove(folder)
  succeeds(("rm -rf '%s'"):format(folder))
end

--- The whole text of one of the files.
function key_files.read(folder, name)
  return assert(files.read(folder .. "/" .. name), name)
end

--- What the openssl command says of a signature (PS256).
---@param folder string
---@param public string the file with the public key
---@return boolean
function key_files.verify(folder, public, text, signature)
  for name, content in pairs { text = text, signature = signature } do
    files.write(folder .. "/" .. name, content)
  end
  local command = "cd '%s' && openssl dgst -sha256 -verify '%s' -sigopt rsa_padding_mode:pss "
    .. "-sigopt rsa_pss_saltlen:32 -signature signature text >/dev/null 2>&1"
  return succeeds(command:format(folder, public))
end

return key_files
