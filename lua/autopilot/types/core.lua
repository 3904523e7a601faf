---@meta autopilot.core
--- The C module, declared for editors. Never loaded: `src/lua_*.c` do what is described here.

---@class autopilot.core
local core = {}

--- Unix seconds.
---@return number
function core.now() end

--- Seconds that never jump.
---@return number
function core.clock() end

--- A number in [0, 1).
---@return number
function core.random() end

--- A version 4 UUID (RFC 9562).
---@return string
function core.uuid() end

--- Sleeps; returns early when a signal arrives.
---@param seconds number
function core.sleep(seconds) end

--- A number that changes with a fork.
---@return integer
function core.process_id() end

--- Columns of the terminal on standard error; 0 when unknown; nil when it is not a terminal.
---@return integer?
function core.terminal_width() end

--- What is found at a path, without opening it; for a file also its bytes, and whether every user may read it.
---@param path string
---@param follow_links boolean?
---@return ("file"|"folder"|"link"|"pipe"|"device"|"socket")? kind nil when there is nothing
---@return number? bytes
---@return boolean? is_world_readable
function core.file_kind(path, follow_links) end

--- Makes an empty file, or keeps one, that only its owner can read and write. False when that is not possible, or it
--- is a link.
---@param path string
---@return boolean
function core.make_private(path) end

--- Text that waits in a pipe or terminal, which must not be read in another way; false while there is none; nil at the
--- end; nil and a message.
---@param file file*
---@return string|false|nil text
---@return string? message
function core.read_waiting(file) end

--- From now on the first Ctrl-C or SIGTERM is only noted, and the second ends the process. False where that is not
--- possible.
---@return boolean
function core.note_interrupt() end

--- Undoes `note_interrupt` and `pass_on_termination`.
function core.release_interrupt() end

--- From now on the first SIGTERM does what Ctrl-C does, which the interpreter turns into an error, and the second ends
--- the process. False where that is not possible.
---@return boolean
function core.pass_on_termination() end

--- Whether a signal came since, and whether it was SIGTERM.
---@return boolean was_interrupted
---@return boolean by_sigterm
function core.was_interrupted() end

--- A socket of loopback that never answers, and its port; nil as on Windows. The collector closes it too.
---@return { close: fun(self) }? listener
---@return integer? port
function core.silent_listener() end

---@return { libcurl: string, ssl: string?, http2: boolean, async_dns: boolean, ca_file: string?, ca_path: string? }
function core.info() end

--- The bytes; nil for a text that is not base64, in either alphabet.
---@param text string
---@return string?
function core.base64_decode(text) end

--- Whether a text may repeat a part of a secret, or has what looks like a token.
---@param secrets string[]
---@param text string
---@return boolean
function core.may_echo(secrets, text) end

--- Whether a text can be sent in a header: it has no CR, LF or NUL.
---@param text string
---@return boolean
function core.is_header_text(text) end

---@class autopilot.core.RequestOptions
---@field method "GET"|"POST"
---@field url string
---@field headers table<string, string>?
---@field body string?
---@field ca_file string?
---@field ca_path string?
---@field proxy string?
---@field user_agent string?
---@field http_version ("1.1"|"2")?
---@field max_body integer?
---@field facts boolean? see `autopilot.HttpRequest`
---@field inspect boolean? see `autopilot.HttpRequest`

---@class autopilot.core.Request prepared, for transfer sets and threads

--- Raises for what cannot be sent, and never quotes a header's value.
---@param given autopilot.core.RequestOptions
---@return autopilot.core.Request
function core.request(given) end

---@class autopilot.core.Transfer
local Transfer = {}

---@return boolean
function Transfer:is_finished() end

--- Nothing before the end; both when the answer was cut after its head.
---@return autopilot.HttpResponse? response
---@return autopilot.NetworkFailure? network
function Transfer:result() end

---@class autopilot.core.TransferSet
local TransferSet = {}

--- A set for so many transfers at a time; without a number, for a few.
---@param given { concurrency: integer? }?
---@return autopilot.core.TransferSet
function core.transfer_set(given) end

---@param request autopilot.core.Request
---@param attempt autopilot.TransferAttempt
---@return autopilot.core.Transfer
function TransferSet:add(request, attempt) end

--- Sends and receives; never blocks when the timeout is nil or 0.
---@param timeout number?
---@return integer in_flight
function TransferSet:step(timeout) end

--- Steps until a transfer has finished, which then leaves the set, or the time is over.
---@param transfer autopilot.core.Transfer
---@param seconds number
---@return boolean is_finished
function TransferSet:wait(transfer, seconds) end

--- A finished transfer.
---@return autopilot.core.Transfer?
function TransferSet:take() end

--- Whether a step would find something to do. Never blocks.
---@return boolean
function TransferSet:is_due() end

--- Gives up a transfer whose result is not wanted any more.
---@param transfer autopilot.core.Transfer
function TransferSet:discard(transfer) end

--- Gives everything up; the collector does that too.
function TransferSet:close() end

--- A thread that moves transfers beside an event loop. Missing on Windows.
---@class autopilot.core.TransferThread
local TransferThread = {}

---@return autopilot.core.TransferThread?
---@return string? message why there can be none
function core.transfer_thread() end

---@param request autopilot.core.Request
---@param attempt autopilot.TransferAttempt
---@return integer number
function TransferThread:add(request, attempt) end

--- A transfer that has finished.
---@return integer? number
---@return autopilot.core.Transfer?
function TransferThread:take() end

--- Gives up a transfer; true when it surely had not begun.
---@param number integer
---@return boolean
function TransferThread:discard(number) end

--- The path of the socket to connect to.
---@return string
function TransferThread:address() end

--- Whether the connection just made was accepted. A byte comes over it when a transfer has finished, or every half a
--- second while one is in flight; the next one after `take` has returned nothing.
---@return boolean
function TransferThread:accept() end

--- Gives everything up; the collector does that too.
function TransferThread:close() end

return core
