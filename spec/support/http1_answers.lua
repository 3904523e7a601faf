--- Answers over HTTP/1.1 of a hostile server, and the results that they may have.

local assert = require "luassert"
local hostile = require "support.hostile_server"
local wire = require "support.wire"

local http1_answers = {}

--- The result of a request that a server treats as the script says.
---@param script fun(connection: HostileConnection)
---@param how WireRequest?
---@return WireOutcome
function http1_answers.ask(script, how)
  return wire.ask(hostile.listen(script), how)
end

--- The result of a request that has this answer; `ending` as for `wire.answers`.
---@return WireOutcome
function http1_answers.answer(text, ending, how)
  return http1_answers.ask(wire.answers(text, ending), how)
end

--- Fails unless all of the answer came.
function http1_answers.assert_whole(outcome, status, body)
  assert.is_nil(outcome.network)
  assert.are.equal(status, outcome.status)
  assert.are.equal(body or "", outcome.response.body)
  assert.are.equal(1, outcome.sends)
end

--- Fails unless the status counts, and the failure says that the rest does not.
function http1_answers.assert_cut(outcome, status, name)
  assert.are.equal(status, outcome.status)
  assert.are.equal("receive", outcome.network.stage)
  assert.are.equal(name, outcome.network.name)
  assert.are.equal(1, outcome.sends)
end

--- Fails unless the answer is ignored, so that the request's effect is unknown.
function http1_answers.assert_lost(outcome, name)
  assert.is_nil(outcome.response)
  assert.are.equal("receive", outcome.network.stage)
  assert.are.equal(name, outcome.network.name)
  assert.are.equal("unknown", outcome.network.delivered)
  assert.are.equal(1, outcome.sends)
end

return http1_answers
