--- The code that runs inside nginx in the specs of `autopilot.openresty`: one function for each test.
--
-- A location names the function; its result is the answer, as JSON. See support.openresty_world.

local autopilot = require "autopilot.openresty"
local cjson = require "cjson.safe"
local ngx = require "ngx"
local overlay = require "support.overlay"

local handlers = {}

local notes = ngx.shared.notes

--- A client of the upstream's. `token` tells the upstream what to do.
local function new_client(token, given)
  local options = {
    token = token,
    base_url = os.getenv "UPSTREAM",
    http = { ca_file = os.getenv "CA_FILE", version = os.getenv "HTTP_VERSION" },
    cooldown = 0,
    retry = false,
    recover = false,
  }
  overlay(options, given)
  return autopilot.client(options)
end

local by_token = {}

--- Clients are kept, as those of a configuration are.
local function client_for(token)
  by_token[token] = by_token[token] or new_client(token)
  return by_token[token]
end

local function facts(report)
  local network = report.network or {}
  return {
    outcome = report.outcome,
    delivered = report.delivered,
    status = report.status,
    request_id = report.request_id,
    http_version = report.http_version,
    elapsed = report.elapsed,
    stage = network.stage,
    name = network.name,
    timeout = network.timeout,
    worker = ngx.worker.pid(),
  }
end

local function sync(client, given)
  local report, failure = client:sync(given)
  return facts(report or failure)
end

local run = {}

--- The client that the query asks for: `token`, `total` (seconds) and `url`.
local function asked_client(arguments)
  return arguments.total
      and new_client(arguments.token, {
        base_url = arguments.url,
        timeout = { total = tonumber(arguments.total) },
      })
    or client_for(arguments.token)
end

--- One call, with the `id` of the query.
function run.one()
  local arguments = ngx.req.get_uri_args()
  return sync(asked_client(arguments), { client_request_id = arguments.id })
end

--- The checks of `client:doctor`, by name.
function run.doctor()
  local checks = {}
  local report, failure = new_client("answer-0"):doctor()
  for _, check in ipairs((report or failure).checks) do
    checks[check.name] = check
  end
  return checks
end

--- One call for a tenant whose clients share a store: `token`, `deadline` and `total` (seconds) from the query. How
-- many have begun is noted.
function run.shared()
  local arguments = ngx.req.get_uri_args()
  notes:incr("begun", 1, 0)
  local client = new_client(arguments.token, {
    tenant = "one.example",
    store = os.getenv "STORE" and autopilot.store.open(os.getenv "STORE")
      or autopilot.store.shared_dict "shared",
    timeout = { total = tonumber(arguments.total) or 2 },
    cooldown = 600,
  })
  local report, failure = client:sync { deadline = tonumber(arguments.deadline) }
  local result = facts(report or failure)
  result.retry_after = (report or failure).retry_after
  return result
end

--- A call in a timer, without a client that waits; its result is noted.
function run.detached()
  local token = ngx.req.get_uri_args().token
  return ngx.timer.at(0, function()
    notes:set("detached", cjson.encode(sync(client_for(token))))
  end)
end

--- Many light threads of one request; how many got another's answer?
function run.many()
  local arguments = ngx.req.get_uri_args()
  local client, count = asked_client(arguments), tonumber(arguments.count)
  local threads, result = {}, { started = 0, wrong = 0, others = {} }
  local began = ngx.now()
  for index = 1, count do
    threads[index] = ngx.thread.spawn(sync, client, { client_request_id = "id-" .. index })
  end
  if arguments.late then -- so many more calls, which have only half the time
    local total = tonumber(arguments.total) / 2
    local impatient = new_client(arguments.token, { timeout = { total = total } })
    for index = count + 1, count + tonumber(arguments.late) do
      threads[index] = ngx.thread.spawn(sync, impatient)
    end
  end
  for index, thread in ipairs(threads) do
    local _, answer = ngx.thread.wait(thread)
    if answer.outcome ~= "started" then
      table.insert(result.others, answer)
    elseif answer.request_id ~= "id-" .. index then
      result.wrong = result.wrong + 1
    else
      result.started = result.started + 1
    end
  end
  ngx.update_time()
  result.elapsed = ngx.now() - began
  return result
end

