--- Recognizes keys and certificates in other forms than PEM (RFC 7468), and tells how to convert them to PEM.

local pem = {}

-- Other forms of keys and certificates, and the command that converts each to PEM.
local conversions = {
  utf16 = { "text in UTF-16", "iconv -f UTF-16 -t UTF-8 %s" },
  pfx = { "a PFX file (PKCS #12)", "openssl pkcs12 -in %s -nodes" },
  spc = { "an SPC or P7B file (PKCS #7)", "openssl pkcs7 -inform DER -in %s -print_certs" },
  pkcs7 = { "a PKCS #7 file", "openssl pkcs7 -in %s -print_certs" },
  key = { "a private key in DER", "openssl pkey -inform DER -in %s" },
  certificate = { "a certificate in DER", "openssl x509 -inform DER -in %s" },
}

--- What is inside a sequence in DER; nil for anything else.
local function inside_sequence(der)
  local tag, length = der:byte(1, 2)
  if tag == 0x30 and length then
    return der:sub(length < 128 and 3 or length - 128 + 3)
  end
end

--- Which of these forms a text has, or nil. DER is recognized by how its outer sequence begins.
local function form_of(text)
  if text:find "^\255\254" or text:find "^\254\255" or text:find "^%z?%-%z%-" then
    return "utf16"
  elseif text:find("-----BEGIN PKCS7-----", 1, true) then
    return "pkcs7"
  end
  local content = inside_sequence(text) or ""
  if content:find "^\2" then -- a version: 3 of PKCS #12, less of keys
    return content:find "^\2\1\3" and "pfx" or "key"
  elseif content:find "^\6" then -- an object identifier, the type of content of PKCS #7
    return "spc"
  end
  local first = inside_sequence(content)
  if first then -- the algorithm by which a key is encrypted, or the certificate that is signed
    return first:find "^\6" and "key" or "certificate"
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
    local command = conversion[2]:format(quoted) .. " > certificate.pem"
    local message = "%s: it is %s, and must be PEM: convert it with: %s"
    return message:format(path, conversion[1], command)
  end
end

return pem
