--- Helpers for the files of a spec.

local files = {}

--- The content of a file; nil when there is none.
---@param path string
---@return string?
function files.read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then
    file:close()
  end
  return text
end

---@param path string
---@param text string
function files.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  file:close()
end

--- A new file.
---@param text string
---@param mode string? of `chmod`; default: only its owner can read it
---@return string path
---@return fun() remove
function files.temporary(text, mode)
  local path = os.tmpname()
  files.write(path, text)
  os.execute(("chmod %s '%s'"):format(mode or "600", path))
  return path, function()
    os.remove(path)
  end
end

--- A new folder that only its owner can look into.
---@return string path
---@return fun() remove removes it with all that is in it
function files.folder()
  local path = os.tmpname()
  os.remove(path)
  os.execute(("mkdir -m 700 '%s'"):format(path))
  return path, function()
    os.execute(("rm -rf '%s'"):format(path))
  end
end

return files
