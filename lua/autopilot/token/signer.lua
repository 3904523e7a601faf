--- Signs with the private key of a certificate: RSASSA-PSS or RSASSA-PKCS1-v1_5 over SHA-256 (RFC 7518
-- sections 3.3 and 3.5).
--
-- OpenSSL computes with the key, through luaossl, an optional dependency. luaossl cannot sign with PSS
-- padding: so the encoded message (RFC 8017 section 9.1.1), in which nothing is secret, is made here, and
-- OpenSSL applies the key to it. Every such signature is checked with the public key before it is used.

local pem = require "autopilot.token.pem"

local signer = {}

---@alias autopilot.token.Algorithm "PS256"|"RS256"

---@class autopilot.token.Signer
---@field thumbprint string SHA-256 of the certificate, 32 bytes
---@field expires number Unix seconds at which the certificate expires
--- Returns the signature; or nil and a sentence.
---@field sign fun(algorithm: "PS256"|"RS256", text: string): string?, string?

local missing = "signing with a certificate needs luaossl, which is not installed: take the "
  .. "package lua-luaossl (Debian, Ubuntu) or the rock luaossl"

--- The modules of luaossl by name; or nil and a sentence.
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

--- Exclusive or of two bytes: Lua 5.1 has no bit operators.
local function xor_byte(a, b)
  local result, unit = 0, 1
  for _ = 1, 8 do
    result = result + (a % 2 ~= b % 2 and unit or 0)
    a, b, unit = math.floor(a / 2), math.floor(b / 2), unit * 2
  end
  return result
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

--- The number of bits of the key's modulus.
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

--- The plain bytes of the first private key in a text; or nil and a sentence.
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
  -- The error of luaossl is not repeated, because it may quote anything.
  local ok, key = pcall(luaossl.pkey.new, der, "DER", "private")
  if not ok then
    return nil, "the private key cannot be read: it is damaged, or its passphrase is wrong"
  elseif key:type() ~= "rsaEncryption" then
    return nil, "the private key must be an RSA key: Entra takes no other"
  end
  return key
end

--- The certificate of the key among those of a text; or nil and a sentence.
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

--- Reads certificate and key. Of several certificates, the one of the key is used.
---@param certificate_text string PEM
---@param key_text string PEM
---@param ask_for_passphrase fun(): string?, string? called only for an encrypted key
---@return autopilot.token.Signer?
---@return string? message one sentence without a part of key or passphrase
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
