--- The SQL of a run of a fleet that several machines share.
--
-- Tables: a run has a subject, which is unique, and its beginning and end. A worker is a machine that works on
-- a run, with the end of its lease. A part is a tenant in a run: the worker that holds it, when it was taken
-- first, and its report. A tenant outlives runs. The number in each table's name changes with its form.
--
-- Times are by the database's clock, in Unix seconds. Functions get an open `autopilot.store.Database`, and
-- raise where a statement fails.

local database = require "autopilot.store.database"
local json = require "autopilot.base.json"

---@class autopilot.fleet.Part what is known of a tenant in a run
---@field is_ours boolean the worker that asked holds it
---@field taken_for number? seconds since it was taken first, by this worker before or by another; nil: just now
---@field report string? it is done
---@field cooldown_left number? seconds; nil or below 0: it has ended

local shared_run = {}

-- Number of reports that are written with one statement.
local batch = 64

-- Seconds for which a finished run is kept: a machine that is started later than the others then joins that
-- run and does not start a new one.
local latest_start = 60

local now = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"

local tables = {
  autopilot_run_1 = "id BIGSERIAL PRIMARY KEY, subject TEXT NOT NULL UNIQUE, "
    .. "started_at DOUBLE PRECISION NOT NULL, finished_at DOUBLE PRECISION",
  autopilot_worker_1 = "id TEXT PRIMARY KEY, run BIGINT NOT NULL, "
    .. "alive_until DOUBLE PRECISION NOT NULL",
  autopilot_part_1 = "run BIGINT NOT NULL, key TEXT NOT NULL, worker TEXT, "
    .. "taken_at DOUBLE PRECISION, is_ok BOOLEAN, report TEXT, PRIMARY KEY (key, run)",
  autopilot_tenant_1 = "key TEXT PRIMARY KEY, cooldown_end DOUBLE PRECISION NOT NULL",
}

local function with_now(sql)
  return (sql:gsub("{now}", now))
end

-- Ends the leases that have expired, for good: a worker whose `alive_until` is 0 cannot renew its lease. A statement
-- of its own, so that `take` and the worker agree on it.
local expire = with_now [[UPDATE autopilot_worker_1 SET alive_until = 0
  WHERE alive_until > 0 AND alive_until <= {now}]]

-- The `ANY` below, and a primary key that begins with `key`, make PostgreSQL use the index. Otherwise each
-- statement would scan all rows of the run, as long as the new table has no statistics.

-- Takes those of the given tenants that no worker holds, and returns what is stored of all of them. The last
-- SELECT sees the tables as they were before the INSERT: its `taken_at` is that of an earlier holder. A worker that
-- this statement does not see, because it has joined meanwhile, counts as alive.
local take = with_now [[WITH given AS (
    SELECT DISTINCT value AS key FROM json_array_elements_text(CAST(? AS json))
  ), taken AS (
    INSERT INTO autopilot_part_1 AS part (run, key, worker, taken_at)
    SELECT CAST(? AS BIGINT), key, ?, {now} FROM given ORDER BY key
    ON CONFLICT (run, key) DO UPDATE
      SET worker = excluded.worker, taken_at = coalesce(part.taken_at, excluded.taken_at)
      WHERE part.report IS NULL
        AND (part.worker IS NULL OR part.worker = excluded.worker OR EXISTS (
          SELECT 1 FROM autopilot_worker_1 WHERE id = part.worker AND alive_until = 0))
    RETURNING key
  )
  SELECT given.key, taken.key IS NOT NULL, {now} - part.taken_at, part.report,
    tenant.cooldown_end - {now}
  FROM given
  LEFT JOIN taken ON taken.key = given.key
  LEFT JOIN autopilot_part_1 part ON part.key = given.key AND part.run = CAST(? AS BIGINT)
    AND part.key = ANY(ARRAY(SELECT key FROM given))
  LEFT JOIN autopilot_tenant_1 tenant ON tenant.key = given.key
    AND tenant.key = ANY(ARRAY(SELECT key FROM given))]]

