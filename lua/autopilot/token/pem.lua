--- Private keys and certificates in PEM, plain or encrypted (RFC 7468, 1421, 8018).
--
-- luaossl reads only keys without a passphrase. So an encrypted key is decrypted here, with luaossl's
-- ciphers, into the plain form that luaossl reads. What a key is used for is left to `signer`.

local base64url = require "autopilot.base.base64url"

local pem = {}

---@class autopilot.token.PemBlock
---@field label string `PRIVATE KEY`, `CERTIFICATE`, …
---@field fields table<string, string> header fields of the older encrypted form
---@field der string

--- The readable blocks of a text, in order.
---@param text string
---@return autopilot.token.PemBlock[]
function pem.blocks(text)
  local blocks = {}
  for label, inside in
    text:gmatch "%-%-%-%-%-BEGIN ([%w ]+)%-%-%-%-%-(.-)%-%-%-%-%-END %1%-%-%-%-%-"
  do
    local fields = {}
    local base64 = inside:gsub("([%w-]+):[ \t]*([^\r\n]*)", function(name, value)
      fields[name] = value
      return ""
    end)
    local der = base64url.decode((base64:gsub("%s+", "")))
    if der then
      blocks[#blocks + 1] = { label = label, fields = fields, der = der }
    end
  end
  return blocks
end

local sequence, octets, integer, object = 0x30, 0x04, 0x02, 0x06

--- Tag, content and the position after an element of DER; nil when there is none.
local function read_element(der, position)
  local tag, length = der:byte(position, position + 1)
  if not length then
    return nil
  end
  local start = position + 2
  if length >= 128 then
    local count = length - 128
    if count < 1 or count > 3 or start + count - 1 > #der then
      return nil
    end
    length = 0
    for index = start, start + count - 1 do
      length = length * 256 + der:byte(index)
    end
    start = start + count
  end
  if start + length - 1 > #der then
    return nil
  end
  return tag, der:sub(start, start + length - 1), start + length
end

--- The elements of DER, as far as they can be read: each with its tag and content, a sequence also with the
-- elements inside it.
local function read_elements(der, depth)
  local list, position = {}, 1
  while position <= #der and #list < 8 do
    local tag, content, following = read_element(der, position)
    if not tag then
      break
    end
    local element = tag == sequence and depth > 1 and read_elements(content, depth - 1) or {}
    element.tag, element.content = tag, content
    list[#list + 1] = element
    position = following
  end
  return list
end

--- The content of the element that these positions lead to, one for each level; nil unless it has this tag.
local function content_at(element, tag, ...)
  for _, index in ipairs { ... } do
    element = element and element[index]
  end
  return element and element.tag == tag and element.content or nil
end

--- A whole number of at most four bytes; nil for anything else.
local function number_of(content)
  if not content or #content == 0 or #content > 4 or content:byte(1) >= 128 then
    return nil
  end
  local value = 0
  for index = 1, #content do
    value = value * 256 + content:byte(index)
  end
  return value
end

-- Object identifiers as they stand in DER (RFC 8018 appendix B, RFC 7914 section 7).
local rsadsi = "\42\134\72\134\247\13"
local pbes2, pbkdf2 = rsadsi .. "\1\5\13", rsadsi .. "\1\5\12"
local scrypt = "\43\6\1\4\1\218\71\4\11"
local aes = "\96\134\72\1\101\3\4\1"
local digests = {
  [rsadsi .. "\2\7"] = "sha1",
  [rsadsi .. "\2\8"] = "sha224",
  [rsadsi .. "\2\9"] = "sha256",
  [rsadsi .. "\2\10"] = "sha384",
  [rsadsi .. "\2\11"] = "sha512",
}
local ciphers = {
  [aes .. "\2"] = { name = "aes-128-cbc", key = 16, block = 16 },
  [aes .. "\22"] = { name = "aes-192-cbc", key = 24, block = 16 },
  [aes .. "\42"] = { name = "aes-256-cbc", key = 32, block = 16 },
  [rsadsi .. "\3\7"] = { name = "des-ede3-cbc", key = 24, block = 8 },
}
local ciphers_by_name = {}
for _, cipher in pairs(ciphers) do
  ciphers_by_name[cipher.name] = cipher
end

-- A file that asks for more work than this would stop the process.
local most_iterations, most_memory = 10000000, 256 * 1024 * 1024

local function pbkdf2_options(parameters)
  local salt = content_at(parameters, octets, 1)
  local iterations = number_of(content_at(parameters, integer, 2))
  -- The digest is the last parameter. The key's length may stand before it; the cipher tells it as well.
  local digest = "sha1"
  if content_at(parameters, sequence, #parameters) then
    digest = digests[content_at(parameters, object, #parameters, 1) or ""]
  end
  if salt and iterations and iterations <= most_iterations and digest then
    return { type = "PBKDF2", salt = salt, iter = iterations, md = digest }
  end
end

local function scrypt_options(parameters)
  local salt = content_at(parameters, octets, 1)
  local cost = number_of(content_at(parameters, integer, 2))
  local size = number_of(content_at(parameters, integer, 3))
  local lanes = number_of(content_at(parameters, integer, 4))
  if salt and cost and size and lanes and 128 * size * (cost + lanes) < most_memory then
    return {
      type = "scrypt",
      salt = salt,
      N = cost,
      r = size,
      p = lanes,
      maxmem_bytes = most_memory,
    }
  end
end

local derivations = { [pbkdf2] = pbkdf2_options, [scrypt] = scrypt_options }

--- Makes a function that decrypts an EncryptedPrivateKeyInfo with a passphrase; nil when it is encrypted in
-- a way that is not known here.
local function pkcs8_opener(block)
  local whole = read_elements(block.der, 7)
  local algorithm = whole[1] and whole[1][1]
  local parameters = algorithm and algorithm[2]
  local derive = derivations[content_at(parameters, object, 1, 1) or ""]
  local options = derive and content_at(parameters, sequence, 1, 2) and derive(parameters[1][2])
  local cipher = ciphers[content_at(parameters, object, 2, 1) or ""]
  local vector = content_at(parameters, octets, 2, 2)
  local encrypted = content_at(whole, octets, 1, 2)
  local is_known = content_at(algorithm, object, 1) == pbes2
    and options
    and cipher
    and vector
    and #vector == cipher.block
  if not is_known or not encrypted then
    return nil
  end
  return function(passphrase)
    options.pass, options.outlen = passphrase, cipher.key
    local key = require("openssl.kdf").derive(options)
    return require("openssl.cipher").new(cipher.name):decrypt(key, vector):final(encrypted)
  end
end

--- The same for OpenSSL's older form, which makes a key of the passphrase by a chain of MD5 sums.
local function older_opener(block)
  local name, hex = (block.fields["DEK-Info"] or ""):match "^([%w-]+),(%x+)%s*$"
  local cipher = name and ciphers_by_name[name:lower()]
  if not cipher or #hex ~= 2 * cipher.block then
    return nil
  end
  local vector = hex:gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end)
  return function(passphrase)
    local digest = require "openssl.digest"
    local key, last = "", ""
    while #key < cipher.key do
      last = digest.new("md5"):final(last .. passphrase .. vector:sub(1, 8))
      key = key .. last
    end
    key = key:sub(1, cipher.key)
    return require("openssl.cipher").new(cipher.name):decrypt(key, vector):final(block.der)
  end
end

---@param block autopilot.token.PemBlock
---@return boolean
function pem.is_encrypted(block)
  return block.label == "ENCRYPTED PRIVATE KEY" or block.fields["DEK-Info"] ~= nil
end

--- The plain DER of an encrypted key; or nil and a sentence without a part of key or passphrase.
---@param block autopilot.token.PemBlock
---@param passphrase string
---@return string? der
---@return string? message
function pem.decrypt(block, passphrase)
  local opener = block.label == "ENCRYPTED PRIVATE KEY" and pkcs8_opener or older_opener
  local open = opener(block)
  if not open then
    return nil,
      "the private key is encrypted in a way that is not known here: write it anew with "
        .. "'openssl pkcs8 -topk8 -v2 aes-256-cbc'"
  end
  local ok, der = pcall(open, passphrase)
  if not ok or type(der) ~= "string" or der:byte(1) ~= sequence then
    return nil, "the passphrase is wrong, or the private key is damaged"
  end
  return der
end

-- Other forms of keys and certificates, and the command that converts each to PEM.
local conversions = {
  utf16 = { "text in UTF-16", "iconv -f UTF-16 -t UTF-8 %s" },
  pfx = { "a PFX file (PKCS #12)", "openssl pkcs12 -in %s -nodes" },
  spc = { "an SPC or P7B file (PKCS #7)", "openssl pkcs7 -inform DER -in %s -print_certs" },
  pkcs7 = { "a PKCS #7 file", "openssl pkcs7 -in %s -print_certs" },
  key = { "a private key in DER", "openssl pkey -inform DER -in %s" },
  certificate = { "a certificate in DER", "openssl x509 -inform DER -in %s" },
}

--- Which of these forms a text has, or nil. DER is recognized by how its outer sequence begins.
local function form_of(text)
  if text:find "^\255\254" or text:find "^\254\255" or text:find "^%z?%-%z%-" then
    return "utf16"
  elseif text:find("-----BEGIN PKCS7-----", 1, true) then
    return "pkcs7"
  end
  local whole = read_elements(text, 2)[1] or {}
  local first, second = whole[1] or {}, whole[2] or {}
  if first.tag == integer then
    return first.content == "\3" and "pfx" or "key"
  elseif first.tag == object then
    return "spc"
  elseif first.tag == sequence then
    return second.tag == octets and "key" or "certificate"
  end
end

--- What a file is that does not hold PEM, and how to convert it; nil where neither is known.
---@param text string
---@param path string
---@return string? sentence
function pem.conversion(text, path)
  local conversion = conversions[form_of(text)]
  if conversion then
    local quoted = "'" .. path:gsub("'", "'\\''") .. "'"
    return ("it is %s, and must be PEM: convert it with: %s"):format(
      conversion[1],
      conversion[2]:format(quoted) .. " > certificate.pem"
    )
  end
end

return pem
