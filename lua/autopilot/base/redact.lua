--- Takes secrets out of texts that somebody else wrote, before they reach a report, an event or a log.
--
-- A service may echo what it was sent: whole, cut off, escaped for JSON or percent-encoded. What looks
-- like a token goes too, whosever it is. All of it is linear in the text, and a text that holds
-- nothing costs a few searches. What a secret is, and which texts need this, is left to the caller.

local may_echo = require("autopilot.core").may_echo

local find, next, type = string.find, next, type

local redact = {}

--- Few texts have escapes to look behind.
local function bare_text()
  return require "autopilot.base.bare_text"
end

local mark = "[redacted]"

local jwt_beginning = "eyJ" -- `{"` and the beginning of a name, in base64

-- So much of a secret's beginning gives it away, and is what is searched for; less may stand anywhere
-- by chance. A secret that is shorter is searched for as a whole.
local telling = 16

-- Secrets of a letter or two would shred every text: they go where they are a whole word.
local shortest_anywhere = 4

--- Adds a range of the text to those that are to go. There is no list until it is needed.
---@param ranges { start: integer, finish: integer }[]?
local function add(ranges, start, finish)
  ranges = ranges or {}
  ranges[#ranges + 1] = { start = start, finish = finish }
  return ranges
end

--- The end of what the text from `start` on has in common with the secret from `from` on. The first
-- `known` characters are equal.
local function common_end(text, start, secret, from, known)
  local length = known
  while true do
    local byte = secret:byte(from + length)
    if byte == nil or byte ~= text:byte(start + length) then
      return start + length - 1
    end
    length = length + 1
  end
end

local function is_whole_word(text, start, finish)
  local goes_before = start > 1 and text:find("^%w", start - 1)
  return not goes_before and not text:find("^%w", finish + 1)
end

--- What to search for: the beginning of a secret, or of a part of it.
---@class autopilot.redact.Needle
---@field text string
---@field secret string
---@field from integer where it stands in the secret
---@field is_anywhere boolean it need not be a whole word

--- Calls `found(from)` for each place in the secret that a copy of it may begin with: its beginning, and
-- each part of it behind a dot that could stand alone. A JWT's claims and signature are as good as secret.
local function each_part(secret, found)
  found(1)
  local dot = find(secret, ".", 1, true)
  while dot do
    local following = find(secret, ".", dot + 1, true)
    if (following or #secret + 1) - dot > telling then
      found(dot + 1)
    end
    dot = following
  end
end

---@return autopilot.redact.Needle[]
local function needles_of(secrets)
  local needles = {}
  for _, secret in pairs(secrets) do
    if type(secret) == "string" and secret ~= "" then
      each_part(secret, function(from)
        local text = secret:sub(from, from + telling - 1)
        local is_anywhere = #text >= shortest_anywhere
        needles[#needles + 1] =
          { text = text, secret = secret, from = from, is_anywhere = is_anywhere }
      end)
    end
  end
  return needles
end

local function is_like_a_jwt(text)
  return text:sub(1, #jwt_beginning) == jwt_beginning
end

--- Where the text repeats a secret from the needle on, each time as far as it goes on repeating it.
local function find_needle(ranges, text, needle)
  local start, finish = find(text, needle.text, 1, true)
  while start do
    if needle.is_anywhere or is_whole_word(text, start, finish) then
      finish = common_end(text, start, needle.secret, needle.from, #needle.text)
      ranges = add(ranges, start, finish)
    end
    start, finish = text:find(needle.text, finish + 1, true)
  end
  return ranges
end

local function find_needles(ranges, text, needles)
  for _, needle in ipairs(needles) do
    ranges = find_needle(ranges, text, needle)
  end
  return ranges
end

--- Needles for the secrets as they stand in a text that was unescaped, without backslashes; once more
-- with a plus sign for a space, as forms write it.
local function bare_needles_of(secrets)
  local bare = {}
  for _, secret in pairs(secrets) do
    if type(secret) == "string" then
      local text = bare_text().of_json(secret).text
      bare[#bare + 1] = text
      if text:find(" ", 1, true) then
        bare[#bare + 1] = text:gsub(" ", "+")
      end
    end
  end
  return needles_of(bare)
end

--- Adds what was found in a bare text as ranges of the text that it was made of.
local function add_origins(ranges, bare, found)
  for _, range in ipairs(found or {}) do
    local start = bare:origin(range.start)
    ranges = add(ranges, start, bare:origin(range.finish + 1) - 1)
  end
  return ranges
end

--- Where the text repeats a secret with escapes in it.
local function find_escaped(ranges, text, secrets)
  local needles = bare_needles_of(secrets)
  local plain = bare_text().of_json(text)
  ranges = add_origins(ranges, plain, find_needles(nil, plain.text, needles))
  if text:find("%", 1, true) then
    local decoded = bare_text().of_percent(text)
    plain = bare_text().of_json(decoded.text)
    local found = add_origins(nil, plain, find_needles(nil, plain.text, needles))
    ranges = add_origins(ranges, decoded, found)
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

--- The needles of the secrets, those that look like a JWT's apart.
local function sorted_needles(secrets)
  local jwt_needles, other_needles = {}, {}
  for _, needle in ipairs(needles_of(secrets)) do
    table.insert(is_like_a_jwt(needle.text) and jwt_needles or other_needles, needle)
  end
  return jwt_needles, other_needles
end

--- A function that does for one text after the other what `redact.text` does, for a fraction of the
-- cost: what to search for is worked out once, when there is something to search in. It holds the
-- secrets as long as it is held.
---@param secrets string[]? anything in it but a string is passed over, and so are empty strings
---@return fun(text: string?): string?
function redact.prepare(secrets)
  secrets = secrets or {}
  local jwt_needles, other_needles
  return function(text)
    if type(text) ~= "string" or not may_echo(secrets, text) then
      return text
    elseif not jwt_needles then
      jwt_needles, other_needles = sorted_needles(secrets)
    end
    local ranges = find_needles(nil, text, other_needles)
    if find(text, jwt_beginning, 1, true) then
      ranges = find_needles(ranges, text, jwt_needles)
      ranges = find_jwts(ranges, text)
    end
    local has_secrets = next(jwt_needles) ~= nil or next(other_needles) ~= nil
    if has_secrets and (find(text, "\\", 1, true) or find(text, "%", 1, true)) then
      ranges = find_escaped(ranges, text, secrets)
    end
    if find(text, "earer", 1, true) then
      ranges = find_bearers(ranges, text)
    end
    return ranges and without(text, ranges) or text
  end
end

--- The text with "[redacted]" in place of every occurrence of a secret: as it is, with JSON's escapes
-- or percent-encoded; the whole, a beginning of at least 16 characters, or as much of a part behind a
-- dot. A secret of less than 4 characters must stand alone to be one. In place of what follows the
-- word Bearer, and of anything of at least 16 characters shaped like a JSON Web Token, too.
---@param text string? anything but a string is handed back as it is
---@param secrets string[]? anything in it but a string is passed over, and so are empty strings
---@return string? text
function redact.text(text, secrets)
  return redact.prepare(secrets)(text)
end

return redact