-- Stores the reports of tenants that their workers still hold, and the ends of cooldowns for later runs. Rows are
-- locked in the order of their keys, as by `take`.
local write = with_now [[WITH given AS (
    SELECT * FROM json_to_recordset(CAST(? AS json)) AS given(
      key TEXT, worker TEXT, is_ok BOOLEAN, report TEXT, is_refused BOOLEAN,
      cooldown DOUBLE PRECISION)
  ), locked AS (
    SELECT key FROM autopilot_part_1 WHERE run = CAST(? AS BIGINT)
      AND key = ANY(ARRAY(SELECT key FROM given)) ORDER BY key FOR UPDATE
  ), written AS (
    UPDATE autopilot_part_1 AS part SET
      is_ok = given.is_ok,
      report = given.report,
      taken_at = CASE WHEN given.is_refused THEN NULL ELSE part.taken_at END
    FROM given JOIN locked ON locked.key = given.key
    WHERE part.run = CAST(? AS BIGINT) AND part.key = ANY(ARRAY(SELECT key FROM given))
      AND part.key = given.key AND part.worker = given.worker
    RETURNING part.key
  ), known AS (
    INSERT INTO autopilot_tenant_1 AS tenant (key, cooldown_end)
    SELECT key, {now} + cooldown FROM given WHERE cooldown IS NOT NULL ORDER BY key
    ON CONFLICT (key) DO UPDATE
      SET cooldown_end = greatest(excluded.cooldown_end, tenant.cooldown_end)
    RETURNING key
  )
  SELECT (SELECT count(*) FROM written), (SELECT count(*) FROM known)]]

local renew = with_now [[UPDATE autopilot_worker_1
  SET alive_until = {now} + CAST(? AS DOUBLE PRECISION) WHERE id = ? AND alive_until > {now}]]
local enlist = with_now [[INSERT INTO autopilot_worker_1 (id, run, alive_until)
  VALUES (?, CAST(? AS BIGINT), {now} + CAST(? AS DOUBLE PRECISION))
  ON CONFLICT (id) DO UPDATE SET run = excluded.run, alive_until = excluded.alive_until]]

--- Takes tenants that no living worker holds, and reads what is known of all that are given.
---@param keys string[]
---@return table<string, autopilot.fleet.Part> by key
function shared_run.take(opened, id, worker, keys)
  database.run(opened, expire)
  local parts = {}
  for _, row in ipairs((database.run(opened, take, json.encode(keys), id, worker, id))) do
    parts[row[1]] =
      { is_ours = row[2], taken_for = row[3], report = row[4], cooldown_left = row[5] }
  end
  return parts
end

