--- Signs with the private key of a certificate: RSASSA-PSS or RSASSA-PKCS1-v1_5 over SHA-256 (RFC 7518
-- sections 3.3 and 3.5).
--
-- The arithmetic with the key is OpenSSL's, through luaossl, an optional dependency. luaossl has no
-- padding PSS for signatures: the encoded message (RFC 8017 section 9.1.1), in which nothing is secret,
-- is made here, and OpenSSL applies the key to it. Every such signature is checked with the public key
-- before it is given out.

local pem = require "autopilot.token.pem"

local signer = {}

---@alias autopilot.token.Algorithm "PS256"|"RS256"

---@class autopilot.token.Signer
---@field thumbprint string SHA-256 of the certificate, 32 bytes
---@field expires number Unix seconds at which the certificate ends
--- The signature, or nil and a sentence.
---@field sign fun(algorithm: "PS256"|"RS256", text: string): string?, string?

local missing = "signing with a certificate needs luaossl, which is not installed: take the "
  .. "package lua-luaossl (Debian, Ubuntu) or the rock luaossl"

--- luaossl's parts, or nil and a sentence.
local function load_luaossl()
  local parts = {}
  for _, name in ipairs { "pkey", "x509", "digest", "rand", "cipher", "kdf" } do
    local ok, part = pcall(require, "openssl." .. name)
    if not ok then
      return nil, missing
    end
    parts[name] = part
  end
  return parts
end

local exclusive_or = {}
for a = 0, 15 do
  for b = 0, 15 do
    local result, unit, x, y = 0, 1, a, b
    for _ = 1, 4 do
      result = result + (x % 2 ~= y % 2 and unit or 0)
      unit, x, y = unit * 2, math.floor(x / 2), math.floor(y / 2)
    end
    exclusive_or[a * 16 + b] = result
  end
end

local function xor_byte(a, b)
  local high = exclusive_or[math.floor(a / 16) * 16 + math.floor(b / 16)]
  return high * 16 + exclusive_or[a % 16 * 16 + b % 16]
end

--- The mask of RFC 8017 appendix B.2.1.
local function mask(sha256, seed, length)
  local parts = {}
  for counter = 0, math.ceil(length / 32) - 1 do
    parts[#parts + 1] = sha256(seed .. string.char(0, 0, math.floor(counter / 256), counter % 256))
  end
  return table.concat(parts):sub(1, length)
end

--- EMSA-PSS with a salt of 32 bytes (RFC 8017 section 9.1.1); nil when the key is too short for it.
---@param sha256 fun(text: string): string
---@param text string
---@param salt string 32 bytes
---@param bits integer of the encoded message
---@return string? encoded
function signer.encode_pss(sha256, text, salt, bits)
  local length = math.ceil(bits / 8)
  local padding = length - 32 - 32 - 2
  if padding < 0 then
    return nil
  end
  local hash = sha256(("\0"):rep(8) .. sha256(text) .. salt)
  local block = ("\0"):rep(padding) .. "\1" .. salt
  local masking = mask(sha256, hash, #block)
  local masked = {}
  for index = 1, #block do
    masked[index] = string.char(xor_byte(block:byte(index), masking:byte(index)))
  end
  masked[1] = string.char(masked[1]:byte() % 2 ^ (8 - (8 * length - bits)))
  return table.concat(masked) .. hash .. "\188"
end

--- How many bits the key's modulus has.
local function bits_of(key)
  local modulus = key:getParameters("n"):toBinary()
  local first, bits = modulus:byte(1), (#modulus - 1) * 8
  while first > 0 do
    first, bits = math.floor(first / 2), bits + 1
  end
  return bits
end

local function sign_pss(luaossl, key, text)
  local function sha256(bytes)
    return luaossl.digest.new("sha256"):final(bytes)
  end
  local bits = bits_of(key)
  local encoded = signer.encode_pss(sha256, text, luaossl.rand.bytes(32), bits - 1)
  if not encoded then
    return nil
  end
  encoded = ("\0"):rep(math.ceil(bits / 8) - #encoded) .. encoded
  local plain = { rsaPadding = luaossl.pkey.RSA_NO_PADDING }
  local signature = key:decrypt(encoded, plain)
  return key:encrypt(signature, plain) == encoded and signature or nil
end

local function sign_pkcs1(luaossl, key, text)
  local digest = luaossl.digest.new "sha256"
  digest:update(text)
  return key:sign(digest)
end

--- The plain bytes of the first private key in a text, or nil and a sentence.
local function find_key(text, ask_for_passphrase)
  for _, block in ipairs(pem.blocks(text)) do
    if pem.is_encrypted(block) then
      local passphrase, message = ask_for_passphrase()
      if not passphrase then
        return nil, message
      end
      return pem.decrypt(block, passphrase)
    elseif block.label:find "PRIVATE KEY$" then
      return block.der
    end
  end
  return nil, "there is no private key in PEM that can be read"
end

local function load_key(luaossl, text, ask_for_passphrase)
  local der, message = find_key(text, ask_for_passphrase)
  if not der then
    return nil, message
  end
  -- What luaossl says may quote anything, and is not repeated.
  local ok, key = pcall(luaossl.pkey.new, der, "DER", "private")
  if not ok then
    return nil, "the private key cannot be read: it is damaged, or its passphrase is wrong"
  elseif key:type() ~= "rsaEncryption" then
    return nil, "the private key must be an RSA key: Entra takes no other"
  end
  return key
end

--- The certificate of the key, among those of a text.
local function find_certificate(luaossl, text, key)
  local public, count = key:toPEM "public", 0
  local function read(der)
    local certificate = luaossl.x509.new(der, "DER")
    return certificate, certificate:getPublicKey():toPEM "public"
  end
  for _, block in ipairs(pem.blocks(text)) do
    local is_certificate = block.label:find "CERTIFICATE$"
    local ok, certificate, its_public = pcall(read, block.der)
    if is_certificate and ok then
      count = count + 1
      if its_public == public then
        return certificate
      end
    end
  end
  return nil,
    count == 0 and "there is no certificate in PEM that can be read"
      or "the private key is not that of the certificate"
end

--- Reads certificate and key. Of several certificates, that of the key is taken.
---@param certificate_text string PEM
---@param key_text string PEM
---@param ask_for_passphrase fun(): string?, string? called for an encrypted key only
---@return autopilot.token.Signer?
---@return string? message one sentence, without a word of key and passphrase
function signer.load(certificate_text, key_text, ask_for_passphrase)
  local luaossl, message = load_luaossl()
  if not luaossl then
    return nil, message
  end
  local key, certificate
  key, message = load_key(luaossl, key_text, ask_for_passphrase)
  if not key then
    return nil, message
  end
  certificate, message = find_certificate(luaossl, certificate_text, key)
  if not certificate then
    return nil, message
  end
  local _, expires = certificate:getLifetime()
  return {
    thumbprint = certificate:digest("sha256", "s"),
    expires = expires,
    sign = function(algorithm, text)
      local sign = algorithm == "RS256" and sign_pkcs1 or sign_pss
      local ok, signature = pcall(sign, luaossl, key, text)
      if ok and signature then
        return signature
      end
      return nil, ("OpenSSL cannot sign with this key (%s)"):format(algorithm)
    end,
  }
end

return signer
