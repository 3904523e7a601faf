--- Takes secrets out of texts that a service sent, before they reach a report, an event or a log.
--
-- A service may echo a secret that it was sent: the whole or a part of it, as it is or encoded, or with
-- blanks, tags and invisible characters in between. A secret that is in a text unchanged is replaced by a
-- mark. A text that hides a secret in another form is withheld as a whole. Anything else that looks like a
-- token is replaced too.
--
-- 16 characters of a secret in a row count as a part of it: fewer may be there by chance. A secret that is
-- shorter is searched for as a whole. The work is linear in the length of the text.

local core = require "autopilot.core"
local lazy = require "autopilot.base.lazy"

local normal_text = lazy "autopilot.base.normal_text" -- few texts need it

local byte, find, sub, type = string.byte, string.find, string.sub, type

local redact = {}

local mark = "[redacted]"

local jwt_beginning = "eyJ" -- `{"` and the beginning of a name, in base64

-- Characters in a row that count as a part of a secret.
local shortest_part = 16

-- Wherever a part stands in a text, it contains one of these blocks: every `step` characters, one of `block`
-- characters is compared with the secret.
local block = 5
local step = shortest_part - block + 1

-- A secret that is shorter is replaced only where it is a whole word: it would shred every text.
local shortest_anywhere = 4

-- A secret that is shorter is not searched for across blanks and tags: "12 34" is not the secret "1234".
local shortest_hidden = 8

