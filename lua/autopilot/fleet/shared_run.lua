--- The SQL of a run of a fleet that several machines share.
--
-- Tables: a run has a subject, which is unique, its beginning and end, and a round, which counts how often it was begun
-- or resumed: each round tries again what failed before. The tenants of a run are divided into parts, by a hash of
-- their keys: a part has the worker (a machine) that holds it, the end of its lease, and when it was taken. A worker
-- also holds a part with a negative number, which has no tenants and shows that it is alive. The reports of a part are
-- written some at a time, each time in a new row, which is kept after the run until the cooldowns in it have ended.
-- The numbers in the tables' names change with their columns.
--
-- Times are by the database's clock, in Unix seconds. Subjects and reports are percent-encoded, because they may contain
-- bytes that are no text in the database's encoding. Functions get an open `autopilot.store.Database`, and raise where
-- a statement fails.

local database = require "autopilot.store.database"
local json = require "autopilot.base.json"
local percent_decoded = require("autopilot.base.url").percent_decoded

local shared_run = {}

--- Number of parts of each run.
shared_run.part_count = 512

---@class autopilot.fleet.TakenPart
---@field taken_for number? seconds since an earlier worker took the part, and may have requested syncs; nil: none did
---@field round integer? the one in which it was taken last, before now
---@field tenants table<string, autopilot.fleet.WrittenTenant> by key

---@class autopilot.fleet.WrittenTenant
---@field is_of_run boolean? this run has written a report of the tenant
---@field report table? what `fleet.noted` keeps of its report; nil: the tenant is not done
---@field asked_for number? without a report: seconds since this run may have started a sync
---@field cooldown_left number seconds

-- Seconds for which a finished run is kept: a machine that is started later than the others then joins that
-- run and does not start a new one.
local latest_start = 60

local tables = {
  autopilot_run_2 = "(id BIGSERIAL PRIMARY KEY, subject TEXT NOT NULL UNIQUE, "
    .. "round INTEGER NOT NULL, started_at DOUBLE PRECISION NOT NULL, "
    .. "finished_at DOUBLE PRECISION)",
  autopilot_part_3 = "(run BIGINT NOT NULL, number INTEGER NOT NULL, worker TEXT, "
    .. "held_until DOUBLE PRECISION, taken_at DOUBLE PRECISION, round INTEGER, "
    .. "PRIMARY KEY (run, number)) WITH (fillfactor = 30)",
  -- `batch` is that of `write`; `count` is how many tenants are done in the round, `ok` how many in later ones.
  autopilot_report_2 = "(part INTEGER NOT NULL, id BIGSERIAL, run BIGINT NOT NULL, "
    .. "batch TEXT NOT NULL, round INTEGER NOT NULL, taken_at DOUBLE PRECISION, "
    .. "written_at DOUBLE PRECISION NOT NULL, cooldown_end DOUBLE PRECISION NOT NULL, "
    .. "count INTEGER NOT NULL, ok INTEGER NOT NULL, reports TEXT NOT NULL, "
    .. "PRIMARY KEY (part, id))",
}

local placeholders = {
  ["{now}"] = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)",
  ["{number}"] = "CAST(? AS DOUBLE PRECISION)",
  ["{run}"] = "CAST(? AS BIGINT)",
  ["{list}"] = "CAST(? AS INTEGER[])",
}

--- Runs a statement, after its placeholders in braces were replaced. Returns as `database.run` does.
local function run(opened, text, ...)
  return database.run(opened, (text:gsub("{%a+}", placeholders)), ...)
end

--- A list of numbers as PostgreSQL reads it.
local function array(numbers)
  return "{" .. table.concat(numbers, ",") .. "}"
end

