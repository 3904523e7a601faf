--- What the command prints: results on standard output, failures and the line of progress on standard error.
--
-- A stream that cannot be written to raises no error: a closed pipe must not hide how a sync went.

local json_pieces = require "autopilot.cli.json"

---@class autopilot.cli.Output
---@field has_colour boolean? standard error is a terminal that shows colours
---@field shown integer columns of the line of progress on the terminal
---@field lost string? why something printed did not reach standard output
local Output = {}
Output.__index = Output

local program = "autopilot-sync: "

-- The reader of a pipe may close it early, as `head` does: that is not a failure.
local broken_pipe = 32 -- EPIPE, the same number on Linux, the BSDs and macOS

function Output.new(stdout, stderr, has_colour)
  local self = { stdout = stdout, stderr = stderr, shown = 0, has_colour = has_colour }
  return setmetatable(self, Output)
end

--- The text in one line, without control characters: it may quote a service or an argument.
local function one_line(text)
  return text:find "[^ -~]" and require("autopilot.base.sentence").visible(text) or text
end

--- Remembers the first failure of a write, unless the reader of a pipe has gone.
local function note(self, done, message, number)
  if not done and number ~= broken_pipe then
    self.lost = self.lost or message or "unknown reason"
  end
end

--- Draws a line of progress over the one before; "" erases it, which is done before anything else is printed. Blanks
-- erase, and not an escape sequence, because every terminal understands them.
function Output:draw(line)
  if self.shown > 0 or line ~= "" then
    local blanks = (" "):rep(self.shown - #line)
    self.stderr:write("\r", line, blanks, line == "" and "\r" or "")
    self.stderr:flush()
    self.shown = #line
  end
end

--- Prints a text of this program unchanged.
function Output:text(text)
  self:draw ""
  note(self, self.stdout:write(text, "\n"))
end

function Output:line(text)
  self:text(one_line(text))
  note(self, self.stdout:flush())
end

--- Prints a table as one line of JSON, at once.
function Output:json(value)
  for _, piece in ipairs(json_pieces(value)) do
    note(self, self.stdout:write(piece))
  end
  self:line ""
end

-- Of ECMA-48.
local colours = { red = "\27[31m", grey = "\27[90m" }

--- Prints one line on standard error.
---@param colour ("red"|"grey")?
function Output:warn(text, colour)
  self:draw ""
  local start = self.has_colour and colours[colour]
  self.stderr:write(start or "", one_line(text), start and "\27[0m" or "", "\n")
end

--- Prints on standard error, in one line, why the command failed.
function Output:complain(sentence)
  self:warn(program .. sentence, "red")
end

--- Prints a report: with `--json` always on standard output, else a failure on standard error.
---@param report autopilot.Report
---@param options { json: boolean?, quiet: boolean? }
---@param describe (fun(report: autopilot.Report): string[])? lines for a good one; default its own line
function Output:report(report, options, describe)
  if options.json then
    self:json(report)
  elseif not report.ok and (options.quiet or report.would_post == nil) then
    self:warn(tostring(report), "red")
    if report.hint then
      self:warn(report.hint)
    end
  elseif not options.quiet then
    for _, line in ipairs(describe and describe(report) or { tostring(report) }) do
      self:line(line)
    end
  end
end

--- Writes what is still buffered. The streams stay open. Returns why some output was lost, or nil.
function Output:close()
  self:draw ""
  note(self, self.stdout:flush())
  self.stderr:flush()
  return self.lost
end

return Output
