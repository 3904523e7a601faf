--- Reads Prometheus's text format, version 0.0.4, as strictly as its description allows.
--
-- https://github.com/prometheus/docs/blob/main/content/docs/instrumenting/exposition_formats.md

local prometheus_text = {}

local unescaped = { ["\\\\"] = "\\", ['\\"'] = '"', ["\\n"] = "\n" }

--- The value that stands in quotes at a position, and the position after it.
local function read_value(text, position)
  local finish = position + 1
  while text:sub(finish, finish) ~= '"' do
    assert(finish <= #text and text:sub(finish, finish) ~= "", "a value does not end: " .. text)
    finish = finish + (text:sub(finish, finish) == "\\" and 2 or 1)
  end
  local value = text:sub(position + 1, finish - 1):gsub("\\.", function(escape)
    return assert(unescaped[escape], "an escape that is none: " .. text)
  end)
  return value, finish + 1
end

local function read_labels(text, position)
  local labels = {}
  while text:sub(position, position) ~= "}" do
    local name, start = text:match("^([%a_][%w_]*)=()", position)
    assert(name and text:sub(start, start) == '"', "a label that is none: " .. text)
    assert(labels[name] == nil, "a label twice: " .. text)
    labels[name], position = read_value(text, start)
    if text:sub(position, position) == "," then
      position = position + 1
    end
  end
  return labels, position + 1
end

local function read_sample(line)
  local name, position = line:match "^([%a_:][%w_:]*)()"
  assert(name, "a line that is none: " .. line)
  local labels = {}
  if line:sub(position, position) == "{" then
    labels, position = read_labels(line, position + 1)
  end
  local value = tonumber(line:match("^ (%S+)$", position))
  assert(value, "a value that is none: " .. line)
  return { name = name, labels = labels, value = value }
end

--- Reads a whole page; raises where it is not in the format.
---@param text string
---@return table<string, { type: string, help: string, samples: table[] }> families by name
function prometheus_text.read(text)
  assert(text == "" or text:sub(-1) == "\n", "the last line does not end")
  local families, family, told = {}, nil, {}
  for line in text:gmatch "([^\n]*)\n" do
    local keyword, name, rest = line:match "^# (%u+) (%S+) (.+)$"
    if keyword == "HELP" then
      assert(not families[name], "a family in two pieces: " .. line)
      family = { name = name, help = rest, samples = {} }
      families[name] = family
    elseif keyword == "TYPE" then
      assert(family and family.name == name and #family.samples == 0, "out of place: " .. line)
      assert(rest == "counter" or rest == "gauge" or rest == "histogram", line)
      family.type = rest
    else
      local sample = read_sample(line)
      local ending = family.type == "histogram" and "_%l+" or ""
      assert(sample.name:match("^" .. family.name .. ending .. "$"), "in no family: " .. line)
      local key = line:match "^(.*) %S+$"
      assert(not told[key], "told twice: " .. line)
      told[key] = true
      table.insert(family.samples, sample)
    end
  end
  return families
end

return prometheus_text
