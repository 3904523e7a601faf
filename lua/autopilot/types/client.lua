---@meta
--- The methods of a client, their options, and events, declared for editors. Never loaded: the modules of
-- `autopilot.sync` and `autopilot.client.doctor` do what is described here.

--- The type of an option that does not exist: no value fits it. lua-language-server would accept a misspelt option
--- in a call, but for the field `[string]` of the classes of options.
---@class autopilot.NoSuchOption

---@class autopilot.HttpOptions
---@field [string] autopilot.NoSuchOption
---@field ca_file string? PEM file of the authorities to trust, instead of this machine's
---@field ca_path string? folder of such files, with hashed names
---@field proxy string? `http://host:port`, also https, socks5 and socks5h; `""` for none; default: the environment's
---@field version ("1.1"|"2")? default: what the server offers
---@field max_body integer? bytes of an answer that are read; default 1 MiB
---@field user_agent string?

---@class autopilot.SyncOptions
---@field [string] autopilot.NoSuchOption
---@field deadline number? seconds from the call after which it ends
---@field wait boolean? go on until the sync has completed; default false
---@field force boolean? ask even if a refusal is expected; default false
---@field client_request_id string? for the first request; default: a new id for each
---@field on_progress fun(progress: autopilot.Progress)? called before each wait

---@class autopilot.StatusOptions
---@field [string] autopilot.NoSuchOption
---@field deadline number? seconds from the call after which it ends

---@class autopilot.WaitOptions
---@field [string] autopilot.NoSuchOption
---@field since number? Unix time; default: the last sync that this client started, else the record's last one
---@field timeout number? seconds; default 3600
---@field on_progress fun(progress: autopilot.Progress)? called before each wait

---@class autopilot.EnsureOptions
---@field [string] autopilot.NoSuchOption
---@field since number? Unix time at which, or after which, the sync was triggered; default: now
---@field max_age number? accept a sync that was triggered at most this many seconds ago, instead of `since`
---@field wait boolean? until the sync has completed; default true; with false nothing is waited for
---@field timeout number? seconds; default 3600
---@field on_progress fun(progress: autopilot.Progress)? called before each wait

---@class autopilot.DoctorOptions
---@field [string] autopilot.NoSuchOption
---@field deadline number? seconds from the call after which nothing more is sent

--- What a dry run of the command reports: the tenant's record, and what the operation would do.
---@class autopilot.cli.DryRunReport: autopilot.StatusReport
---@field dry_run true
---@field would_post boolean? whether the operation would send a request for a sync; nil: the record could not be read
---@field request string? that request, as `POST <URL>`
---@field reason string? why it would send one or not

-- The other fields of these are declared where the providers are.

---@class autopilot.token.CommonOptions
---@field [string] autopilot.NoSuchOption

---@class autopilot.token.ManagedIdentityOptions
---@field [string] autopilot.NoSuchOption

---@class autopilot.token.AzureCliOptions
---@field [string] autopilot.NoSuchOption

---@class autopilot.token.CachedOptions
---@field [string] autopilot.NoSuchOption

---@alias autopilot.EventType
---| "token" # the token function was called
---| "attempt" # a request is about to be sent
---| "response" # a request has ended: with an answer, or with a network failure
---| "retry" # an attempt failed, and another follows after `delay` seconds
---| "gave_up" # an attempt failed, and no other follows
---| "sunset" # Graph announces the end of the API
---| "step" # `ensure` or `wait` does something: what, and why, as in the report's `steps`
---| "joined" # the answer of another call was taken
---| "store_failed" # the store failed
---| "cooldown_learned" # another cooldown than before is assumed from now on
---| "stuck" # a sync is in progress for longer than `stuck_after`: told once
---| "trace" # with the option `trace`: a line of a request, its answer or its times
---| "slowed_down" # fleet: a host throttles
---| "circuit_opened" # fleet: a host fails, and is left alone for a while
---| "state_error" # fleet: the state cannot be used now

--- What `on_event` is called with. Which fields there are depends on the type.
---@class autopilot.Event
---@field type autopilot.EventType
---@field tenant string?
---@field refresh boolean? of `token`: the one before was refused
---@field ok boolean? of `token`: there is one
---@field method ("GET"|"POST")? of `attempt`: POST asks for a sync, GET reads the record
---@field retry_attempt integer? of `attempt`
---@field client_request_id string? of `attempt` and `response`
---@field status integer? of `response`
---@field outcome autopilot.Outcome? of `response`, `retry`, `gave_up` and `joined`
---@field elapsed number? of `response`: seconds
---@field number integer? of `retry`: which attempt follows
---@field delay number? of `retry`: seconds
---@field reason string? of `gave_up` and `step`
---@field attempts integer? of `gave_up`
---@field date string? of `sunset`
---@field action string? of `store_failed` and `step`
---@field message string? of `store_failed` and `state_error`
---@field cooldown number? of `cooldown_learned`: seconds that are assumed from now on
---@field before number? of `cooldown_learned`: seconds that were assumed before
---@field stuck_for number? of `stuck`: seconds since the last trigger
---@field last_manual_trigger number? of `stuck`: Unix time, the service's clock
---@field text string? of `trace`
---@field host string? of `slowed_down` and `circuit_opened`
---@field limit integer? of `slowed_down`: requests at a time from now on
---@field seconds number? of `slowed_down` and `circuit_opened`: for which nothing is sent

---@class autopilot.Client
local Client = {}

--- Asks for a sync, and tries again as the retry policy says. While the client knows that the cooldown is not over,
--- it answers `cooldown` itself and sends nothing.
---@param given autopilot.SyncOptions?
---@return autopilot.Report? report
---@return autopilot.Report? failure
function Client:sync(given) end

--- Reads the tenant's record: the last sync, and whether another one is possible now.
---@param given autopilot.StatusOptions?
---@return autopilot.StatusReport? report
---@return autopilot.Report? failure
function Client:status(given) end

--- Waits until a sync that was triggered at `since` or later has completed. Does not ask for one.
---@param given autopilot.WaitOptions?
---@return autopilot.Report? report
---@return autopilot.Report? failure
function Client:wait(given) end

--- Makes sure that a sync that was triggered at `since` or later has completed. Requests a sync only if the record
--- shows no such sync.
---@param given autopilot.EnsureOptions?
---@return autopilot.Report? report
---@return autopilot.Report? failure
function Client:ensure(given) end

--- Checks everything that a sync depends on, and says what is wrong and what to do about it. Starts no sync.
---@param given autopilot.DoctorOptions?
---@return autopilot.DoctorReport? report
---@return autopilot.DoctorReport? failure something is wrong
function Client:doctor(given) end
