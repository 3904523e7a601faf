--- The cases of JSONTestSuite (spec/data/README.md) as texts.

local cjson = require "cjson"
local mime = require "mime"

local json_suite = {}

---@class spec.JsonCase
---@field name string
---@field class string `y` valid, `n` invalid, `i` either
---@field text string

--- Every case, in the file's order.
---@return spec.JsonCase[]
function json_suite.cases()
  local cases = {}
  for line in io.lines "spec/data/json_suite.jsonl" do
    local case = cjson.decode(line)
    local text = mime.unb64(case.b64) or ""
    assert(#text == case.bytes, case.name)
    cases[#cases + 1] = { name = case.name, class = case.cls, text = text }
  end
  return cases
end

return json_suite
