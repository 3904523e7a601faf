--- Signs with the private key of a certificate: RSASSA-PSS or RSASSA-PKCS1-v1_5 over SHA-256 (RFC 7518
-- sections 3.3 and 3.5).
--
-- OpenSSL computes with the key, through luaossl. luaossl cannot sign with PSS padding: so the encoded
-- message (RFC 8017 section 9.1.1), in which nothing is secret, is made here, and OpenSSL applies the key to
-- it. Every such signature is checked with the public key before it is used.

local signer = {}

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

--- Signs a text; nil when the key is too short. Raises where OpenSSL does.
---@param pair autopilot.token.KeyPair
---@param text string
---@return string? signature
function signer.PS256(pair, text)
  local openssl, key = pair.openssl, pair.key
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

--- Signs a text. Raises where OpenSSL does.
function signer.RS256(pair, text)
  local digest = pair.openssl.digest.new "sha256"
  digest:update(text)
  return pair.key:sign(digest)
end

return signer
