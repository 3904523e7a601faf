--- What must be true of a report of `client:ensure`, and of the requests that the service got from it.

local assert = require "luassert"

local ensured = {}

--- Fails unless the service got so many posts and reads.
function ensured.assert_requests(service, posts, most_reads)
  assert.equal(posts, service.requests.sync)
  local reads = service.requests.status
  assert(reads <= most_reads, ("%d reads instead of %d"):format(reads, most_reads))
end

--- The actions of a report's steps, in order; each has a reason and a time.
---@return string
function ensured.actions(report)
  local list, before = {}, 0
  for index, step in ipairs(report.steps) do
    list[index] = step.action
    assert.is_true(type(step.reason) == "string" and step.reason ~= "")
    assert.is_true(step.at >= before)
    before = step.at
  end
  return table.concat(list, " ")
end

return ensured
