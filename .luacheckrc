-- Only what every supported Lua has: 5.1 to 5.5 and LuaJIT.
std = "min"
max_line_length = 100
-- An annotation cannot be broken over two lines.
max_comment_line_length = 160
-- Declarations: their functions are empty.
files["lua/autopilot/types"] = { unused = false }
files["spec"] = { std = "min+busted" }
-- What runs in nginx only is written for it.
files["examples/openresty"] = { std = "ngx_lua" }
