--- Texts that can be read and made only with a key: AES-256 in Galois/Counter Mode (NIST SP 800-38D).
--
-- The arithmetic is OpenSSL's, through luaossl, an optional dependency. Each text is bound to a context:
-- one that was moved elsewhere does not open. A nonce is drawn at random for each text, which is safe
-- for 2^32 texts with one key (section 8.3 there).

local sealed_text = {}

---@class autopilot.token.SealedText
---@field package key string 32 bytes
---@field package parts table luaossl's
local SealedText = {}
SealedText.__index = SealedText

local cipher_name = "aes-256-gcm"
local nonce_length, tag_length = 12, 16
-- The first byte. It changes with the form of the sealed texts.
local version = "\1"

local missing = "needs luaossl, which is not installed: take the package lua-luaossl "
  .. "(Debian, Ubuntu) or the rock luaossl"

--- Makes an object that seals and opens texts with a key.
---@param key string random bytes, at least 32
---@return autopilot.token.SealedText?
---@return string? message what is missing
function sealed_text.new(key)
  local parts = {}
  for _, name in ipairs { "cipher", "digest", "rand" } do
    local ok, part = pcall(require, "openssl." .. name)
    if not ok then
      return nil, missing
    end
    parts[name] = part
  end
  -- Any length becomes the cipher's. It makes no weak key strong.
  local digest = parts.digest.new("sha256"):final(key)
  return setmetatable({ key = digest, parts = parts }, SealedText)
end

local function in_context(context, text)
  return #context .. ":" .. context .. text
end

--- Seals a text.
---@param context string what it is for
---@param text string
---@return string? sealed nil when OpenSSL fails
function SealedText:seal(context, text)
  local ok, sealed = pcall(function()
    local nonce = self.parts.rand.bytes(nonce_length)
    local cipher = self.parts.cipher.new(cipher_name):encrypt(self.key, nonce)
    local coded = cipher:final(in_context(context, text))
    return version .. nonce .. cipher:getTag(tag_length) .. coded
  end)
  return ok and sealed or nil
end

--- Opens what was sealed with this key for this context; nil for everything else.
---@param context string
---@param sealed string
---@return string? text
function SealedText:open(context, sealed)
  local head = 1 + nonce_length + tag_length
  if #sealed <= head or sealed:sub(1, 1) ~= version then
    return nil
  end
  local ok, text = pcall(function()
    local nonce = sealed:sub(2, 1 + nonce_length)
    local cipher = self.parts.cipher.new(cipher_name):decrypt(self.key, nonce)
    cipher:setTag(sealed:sub(2 + nonce_length, head))
    return cipher:final(sealed:sub(head + 1))
  end)
  local start = in_context(context, "")
  if not ok or not text or text:sub(1, #start) ~= start then
    return nil
  end
  return text:sub(#start + 1)
end

return sealed_text
