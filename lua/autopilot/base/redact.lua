--- Takes secrets out of texts that a service sent, before they reach a report, an event or a log.
--
-- A service may echo a secret that it was sent: the whole or a part of it, as it is or encoded, or with
-- blanks, tags and invisible characters in between. A whole secret that is in a text unchanged is replaced by
-- a mark, and so is anything that looks like a token. A text that repeats another part of a secret, or hides
-- it in another form, is withheld.
--
-- 16 characters of a secret in a row count as a part of it: fewer may be there by chance. A secret that is
-- shorter is searched for as a whole. The work is bounded: a text that needs more is withheld.

local core = require "autopilot.core"
local sentence = require "autopilot.base.sentence"

local redact = {}

local mark = "[redacted]"

-- Characters in a row that count as a part of a secret.
local shortest_part = 16

-- A secret that is shorter is replaced only where it is a whole word: it would shred every text.
local shortest_anywhere = 4

-- ---- What a text may show ----------------------------------------------------------------------------

-- Of what looks encoded it is not known whether it is, or is a part of a secret. So all is kept that a text may
-- show at a place: the character that is there, and those whose codes begin there. The characters of a code may be
-- encoded themselves.

-- Characters of a text and ways to read its codes, in sum. A text of 16 KiB has fewer, even if it is all codes.
local most_steps = 2 ^ 16

local longest_reference = #"&DiacriticalGrave;"

local controls = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function byte(digits)
  return string.char(tonumber(digits, 16))
end

-- Kinds of codes, by the first character. Each function returns the character that a code stands for, if any, and
-- whether a longer code may begin like this.
local kinds = {
  ["%"] = function(code)
    local digits = code:match "^%%(%x*)$"
    return digits and #digits == 2 and byte(digits), digits and #digits < 2
  end,
  ["\\"] = function(code)
    local letter, digits = code:match "^\\([ux]?)(%x*)$"
    if letter == "u" then
      return #digits == 4 and sentence.utf8(tonumber(digits, 16)), #digits < 4
    elseif letter == "x" then
      return #digits == 2 and byte(digits), #digits < 2
    end
    return controls[code:sub(2)], code == "\\"
  end,
  ["&"] = function(code)
    local character = sentence.decode_references(code)
    local may_go_on = code:find "^&%a*$" or code:find "^&#%d*$" or code:find "^&#[xX]%x*$"
    return character ~= code and character, may_go_on and #code < longest_reference
  end,
}