-- Takes some of the given parts that no other worker holds.
local take = [[WITH free AS (
    SELECT number, taken_at, round FROM autopilot_part_3
    WHERE run = {run} AND number = ANY({list})
      AND (worker IS NULL OR worker = ? OR held_until <= {now})
    ORDER BY number LIMIT CAST(? AS INTEGER) FOR UPDATE SKIP LOCKED
  )
  UPDATE autopilot_part_3 AS part SET worker = ?, held_until = {now} + {number},
    taken_at = coalesce(part.taken_at, {now}), round = present.round
  FROM free, autopilot_run_2 AS present
  WHERE part.run = {run} AND part.number = free.number AND present.id = part.run
  RETURNING part.number, {now} - free.taken_at, free.round]]

-- Reads the reports of this run, and those of other runs with a cooldown that still lasts: it binds this run, too.
local read = [[SELECT part, {now} - taken_at, {now} - written_at, reports,
    run = present.id, report.round = present.round, report.round
  FROM autopilot_report_2 AS report, autopilot_run_2 AS present
  WHERE present.id = {run} AND part = ANY({list}) AND (run = present.id OR cooldown_end > {now})
  ORDER BY report.id]]

-- Stores the reports of parts that the worker still holds, and releases those parts that are free. `taken_at` is kept
-- for unsettled ones, in which a sync may have been requested without a report. Returns the parts whose reports are not
-- stored, neither now nor by an earlier attempt.
local write = [[WITH given AS (
    SELECT * FROM json_to_recordset(CAST(? AS json)) AS given
      (part INTEGER, count INTEGER, ok INTEGER, is_free BOOLEAN, is_unsettled BOOLEAN, reports TEXT)
  ), held AS (
    SELECT number, taken_at, round FROM autopilot_part_3
    WHERE run = {run} AND worker = ? AND number IN (SELECT part FROM given)
    ORDER BY number FOR UPDATE
  ), written AS (
    INSERT INTO autopilot_report_2
      (part, run, batch, round, taken_at, written_at, cooldown_end, count, ok, reports)
    SELECT part, {run}, ?, round, taken_at, {now}, {now} + {number}, count, ok, reports
    FROM given JOIN held ON number = part WHERE count > 0
  ), freed AS (
    UPDATE autopilot_part_3 AS freed
    SET worker = NULL, taken_at = CASE WHEN is_unsettled THEN held.taken_at END
    FROM given JOIN held ON number = part
    WHERE is_free AND freed.run = {run} AND freed.number = part
  )
  SELECT part FROM given
  WHERE count > 0 AND part NOT IN (SELECT number FROM held) AND NOT EXISTS (
    SELECT 1 FROM autopilot_report_2 AS stored
    WHERE stored.part = given.part AND stored.run = {run} AND stored.batch = ?
      AND stored.count >= given.count)]]

local renew = [[WITH renewed AS (
    UPDATE autopilot_part_3 SET held_until = {now} + {number} WHERE run = {run} AND worker = ?
    RETURNING number
  ) SELECT number FROM renewed]]
-- Adds a worker if the run has not been replaced. The lock keeps it from being replaced at the same time.
local enlist = [[INSERT INTO autopilot_part_3 (run, number, worker, held_until)
  SELECT id, CAST(-nextval(pg_get_serial_sequence('autopilot_report_2', 'id')) AS INTEGER),
    CAST(? AS TEXT), {now} + {number}
  FROM autopilot_run_2 WHERE id = {run} FOR KEY SHARE]]
-- Takes from workers what they did not renew. It changes the rows, so that a worker that wakes up now either has
-- renewed them before, and counts as alive, or finds that it has lost them.
local expire = [[UPDATE autopilot_part_3 SET worker = NULL
  WHERE run = {run} AND worker IS NOT NULL AND held_until <= {now}]]

local make_parts = [[INSERT INTO autopilot_part_3 (run, number)
  SELECT {run}, generate_series(1, CAST(? AS INTEGER)) ON CONFLICT DO NOTHING]]
-- Removes the reports of runs that were replaced, once the cooldowns in them are over.
local forget = [[DELETE FROM autopilot_report_2 WHERE (part, id) IN (
  SELECT part, id FROM autopilot_report_2
  WHERE run NOT IN (SELECT id FROM autopilot_run_2) AND cooldown_end <= {now}
  FOR UPDATE SKIP LOCKED)]]

