--- Signs with the private key of a certificate: RSASSA-PSS or RSASSA-PKCS1-v1_5 over SHA-256 (RFC 7518
-- sections 3.3 and 3.5).
--
-- OpenSSL computes with the key, through luaossl. luaossl cannot sign with PSS padding: so the encoded
-- message (RFC 8017 section 9.1.1), in which nothing is secret, is made here, and OpenSSL applies the key to
-- it. Every such signature is checked with the public key before it is used.

local pem = require "autopilot.token.pem"
local provider = require "autopilot.token.provider"
local read_key = require "autopilot.token.private_key"

local signer = {}

---@class autopilot.token.Signer
---@field thumbprint string SHA-256 of the certificate, 32 bytes
---@field expires number Unix seconds at which the certificate expires
--- Returns the signature; or nil and a sentence.
---@field sign fun(algorithm: "PS256"|"RS256", text: string): string?, string?

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

--- A text encoded by EMSA-PSS with a salt of 32 bytes (RFC 8017 section 9.1.1), in so many bytes, of which the
-- first is below `limit`; nil when these are too few.
local function encode_pss(sha256, text, salt, length, limit)
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
  masked[1] = string.char(masked[1]:byte() % limit)
  return table.concat(masked) .. hash .. "\188"
end

local algorithms = {}

function algorithms.PS256(openssl, key, text)
  local function sha256(bytes)
    return openssl.digest.new("sha256"):final(bytes)
  end
  -- The encoded message has one bit less than the modulus.
  local modulus = key:getParameters("n"):toBinary()
  local length, limit = #modulus, 128
  while limit > modulus:byte() do
    limit = limit / 2
  end
  if limit == 1 then
    length, limit = length - 1, 256
  end
  local encoded = encode_pss(sha256, text, openssl.rand.bytes(32), length, limit)
  if not encoded then
    return nil
  end
  encoded = ("\0"):rep(#modulus - length) .. encoded
  local plain = { rsaPadding = openssl.pkey.RSA_NO_PADDING }
  local signature = key:decrypt(encoded, plain)
  return key:encrypt(signature, plain) == encoded and signature or nil
end

function algorithms.RS256(openssl, key, text)
  local digest = openssl.digest.new "sha256"
  digest:update(text)
  return key:sign(digest)
end

--- The certificate of the key among those of a text; or nil and a sentence.
local function find_certificate(openssl, text, key)
  local public, count = key:toPEM "public", 0
  local function read(der)
    local certificate = openssl.x509.new(der, "DER")
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
---@return autopilot.token.Signer?, string? message one sentence without a part of key or passphrase
function signer.load(certificate_text, key_text, ask_for_passphrase)
  local openssl, missing =
    provider.luaossl("pkey", "x509", "digest", "rand", "cipher", "hmac", "pkcs12")
  if not openssl then
    return nil, "signing with a certificate " .. missing
  end
  local key, certificate, message
  key, message = read_key(openssl, key_text, ask_for_passphrase)
  if key then
    certificate, message = find_certificate(openssl, certificate_text, key)
  end
  if not certificate then
    return nil, message
  end
  local _, expires = certificate:getLifetime()
  return {
    thumbprint = certificate:digest("sha256", "s"),
    expires = expires,
    sign = function(algorithm, text)
      local ok, signature = pcall(algorithms[algorithm], openssl, key, text)
      if ok and signature then
        return signature
      end
      return nil, ("OpenSSL cannot sign with this key (%s)"):format(algorithm)
    end,
  }
end

return signer