--- Simultaneous calls of `count` tenants, each with its own token: `even-N` or `odd-N`. With
-- `versions` every third one speaks HTTP/1.1 only. `url` and `ca_file` say where.
function run.tenants()
  local arguments = ngx.req.get_uri_args()
  local threads, answers = {}, {}
  for index = 1, tonumber(arguments.count) do
    local client = new_client((index % 2 == 0 and "even-" or "odd-") .. index, {
      base_url = arguments.url,
      timeout = { connect = 600, total = 600 },
      http = {
        ca_file = arguments.ca_file,
        version = arguments.versions and (index % 3 == 0 and "1.1" or "2") or nil,
      },
    })
    threads[index] = ngx.thread.spawn(sync, client)
  end
  for index, thread in ipairs(threads) do
    local _, answer = ngx.thread.wait(thread)
    answers[index] = answer
  end
  return answers
end

local function new_fleet(arguments)
  return autopilot.fleet {
    tenants = function()
      local left = tonumber(arguments.count)
      return function()
        left = left - 1
        return left >= 0 and "tenant-" .. left or nil
      end
    end,
    concurrency = tonumber(arguments.concurrency),
    client = {
      token = function()
        return arguments.token
      end,
      base_url = os.getenv "UPSTREAM",
      http = { ca_file = os.getenv "CA_FILE", version = os.getenv "HTTP_VERSION" },
    },
  }
end

--- A fleet in this light thread: `count` tenants, each with what `token` tells the upstream.
function run.fleet()
  local fleet = new_fleet(ngx.req.get_uri_args())
  local summary = fleet:run { on_report = function() end }
  fleet:close()
  return summary
end

local kept_fleet

--- The same fleet in every request.
function run.kept_fleet()
  kept_fleet = kept_fleet or new_fleet(ngx.req.get_uri_args())
  return kept_fleet:run { on_report = function() end }
end

--- A light thread is killed while it waits; others, before and after, are not disturbed.
function run.kill()
  local client = client_for "answer-0.3"
  local threads = {}
  for index = 1, 10 do
    threads[index] = ngx.thread.spawn(sync, client, { client_request_id = "id-" .. index })
  end
  local doomed = ngx.thread.spawn(sync, client_for "stall")
  ngx.sleep(0.05)
  local killed = ngx.thread.kill(doomed)
  local result = { killed = killed, right = 0 }
  threads[11] = ngx.thread.spawn(sync, client, { client_request_id = "id-11" })
  for index, thread in ipairs(threads) do
    local _, answer = ngx.thread.wait(thread)
    result.right = result.right + (answer.request_id == "id-" .. index and 1 or 0)
  end
  return result
end

--- A token function that uses a cosocket and sleeps, as one that asks a vault would.
function run.provider()
  local port = ngx.var.server_port
  local client = new_client(function()
    ngx.sleep(0.01)
    local socket = ngx.socket.tcp()
    assert(socket:connect("127.0.0.1", port))
    assert(socket:send "GET /token HTTP/1.0\r\n\r\n")
    local answer = assert(socket:receive "*a")
    socket:close()
    return answer:match "\r\n\r\n(.*)$"
  end)
  return sync(client)
end

--- Inside C functions that call Lua, no code can wait.
function run.inside_c()
  local inside_sort, inside_gsub
  table.sort({ 1, 2 }, function(a, b)
    inside_sort = inside_sort or sync(client_for "answer-0")
    return a < b
  end);
  ("x"):gsub("x", function()
    inside_gsub = sync(client_for "answer-0")
  end)
  return { sort = inside_sort, gsub = inside_gsub }
end

--- A call that ends when its client goes away.
function run.abortable()
  assert(ngx.on_abort(function()
    notes:incr("aborted", 1, 0)
    ngx.exit(499)
  end))
  return sync(client_for "stall")
end

--- The notes of phases that send no answer.
function run.notes()
  local all = { worker = ngx.worker.pid() }
  for _, key in ipairs(notes:get_keys(0)) do
    local value = notes:get(key)
    all[key] = type(value) == "string" and cjson.decode(value) or value
  end
  return all
end

--- Lets go of what the collector would only let go of later.
function run.collect()
  collectgarbage()
  collectgarbage()
  return { kilobytes = collectgarbage "count", worker = ngx.worker.pid() }
end

--- Tries a sync in a phase, and notes the result.
---@param name string
---@return table facts
function handlers.try(name)
  local called = false
  local client = new_client(function()
    called = true
    return "phase"
  end)
  local result = sync(client)
  result.token_was_asked_for = called
  notes:set(name, cjson.encode(result))
  return result
end

--- Answers with what the function that the location names returns.
function handlers.answer()
  local name = ngx.var.uri:match "[%l_]+$"
  ngx.print(cjson.encode(run[name]()))
end

function handlers.init()
  autopilot.setup { driver = os.getenv "DRIVER" }
  handlers.try "init"
end

function handlers.init_worker()
  handlers.try "init_worker"
  ngx.timer.at(0, function()
    handlers.try "timer"
  end)
end

return handlers
