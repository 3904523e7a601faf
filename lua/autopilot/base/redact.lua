--- Takes secrets out of texts that a service sent, before they reach a report, an event or a log.
--
-- A service may echo a secret that it was sent: the whole or a part of it, as it is or encoded, or with
-- blanks, tags and invisible characters in between. A whole secret that is in a text unchanged is replaced by
-- a mark, and so is anything that looks like a token. A text that repeats another part of a secret, or hides
-- it in another form, is withheld.
--
-- 16 characters of a secret in a row count as a part of it: fewer may be there by chance. A secret that is
-- shorter is searched for as a whole. The work is linear in the length of the text.

local core = require "autopilot.core"
local percent_decoded = require("autopilot.base.url").percent_decoded
local sentence = require "autopilot.base.sentence"

local redact = {}

local mark = "[redacted]"

-- Characters in a row that count as a part of a secret.
local shortest_part = 16

-- Every part that a text repeats contains one of these blocks: every `step` characters, one of `block`
-- characters is compared with the secret.
local block = 5
local step = shortest_part - block + 1

-- A secret that is shorter is replaced only where it is a whole word: it would shred every text.
local shortest_anywhere = 4

-- Bytes of all readings of a text. A page of 14 KiB in JSON, with three encodings in it, has fewer.
local most_bytes = 2 ^ 23

-- ---- Texts without encodings and decorations ---------------------------------------------------------

local controls = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

--- The character that JSON or a programming language escapes by this letter and these digits, and the digits that do
-- not belong to it.
local function escaped_character(letter, digits)
  if letter == "u" and #digits == 4 then
    return sentence.utf8(tonumber(digits, 16))
  elseif letter == "x" and #digits >= 2 then
    return string.char(tonumber(digits:sub(1, 2), 16)) .. digits:sub(3)
  end
  local is_begun = letter == "u" or letter == "x" -- the rest may follow, encoded itself
  return not is_begun and (controls[letter] or letter) .. digits or nil
end

local function unescaped(text)
  return (text:gsub("\\(.?)(%x?%x?%x?%x?)", escaped_character))
end

--- Backslashes in a row count as one: JSON inside JSON doubles them.
local function with_one_backslash(text)
  return (text:gsub("\\+", "\\"))
end

--- As `sentence.decode_references`, but only those with a semicolon: behind `&#3` the rest may follow, encoded itself.
local function whole_references(text)
  return (text:gsub("&#?%w+;", sentence.decode_references))
end

--- A form writes blanks as plus signs.
local function with_blanks(text)
  return (text:gsub("%+", " "))
end

local function squeezed(text)
  return (text:gsub("[^!-~]", ""))
end

local function untagged(text)
  return (text:gsub("<[^<>]*>", ""))
end

--- A text without blanks, plus signs (blanks in a form), backslashes, control characters and all that is not ASCII,
-- such as soft hyphens.
local function bare(text)
  return (squeezed(text):gsub("[+\\]", ""))
end

-- Blanks and invisible characters, which may be between others or within an encoded one, are left out of each reading,
-- or of none: mixed, the readings would be four times as many.
local squeezers = {
  function(text)
    return text
  end,
  squeezed,
}

-- Each undoes one layer of one encoding, or leaves out tags, which may be between characters as well.
local simplifiers = {
  unescaped,
  with_one_backslash,
  percent_decoded,
  with_blanks,
  sentence.decode_references,
  whole_references,
  untagged,
}

