--- What is wrong with an option, in the words of `autopilot.base.options`.

local mistake = {}

--- How many single-character edits (insert, delete, replace, swap of neighbours) turn `a` into `b`.
local function edit_distance(a, b)
  local edits = {} -- from the first i characters of a to the first j of b
  for i = 0, #a do
    edits[i] = { [0] = i }
    for j = 1, #b do
      local best = j
      if i > 0 then
        local cost = a:byte(i) == b:byte(j) and 0 or 1
        best = math.min(edits[i - 1][j] + 1, edits[i][j - 1] + 1, edits[i - 1][j - 1] + cost)
      end
      if i > 1 and j > 1 and a:sub(i - 1, i) == b:sub(j - 1, j):reverse() then
        best = math.min(best, edits[i - 2][j - 2] + 1)
      end
      edits[i][j] = best
    end
  end
  return edits[#a][#b]
end

--- The name that was probably meant; nil when none is similar.
---@param names string[] is sorted by this call
function mistake.nearest(wrong, names)
  local nearest, smallest = nil, math.max(1, math.floor(#wrong / 3)) + 0.5
  table.sort(names) -- so that the same one of two equally near names is always suggested
  for _, name in ipairs(names) do
    -- The distance is never smaller than the difference in length: absurdly long input is not compared.
    if math.abs(#name - #wrong) < smallest then
      local distance = edit_distance(wrong:lower(), name)
      if distance < smallest then
        nearest, smallest = name, distance
      end
    end
  end
  return nearest
end

-- Options that are often confused: some calls have the one, some the other.
local counterparts = { deadline = "timeout", timeout = "deadline" }

--- The option that was probably meant, as the end of a sentence: ` (did you mean 'http.proxy'?)`. Empty when none is
-- similar.
---@param path string of the table that it is in: empty, or with a full stop at its end
---@param rules table<string, any> by the names that are known; `fields` of a rule are the names in a nested table
function mistake.suggestion(path, name, rules)
  local known, others = {}, {}
  for key, rule in pairs(rules) do
    rule = type(rule) == "table" and rule or {}
    if (" %s "):format(rule.instead_of or ""):find((" %s "):format(tostring(name)), 1, true) then
      return (" (write %s%s = %s)"):format(path, key, rule.such_as)
    end
    known[#known + 1] = key
    local nested = rule.fields and rule.fields[name] and key .. "." .. name
    others[#others + 1] = nested or counterparts[name] == key and key or nil
  end
  local meant = type(name) == "string" and mistake.nearest(name, known) or others[1]
  return meant and (" (did you mean '%s%s'?)"):format(path, meant) or ""
end

--- An option that does not exist; the first arguments are those of `suggestion`.
---@param given table? the options; a module of the library if its function was called with a colon
function mistake.name(path, name, rules, given)
  for _, module in pairs(package.loaded) do
    if module == given then
      return "was called with a colon: write a full stop in its place"
    end
  end
  local shown = tostring(name):sub(1, 80):gsub("%c", "?")
  return ("unknown option '%s%s'%s"):format(path, shown, mistake.suggestion(path, name, rules))
end

local function shown(value, is_secret)
  if is_secret or type(value) == "table" or type(value) == "function" then
    return type(value)
  elseif type(value) == "string" then
    -- With control characters a value could forge a second line in a log.
    return ("'%s'"):format((#value > 80 and value:sub(1, 80) .. "..." or value):gsub("%c", "?"))
  end
  return tostring(value)
end

--- An option whose value is not of the type, or of one of the types, that its rule names.
---@param option string its path
function mistake.type(option, rule, value)
  local phrases, fields = {}, {}
  for index, name in ipairs(type(rule.type) == "table" and rule.type or { rule.type }) do
    phrases[index] = name == "integer" and "a whole number" or "a " .. name
  end
  for name in pairs(rule.fields or {}) do
    fields[#fields + 1] = name .. " = …"
  end
  table.sort(fields)
  local form = rule.such_as or fields[1] and ("{ %s }"):format(table.concat(fields, ", "))
  return ("option '%s' must be %s%s (got %s)"):format(
    option,
    table.concat(phrases, " or "),
    form and " such as " .. form or "",
    shown(value, rule.secret)
  )
end

--- An option whose value is of the right type, but not allowed. A text that is a secret, or empty, is not quoted.
---@param option string its path
---@param complaint string what the value must be
function mistake.value(option, complaint, value, is_secret)
  local is_quoted = value ~= "" and not (is_secret and type(value) == "string")
  local got = is_quoted and (" (got %s)"):format(shown(value, is_secret)) or ""
  return ("option '%s' %s%s"):format(option, complaint, got)
end

return mistake
