--- Finds the names of the permissions that a service says are missing.
--
-- Intune: "Application must have one of the following scopes: A, B - Operation ID …". Graph: "Missing
-- scope permissions on the request. API requires one of 'A, B'. Scopes on the request 'C'".

local permissions = {}

-- The words before the list of names.
local markers = {
  "one of the following scopes:",
  "one of the following permissions:",
  "api requires one of",
}

-- More names than any operation's, and longer than any name.
local most_names, longest_name = 20, 128

local function find_list(text)
  local lower = text:lower()
  for _, marker in ipairs(markers) do
    local _, finish = lower:find(marker, 1, true)
    if finish then
      return finish + 1
    end
  end
end

--- The permissions of which one is needed, in the service's order. A name that was cut off is left out.
---@param text string
---@return string[] names empty when the text names none
function permissions.names(text)
  local names = {}
  local position = find_list(text)
  while position and #names < most_names do
    local word, after = text:match("^[ ,;'\"]*(%a[%w_.-]*)()", position)
    if not word then
      break
    end
    local name, full_stop = word:match "^(.-)(%.?)$"
    local is_cut = text:find("^\226\128\166", after) -- an ellipsis
    if #name <= longest_name and name:find "^%w+%.[%w.]+$" and not is_cut then
      names[#names + 1] = name
    elseif name ~= "or" and name ~= "and" then
      break
    end
    position = full_stop == "" and after or nil
  end
  return names
end

return permissions
