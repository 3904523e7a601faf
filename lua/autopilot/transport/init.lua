--- The HTTP layers that come with the library: libcurl, and answers from a list for tests.

return {
  curl = require "autopilot.transport.curl",
  scripted = require "autopilot.transport.scripted",
}
