--- Private keys and certificates as people keep them: PEM, plain or encrypted (RFC 7468, 1421, 8018).
--
-- luaossl reads keys without a passphrase alone, so an encrypted one is decrypted here, with luaossl's
-- ciphers, into the plain form that luaossl reads. What a key is used for is left to `signer`.

local base64url = require "autopilot.base.base64url"

local pem = {}

---@class autopilot.token.PemBlock
---@field label string `PRIVATE KEY`, `CERTIFICATE`, …
---@field fields table<string, string> header fields of the older encrypted form
---@field der string

--- The blocks of a text that can be read, in order.
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

--- The elements of a sequence's content, as `{tag, content}`; nil when they cannot be read.
local function elements(content)
  local list, position = {}, 1
  while content and position <= #content do
    local tag, inner, following = read_element(content, position)
    if not tag or #list == 8 then
      return nil
    end
    list[#list + 1] = { tag = tag, content = inner }
    position = following
  end
  return content and list or nil
end

local sequence, octets, integer, object = 0x30, 0x04, 0x02, 0x06

--- The content of the element when it has this tag.
local function content_of(list, index, tag)
  local element = list and list[index]
  return element and element.tag == tag and element.content or nil
end

local function sequence_in(list, index)
  return elements(content_of(list, index, sequence))
end

--- A whole number, small enough to be one of those that say how much work a passphrase takes.
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

-- More work than anybody chooses: a file that asks for it would stop the process.
local most_iterations, most_memory = 10000000, 256 * 1024 * 1024

local function pbkdf2_options(parameters)
  local salt = content_of(parameters, 1, octets)
  local iterations = number_of(content_of(parameters, 2, integer))
  -- The key's length may stand before the digest; the cipher tells it as well.
  local last = parameters and parameters[#parameters]
  local digest = "sha1"
  if last and last.tag == sequence then
    digest = digests[content_of(elements(last.content), 1, object) or ""]
  end
  if salt and iterations and iterations <= most_iterations and digest then
    return { type = "PBKDF2", salt = salt, iter = iterations, md = digest }
  end
end

local function scrypt_options(parameters)
  local salt = content_of(parameters, 1, octets)
  local cost = number_of(content_of(parameters, 2, integer))
  local size = number_of(content_of(parameters, 3, integer))
  local lanes = number_of(content_of(parameters, 4, integer))
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

--- Cipher, its initial vector, the options of the key's derivation and the encrypted bytes of an
-- EncryptedPrivateKeyInfo; nil for anything else and for what is not known here.
local function read_encrypted(der)
  local tag, content = read_element(der, 1)
  local outer = tag == sequence and elements(content)
  local algorithm = sequence_in(outer, 1)
  local encrypted = content_of(outer, 2, octets)
  if content_of(algorithm, 1, object) ~= pbes2 then
    return nil
  end
  local parameters = sequence_in(algorithm, 2)
  local derivation, encryption = sequence_in(parameters, 1), sequence_in(parameters, 2)
  local cipher = ciphers[content_of(encryption, 1, object) or ""]
  local vector = content_of(encryption, 2, octets)
  local method = content_of(derivation, 1, object)
  local known = (method == pbkdf2 and pbkdf2_options) or (method == scrypt and scrypt_options)
  local derive = known and known(sequence_in(derivation, 2))
  if cipher and vector and #vector == cipher.block and derive and encrypted then
    return cipher, vector, derive, encrypted
  end
end

--- The key that OpenSSL's older form makes of a passphrase: a chain of MD5 sums.
local function older_key(passphrase, salt, length)
  local digest = require "openssl.digest"
  local key, last = "", ""
  while #key < length do
    last = digest.new("md5"):final(last .. passphrase .. salt)
    key = key .. last
  end
  return key:sub(1, length)
end

local function decrypt_older(block, passphrase)
  local name, hex = (block.fields["DEK-Info"] or ""):match "^([%w-]+),(%x+)%s*$"
  local cipher = name and ciphers_by_name[name:lower()]
  if not cipher or #hex ~= 2 * cipher.block then
    return nil
  end
  local vector = hex:gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end)
  local key = older_key(passphrase, vector:sub(1, 8), cipher.key)
  return require("openssl.cipher").new(cipher.name):decrypt(key, vector):final(block.der)
end

local function decrypt_pkcs8(block, passphrase)
  local cipher, vector, derive, encrypted = read_encrypted(block.der)
  if not cipher then
    return nil
  end
  derive.pass, derive.outlen = passphrase, cipher.key
  local key = require("openssl.kdf").derive(derive)
  return require("openssl.cipher").new(cipher.name):decrypt(key, vector):final(encrypted)
end

-- Other forms in which keys and certificates come, and the command that writes them as PEM.
local conversions = {
  utf16 = { "text in UTF-16", "iconv -f UTF-16 -t UTF-8 %s" },
  pfx = { "a PFX file (PKCS #12)", "openssl pkcs12 -in %s -nodes" },
  spc = { "an SPC or P7B file (PKCS #7)", "openssl pkcs7 -inform DER -in %s -print_certs" },
  pkcs7 = { "a PKCS #7 file", "openssl pkcs7 -in %s -print_certs" },
  key = { "a private key in DER", "openssl pkey -inform DER -in %s" },
  certificate = { "a certificate in DER", "openssl x509 -inform DER -in %s" },
}

--- Which of these forms a text has, or nil. DER is told by how its outer sequence begins.
local function form_of(text)
  if text:find "^\255\254" or text:find "^\254\255" or text:find "^%z?%-%z%-" then
    return "utf16"
  elseif text:find("-----BEGIN PKCS7-----", 1, true) then
    return "pkcs7"
  end
  local tag, content = read_element(text, 1)
  local first_tag, first, position = read_element(tag == sequence and content or "", 1)
  if first_tag == integer then
    return first == "\3" and "pfx" or "key"
  elseif first_tag == object then
    return "spc"
  elseif first_tag == sequence then
    local second_tag = read_element(content, position)
    return second_tag == octets and "key" or "certificate"
  end
end

--- What a file is that does not hold PEM, and how it becomes PEM; nil where neither is known.
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

---@param block autopilot.token.PemBlock
---@return boolean
function pem.is_encrypted(block)
  return block.label == "ENCRYPTED PRIVATE KEY" or block.fields["DEK-Info"] ~= nil
end

--- Whether an encrypted key is written in a way that is known here.
local function is_known(block)
  if block.label == "ENCRYPTED PRIVATE KEY" then
    return read_encrypted(block.der) ~= nil
  end
  local name = (block.fields["DEK-Info"] or ""):match "^([%w-]+),"
  return name ~= nil and ciphers_by_name[name:lower()] ~= nil
end

--- The plain DER of an encrypted key; or nil and a sentence, without a word of key and passphrase.
---@param block autopilot.token.PemBlock
---@param passphrase string
---@return string? der
---@return string? message
function pem.decrypt(block, passphrase)
  if not is_known(block) then
    return nil,
      "the private key is encrypted in a way that is not known here: write it anew with "
        .. "'openssl pkcs8 -topk8 -v2 aes-256-cbc'"
  end
  local decrypt = block.label == "ENCRYPTED PRIVATE KEY" and decrypt_pkcs8 or decrypt_older
  local ok, der = pcall(decrypt, block, passphrase)
  if not ok or type(der) ~= "string" or der:byte(1) ~= sequence then
    return nil, "the passphrase is wrong, or the private key is damaged"
  end
  return der
end

return pem
