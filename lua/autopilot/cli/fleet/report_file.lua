--- The report of a fleet's run as one file that can be mailed: HTML or Markdown, as the extension of its name says.
--
-- Both are made of one list of sections. The HTML loads nothing from elsewhere. All texts are escaped,
-- because names of tenants and messages of services are not trusted.

local FleetSummary = require "autopilot.cli.fleet.summary"
local write_file = require "autopilot.cli.output_file"
local sentence = require "autopilot.base.sentence"
local text = require "autopilot.cli.text"

local report_file = {}

-- Characters of the longest bar.
local longest_bar = 24

-- ---- The two formats ---------------------------------------------------------------------------------

-- A format is a set of templates, which are filled with escaped texts. `name` is the template of a column's name, and
-- `rule` is written under each of these names.

local entities =
  { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local html = {
  escape = function(plain)
    return (plain:gsub("[&<>\"']", entities))
  end,
  head = [[<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>%s</title>
<style>
body { font: 16px/1.4 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }
h1, h2 { font-size: 1.2em; line-height: 1.3; overflow-wrap: anywhere }
table { border-collapse: collapse }
td, th { border-bottom: 1px solid #8888; overflow-wrap: anywhere; padding: .2em 1em .2em 0;
  text-align: left; vertical-align: top }
</style>
<h1>%s</h1>
]],
  heading = "<h2>%s</h2>\n",
  paragraph = "<p>%s</p>\n",
  table = "<table>\n%s</table>\n",
  row = "<tr>%s</tr>\n",
  name = "<th>%s</th>",
  cell = "<td>%s</td>",
  tail = "</html>\n",
}

local markdown = {
  -- Also escapes `://` and `www.`, which make a link of a URL without any markup.
  escape = function(plain)
    plain = plain:gsub("[\\`*_{}%[%]<>()#+!|~&@$]", "\\%0")
    plain = plain:gsub("://", "\\://"):gsub("([Ww][Ww][Ww])%.", "%1\\.")
    return plain
  end,
  head = "# %s\n",
  heading = "\n## %s\n",
  paragraph = "\n%s\n",
  table = "\n%s",
  row = "|%s\n",
  rule = "---|",
  name = " %s |",
  cell = " %s |",
  tail = "",
}

local function format_of(path)
  local formats = { html = html, htm = html, md = markdown }
  return formats[path:lower():match "%.(%w+)$"]
end

--- Returns the whole document. A section has a title, perhaps a paragraph, and a table of `columns` and `rows`.
local function render(format, title, sections)
  local function safe(plain)
    return format.escape(sentence.visible(plain))
  end
  local function row(cells, template)
    local parts = {}
    for index, cell in ipairs(cells) do
      parts[index] = template:format(safe(cell))
    end
    return format.row:format(table.concat(parts))
  end
  local parts = { format.head:format(safe(title), safe(title)) }
  for _, section in ipairs(sections) do
    parts[#parts + 1] = format.heading:format(safe(section.title))
    parts[#parts + 1] = section.paragraph and format.paragraph:format(safe(section.paragraph))
    local rows = { row(section.columns, format.name) }
    rows[2] = format.rule and format.row:format(format.rule:rep(#section.columns))
    for _, cells in ipairs(section.rows) do
      rows[#rows + 1] = row(cells, format.cell)
    end
    parts[#parts + 1] = format.table:format(table.concat(rows))
  end
  return table.concat(parts) .. format.tail
end

-- ---- The sections ------------------------------------------------------------------------------------

--- Says how many tenants the run processed in a second; in a minute if it was less than one in a second.
local function throughput(counted)
  local processed, seconds = counted.total - counted.known, counted.elapsed
  if seconds <= 0 or processed == 0 then
    return "not measured"
  elseif processed >= seconds then
    return ("%.1f tenants a second"):format(processed / seconds)
  end
  return ("%.1f tenants a minute"):format(processed / seconds * 60)
end

--- The names of the user and of this machine as one text; nil if neither is known. cron sets LOGNAME only, and shells
-- do not pass HOSTNAME on.
local function user_and_machine(context)
  local name = context:variable "USER" or context:variable "LOGNAME" or context:variable "USERNAME"
  local machine = context:variable "HOSTNAME" or context:variable "COMPUTERNAME"
  local file = not machine and io.open "/etc/hostname"
  if file then
    machine = (file:read(256) or ""):match "[^%s#]+"
    file:close()
  end
  return name and machine and name .. " on " .. machine or name or machine
end

local function operation_of(options)
  return options.operation .. (options.dry_run and ", a dry run" or "")
end

local function facts_section(run)
  local options, context, list, counted = run.options, run.context, run.list, run.fleet.summary
  local rows = {}
  local function add(name, value)
    rows[#rows + 1] = value and { name, value } or nil
  end
  add("Operation", operation_of(options))
  add("List", options.file == "-" and "standard input" or options.file)
  add("Service", (context:find(options, "base_url")))
  add("Cloud", options.cloud)
  add("Application", (context:find(options, "client_id")))
  add("Run by", user_and_machine(context))
  add("Began", text.time(run.began_at))
  add("Ended", text.time(context.now()))
  add("Took", text.duration(counted.elapsed))
  local known = counted.known > 0 and (", %s known from before"):format(text.count(counted.known))
  local tenants = "%s, of which %s failed%s"
  add("Tenants", tenants:format(text.count(counted.total), text.count(counted.failed), known or ""))
  add("Throughput", throughput(counted))
  add("Bad lines", list.bad > 0 and text.count(list.bad))
  add("Duplicates", list.duplicates > 0 and text.count(list.duplicates))
  for _, remark in ipairs(run.remarks) do
    add("Remark", remark)
  end
  return { title = "The run", columns = { "", "" }, rows = rows }
end

local function outcomes_section(counted)
  local rows = {}
  for index, entry in ipairs(FleetSummary.by_frequency(counted.by_outcome)) do
    local share = entry[2] / counted.total
    local bar = ("█"):rep(math.max(1, math.floor(share * longest_bar + 0.5)))
    rows[index] = { entry[1], text.count(entry[2]), ("%.1f %%"):format(share * 100), bar }
  end
  return { title = "Outcomes", columns = { "Outcome", "Tenants", "Share", "" }, rows = rows }
end

local function failures_section(group)
  local rows = {}
  for index, entry in ipairs(group) do
    local again = entry.retry_at and text.time(entry.retry_at)
    rows[index] = { entry.tenant, again or entry.again or "", entry.detail or "" }
  end
  local count = #group == 1 and "1 tenant" or text.count(#group) .. " tenants"
  return {
    title = ("%s (%s)"):format(group.outcome, count),
    paragraph = group.hint,
    columns = { "Tenant", "Ask again from", "What was told" },
    rows = rows,
  }
end

-- ---- The file ----------------------------------------------------------------------------------------

--- Returns why a report cannot be written to the file; nil if it can. The text completes a sentence that begins with
-- the file's name.
function report_file.complaint_about(path)
  if not format_of(path) then
    return "must end with .html or .md"
  end
  local complaint = write_file(path)
  return complaint and "cannot be written: " .. complaint
end

--- Writes the report of a run that has ended. Returns why that failed, or nil.
---@param run autopilot.cli.FleetRun
function report_file.write(path, run)
  local sections = { facts_section(run), outcomes_section(run.fleet.summary) }
  for _, group in ipairs(run.summary:groups()) do
    sections[#sections + 1] = failures_section(group)
  end
  local operation, began = operation_of(run.options), text.time(run.began_at)
  local title = ("autopilot-sync fleet: %s, %s"):format(operation, began)
  return write_file(path, render(format_of(path), title, sections))
end

return report_file
