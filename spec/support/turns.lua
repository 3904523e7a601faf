--- Coroutines that take turns, as those of a simple scheduler do.

local turns = {}

--- Lets each that has not ended go on once, from the first to the last or the other way.
---@param threads thread[]
---@param backwards boolean?
---@return boolean is_alive whether any did
function turns.take(threads, backwards)
  local is_alive = false
  for index = 1, #threads do
    local thread = threads[backwards and #threads + 1 - index or index]
    if coroutine.status(thread) ~= "dead" then
      assert(coroutine.resume(thread))
      is_alive = true
    end
  end
  return is_alive
end

--- Lets them take turns until all have ended.
---@param threads thread[]
---@param backwards boolean?
function turns.run_all(threads, backwards)
  local rounds = 0
  while turns.take(threads, backwards) do
    rounds = rounds + 1
    assert(rounds < 100000, "they never end")
  end
end

return turns
