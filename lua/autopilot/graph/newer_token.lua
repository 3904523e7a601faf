--- Repeats a request whose token the service has refused, once, with a newer token of the provider.

--- Whether no further request may be sent.
local function is_over(client, given)
  return client.is_closed or (given.deadline and client.options.clock() >= given.deadline)
end

---@param request autopilot.Request
---@param client autopilot.Client
---@param given autopilot.RequestArguments
---@param answer table the 401
---@param refused autopilot.SentRequest
---@return table answer as for `Request:run`; the 401 where no request could be sent with a newer token
---@return string? body
return function(request, client, given, answer, refused)
  local again, _, body = request:try(client, given, refused)
  if not again then
    return answer
  elseif again.outcome == "token_error" and not again.mistake then
    -- The provider's failure goes into the hint.
    answer.hint = "The service refused the token, and no other could be had: "
      .. again.error.message
    -- Without `retry_at`, as this Retry-After is the token endpoint's and binds no request to Graph.
    answer.is_transient, answer.retry_after = again.is_transient, again.retry_after
    return answer
  elseif again.outcome == "unreachable" and is_over(client, given) then
    answer.gave_up = client.is_closed and "not_retryable" or "deadline"
    return answer
  end
  return again, body
end