--- Reads what a text may show, from its end to its beginning, because a code is read with what is shown behind it.
---@return table<integer, any[]>? shown for each place the characters, each followed by the place behind it; an empty
-- character stands for a tag. Nil where it is too much work.
local function read(text)
  local shown, steps = {}, #text
  local here, noted -- what the present place shows, and what was tried there

  local function is_new(characters, behind)
    local key = characters .. ":" .. behind
    local is_known = noted[key]
    noted[key], steps = true, steps + 1
    return not is_known and steps < most_steps
  end

  local function add(character, behind)
    if is_new(character, behind) then
      here[#here + 1], here[#here + 2] = character, behind
    end
  end

  --- Adds the characters whose codes have this beginning and go on at a place. Tags and invisible characters may stand
  -- in a code.
  local function add_codes(beginning, at)
    local rest = shown[text:find("[!-~]", at)] or {}
    for index = 1, #rest, 2 do
      local character, behind = rest[index], rest[index + 1]
      local code = beginning .. character
      local decoded, may_go_on = kinds[beginning:sub(1, 1)](code)
      if beginning == "\\" and character ~= "\\" then
        add(character, behind) -- the backslash may be left out: JSON in JSON doubles them
      end
      if decoded then
        add(decoded, behind)
      end
      local longer = may_go_on and code or not character:find "^[!-~]" and beginning
      if longer and is_new(longer .. ":", behind) then
        add_codes(longer, behind)
      end
    end
  end

  if steps >= most_steps then
    return nil
  end
  -- Places behind each `>` that may end a tag which begins here. Only a `<` or `>` that is not encoded ends the search:
  -- what looks like the code of one may be none.
  local tag_ends = {}
  for at = #text, 1, -1 do
    here, noted = { text:sub(at, at), at + 1 }, nil
    shown[at] = here
    local index = 1
    while here[index] and steps < most_steps do
      local character, behind = here[index], here[index + 1]
      noted = noted or character:find "[%%\\&+<]" and {}
      if kinds[character] then
        add_codes(character, behind)
      end
      if character == "+" then
        add(" ", behind) -- in a form
      elseif character == ">" then
        tag_ends = index > 1 and tag_ends or {}
        tag_ends[#tag_ends + 1] = behind
      elseif character == "<" then
        for _, tag_end in ipairs(tag_ends) do
          add("", tag_end)
        end
        tag_ends = index > 1 and tag_ends or {}
      end
      index = index + 2
    end
    if steps >= most_steps then
      return nil
    end
  end
  return shown
end

--- The characters that are neither blanks nor plus signs (blanks in a form), backslashes, control characters or beyond
-- ASCII, such as soft hyphens.
local function bare(text)
  return (text:gsub("[%z\1-\32+\\\127-\255]", ""))
end

--- The text with all codes decoded, and blanks in place of tags and invisible characters.
local function plain(shown)
  local characters, at = {}, 1
  while shown[at] do
    local here = shown[at]
    local character = here[#here - 1]
    characters[#characters + 1] = character:find "^[!-~]" and character or " "
    at = here[#here]
  end
  return table.concat(characters)
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

--- Makes a table that shortens a text to its longest beginning that stands in the secret.
local function beginnings_in(secret)
  return setmetatable({}, {
    __index = function(known, text)
      local beginning = text
      while not secret:find(beginning, 1, true) do
        beginning = beginning:sub(1, -2)
      end
      known[text] = beginning
      return beginning
    end,
  })
end

--- Adds a text to others, none of which is the beginning of another one.
local function add_longest(texts, text)
  for index, other in ipairs(texts) do
    if other:sub(1, #text) == text then
      return
    elseif text:sub(1, #other) == other then
      texts[index] = text
      return
    end
  end
  texts[#texts + 1] = text
end

--- Whether what a text may show has a secret, or a part of a long one. For each place, the parts of the secret that
-- begin there are found from those that begin behind it.
local function repeats(shown, last, secret)
  local telling, beginning_of = math.min(#secret, shortest_part), beginnings_in(secret)
  local parts = { [last + 1] = { "" } }
  for at = last, 1, -1 do
    local here, found = shown[at], {}
    for index = 1, #here, 2 do
      local character = here[index]
      local may_be_left_out = bare(character) == ""
      for _, part in ipairs(parts[here[index + 1]]) do
        if may_be_left_out then
          add_longest(found, part)
        end
        local longer = beginning_of[character .. part]
        if #longer >= telling then
          return true
        end
        add_longest(found, longer)
      end
    end
    parts[at] = found
  end
  return false
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

--- The set of the forms in which a text may have the secret: as it is, bare, decoded and bare.
local function forms_of(secret)
  local forms = { [secret] = true, [bare(secret)] = true, [bare(plain(read(secret) or {}))] = true }
  forms[""] = nil
  return forms
end

--- Whether a text, from which tokens and the whole secret were taken, repeats a part of the secret, or hides it. Also
-- true where the text needs more work than the bounds allow.
local function hides(text, forms)
  local shown = read(text)
  if not shown then
    return true
  end
  for form in pairs(forms) do
    local is_word = #form < shortest_anywhere
    if
      is_word and add_whole({}, plain(shown), form) or not is_word and repeats(shown, #text, form)
    then
      return true
    end
  end
  return false
end

local function clean(text, secrets, forms)
  local ranges = token_ranges(text)
  for index, secret in ipairs(secrets) do
    -- Without the other secrets: a short one may stand in a part of this one.
    local own = token_ranges(text)
    add_whole(own, text, secret)
    forms[index] = forms[index] or forms_of(secret)
    if hides(without(text, own), forms[index]) then
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
  local list, forms = {}, {}
  for _, secret in pairs(secrets or {}) do
    list[#list + 1] = type(secret) == "string" and secret ~= "" and secret or nil
  end
  return function(text)
    if type(text) ~= "string" or not core.may_echo(list, text) then
      return text
    end
    return clean(text, list, forms)
  end
end

--- The text with "[redacted]" in place of every secret; one of less than 4 characters is replaced where it is a
-- word. Also replaced: credentials behind the word Bearer, and texts of at least 16 characters that look like a
-- JSON Web Token, whole or cut off. Where another part of a secret stands in the text, of at least 16 characters,
-- or a secret behind JSON's escapes, percent-encoding, character references, blanks, tags or invisible characters,
-- "[redacted]" replaces the whole text.
---@param text string? a value that is not a string is returned unchanged
---@param secrets string[]? values other than strings, and empty strings, are ignored
function redact.text(text, secrets)
  return redact.prepare(secrets)(text)
end

return redact
