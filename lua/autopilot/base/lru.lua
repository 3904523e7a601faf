--- In which order entries were last used: so that a bounded table knows what goes when it is full.
--
-- A ring through the entries' own fields `older` and `newer`, which a node closes that is no entry: its
-- `newer` is what was not used for longest, its `older` what was used last. Nothing is searched or moved,
-- and no memory is asked for, however many entries there are. The table is left to whoever holds it.

---@class autopilot.Recency the node that closes the ring
---@field newer table the entry that was not used for longest; the node itself when there is none
---@field older table the entry that was used last; the node itself when there is none

local recency = {}

---@return autopilot.Recency ring without an entry
function recency.new()
  local ring = {}
  ring.older, ring.newer = ring, ring
  return ring
end

--- Takes an entry in, as the one used last.
---@param ring autopilot.Recency
---@param entry table in no ring
function recency.add(ring, entry)
  local newest = ring.older
  entry.older, entry.newer = newest, ring
  newest.newer, ring.older = entry, entry
end

--- Takes an entry out of its ring.
---@param entry table
function recency.remove(entry)
  entry.older.newer, entry.newer.older = entry.newer, entry.older
end

--- Makes an entry of the ring the one used last. Called for each request: one call, and none in it.
---@param ring autopilot.Recency
---@param entry table
function recency.touch(ring, entry)
  local older, newer = entry.older, entry.newer
  older.newer, newer.older = newer, older
  local newest = ring.older
  entry.older, entry.newer = newest, ring
  newest.newer, ring.older = entry, entry
end

return recency