--- Adds the reports in one row to the tenants of its part, where they replace those of earlier rows.
local function read_row(part, taken_for, written_for, reports, is_of_run, is_of_round, round)
  local tenants = part.tenants
  for _, written in ipairs(json.decode(percent_decoded(reports))) do
    local tenant = tenants[written.key] or { cooldown_left = 0 }
    tenants[written.key] = tenant
    tenant.cooldown_left = math.max(tenant.cooldown_left, (written.cooldown or 0) - written_for)
    if is_of_run then
      tenant.is_of_run = true
      tenant.report = (is_of_round or written.report.ok) and written.report or nil
      tenant.asked_for = taken_for
      if written.is_refused then -- since then only a later round may have asked
        tenant.asked_for = part.round > round and part.taken_for or nil
      end
    end
  end
end

--- Adds to some parts, by number, what is known of their tenants.
local function read_reports(opened, id, parts)
  local numbers = {}
  for number in pairs(parts) do
    numbers[#numbers + 1] = number
  end
  local rows = #numbers > 0 and run(opened, read, id, array(numbers)) or {}
  for _, row in ipairs(rows) do
    local part = parts[row[1]]
    if not pcall(read_row, part, row[2], row[3], row[4], row[5], row[6], row[7]) then
      part.taken_for = row[2] -- it is damaged: any tenant may have been asked for
    end
  end
end

--- Takes some of the parts with these numbers that no living worker holds, with what is known of their tenants.
---@param seconds number of the lease
---@return table<integer, autopilot.fleet.TakenPart> by number
function shared_run.take(opened, id, worker, seconds, numbers, most)
  local parts = {}
  local rows = run(opened, take, id, array(numbers), worker, most, worker, seconds, id)
  for _, row in ipairs(rows) do
    parts[row[1]] = { taken_for = row[2], round = row[3], tenants = {} }
  end
  read_reports(opened, id, parts)
  return parts
end

--- Writes reports of tenants, and releases parts, as far as the worker still holds the parts.
---@param batch string an id that stays the same while the reports are written again, perhaps with later ones, because
-- it is not known whether they were written
---@param holds table<autopilot.fleet.Hold, true>
---@param cooldown number seconds: the longest cooldown that a report can contain
---@return table<integer, true> lost numbers of parts whose reports could not be written: another worker took them
function shared_run.write(opened, id, worker, batch, holds, cooldown)
  local given, lost = {}, {}
  for hold in pairs(holds) do
    given[#given + 1] = {
      part = hold.number,
      count = #hold.reports,
      ok = hold.ok,
      is_free = hold.open == 0,
      is_unsettled = hold.is_unsettled,
      reports = database.encode(json.encode(hold.reports)),
    }
  end
  local text = json.encode(given)
  local rows = run(opened, write, text, id, worker, id, batch, cooldown, id, id, batch)
  for _, row in ipairs(rows) do
    lost[row[1]] = true
  end
  return lost
end

--- Counts the tenants that are done. A batch that was written twice counts once.
local function count(opened, id)
  local text = [[SELECT CAST(coalesce(sum(done), 0) AS INTEGER) FROM (
    SELECT max(CASE WHEN report.round = present.round THEN count ELSE ok END) AS done
    FROM autopilot_report_2 AS report, autopilot_run_2 AS present
    WHERE present.id = {run} AND run = present.id GROUP BY part, batch) AS batches]]
  return run(opened, text, id)[1][1]
end

--- Renews the leases of a worker, also those that have expired and that no other worker has taken.
---@return { kept: table<integer, boolean>, done: integer, is_replaced: boolean } renewed the parts that it holds, the
-- number of tenants that are done, and whether a newer run has taken the place of this one
function shared_run.renew(opened, id, worker, seconds)
  local kept, is_enlisted = {}, false
  local rows = run(opened, renew, seconds, id, worker)
  for _, row in ipairs(rows) do
    kept[row[1]] = true
    is_enlisted = is_enlisted or row[1] < 0
  end
  is_enlisted = is_enlisted or select(2, run(opened, enlist, worker, seconds, id)) > 0
  return { kept = kept, done = count(opened, id), is_replaced = not is_enlisted }
end

--- Ends the leases of a worker, so that other workers can take its parts.
function shared_run.dismiss(opened, id, worker)
  local text = "UPDATE autopilot_part_3 SET held_until = 0 WHERE run = {run} AND worker = ?"
  run(opened, text, id, worker)
  return true
end

--- Marks the run as finished, unless it has no report of a tenant in parts that the worker has left to others.
---@param left table<autopilot.fleet.Hold, true>
function shared_run.finish(opened, id, left)
  for hold in pairs(left) do -- one by one, because a statement has little time
    local part = { round = 0, tenants = {} }
    read_reports(opened, id, { [hold.number] = part })
    for key in pairs(hold.handed_out) do
      local tenant = part.tenants[key]
      if not (tenant and tenant.report) then
        return true
      end
    end
  end
  run(opened, "UPDATE autopilot_run_2 SET finished_at = {now} WHERE id = {run}", id)
  return true
end

--- Finds the run of that subject, or makes one. Its row is locked until the end of the transaction, so that only one
-- machine at a time joins, resumes or replaces it.
local function find(opened, subject)
  local make = [[INSERT INTO autopilot_run_2 (subject, round, started_at) VALUES (?, 1, {now})
    ON CONFLICT DO NOTHING]]
  local lock = [[SELECT id, {now} - started_at, {now} - finished_at FROM autopilot_run_2
    WHERE subject = ? FOR UPDATE]]
  run(opened, make, subject)
  return run(opened, lock, subject)[1] or find(opened, subject) -- another machine has just replaced it
end

--- Joins the run of that subject if it has workers with a valid lease; else resumes it, or starts a new one.
local function join(opened, subject, resume_within)
  local found = find(opened, subject)
  local id, age, ended_for = found[1], found[2], found[3]
  local function has_workers()
    local text = [[SELECT 1 FROM autopilot_part_3
      WHERE run = {run} AND worker IS NOT NULL AND held_until > {now} LIMIT 1]]
    return #run(opened, text, id) > 0
  end
  if not has_workers() then
    run(opened, expire, id)
  end
  if has_workers() then
    return id, age
  end
  local is_over = age > resume_within
  if ended_for then
    is_over = ended_for > math.min(latest_start, resume_within)
  end
  if is_over then
    -- A new id, so that a machine of the old run that wakes up late does not end this one.
    run(opened, "DELETE FROM autopilot_part_3 WHERE run = {run}", id)
    run(opened, "DELETE FROM autopilot_run_2 WHERE id = {run}", id)
    id, age = find(opened, subject)[1], 0
    run(opened, forget)
  elseif not ended_for then
    run(opened, "UPDATE autopilot_run_2 SET round = round + 1 WHERE id = {run}", id)
  end
  run(opened, make_parts, id, shared_run.part_count)
  return id, age
end

--- Sets the options of a new connection. Commits are synchronous, because the parts that a machine has taken must
-- survive a crash of the database. The timeouts keep a machine that stops within a transaction from blocking the
-- others.
function shared_run.prepare(opened)
  run(opened, "SET synchronous_commit = on")
  run(opened, "SET statement_timeout = 3000")
  run(opened, "SET idle_in_transaction_session_timeout = 5000")
end

--- Joins the run of that subject as a worker, if the run is in progress, has just finished, or was interrupted; else
-- starts a new run.
---@param resume_within number seconds after its beginning in which an interrupted run is resumed
---@param seconds number of its lease
---@return { id: integer, age: number, done: integer } run seconds since it began, and tenants that are done
function shared_run.join(opened, subject, resume_within, worker, seconds)
  for name, form in pairs(tables) do
    database.make_table(opened, name, form)
  end
  run(opened, "BEGIN")
  local id, age = join(opened, database.encode(subject), resume_within)
  run(opened, enlist, worker, seconds, id)
  run(opened, "COMMIT")
  return { id = id, age = age, done = count(opened, id) }
end

return shared_run
