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

-- A secret that is shorter is not searched for across blanks and tags: "12 34" is not the secret "1234".
local shortest_hidden = 8

-- More layers of encoding than a chain of programs makes by mistake.
local most_layers = 5

-- ---- Texts without encodings and decorations ---------------------------------------------------------

local function character(digits)
  return string.char(tonumber(digits, 16))
end

--- The character of JSON's escape `\uXXXX`, in UTF-8.
local function unicode_character(digits)
  return sentence.utf8(tonumber(digits, 16))
end

local controls = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

--- Undoes JSON's escapes of characters by their codes. Backslashes in a row count as one: JSON inside JSON
-- doubles them.
local function undo_codes(text)
  text = text:gsub("\\+", "\\"):gsub("\\u(%x%x%x%x)", unicode_character)
  return (text:gsub("\\x(%x%x)", character))
end

--- Undoes JSON's other escapes, after those by codes, which may be behind a backslash that was escaped.
local function undo_escapes(text)
  if text:find "\\u%x%x%x%x" or text:find "\\x%x%x" then
    return text
  end
  return (text:gsub("\\([bfnrt])", controls):gsub("\\", ""))
end

-- The encodings, each undone once and alone, because the decoded text may look encoded in another way.
local decoders = { undo_codes, undo_escapes, percent_decoded }
for _, decode in ipairs(sentence.reference_decoders) do
  decoders[#decoders + 1] = decode
end

local function squeezed(text)
  return (text:gsub("[^!-~]", ""))
end

local function untagged(text)
  return (text:gsub("<[^<>]*>", ""))
end

--- A decoded text without blanks, plus signs (blanks in a form), backslashes, control characters and all that
-- is not ASCII, such as soft hyphens.
local function bare(text)
  return (text:gsub("[^!-~]+", ""):gsub("[+\\]", ""))
end

-- Blanks and tags may be between encoded characters, or within the encoding of one character. They are left
-- out after decoding, and before.
local preparations = {
  function(text)
    return text
  end,
  squeezed,
  function(text)
    return untagged(squeezed(text))
  end,
}

--- A reading is a form in which a text may be read: `text`, and `plain`, the parts of the secret that stand in the
-- text as they are, which are decoded with it.
local function changed(reading, change)
  return { text = change(reading.text), plain = change(reading.plain) }
end

--- The readings of a text, each once: as it is, and after each step of decoding; with its tags, and without. Nil if
-- there are too many layers of encoding.
---@param steps (fun(text: string): string)[] the decoders to use
local function readings_of(whole, steps)
  local readings, has = {}, {}
  local function add(reading)
    for _, form in ipairs { reading, changed(reading, untagged) } do
      local key = form.text .. "\0" .. form.plain
      readings[#readings + 1] = not has[key] and form or nil
      has[key] = true
    end
  end
  for _, prepare in ipairs(preparations) do
    local reading, layers, before = changed(whole, prepare), 0
    add(reading)
    repeat
      before, layers = reading, layers + 1
      for _, decode in ipairs(steps) do
        local after = changed(reading, decode)
        if after.text ~= reading.text then
          reading = after
          add(reading)
        end
      end
    until reading == before or layers > most_layers
    if reading ~= before then
      return nil
    end
  end
  return readings
end

--- The text without any encoding, down to `most_layers`.
local function decoded(text)
  for _ = 0, most_layers do
    for _, decode in ipairs(decoders) do
      text = decode(text)
    end
  end
  return text
end

-- ---- Where a secret stands in a text -----------------------------------------------------------------

--- The set of all pieces of a secret that have this length.
local function pieces_of(secret, length)
  local pieces = {}
  for start = 1, #secret - length + 1 do
    pieces[secret:sub(start, start + length - 1)] = true
  end
  return pieces
end

--- The end of the parts that overlap or touch the part at `start`, one after the other.
local function end_of_parts(text, start, parts)
  local finish = start + shortest_part - 1
  repeat
    start = start + 1
    finish = parts[text:sub(start, start + shortest_part - 1)] and start + shortest_part - 1
      or finish
  until start > finish
  return finish
end

--- Makes the function that finds parts of a long secret. It looks up pieces of the text in sets, so that no text and no
-- secret makes it slow.
local function part_finder(secret)
  local blocks, parts = pieces_of(secret, block), nil
  return function(text, from)
    for at = from, #text - block + 1, step do
      if blocks[text:sub(at, at + block - 1)] then
        parts = parts or pieces_of(secret, shortest_part)
        for start = math.max(from, at - step + 1), at do
          if parts[text:sub(start, start + shortest_part - 1)] then
            return start, end_of_parts(text, start, parts)
          end
        end
      end
    end
  end
end

local function find_word(text, from, word)
  local start, finish = text:find(word, from, true)
  while start and (text:find("^%w", finish + 1) or start > 1 and text:find("^%w", start - 1)) do
    start, finish = text:find(word, finish + 1, true)
  end
  return start, finish
end

--- Makes a function that finds where a text repeats a secret, from a position on. An empty secret is never found.
local function finder_of(secret)
  if #secret >= shortest_part then
    return part_finder(secret)
  end
  return function(text, from)
    if #secret >= shortest_anywhere then
      return text:find(secret, from, true)
    elseif secret ~= "" then
      return find_word(text, from, secret)
    end
  end
end

--- The finders of secrets, each made when it is first asked for.
local function new_finders()
  return setmetatable({}, {
    __index = function(finders, secret)
      finders[secret] = finder_of(secret)
      return finders[secret]
    end,
  })
end

--- Moves the end of a token back to before its final full stops.
local function before_full_stop(text, finish)
  while text:byte(finish) == 46 do
    finish = finish - 1
  end
  return finish
end

-- Words that follow "Bearer" in sentences.
local plain_words =
  { token = true, tokens = true, authentication = true, authorization = true, scheme = true }

--- The places of what looks like a JSON Web Token (`{"` and a name begin with `eyJ` in base64), and of
-- credentials after the word Bearer. Parameters of a challenge (`realm="…"`) do not count.
local function token_ranges(text)
  local ranges = {}
  for start, following in text:gmatch "()eyJ[%w_.+/=-]*()" do
    local finish = before_full_stop(text, following - 1)
    if finish - start + 1 >= shortest_part then
      ranges[#ranges + 1] = { start = start, finish = finish }
    end
  end
  for start, following in text:gmatch "%f[%a][Bb]earer%s+()[%w_.~+/-]+=*()" do
    local finish = before_full_stop(text, following - 1)
    local is_parameter = text:find("^%l[%l_]*=[^=%s]", start)
    if finish >= start and not is_parameter and not plain_words[text:sub(start, finish)] then
      ranges[#ranges + 1] = { start = start, finish = finish }
    end
  end
  return ranges
end

--- All places where a text repeats a secret.
local function secret_ranges(text, find)
  local ranges = {}
  local start, finish = find(text, 1)
  while start do
    ranges[#ranges + 1] = { start = start, finish = finish }
    start, finish = find(text, finish + 1)
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

--- How many characters of a text repeat a secret.
local function count_shown(text, find)
  local count = 0
  for _, range in ipairs(secret_ranges(text, find)) do
    count = count + range.finish - range.start + 1
  end
  return count
end

--- Whether one of the readings of a text shows more of a secret than its plain part.
local function is_shown(readings, secret, finders)
  local bare_secret = bare(secret)
  local function shows_more(reading, sought)
    -- Up to 3 characters behind a part may continue it by chance once blanks are gone.
    local slack, find = #sought >= shortest_part and 3 or 0, finders[sought]
    return count_shown(reading.text, find) > count_shown(reading.plain, find) + slack
  end
  for _, reading in ipairs(readings) do
    local is_long_enough = #bare_secret >= shortest_hidden
    if
      shows_more(reading, secret)
      or (is_long_enough and shows_more(changed(reading, bare), bare_secret))
    then
      return true
    end
  end
  return false
end

--- Whether a text hides more of a secret than is in it unchanged. Also true where it has too many layers of encoding.
local function hides(whole, secret, finders)
  local readings = readings_of(whole, decoders)
  local decoded_secret = decoded(secret)
  if not readings or is_shown(readings, decoded_secret, finders) then
    return true
  elseif decoded_secret == secret then
    return false
  end
  -- What looks like an encoding is a part of the secret.
  local other_decoders = {}
  for _, decode in ipairs(decoders) do
    other_decoders[#other_decoders + 1] = decode(secret) == secret and decode or nil
  end
  local other_readings = readings_of(whole, other_decoders)
  return is_shown(readings, secret, finders)
    or not other_readings
    or is_shown(other_readings, secret, finders)
end

local function clean(text, secrets)
  local ranges, finders = token_ranges(text), new_finders()
  for _, secret in ipairs(secrets) do
    local parts = {}
    for index, range in ipairs(secret_ranges(text, finders[secret])) do
      parts[index] = text:sub(range.start, range.finish)
      ranges[#ranges + 1] = range
    end
    if hides({ text = text, plain = table.concat(parts, "|") }, secret, finders) then
      return mark
    end
  end
  return without(text, ranges)
end

--- Makes a function that redacts one text after the other, as `redact.text` does. It keeps the secrets.
---@param secrets string[]? values other than strings, and empty strings, are ignored
---@return fun(text: string?): string?
function redact.prepare(secrets)
  local list = {}
  for _, secret in pairs(secrets or {}) do
    list[#list + 1] = type(secret) == "string" and secret ~= "" and secret or nil
  end
  return function(text)
    if type(text) ~= "string" or not core.may_echo(list, text) then
      return text
    end
    return clean(text, list)
  end
end

--- The text with "[redacted]" in place of every part of a secret that is at least 16 characters long. A
-- shorter secret is replaced where it stands as a whole, one of less than 4 characters where it is a word.
-- Where a secret stands behind JSON's escapes, percent-encoding, character references, blanks, tags or
-- invisible characters, "[redacted]" replaces the whole text. Also replaced: credentials behind the word
-- Bearer, and texts of at least 16 characters that look like a JSON Web Token.
---@param text string? a value that is not a string is returned unchanged
---@param secrets string[]? values other than strings, and empty strings, are ignored
---@return string? text
function redact.text(text, secrets)
  return redact.prepare(secrets)(text)
end

return redact
