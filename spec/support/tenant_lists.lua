--- Lists of tenants as the command reads them, for specs.

local list_lines = require "autopilot.cli.fleet.lines"
local open_list = require "autopilot.cli.fleet.tenant_list"

local tenant_lists = {}

function tenant_lists.reader_of(text)
  local is_given = false
  return list_lines.reader(function()
    if not is_given then
      is_given = true
      return text
    end
  end)
end

--- All tenants of a list, what was said of its lines, and the list; or nil and the mistake.
function tenant_lists.read(text, column)
  local told = {}
  local function tell(message)
    told[#told + 1] = message
  end
  local list = open_list {
    read_line = tenant_lists.reader_of(text),
    file = "LIST",
    column = column,
    cloud = "global",
    size = #text,
    complain = tell,
    note = tell,
  }
  local tenants = {}
  repeat
    local is_right, tenant = pcall(list.next, list)
    if not is_right then
      return nil, (tenant.mistake:gsub("^the list LIST: ", ""))
    end
    tenants[#tenants + 1] = tenant
  until not tenant
  return tenants, told, list
end

--- The names of tenants, with blanks between them.
function tenant_lists.names(tenants)
  local found = {}
  for index, tenant in ipairs(tenants) do
    found[index] = tenant.tenant
  end
  return table.concat(found, " ")
end

return tenant_lists
