rockspec_format = "3.0"
package = "autopilot-sync"
version = "scm-1"
source = {
  -- Built from a checkout: `luarocks make` in its root.
  url = "git+file://.",
}
description = {
  summary = "Asks Microsoft Intune for a Windows Autopilot sync and tells truly how it went",
  detailed = [[
    A library and a command over libcurl: asks Microsoft Graph for a sync of the Windows Autopilot
    devices, retries where that is right, and reports what is known about the outcome.]],
  license = "MIT",
  labels = { "http", "microsoft-graph", "intune", "autopilot" },
}
dependencies = {
  "lua >= 5.1, < 5.5",
  "lua-cjson",
  "argparse",
}
external_dependencies = {
  CURL = { library = "curl" },
}
build = {
  type = "builtin",
  modules = {
    ["autopilot.core"] = {
      sources = {
        "src/byte_buffer.c",
        "src/ca_store.c",
        "src/calendar.c",
        "src/challenge.c",
        "src/core.c",
        "src/curl_failure.c",
        "src/http_date.c",
        "src/lua_parsers.c",
        "src/lua_request.c",
        "src/lua_support.c",
        "src/lua_system.c",
        "src/lua_transfer.c",
        "src/lua_transfer_set.c",
        "src/platform.c",
        "src/prepared_request.c",
        "src/response_head.c",
        "src/retry_after.c",
        "src/text_cursor.c",
        "src/timestamp.c",
        "src/transfer.c",
        "src/transfer_set.c",
      },
      libraries = { "curl" },
    },
    ["autopilot.emulator"] = "lua/autopilot/emulator.lua",
    ["autopilot.emulator.access_tokens"] = "lua/autopilot/emulator/access_tokens.lua",
    ["autopilot.emulator.answers"] = "lua/autopilot/emulator/answers.lua",
    ["autopilot.emulator.calendar"] = "lua/autopilot/emulator/calendar.lua",
    ["autopilot.emulator.entra"] = "lua/autopilot/emulator/entra.lua",
    ["autopilot.emulator.faults"] = "lua/autopilot/emulator/faults.lua",
    ["autopilot.emulator.graph"] = "lua/autopilot/emulator/graph.lua",
    ["autopilot.emulator.identifiers"] = "lua/autopilot/emulator/identifiers.lua",
    ["autopilot.emulator.settings"] = "lua/autopilot/emulator/settings.lua",
    ["autopilot.emulator.tenant_syncs"] = "lua/autopilot/emulator/tenant_syncs.lua",
    ["autopilot.options"] = "lua/autopilot/options.lua",
    ["autopilot.retry"] = "lua/autopilot/retry.lua",
    ["autopilot.retry.backoff"] = "lua/autopilot/retry/backoff.lua",
    ["autopilot.retry.budget"] = "lua/autopilot/retry/budget.lua",
    ["autopilot.retry.condition"] = "lua/autopilot/retry/condition.lua",
    ["autopilot.retry.policy"] = "lua/autopilot/retry/policy.lua",
    ["autopilot.retry.run"] = "lua/autopilot/retry/run.lua",
    ["autopilot.retry.world"] = "lua/autopilot/retry/world.lua",
    ["autopilot.transport.curl"] = "lua/autopilot/transport/curl.lua",
    ["autopilot.transport.scripted"] = "lua/autopilot/transport/scripted.lua",
    ["autopilot.version"] = "lua/autopilot/version.lua",
  },
  install = {
    bin = { "bin/autopilot-sync" },
  },
}