--- The forms in which a text may be read, each once: as it is, and simplified again and again, each of them bare, too.
-- In any order, because what looks like an encoding may be a part of the secret: only what was encoded around it may be
-- undone. And whether these are all; else there are too many.
---@return string[] readings
---@return boolean is_all
local function readings_of(text)
  local readings, has, room = {}, {}, most_bytes
  local function add(reading)
    if not has[reading] then
      readings[#readings + 1] = reading
      has[reading] = true
      room = room - #reading
    end
  end
  local done = 0
  for _, squeeze in ipairs(squeezers) do
    add(squeeze(text))
    while done < #readings and room > 0 do
      done = done + 1
      for _, simplify in ipairs(simplifiers) do
        add(squeeze(simplify(readings[done])))
      end
    end
  end
  local is_all = done == #readings
  for index = 1, #readings do
    add(bare(readings[index]))
  end
  return readings, is_all
end

-- ---- Where a secret stands in a text -----------------------------------------------------------------

--- Adds all places where a text has the whole secret; a short one only where it is a word. Returns whether there are any
-- places then. An empty secret is never found.
local function add_whole(ranges, text, secret)
  local start, finish = text:find(secret, 1, true)
  while start and secret ~= "" do
    local is_in_word = text:find("^%w", finish + 1) or start > 1 and text:find("^%w", start - 1)
    if #secret >= shortest_anywhere or not is_in_word then
      ranges[#ranges + 1] = { start = start, finish = finish }
    end
    start, finish = text:find(secret, finish + 1, true)
  end
  return ranges[1] ~= nil
end

--- Adds all pieces of a text that have this length to a set.
local function add_pieces(pieces, text, length)
  for start = 1, #text - length + 1 do
    pieces[text:sub(start, start + length - 1)] = true
  end
end

--- Makes a function that tells whether a text, as it is, contains a reading of the secret, or a part of a long one.
-- It looks up pieces of the text in sets, so that no text and no secret makes it slow.
local function finder_of(secret)
  local blocks, parts, short = {}, {}, {}
  for _, form in ipairs(readings_of(secret)) do
    if #form < shortest_part then
      short[#short + 1] = form
    else
      add_pieces(blocks, form, block)
      add_pieces(parts, form, shortest_part)
    end
  end
  return function(text)
    for _, form in ipairs(short) do
      if add_whole({}, text, form) then
        return true
      end
    end
    for at = 1, #text - block + 1, step do
      if blocks[text:sub(at, at + block - 1)] then
        for start = math.max(1, at - step + 1), at do
          if parts[text:sub(start, start + shortest_part - 1)] then
            return true
          end
        end
      end
    end
    return false
  end
end

-- Words that follow "Bearer" in sentences.
local plain_words =
  { token = true, tokens = true, authentication = true, authorization = true, scheme = true }

--- The places of what looks like a JSON Web Token (`{"` and a name begin with `eyJ` in base64), and of credentials
-- after the word Bearer, without full stops at their end. Parameters of a challenge (`realm="…"`) do not count.
local function token_ranges(text)
  local ranges = {}
  for start, following in text:gmatch "()eyJ[%w_.+/=-]*[%w_+/=-]()" do
    if following - start >= shortest_part then
      ranges[#ranges + 1] = { start = start, finish = following - 1 }
    end
  end
  for start, words, following in text:gmatch "%f[%a][Bb]earer%s+()([%w_.~+/-]*[%w_~+/-]=*)()" do
    if not text:find("^%l[%l_]*=[^=%s]", start) and not plain_words[words] then
      ranges[#ranges + 1] = { start = start, finish = following - 1 }
    end
  end
  return ranges
end

-- ---- Taking out --------------------------------------------------------------------------------------

--- The text with the mark in place of each range. Ranges that overlap or touch get one mark.
local function without(text, ranges)
  table.sort(ranges, function(a, b)
    return a.start < b.start
  end)
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

--- Whether a text, from which tokens and the whole secret were taken, repeats a part of the secret, or hides it. Also
-- true where the text has too many readings.
local function hides(text, finds)
  local readings, is_all = readings_of(text)
  for _, reading in ipairs(readings) do
    if finds(reading) then
      return true
    end
  end
  return not is_all
end

local function clean(text, secrets, finders)
  local ranges = token_ranges(text)
  for index, secret in ipairs(secrets) do
    -- Without the other secrets: a short one may stand in a part of this one.
    local own = token_ranges(text)
    add_whole(own, text, secret)
    finders[index] = finders[index] or finder_of(secret)
    if hides(without(text, own), finders[index]) then
      return mark
    end
    add_whole(ranges, text, secret)
  end
  return without(text, ranges)
end

--- Makes a function that redacts one text after the other, as `redact.text` does. It keeps the secrets.
---@param secrets string[]? values other than strings, and empty strings, are ignored
---@return fun(text: string?): string?
function redact.prepare(secrets)
  local list, finders = {}, {}
  for _, secret in pairs(secrets or {}) do
    list[#list + 1] = type(secret) == "string" and secret ~= "" and secret or nil
  end
  return function(text)
    if type(text) ~= "string" or not core.may_echo(list, text) then
      return text
    end
    return clean(text, list, finders)
  end
end

--- The text with "[redacted]" in place of every secret; one of less than 4 characters is replaced where it is a
-- word. Also replaced: credentials behind the word Bearer, and texts of at least 16 characters that look like a
-- JSON Web Token, whole or cut off. Where another part of a secret stands in the text, of at least 16 characters,
-- or a secret behind JSON's escapes, percent-encoding, character references, blanks, tags or invisible characters,
-- "[redacted]" replaces the whole text.
---@param text string? a value that is not a string is returned unchanged
---@param secrets string[]? values other than strings, and empty strings, are ignored
---@return string? text
function redact.text(text, secrets)
  return redact.prepare(secrets)(text)
end

return redact
