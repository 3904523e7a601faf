--- Loads what a client else loads when it needs it: answers to failures, other operations than `sync`.
--
-- A fleet may meet with its first failure when thousands of sockets are open, so that no file can be, or
-- after hours in which the files were replaced by those of another version.

local modules = "sync.completion sync.ensure sync.recover sync.status sync.sync sync.wait "
  .. "graph.error base.sentence base.normal_text base.claims"

for module in modules:gmatch "%S+" do
  require("autopilot." .. module)
end

return true
