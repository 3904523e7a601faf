--- Takes secrets out of texts that somebody else wrote, before they reach a report, an event or a log.
--
-- A service may echo what it was sent: whole or any part of it, encoded, or with blanks, tags and
-- invisible characters in between. What stands there as it is gives way to a mark; a text that hides a
-- secret is withheld as a whole. What looks like a token goes too, whosever it is.
--
-- Any 16 characters of a secret in a row give it away; fewer may stand anywhere by chance. A shorter
-- secret is searched for as a whole. All of it is linear in the text. What a secret is, and which texts
-- need this, is left to the caller.

local may_echo = require("autopilot.core").may_echo

local byte, find, sub, type = string.byte, string.find, string.sub, type

local redact = {}

local mark = "[redacted]"

local jwt_beginning = "eyJ" -- `{"` and the beginning of a name, in base64

local telling = 16

-- Every 16 characters of a text hold one of these blocks whole: the text is looked through in steps.
local block = 5
local step = telling - block + 1

-- Shorter secrets are taken out where they are a whole word: they would shred every text.
local shortest_anywhere = 4

-- Shorter ones are not searched for across blanks and tags: "12 34" is not the secret "1234".
local shortest_hidden = 8

--- Few texts need it.
local function normal_text()
  return require "autopilot.base.normal_text"
end

