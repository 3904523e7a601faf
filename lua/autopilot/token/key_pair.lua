--- An RSA private key with its certificate: reads both out of PEM (RFC 7468) or a PFX file, the key plain or
-- encrypted (RFC 5958, 8018, 1421), and signs with the key: RSASSA-PSS over SHA-256 (RFC 7518 section 3.5).
--
-- OpenSSL does the work, through luaossl, which lacks two things. It accepts a passphrase for PKCS #12 (RFC 7292),
-- but not for a key. So an encrypted key is wrapped in PKCS #12 in memory, and OpenSSL decrypts it with any
-- encryption that it knows; keys in OpenSSL's older PEM encryption (RFC 1421) cannot be wrapped, and are
-- decrypted here. And it cannot choose the padding of a signature. So the key is turned into one that is for
-- RSASSA-PSS only, with which OpenSSL always signs that way.

local base64url = require "autopilot.base.base64url"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"
local sentence = require "autopilot.base.sentence"

local fail, need = provider.fail, provider.need

-- The modules of luaossl that are used here, once they are loaded.
local openssl

-- ---- Encrypted keys ----------------------------------------------------------------------------------

--- An element of DER: its tag, its length, and its content.
local function element(tag, ...)
  local content = table.concat { ... }
  local length = string.char(math.floor(#content / 256), #content % 256):gsub("^%z", "")
  if #content > 127 then
    length = string.char(0x80 + #length) .. length
  end
  return string.char(tag) .. length .. content
end

local function sequence(...)
  return element(0x30, ...)
end

-- Object identifiers (RFC 8017 and 7292).
local pkcs = "\42\134\72\134\247\13\1"
local data = element(6, pkcs .. "\7\1")
local encrypted_key = element(6, pkcs .. "\12\10\1\2")
local sha1 = element(6, "\43\14\3\2\26")

--- What PKCS #12 calls data: a type, and content as octets.
local function data_of(content)
  return sequence(data, element(0xA0, element(0x04, content)))
end

--- A character of UTF-8 in UTF-16.
local function utf16_character(character)
  local length, code = #character, character:byte()
  code = length > 1 and code % 2 ^ (7 - length) or code
  for index = 2, length do
    code = code * 64 + character:byte(index) % 64
  end
  local function unit(value)
    return string.char(math.floor(value / 256), value % 256)
  end
  if code < 0x10000 then
    return unit(code)
  end
  code = code - 0x10000
  return unit(0xD800 + math.floor(code / 1024)) .. unit(0xDC00 + code % 1024)
end

--- A passphrase in the form of PKCS #12: in UTF-16 with a NUL at the end. A text that is not UTF-8 is
-- taken for Latin-1, as OpenSSL does.
local function password_of(passphrase)
  local character = sentence.valid(passphrase) == passphrase and "[%z\1-\127\194-\244][\128-\191]*"
    or "."
  return passphrase:gsub(character, utf16_character) .. "\0\0"
end

--- Decrypts the key of a block by means of a PKCS #12 file; raises where the passphrase is wrong. OpenSSL wants a
-- checksum in the file. One round derives its key (RFC 7292 appendix B): enough, because the file is never written.
local function open_pkcs8(block, passphrase)
  local content = sequence(data_of(sequence(sequence(encrypted_key, element(0xA0, block.der)))))
  local salt, password = ("s"):rep(8), password_of(passphrase)
  local length = math.ceil(#password / 64) * 64
  local repeated = password:rep(math.ceil(length / #password)):sub(1, length)
  local mac_key = openssl.digest.new("sha1"):final(("\3"):rep(64) .. salt:rep(8) .. repeated)
  local checksum = openssl.hmac.new(mac_key, "sha1"):final(content)
  local mac = sequence(sequence(sequence(sha1), element(0x04, checksum)), element(0x04, salt))
  local file = sequence("\2\1\3", data_of(content), mac)
  return (openssl.pkcs12.parse(file, passphrase))
end

-- Bytes of the keys of the ciphers that OpenSSL's older form uses.
local older_ciphers =
  { ["aes-128-cbc"] = 16, ["aes-192-cbc"] = 24, ["aes-256-cbc"] = 32, ["des-ede3-cbc"] = 24 }

--- Decrypts a key in OpenSSL's older form, which derives the cipher's key by a chain of MD5 sums.
local function open_older(block, passphrase)
  local name, hex = block.cipher:lower():match "^([%w-]+),(%x+)%s*$"
  local length = older_ciphers[name or ""]
  if not length then
    return nil,
      "the private key is encrypted in a way that is not known here: write it "
        .. "anew with 'openssl pkcs8 -topk8 -v2 aes-256-cbc'"
  end
  local vector = hex:gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end)
  local key, last = "", ""
  while #key < length do
    last = openssl.digest.new("md5"):final(last .. passphrase .. vector:sub(1, 8))
    key = key .. last
  end
  local cipher = openssl.cipher.new(name):decrypt(key:sub(1, length), vector)
  return openssl.pkey.new(assert(cipher:final(block.der)), "DER", "private")
end

-- ---- Other forms than PEM -----------------------------------------------------------------------------

local pfx = { "a PFX file (PKCS #12)", "openssl pkcs12 -in %s -nodes -legacy", "^0\2\1\3" } -- its version

-- Each form with its name, the command that converts it, and patterns that match its beginning. DER begins with one or
-- two sequences: here each is its tag, "0", without the length.
local forms = {
  { "text in UTF-16", "iconv -f UTF-16 -t UTF-8 %s", "^\255\254", "^\254\255", "^%z?%-%z%-" },
  { "a PKCS #7 file", "openssl pkcs7 -in %s -print_certs", "%-BEGIN PKCS7%-" },
  pfx,
  -- A lower version, or the algorithm by which it is encrypted.
  { "a private key in DER", "openssl pkey -inform DER -in %s", "^0\2", "^00\6" },
  -- The type of its content.
  { "an SPC or P7B file (PKCS #7)", "openssl pkcs7 -inform DER -in %s -print_certs", "^0\6" },
  { "a certificate in DER", "openssl x509 -inform DER -in %s", "^00" },
}

--- A text in DER without the lengths of the first two sequences; any other text as it is.
local function without_lengths(text)
  local tags = ""
  for _ = 1, 2 do
    local tag, length = text:byte(1, 2)
    if tag == 0x30 and length then
      tags, text = tags .. "0", text:sub(length < 128 and 3 or length - 128 + 3)
    end
  end
  return tags .. text
end

--- The form of a text that is not PEM, one of `forms`; nil for an unknown one.
local function form_of(text)
  local beginning = without_lengths(text)
  for _, form in ipairs(forms) do
    for index = 3, #form do
      if beginning:find(form[index]) then
        return form
      end
    end
  end
end

-- ---- Keys and certificates ---------------------------------------------------------------------------

--- The readable blocks of a text in PEM, in order: label, DER, and the `cipher` of the older encrypted form.
local function blocks_of(text)
  local blocks = {}
  for label, inside in
    text:gmatch "%-%-%-%-%-BEGIN ([%w ]+)%-%-%-%-%-(.-)%-%-%-%-%-END %1%-%-%-%-%-"
  do
    local base64 = inside:gsub("[%w-]+:[^\r\n]*", ""):gsub("%s+", "")
    local der = base64url.decode(base64)
    local cipher = inside:match "DEK%-Info:[ \t]*([^\r\n]*)"
    blocks[#blocks + 1] = der and { label = label, cipher = cipher, der = der }
  end
  return blocks
end

--- The private key of a block. The error of luaossl is not repeated, because it may quote anything.
local function open_block(block, ask_for_passphrase)
  if not block.cipher and block.label ~= "ENCRYPTED PRIVATE KEY" then
    local ok, key = pcall(openssl.pkey.new, block.der, "DER", "private")
    return need(ok and key, "the private key cannot be read: it is damaged")
  end
  local passphrase = ask_for_passphrase()
  local ok, key, message = pcall(block.cipher and open_older or open_pkcs8, block, passphrase)
  return need(ok and key, message or "the passphrase is wrong, or the private key is damaged")
end

--- The first private key in a text.
local function find_key(text, ask_for_passphrase, source)
  for _, block in ipairs(blocks_of(text)) do
    if block.label:find "PRIVATE KEY$" then
      local key = open_block(block, ask_for_passphrase)
      local is_rsa = key:type() == "rsaEncryption"
      return need(is_rsa and key, "the private key must be an RSA key: Entra takes no other")
    end
  end
  fail(source .. "there is no private key in PEM that can be read")
end

--- The certificate of the key among those of a text.
local function find_certificate(text, key, source)
  local complaint = source .. "there is no certificate in PEM that can be read"
  local function read(der)
    local certificate = openssl.x509.new(der, "DER")
    return certificate, certificate:getPublicKey():toPEM "public"
  end
  for _, block in ipairs(blocks_of(text)) do
    local ok, certificate, public = pcall(read, block.der)
    if ok and block.label:find "CERTIFICATE$" then
      if public == key:toPEM "public" then
        return certificate
      end
      complaint = "the private key is not that of the certificate"
    end
  end
  fail(complaint)
end

--- Key and certificate of a PFX file in PEM; nil where OpenSSL does not know its encryption, or it is damaged.
local function read_pfx(text, ask_for_passphrase)
  local function parse(passphrase)
    local ok, key, certificate = pcall(openssl.pkcs12.parse, text, passphrase)
    if ok then
      need(key and certificate, "the PFX file must hold a private key and its certificate")
      return key:toPEM "private" .. certificate:toPEM()
    end
    return nil, tostring(key):find "mac verify"
  end
  -- luaossl reports the oldest error in OpenSSL's queue, which may be of an earlier call of any library, and empties
  -- the queue: a call that fails makes the next error its own.
  pcall(openssl.x509.new, "", "DER")
  local pair, is_wrong = parse() -- it may have no passphrase
  if is_wrong then
    pair, is_wrong = parse(ask_for_passphrase())
    need(not is_wrong, "the passphrase is not that of the PFX file")
  end
  return pair
end

--- PEM text as given, or that of the file with this name, with which messages about it then begin.
local function read_text(given, allow_world_readable, ask_for_passphrase)
  if given:find("-----BEGIN", 1, true) then
    return given, ""
  end
  local text = need(secret_file.read(given, allow_world_readable))
  local form, source = form_of(text), secret_file.printable(given) .. ": "
  local converted = form == pfx and read_pfx(text, ask_for_passphrase)
  if form and not converted then
    local message = "it is %s, and must be PEM: convert it with: %s > certificate.pem"
    local path = provider.shell_word(secret_file.printable(given))
    fail(source .. message:format(form[1], form[2]:format(path)))
  end
  return converted or text, source
end

-- ---- Signing -----------------------------------------------------------------------------------------

-- The algorithms of keys (RFC 4055): any of RSA, and RSASSA-PSS with SHA-256 and a salt of 32 bytes.
local rsa = element(6, pkcs .. "\1\1") .. "\5\0"
local sha256 = sequence(element(6, "\96\134\72\1\101\3\4\2\1"), "\5\0")
local pss = sequence(
  element(6, pkcs .. "\1\10"),
  sequence(
    element(0xA0, sha256),
    element(0xA1, sequence(element(6, pkcs .. "\1\8"), sha256)), -- the mask by MGF1
    element(0xA2, "\2\1\32")
  )
)

--- Signs a text (PS256); raises where OpenSSL cannot.
local function sign(key, text)
  local der = blocks_of(key:toPEM "private")[1].der
  local _, finish = der:find(rsa, 1, true)
  local signing = openssl.pkey.new(sequence("\2\1\0", pss, der:sub(finish + 1)), "DER", "private")
  return signing:sign(openssl.digest.new("sha256"):update(text))
end

---@class autopilot.token.KeyPair
---@field certificate table of luaossl; of several certificates, the one of the key
---@field sign fun(text: string): string

--- Reads key and certificate. Its messages contain no part of key or passphrase.
---@param given autopilot.token.ClientCertificateOptions
---@return autopilot.token.KeyPair
return function(given)
  local loaded, missing = provider.luaossl("pkey", "x509", "digest", "cipher", "hmac", "pkcs12")
  openssl = need(loaded, missing and "signing with a certificate " .. missing)
  --- Returns the passphrase of the key. A user's function is called only if the key is encrypted.
  local function ask_for_passphrase()
    local problem = "the private key is encrypted: set the option passphrase"
    return provider.ask_user("passphrase", need(given.passphrase, problem))
  end
  local place, allow = given.private_key, given.allow_world_readable
  local text, source = read_text(given.certificate, place ~= nil or allow, ask_for_passphrase)
  local key_text, key_source = text, source
  if place then
    key_text, key_source = read_text(place, allow, ask_for_passphrase)
  end
  local key = find_key(key_text, ask_for_passphrase, key_source)
  return {
    certificate = find_certificate(text, key, source),
    sign = function(unsigned)
      local ok, signature = pcall(sign, key, unsigned)
      return need(ok and signature, "OpenSSL cannot sign with this key")
    end,
  }
end
