--- Checks a table of options against rules.
--
-- A caller's mistake raises at the caller's line, names the option by its path (`http.ca_file`) and
-- suggests the option that was probably meant. Each module has its own rules.

local lazy = require "autopilot.base.lazy"

local core = lazy "autopilot.core"
local mistake_of = lazy "autopilot.base.option_mistake"

local options = {}

---@class autopilot.OptionRule
---@field type string|string[] `string`, `number` (finite), `integer`, `boolean`, `table`, `function` (anything callable), `any`
---@field default any value of an option that is nil
---@field required boolean? whether nil is a mistake
---@field min number? smallest allowed value
---@field above number? every allowed value is larger
---@field max number? largest allowed value
---@field one_of string[]? the only allowed values
---@field fields table<string, autopilot.OptionRule>? rules of a nested table; it is made even when absent
---@field check (fun(value: any): string?)? returns what the value must be, or nil when it is right
---@field secret boolean? whether the value must not be quoted in a message
---@field such_as string? an expression whose value is right, for messages
---@field variable string? for providers: the environment variable that stands for an option that is not given
---@field instead_of string? names, with blanks between them, of what does not exist and people give for this option

--- Whether a value can be called.
function options.is_callable(value)
  local metatable = getmetatable(value)
  return type(value) == "function"
    or type(metatable) == "table" and type(metatable.__call) == "function"
end

--- Whether a value is of a type, or of one of several.
local function is_of_type(value, name)
  if type(name) == "table" then
    for _, one in ipairs(name) do
      if is_of_type(value, one) then
        return true
      end
    end
    return false
  elseif name == "any" or (name == "function" and options.is_callable(value)) then
    return true
  elseif name == "number" or name == "integer" then
    local is_finite = type(value) == "number" and math.abs(value) < math.huge
    return is_finite and (name == "number" or value % 1 == 0)
  end
  return type(value) == name
end

function options.contains(list, value)
  for _, candidate in ipairs(list) do
    if candidate == value then
      return true
    end
  end
  return false
end

--- What a value of the right type must be, or nil when it obeys the rule.
local function complaint_about(rule, value)
  if rule.one_of and not options.contains(rule.one_of, value) then
    return "must be one of '" .. table.concat(rule.one_of, "', '") .. "'"
  elseif type(value) == "number" then
    if rule.above and value <= rule.above then
      return "must be above " .. rule.above
    elseif rule.min and value < rule.min then
      return "must be at least " .. rule.min
    elseif rule.max and value > rule.max then
      return "must be at most " .. rule.max
    end
  end
  return rule.check and rule.check(value)
end

local check_fields -- forward: a rule with `fields` checks a table inside the table

--- Returns the value, its default, or nil for neither; nil and a message if it is wrong, or required and missing.
local function check_field(path, name, rule, value)
  if value == nil then
    value = rule.default
  end
  if rule.fields and (value == nil or type(value) == "table") then
    return check_fields(path .. name .. ".", rule.fields, value or {})
  elseif value == nil then
    return nil, rule.required and ("option '%s%s' is required"):format(path, name) or nil
  elseif not is_of_type(value, rule.type) then
    return nil, mistake_of.type(path .. name, rule, value)
  end
  local complaint = complaint_about(rule, value)
  if complaint then
    return nil, mistake_of.value(path .. name, complaint, value, rule.secret)
  end
  return value
end

function check_fields(path, rules, given)
  for name in pairs(given) do
    if not rules[name] then
      return nil, mistake_of.name(path, name, rules, given)
    end
  end
  local checked = {}
  for name, rule in pairs(rules) do
    local value, mistake = check_field(path, name, rule, given[name])
    if mistake then
      return nil, mistake
    end
    checked[name] = value
  end
  return checked
end

--- Checks `given` and returns a new table with the defaults filled in.
-- Raises `<name>: <what is wrong>` at the line that called the function which called this one.
---@param name string the public function, as its caller writes it: `autopilot.client`
---@param rules table<string, autopilot.OptionRule>
---@param given table? nil: no options
---@param level integer? as for `error`; default 2, the caller of the calling function
function options.check(name, rules, given, level)
  level = (level or 2) + 1
  if given ~= nil and type(given) ~= "table" then
    error(("%s: options must be a table (got %s)"):format(name, type(given)), level)
  end
  local checked, mistake = check_fields("", rules, given or {})
  if mistake then
    error(name .. ": " .. mistake, level)
  end
  return checked
end

--- What a token must be, which is not quoted; nil: it may be sent.
function options.token_complaint(token)
  if type(token) ~= "string" then
    return ("must be a string (got %s)"):format(type(token))
  elseif token == "" then
    return "must not be empty"
  elseif token:find "^[Bb]earer%s" or not core.is_header_text(token) then
    return "must be without CR, LF, NUL and the word 'Bearer'"
  end
end

--- What is wrong with a token provider that was named, but not called: `token.azure_cli` for `token.azure_cli {}`.
function options.provider_complaint(provider)
  for made, maker in pairs(package.loaded["autopilot.token"] or {}) do
    if maker == provider then
      return ("must be what autopilot.token.%s(…) returns"):format(made)
    end
  end
end

--- Raises, at the line that called a method, if it was not called with a colon: if `self` does not have the field.
---@param name string as its caller writes it: `client:sync`
function options.check_self(name, self, field)
  if type(self) ~= "table" or self[field] == nil then
    local form = "%s: was called with a full stop: write a colon, as in %s {}"
    error(form:format(name:gsub(":", "."), name), 3)
  end
end

return options
