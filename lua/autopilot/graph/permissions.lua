--- Finds the names of the permissions that a service says are missing.
--
-- Intune: "Application must have one of the following scopes: A, B - Operation ID …". Graph: "Missing
-- scope permissions on the request. API requires one of 'A, B'. Scopes on the request 'C'".

local permissions = {}

local markers = {
  "one of the following scopes:",
  "one of the following permissions:",
  "api requires one of",
}

-- More than the list of any operation, and longer than any name.
local most_names, longest_name = 20, 128

--- Where the list begins, or nil.
local function find_list(text)
  local lower = text:lower()
  for _, marker in ipairs(markers) do
    local _, finish = lower:find(marker, 1, true)
    if finish then
      return finish + 1
    end
  end
end

--- The permissions of which one is needed, in the service's order; empty when it names none.
-- A name that was cut off is left out.
---@param text string
---@return string[]
function permissions.names(text)
  local names = {}
  local position = find_list(text)
  while position and #names < most_names do
    local word, after = text:match("^[ ,;'\"]*(%a[%w_.-]*)()", position)
    if not word then
      break
    end
    local name, dot = word:match "^(.-)(%.?)$"
    local is_cut = text:find("^\226\128\166", after)
    if #name <= longest_name and name:find "^%w+%.[%w.]+$" and not is_cut then
      names[#names + 1] = name
    elseif name ~= "or" and name ~= "and" then
      break
    end
    position = dot == "" and after or nil
  end
  return names
end

return permissions
