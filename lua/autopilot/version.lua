-- The one place that knows the version; the rockspec spec and `autopilot-sync --version` read it.
return "0.1.0"
