--- The server's end of HTTP/2 (RFC 9113), as far as a misbehaving server needs it: frames, and
-- header blocks of literals (RFC 7541). What the client sends is framed but not decompressed.

local http2 = {}

local preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
local frame_type = {
  DATA = 0,
  HEADERS = 1,
  RST_STREAM = 3,
  SETTINGS = 4,
  PING = 6,
  GOAWAY = 7,
}
local END_STREAM, END_HEADERS, ACK = 1, 4, 1

http2.NO_ERROR, http2.INTERNAL_ERROR, http2.REFUSED_STREAM = 0, 2, 7
http2.HTTP_1_1_REQUIRED = 13

---@class Http2Connection
---@field connection HostileConnection
local Http2 = {}
Http2.__index = Http2

local function big_endian(number, bytes)
  local text = {}
  for i = bytes, 1, -1 do
    text[i] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(text)
end

local function to_number(text)
  local number = 0
  for i = 1, #text do
    number = number * 256 + text:byte(i)
  end
  return number
end

local function has_flag(flags, flag)
  return math.floor(flags / flag) % 2 == 1
end

local function hpack_text(text)
  local length = #text
  if length < 127 then
    return string.char(length) .. text
  end
  local encoded = string.char(127)
  length = length - 127
  while length >= 128 do
    encoded = encoded .. string.char(length % 128 + 128)
    length = math.floor(length / 128)
  end
  return encoded .. string.char(length) .. text
end

--- A header block: each field a literal that is not indexed.
---@param fields string[][] pairs of name and value, `:status` first
---@return string
function http2.header_block(fields)
  local block = {}
  for _, field in ipairs(fields) do
    block[#block + 1] = "\0" .. hpack_text(field[1]) .. hpack_text(tostring(field[2]))
  end
  return table.concat(block)
end

--- Sends one frame, in whole or only its first bytes.
---@param cut integer? how many bytes of it
function Http2:send(name, flags, stream, payload, cut)
  local frame = big_endian(#payload, 3)
    .. string.char(frame_type[name], flags)
    .. big_endian(stream, 4)
    .. payload
  self.connection:send(cut and frame:sub(1, cut) or frame)
end

--- The next frame; settings and pings are acknowledged on the way.
---@return { type: integer, flags: integer, stream: integer, payload: string }
function Http2:read_frame()
  local head = self.connection:read(9)
  local frame = {
    type = head:byte(4),
    flags = head:byte(5),
    stream = to_number(head:sub(6)),
    payload = self.connection:read(to_number(head:sub(1, 3))),
  }
  local is_ack = has_flag(frame.flags, ACK)
  if frame.type == frame_type.SETTINGS and not is_ack then
    self:send("SETTINGS", ACK, 0, "")
  elseif frame.type == frame_type.PING and not is_ack then
    self:send("PING", ACK, 0, frame.payload)
  end
  return frame
end

--- Waits for a whole request, which the server then counts as seen.
---@return integer stream
function Http2:read_request()
  while true do
    local frame = self:read_frame()
    local is_request = frame.type == frame_type.HEADERS or frame.type == frame_type.DATA
    if is_request and has_flag(frame.flags, END_STREAM) then
      self.connection.server:saw { http2 = true, stream = frame.stream, headers = {} }
      return frame.stream
    end
  end
end

---@param stream integer
---@param fields string[][]
---@param is_last boolean? nothing follows on this stream
---@param cut integer? send only so many bytes of the frame
function Http2:headers(stream, fields, is_last, cut)
  local flags = END_HEADERS + (is_last and END_STREAM or 0)
  self:send("HEADERS", flags, stream, http2.header_block(fields), cut)
end

---@param stream integer
---@param bytes string
---@param is_last boolean?
---@param cut integer?
function Http2:data(stream, bytes, is_last, cut)
  self:send("DATA", is_last and END_STREAM or 0, stream, bytes, cut)
end

---@param stream integer
---@param code integer
function Http2:reset_stream(stream, code)
  self:send("RST_STREAM", 0, stream, big_endian(code, 4))
end

--- No stream above `last` was or will be looked at.
---@param last integer
---@param code integer
function Http2:go_away(last, code)
  self:send("GOAWAY", 0, 0, big_endian(last, 4) .. big_endian(code, 4))
end

--- Reads the client's preface and sends ours.
---@param connection HostileConnection below TLS, with `h2` agreed upon
---@return Http2Connection
function http2.start(connection)
  local self = setmetatable({ connection = connection }, Http2)
  assert(connection:read(#preface) == preface, "the client does not speak HTTP/2")
  self:send("SETTINGS", 0, 0, "")
  return self
end

return http2
