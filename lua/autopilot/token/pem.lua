--- Recognizes keys and certificates in other forms than PEM (RFC 7468), and tells how to convert them to PEM.

local provider = require "autopilot.token.provider"

local pem = {}

local utf16 = { "text in UTF-16", "iconv -f UTF-16 -t UTF-8 %s" }
local key = { "a private key in DER", "openssl pkey -inform DER -in %s" }
local pkcs12 = { "a PFX file (PKCS #12)", "openssl pkcs12 -in %s -nodes -legacy" }
local pkcs7 = { "a PKCS #7 file", "openssl pkcs7 -in %s -print_certs" }
local spc = { "an SPC or P7B file (PKCS #7)", "openssl pkcs7 -inform DER -in %s -print_certs" }
local certificate = { "a certificate in DER", "openssl x509 -inform DER -in %s" }

-- The other forms by how their texts begin, and the command that converts each to PEM. A form in DER begins
-- with one sequence or two, whose lengths are left out here; a sequence has the tag "0".
local forms = {
  { "^\255\254", utf16 },
  { "^\254\255", utf16 },
  { "^%z?%-%z%-", utf16 },
  { "%-BEGIN PKCS7%-", pkcs7 },
  { "^0\2\1\3", pkcs12 }, -- its version
  { "^0\2", key }, -- its version, which is lower
  { "^0\6", spc }, -- the type of its content
  { "^00\6", key }, -- the algorithm by which it is encrypted
  { "^00", certificate },
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

--- What a file is that does not hold PEM, and how to convert it, and whether it is a PFX file; nil where it is not
-- known.
---@return string? sentence, boolean? is_pfx
function pem.conversion(text, path)
  local beginning = without_lengths(text)
  for _, form in ipairs(forms) do
    if beginning:find(form[1]) then
      local name, command = form[2][1], form[2][2]:format(provider.shell_word(path))
      local message = "%s: it is %s, and must be PEM: convert it with: %s > certificate.pem"
      return message:format(path, name, command), form[2] == pkcs12
    end
  end
end

return pem