--- Where a part of a secret stands in a text: the place is grown around a character that both have.
local function grow(text, at, secret, place)
  local start, finish, offset = at, at, place - at
  while
    start > 1
    and start + offset > 1
    and byte(text, start - 1) == byte(secret, start + offset - 1)
  do
    start = start - 1
  end
  local last = math.min(#text, #secret - offset)
  while finish < last and byte(text, finish + 1) == byte(secret, finish + offset + 1) do
    finish = finish + 1
  end
  return start, finish
end

local function find_part(text, from, secret)
  for at = from, #text - block + 1, step do
    local piece = sub(text, at, at + block - 1)
    local place = find(secret, piece, 1, true)
    while place do
      local start, finish = grow(text, at, secret, place)
      if finish - start + 1 >= shortest_part then
        return start, finish
      end
      place = find(secret, piece, place + 1, true)
    end
  end
end

local function find_word(text, from, word)
  local start, finish = find(text, word, from, true)
  while start and (find(text, "^%w", finish + 1) or start > 1 and find(text, "^%w", start - 1)) do
    start, finish = find(text, word, finish + 1, true)
  end
  return start, finish
end

--- Where a text first repeats a secret. A secret of which nothing is left without decorations is nowhere.
---@return integer? start
---@return integer? finish
local function find_secret(text, from, secret)
  if #secret >= shortest_part then
    return find_part(text, from, secret)
  elseif #secret >= shortest_anywhere then
    return find(text, secret, from, true)
  elseif secret ~= "" then
    return find_word(text, from, secret)
  end
end

--- Where a token ends whose last characters may be the full stop of a sentence.
local function before_full_stop(text, finish)
  while byte(text, finish) == 46 do
    finish = finish - 1
  end
  return finish
end

--- Where a text first has something like a JSON Web Token.
local function find_jwt(text, from)
  local start = find(text, jwt_beginning, from, true)
  while start do
    local _, finish = find(text, "^[%w_.+/=-]+", start)
    local last = before_full_stop(text, finish)
    if last - start + 1 >= shortest_part then
      return start, last
    end
    start = find(text, jwt_beginning, finish + 1, true)
  end
end

-- Words that follow "Bearer" in sentences.
local plain_words =
  { token = true, tokens = true, authentication = true, authorization = true, scheme = true }

--- The place of the first credentials after the word Bearer. Parameters of a challenge (`realm="…"`) do not count.
local function find_bearer(text, from)
  local pattern = "%f[%a][Bb]earer%s+()[%w_.~+/-]+=*()"
  local start, following = text:match(pattern, from)
  while start do
    local last = before_full_stop(text, following - 1)
    local is_parameter = find(text, "^%l[%l_]*=[^=%s]", start)
    if last >= start and not is_parameter and not plain_words[sub(text, start, last)] then
      return start, last
    end
    start, following = text:match(pattern, following)
  end
end

--- Adds every place of a kind to a list.
---@param ranges { start: integer, finish: integer }[]
---@param find_next fun(text: string, from: integer, secret: string?): integer?, integer?
local function add_all(ranges, text, find_next, secret)
  local start, finish = find_next(text, 1, secret)
  while start do
    ranges[#ranges + 1] = { start = start, finish = finish }
    start, finish = find_next(text, finish + 1, secret)
  end
  return ranges
end

--- The text with the mark in place of each range. Ranges that overlap or touch get one mark.
local function without(text, ranges)
  table.sort(ranges, function(a, b)
    return a.start < b.start
  end)
  local parts, position = {}, 1
  for _, range in ipairs(ranges) do
    if range.start > position or #parts == 0 then
      parts[#parts + 1] = sub(text, position, range.start - 1)
      parts[#parts + 1] = mark
    end
    position = math.max(position, range.finish + 1)
  end
  parts[#parts + 1] = sub(text, position)
  return table.concat(parts)
end

--- How many characters of a text repeat a secret.
local function count_shown(text, secret)
  local count = 0
  for _, range in ipairs(add_all({}, text, find_secret, secret)) do
    count = count + range.finish - range.start + 1
  end
  return count
end

--- A secret in the forms in which it is searched for.
---@class autopilot.redact.Secret
---@field text string
---@field decoded string without encodings
---@field bare string without encodings and blanks

---@return autopilot.redact.Secret[]
local function prepared(secrets)
  local list = {}
  for _, text in pairs(secrets) do
    if type(text) == "string" and text ~= "" then
      local decoded = normal_text.decoded(text) or text
      list[#list + 1] = { text = text, decoded = decoded, bare = normal_text.bare(decoded) }
    end
  end
  return list
end

--- Whether a text hides more of a secret than is in it unchanged.
---@param readings string[] the text without encodings and tags
---@param plain string the parts of the secret that stand in the text as they are
local function hides(readings, secret, plain)
  plain = normal_text.decoded(plain) or ""
  -- Up to 3 characters behind a part may continue it by chance once blanks are gone.
  local slack = #secret.text >= shortest_part and 3 or 0
  local known = count_shown(plain, secret.decoded) + slack
  local known_bare = count_shown(normal_text.bare(plain), secret.bare) + slack
  for _, reading in ipairs(readings) do
    if count_shown(reading, secret.decoded) > known then
      return true
    elseif
      #secret.bare >= shortest_hidden
      and count_shown(normal_text.bare(reading), secret.bare) > known_bare
    then
      return true
    end
  end
  return false
end

local function clean(text, secrets)
  local ranges = {}
  local readings = #secrets > 0 and normal_text.readings(text)
  for _, secret in ipairs(secrets) do
    local parts = {}
    for index, range in ipairs(add_all({}, text, find_secret, secret.text)) do
      ranges[#ranges + 1] = range
      parts[index] = sub(text, range.start, range.finish)
    end
    if not readings or hides(readings, secret, table.concat(parts, "\0")) then
      return mark
    end
  end
  add_all(ranges, text, find_jwt)
  add_all(ranges, text, find_bearer)
  return #ranges > 0 and without(text, ranges) or text
end

--- Whether a text needs a closer look. Few do, so this comes first. False is certain: the text is short, is
-- visible ASCII without encodings, and neither repeats a part of a secret nor looks like a token.
---@param text string
---@param secrets string[]
---@return boolean
function redact.is_suspect(text, secrets)
  return core.may_echo(secrets, text)
end

--- Makes a function that redacts one text after the other, as `redact.text` does. It keeps the secrets.
---@param secrets string[]? values other than strings, and empty strings, are ignored
---@return fun(text: string?): string?
function redact.prepare(secrets)
  secrets = secrets or {}
  local list
  return function(text)
    if type(text) ~= "string" or not redact.is_suspect(text, secrets) then
      return text
    end
    list = list or prepared(secrets)
    return clean(text, list)
  end
end

--- The text with "[redacted]" in place of every part of a secret that is at least 16 characters long. A
-- shorter secret is replaced where it stands as a whole, one of less than 4 characters where it is a word.
-- Where a secret stands behind JSON's escapes, percent-encoding, character references, blanks, tags or
-- invisible characters, "[redacted]" replaces the whole text. Also replaced: credentials behind the word
-- Bearer, and whatever has at least 16 characters and looks like a JSON Web Token.
---@param text string? a value that is not a string is returned unchanged
---@param secrets string[]? values other than strings, and empty strings, are ignored
---@return string? text
function redact.text(text, secrets)
  return redact.prepare(secrets)(text)
end

return redact
