--- Encrypts texts, so that only those who have the key can read and make them: AES-256 in Galois/Counter Mode
-- (NIST SP 800-38D).
--
-- OpenSSL does the work, through luaossl. Each text is bound to a context: a text that was moved to another
-- place does not open. The nonce of each text is random, which is safe for 2^32 texts with one key (section
-- 8.3 there).

local provider = require "autopilot.token.provider"

local sealed_text = {}

local cipher_name = "aes-256-gcm"
local nonce_length, tag_length = 12, 16
-- The first byte of a sealed text. It changes with the form of the rest.
local version = "\1"

local function in_context(context, text)
  return #context .. ":" .. context .. text
end

---@class autopilot.token.SealedText
--- Seals a text for a context, which is needed to open it; nil when OpenSSL fails.
---@field seal fun(self, context: string, text: string): string?
--- Opens a text that was sealed with the same key for the same context; nil for anything else.
---@field open fun(self, context: string, sealed: string): string?

---@param key string random bytes, at least 32
---@return autopilot.token.SealedText?, string? message what is missing
function sealed_text.new(key)
  local openssl, missing = provider.luaossl("cipher", "digest", "rand")
  if not openssl then
    return nil, missing
  end
  -- A digest has the length that the cipher needs. It does not make a weak key strong.
  local digest = openssl.digest.new("sha256"):final(key)
  local sealing = {}

  function sealing.seal(_, context, text)
    local ok, sealed = pcall(function()
      local nonce = openssl.rand.bytes(nonce_length)
      local cipher = openssl.cipher.new(cipher_name):encrypt(digest, nonce)
      local coded = cipher:final(in_context(context, text))
      return version .. nonce .. cipher:getTag(tag_length) .. coded
    end)
    return ok and sealed or nil
  end

  function sealing.open(_, context, sealed)
    local head = #version + nonce_length + tag_length
    local ok, text = pcall(function()
      local nonce = sealed:sub(#version + 1, #version + nonce_length)
      local cipher = openssl.cipher.new(cipher_name):decrypt(digest, nonce)
      cipher:setTag(sealed:sub(head - tag_length + 1, head))
      return cipher:final(sealed:sub(head + 1))
    end)
    local start = in_context(context, "")
    if ok and text and sealed:sub(1, #version) == version and text:sub(1, #start) == start then
      return text:sub(#start + 1)
    end
  end

  return sealing
end

return sealed_text
