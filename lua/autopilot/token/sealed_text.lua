--- Encrypts texts, so that only those who have the key can read and make them: AES-256 in Galois/Counter Mode
-- (NIST SP 800-38D), by OpenSSL through luaossl.
--
-- Each text is bound to a context, from which its own key is made (HMAC, as in RFC 5869): a text that was moved to
-- another place does not open. The nonce of each text is random, which is safe for 2^32 texts with one key (section
-- 8.3 there).

local provider = require "autopilot.token.provider"

local sealed_text = {}

local nonce_length, tag_length = 12, 16

---@class autopilot.token.SealedText
--- Seals a text for a context, which is needed to open it; nil when OpenSSL fails.
---@field seal fun(context: string, text: string): string?
--- Opens a text that was sealed with the same key for the same context; nil for anything else.
---@field open fun(context: string, sealed: string): string?

---@param key string random bytes, at least 32
---@return autopilot.token.SealedText?, string? message what is missing
function sealed_text.new(key)
  local openssl, missing = provider.luaossl("cipher", "hmac", "rand")
  if not openssl then
    return nil, missing
  end

  local function start(method, context, nonce)
    local cipher = openssl.cipher.new "aes-256-gcm"
    return cipher[method](cipher, openssl.hmac.new(key, "sha256"):final(context), nonce)
  end

  local function seal(context, text)
    local nonce = openssl.rand.bytes(nonce_length)
    local cipher = start("encrypt", context, nonce)
    local coded = cipher:final(text)
    return nonce .. cipher:getTag(tag_length) .. coded
  end

  local function open(context, sealed)
    local head = nonce_length + tag_length
    local cipher = start("decrypt", context, sealed:sub(1, nonce_length))
    cipher:setTag(sealed:sub(nonce_length + 1, head))
    return #sealed >= head and cipher:final(sealed:sub(head + 1))
  end

  local function guarded(work)
    return function(...)
      local ok, text = pcall(work, ...)
      return ok and text or nil
    end
  end
  return { seal = guarded(seal), open = guarded(open) }
end

return sealed_text
