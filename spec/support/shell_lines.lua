--- The lines for a shell in the README and in doc/.

local files = require "support.files"
local pages = require "support.pages"

local shell_lines = {}

-- Blocks in these languages have specs of their own.
local other_languages = { lua = true, nginx = true, text = true }
local shell_languages = { sh = true, bash = true, shell = true, console = true }

--- The lines of code for a shell, and what is printed below each as its output.
---@param text string a page in Markdown
---@return { text: string, output: string[] }[]
function shell_lines.read(text)
  local lines, language, is_code, has_prompt = {}, nil, false, false
  local function add(line)
    local prompted = line:match "^%$ (.*)"
    if has_prompt and not prompted then
      table.insert(lines[#lines].output, line)
      return
    end
    has_prompt = prompted ~= nil
    local bare = (prompted or line):gsub("%s+# .*$", ""):gsub("%s+$", "")
    lines[#lines + 1] = { text = bare, output = {} }
  end
  for line in text:gmatch "([^\n]*)\n" do
    local fence = line:match "^```(.*)"
    local code = not language and line:match "^    (%S.*)"
    if fence then
      language, has_prompt = not language and fence or nil, false
      assert(not language or other_languages[language] or shell_languages[language], line)
    elseif shell_languages[language] and line:find "%S" then
      add(line)
    elseif code and is_code then
      add(code)
    end
    is_code = not language and (code and is_code or line == "")
    has_prompt = has_prompt and line ~= ""
  end
  return lines
end

--- The lines of all pages, each once.
function shell_lines.of_pages()
  local lines, seen = {}, {}
  for _, path in ipairs(pages.paths()) do
    for _, line in ipairs(shell_lines.read(files.read(path))) do
      if not seen[line.text] then
        seen[line.text] = true
        lines[#lines + 1] = line
      end
    end
  end
  return lines
end

return shell_lines