--- Adds a range of the text to those that are to go. There is no list until it is needed.
---@param ranges { start: integer, finish: integer }[]?
local function add(ranges, start, finish)
  ranges = ranges or {}
  ranges[#ranges + 1] = { start = start, finish = finish }
  return ranges
end

--- What text and secret have in common around two places with the same character.
local function common_run(text, at, secret, place)
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

--- Where the text, from a place on, repeats so much of a long secret that it gives it away.
---@return integer? start
---@return integer? finish
local function find_run(text, secret, from)
  for at = from, #text - block + 1, step do
    local piece = sub(text, at, at + block - 1)
    local place = find(secret, piece, 1, true)
    while place do
      local start, finish = common_run(text, at, secret, place)
      if finish - start + 1 >= telling then
        return start, finish
      end
      place = find(secret, piece, place + 1, true)
    end
  end
end

local function find_whole_word(text, secret, from)
  local start, finish = find(text, secret, from, true)
  while start and (find(text, "^%w", finish + 1) or start > 1 and find(text, "^%w", start - 1)) do
    start, finish = find(text, secret, finish + 1, true)
  end
  return start, finish
end

--- Where the text repeats a secret, from a place on.
---@return integer? start
---@return integer? finish
local function find_secret(text, secret, from)
  if #secret >= telling then
    return find_run(text, secret, from)
  elseif #secret >= shortest_anywhere then
    return find(text, secret, from, true)
  end
  return find_whole_word(text, secret, from)
end

local function find_all(ranges, text, secret)
  local start, finish = find_secret(text, secret, 1)
  while start do
    ranges = add(ranges, start, finish)
    start, finish = find_secret(text, secret, finish + 1)
  end
  return ranges
end

--- Where a token ends that ends a sentence.
local function before_full_stop(text, finish)
  while text:byte(finish) == 46 do
    finish = finish - 1
  end
  return finish
end

--- Where a JSON Web Token seems to stand, and whatever goes on like it.
local function find_jwts(ranges, text)
  local start = text:find(jwt_beginning, 1, true)
  while start do
    local _, finish = text:find("^[%w_.+/=-]+", start)
    local last = before_full_stop(text, finish)
    if last - start + 1 >= telling then
      ranges = add(ranges, start, last)
    end
    start = text:find(jwt_beginning, finish + 1, true)
  end
  return ranges
end

-- What follows the word in sentences of people.
local plain_words =
  { token = true, tokens = true, authentication = true, authorization = true, scheme = true }

--- Where credentials stand behind the word Bearer; not the parameters of a challenge (`realm="…"`).
local function find_bearers(ranges, text)
  local pattern = "%f[%a][Bb]earer%s+()[%w_.~+/-]+=*()"
  local start, following = text:match(pattern)
  while start do
    local last = before_full_stop(text, following - 1)
    local is_parameter = text:find("^%l[%l_]*=[^=%s]", start)
    if last >= start and not is_parameter and not plain_words[text:sub(start, last)] then
      ranges = add(ranges, start, last)
    end
    start, following = text:match(pattern, following)
  end
  return ranges
end

local function is_before(a, b)
  return a.start < b.start
end

--- The text with the mark in place of each range; ranges that overlap or touch have one.
local function without(text, ranges)
  table.sort(ranges, is_before)
  local parts, position = {}, 1
  for _, range in ipairs(ranges) do
    if range.start > position or #parts == 0 then
      parts[#parts + 1] = text:sub(position, range.start - 1)
      parts[#parts + 1] = mark
    end
    position = math.max(position, range.finish + 1)
  end
  parts[#parts + 1] = text:sub(position)
  return table.concat(parts)
end

--- A secret as it is searched for.
---@class autopilot.redact.Secret
---@field text string
---@field decoded string without encodings
---@field bare string without encodings and blanks

---@return autopilot.redact.Secret[]
local function prepared(secrets)
  local list = {}
  for _, text in pairs(secrets) do
    if type(text) == "string" and text ~= "" then
      local decoded = normal_text().decoded(text) or text
      list[#list + 1] = { text = text, decoded = decoded, bare = normal_text().bare(decoded) }
    end
  end
  return list
end

--- How many characters of a text repeat a secret.
local function count_shown(text, secret)
  local count = 0
  local start, finish = find_secret(text, secret, 1)
  while start do
    count = count + finish - start + 1
    start, finish = find_secret(text, secret, finish + 1)
  end
  return count
end

--- Whether one form of a text shows more of a secret than stands in the text as it is.
local function shows_more(form, secret, plain)
  local normal = normal_text()
  local decoded = normal.decoded(form)
  -- So many characters more may agree by chance with what follows a part of a secret.
  local slack = #secret.text >= telling and 3 or 0
  plain = normal.decoded(plain) or ""
  if not decoded then
    return true
  end
  local untagged = normal.untagged(decoded)
  local known = count_shown(plain, secret.decoded) + slack
  if
    count_shown(decoded, secret.decoded) > known
    or count_shown(untagged, secret.decoded) > known
  then
    return true
  elseif #secret.bare < shortest_hidden then
    return false
  end
  known = count_shown(normal.bare(plain), secret.bare) + slack
  return count_shown(normal.bare(decoded), secret.bare) > known
    or count_shown(normal.bare(untagged), secret.bare) > known
end

--- Whether a text hides more of a secret than the parts of it that stand there as they are (`plain`).
-- Blanks and tags may stand between encoded characters or within a single one: they are left out after
-- decoding, or before.
local function hides(text, secret, plain)
  local squeezed = text:gsub("[^!-~]", "")
  return shows_more(text, secret, plain)
    or shows_more(squeezed, secret, plain)
    or shows_more(normal_text().untagged(squeezed), secret, plain)
end

--- The parts of a text that ranges from one on tell, with a character between them that no secret has.
local function parts_of(text, ranges, first)
  local parts = {}
  for index = first, ranges and #ranges or 0 do
    parts[#parts + 1] = text:sub(ranges[index].start, ranges[index].finish)
  end
  return table.concat(parts, "\0")
end

local function clean(text, secrets)
  local ranges
  for _, secret in ipairs(secrets) do
    local first = ranges and #ranges + 1 or 1
    ranges = find_all(ranges, text, secret.text)
    if hides(text, secret, parts_of(text, ranges, first)) then
      return mark
    end
  end
  if find(text, jwt_beginning, 1, true) then
    ranges = find_jwts(ranges, text)
  end
  if find(text, "earer", 1, true) then
    ranges = find_bearers(ranges, text)
  end
  return ranges and without(text, ranges) or text
end

--- A function that does for one text after the other what `redact.text` does. It holds the secrets as
-- long as it is held.
---@param secrets string[]? anything in it but a string is passed over, and so are empty strings
---@return fun(text: string?): string?
function redact.prepare(secrets)
  secrets = secrets or {}
  local list
  return function(text)
    if type(text) ~= "string" or not may_echo(secrets, text) then
      return text -- as most are: then nothing is prepared
    end
    list = list or prepared(secrets)
    return clean(text, list)
  end
end

--- The text with "[redacted]" in place of every part of a secret that is at least 16 characters long; a
-- shorter secret goes as a whole, and one of less than 4 characters where it stands alone. Where a secret
-- stands behind JSON's escapes, percent-encoding, character references, blanks, tags or invisible
-- characters, "[redacted]" is all that is left of the text. In place of what follows the word Bearer,
-- and of anything of at least 16 characters shaped like a JSON Web Token, too.
---@param text string? anything but a string is handed back as it is
---@param secrets string[]? anything in it but a string is passed over, and so are empty strings
---@return string? text
function redact.text(text, secrets)
  return redact.prepare(secrets)(text)
end

return redact