--- Writes reports of tenants that their workers still hold. Each key is in the list once.
---@param reports table[] `{ key =, worker =, is_ok =, report =, is_refused =, cooldown = }`
function shared_run.write(opened, id, reports)
  local some = {}
  for index, report in ipairs(reports) do
    some[#some + 1] = report
    if #some == batch or index == #reports then
      database.run(opened, write, json.encode(some), id, id)
      some = {}
    end
  end
end

--- Renews a worker's lease.
---@param seconds number
---@return boolean? is_renewed false: it had ended
function shared_run.renew(opened, worker, seconds)
  local _, count = database.run(opened, renew, seconds, worker)
  return count > 0
end

--- Adds a worker to the run.
function shared_run.enlist(opened, id, worker, seconds)
  database.run(opened, enlist, worker, id, seconds)
end

--- Ends a worker's lease, and with it its hold of tenants without a report.
function shared_run.dismiss(opened, worker)
  database.run(opened, "UPDATE autopilot_worker_1 SET alive_until = 0 WHERE id = ?", worker)
end

--- How many tenants other workers have reported.
---@return integer
function shared_run.count_elsewhere(opened, id, worker)
  local sql = "SELECT count(*) FROM autopilot_part_1 WHERE run = CAST(? AS BIGINT) "
    .. "AND report IS NOT NULL AND worker <> ?"
  return database.run(opened, sql, id, worker)[1][1]
end

--- Notes that the run has come to its end.
function shared_run.finish(opened, id)
  local sql = "UPDATE autopilot_run_1 SET finished_at = {now} WHERE id = CAST(? AS BIGINT)"
  database.run(opened, with_now(sql), id)
end

--- Creates the tables that are missing.
local function make_tables(opened)
  for name, columns in pairs(tables) do
    local exists = ("SELECT 1 FROM %s WHERE 1 = 0"):format(name)
    if not pcall(database.run, opened, exists) then
      -- If another machine has just created the table, this fails or does nothing.
      pcall(database.run, opened, ("CREATE TABLE IF NOT EXISTS %s (%s)"):format(name, columns))
      database.run(opened, exists)
    end
  end
end

--- Joins the run of that subject if workers are left in it; else resumes it, or starts a new one.
local function join(opened, subject, resume_within)
  local function run(sql, ...)
    return database.run(opened, with_now(sql), ...)
  end
  local function find()
    run(
      "INSERT INTO autopilot_run_1 (subject, started_at) VALUES (?, {now}) ON CONFLICT DO NOTHING",
      subject
    )
    -- The row is locked until the end of the transaction, so that only one machine at a time decides. No row: another
    -- machine has just replaced it.
    local found = run(
      "SELECT id, {now} - started_at, {now} - finished_at FROM autopilot_run_1 "
        .. "WHERE subject = ? FOR UPDATE",
      subject
    )[1]
    return found or find()
  end
  run(expire)
  local found = find()
  local id, age, ended_for = found[1], found[2], found[3]
  local workers =
    run("SELECT 1 FROM autopilot_worker_1 WHERE run = CAST(? AS BIGINT) AND alive_until > 0", id)
  if #workers == 0 then
    local is_over = age > resume_within
    if ended_for then
      is_over = ended_for > math.min(latest_start, resume_within)
    end
    if is_over then
      -- A new id, so that a machine of the old run that wakes up late does not end this one.
      run("DELETE FROM autopilot_part_1 WHERE run = CAST(? AS BIGINT)", id)
      run("DELETE FROM autopilot_run_1 WHERE id = CAST(? AS BIGINT)", id)
      id, age = find()[1], 0
    elseif not ended_for then
      -- Tenants that failed are processed again.
      run(
        "UPDATE autopilot_part_1 SET report = NULL WHERE run = CAST(? AS BIGINT) AND NOT is_ok",
        id
      )
    end
    run(
      "UPDATE autopilot_part_1 SET worker = NULL WHERE run = CAST(? AS BIGINT) AND report IS NULL",
      id
    )
    run("DELETE FROM autopilot_worker_1 WHERE run = CAST(? AS BIGINT)", found[1])
  end
  local done = run(
    "SELECT count(*) FROM autopilot_part_1 WHERE run = CAST(? AS BIGINT) AND report IS NOT NULL",
    id
  )
  return id, age, done[1][1]
end

--- Prepares a new connection: what a machine was given must outlive a crash of the database, and a machine that
-- stops in the middle of a transaction must not stop the others.
function shared_run.prepare(opened)
  database.run(opened, "SET synchronous_commit = on")
  database.run(opened, "SET statement_timeout = 3000")
  database.run(opened, "SET idle_in_transaction_session_timeout = 5000")
end

--- Joins the run of that subject: as a worker of one that is under way, or has just ended, or did not come to its
-- end; else of a new one.
---@param subject string
---@param resume_within number seconds after its beginning in which a run is taken up that did not come to its end
---@param worker string
---@param seconds number of its lease
---@return integer id
---@return number age seconds since the run began
---@return integer done tenants with a report
function shared_run.join(opened, subject, resume_within, worker, seconds)
  make_tables(opened)
  database.run(opened, "BEGIN")
  local id, age, done = join(opened, subject, resume_within)
  shared_run.enlist(opened, id, worker, seconds)
  database.run(opened, "COMMIT")
  return id, age, done
end

return shared_run
