-- Starts busted in the Lua that runs this file: the one that is tested. The `busted` command begins in the
-- system's `lua`, for which busted may not be installed.
require "busted.runner" { standalone = false }
