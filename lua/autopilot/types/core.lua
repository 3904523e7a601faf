---@meta autopilot.core
--- The C module, declared for editors. Never loaded: `src/lua_*.c` do what is described here.

---@alias autopilot.core.FileKind "file"|"folder"|"link"|"pipe"|"device"|"socket"

---@class autopilot.core
---@field now fun(): number Unix seconds
---@field clock fun(): number seconds that never jump
---@field random fun(): number in [0, 1)
---@field uuid fun(): string a UUID of version 4 (RFC 9562)
---@field sleep fun(seconds: number) returns early when a signal is to end the program
---@field process_id fun(): integer a number that changes with a fork
--- Columns of the terminal on standard error; 0 when unknown; nil when it is not a terminal.
---@field terminal_width fun(): integer?
--- What is found at a path, without opening it; for a file also its bytes, and whether every user may read it.
---@field file_kind fun(path: string, follow_links: boolean?): autopilot.core.FileKind?, number?, boolean?
--- Makes an empty file, or keeps one, that only its owner can read and write; false when that is not possible, or it is
--- a link.
---@field make_private fun(path: string): boolean
--- The name of a file in UTF-8, as SQLite takes it on Windows; unchanged elsewhere. nil when it cannot be converted.
---@field sqlite_name fun(path: string): string?
--- Reads what a pipe or terminal has now: a text; false when nothing has come yet; nil at the end; nil and a message
--- after an error. Lua's own functions must not read the same file.
---@field read_waiting fun(file: file*): string|false|nil, string?
--- Ignores SIGPIPE from now on: writing into a pipe that nothing reads any more fails, and does not end the process.
---@field ignore_broken_pipes fun()
--- From now on the first Ctrl-C or SIGTERM is only noted, and the second ends the process; false where that is not
--- possible.
---@field note_interrupt fun(): boolean
---@field release_interrupt fun() undoes `note_interrupt` and `pass_on_termination`
--- From now on the first SIGTERM does what Ctrl-C does, which the interpreter turns into an error, and the second ends
--- the process; false where that is not possible.
---@field pass_on_termination fun(): boolean
---@field was_interrupted fun(): boolean, boolean whether a signal came since, and whether it was SIGTERM
---@field info fun(): autopilot.core.Info
---@field base64_decode fun(text: string): string? the bytes; nil for a text that is not base64, in either alphabet
--- Whether a text may repeat a part of a secret, or has what looks like a token.
---@field may_echo fun(secrets: string[], text: string): boolean
---@field is_header_text fun(text: string): boolean whether a text can be sent in a header: it has no CR, LF or NUL
--- Raises for what cannot be sent, and never quotes a header's value.
---@field request fun(given: autopilot.core.RequestOptions): autopilot.core.Request
--- A set for so many transfers at a time; without a number, for a few. `unacknowledged`: seconds after which Linux
--- closes a connection whose data the other end does not acknowledge.
---@field transfer_set fun(given: { concurrency: integer?, unacknowledged: number? }?): autopilot.core.TransferSet
--- Nil and why there can be none; missing on Windows.
---@field transfer_thread fun(): autopilot.core.TransferThread?, string?
local core = {}

---@class autopilot.core.Info what this build of the module has
---@field libcurl string
---@field ssl string?
---@field http2 boolean
---@field ca_file string?
---@field ca_path string?

---@class autopilot.core.RequestOptions: autopilot.HttpRequest without `timeout`; and of `autopilot.HttpOptions`
---@field ca_file string?
---@field ca_path string?
---@field proxy string?
---@field user_agent string?
---@field http_version ("1.1"|"2")?
---@field max_body integer?

---@class autopilot.core.Request prepared, for transfer sets and threads

---@class autopilot.core.Transfer
---@field is_finished fun(self): boolean
--- Nothing before the end; both when the answer was cut after its head.
---@field result fun(self): autopilot.HttpResponse?, autopilot.NetworkFailure?

---@class autopilot.core.TransferSet
---@field add fun(self, request: autopilot.core.Request, attempt: autopilot.TransferAttempt): autopilot.core.Transfer
--- Sends and receives; never blocks when the timeout is nil or 0; returns how many are in flight.
---@field step fun(self, timeout: number?): integer
---@field take fun(self): autopilot.core.Transfer? one that has finished
---@field is_due fun(self): boolean whether a step would find something to do; never blocks
---@field discard fun(self, transfer: autopilot.core.Transfer) gives up a transfer whose result is not wanted any more
---@field close fun(self) gives everything up; the collector does that too

---@class autopilot.core.TransferThread moves transfers beside an event loop
--- The number of the transfer.
---@field add fun(self, request: autopilot.core.Request, attempt: autopilot.TransferAttempt): integer
---@field take fun(self): integer?, autopilot.core.Transfer? one that has finished, and its number
---@field discard fun(self, number: integer): boolean gives up a transfer; true when it surely had not begun
---@field listen fun(self): string? the path of a socket to connect to, until `accept`; nil when the system refuses
--- Whether the connection just made was accepted. A byte comes over it when a transfer has finished, or every half a
--- second while one is in flight. No further byte comes until `take` has returned nil once.
---@field accept fun(self): boolean
---@field close fun(self) gives everything up; the collector does that too

return core
